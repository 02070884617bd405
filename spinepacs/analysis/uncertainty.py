"""How sure a measure is: the localisation error of the endplates, propagated through the measure's own formula.

The law of propagation of uncertainty (JCGM 100:2008, 5.2: sensitivity coefficients and covariances), with the
coefficients by central differences. The errors of the plates' corners and middles are taken in the plate's own frame
(across it, positive away from the body; along it, positive outwards) as shares of its length, because a network errs by
much the same share of a body wherever it sees bodies of the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spinepacs.analysis.plates import BACK, FRONT, MIDDLE, Array, along, footwards, length
from spinepacs.measures import Quantity

Formula = Callable[[Array], Mapping[Quantity, Array]]
"""(…, K, 3, 2) plates to values (…) by quantity."""

_STEP = 2e-3
"""Of the differences, as a share of the plate's length."""
_DIRECTIONS = 5
"""Ways in which a plate can be wrong: three points across, two corners along."""


@dataclass(frozen=True)
class Localisation:
    """The localisation error of one model on one view.

    Root mean squares and correlations are taken about zero, not about the mean, so that a bias counts as an error.

    Parameters
    ----------
    across
        Of the front corner, the middle and the back corner across the plate, as shares of the plate's length.
    along
        Of the front and the back corner along the plate.
    across_correlation
        Front and middle, front and back, middle and back.
    along_correlation
        Front and back, outwards.
    body, disc
        Correlation of the errors (across, along) of the two plates of one body, and of two that face each other over
        a disc: positive where outlines are too large or too small together.
    """

    across: tuple[float, float, float]
    along: tuple[float, float]
    across_correlation: tuple[float, float, float]
    along_correlation: float
    body: tuple[float, float]
    disc: tuple[float, float]

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Localisation:
        """Read one view's table of a manifest.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key is missing or cannot be meant.
        """
        front, middle, back = (float(share) for share in table["across"])
        front_along, back_along = (float(share) for share in table["along"])
        fm, fb, mb = (float(share) for share in table["across_correlation"])
        (body, body_along), (disc, disc_along) = (map(float, table[name]) for name in ("body", "disc"))
        found = cls(
            (front, middle, back), (front_along, back_along), (fm, fb, mb), float(table["along_correlation"]),
            (body, body_along), (disc, disc_along),
        )  # fmt: skip
        correlations = (fm, fb, mb, found.along_correlation, *found.body, *found.disc)
        if min(*found.across, *found.along) < 0 or max(map(abs, correlations)) > 1:
            raise ValueError("localisation: shares must not be negative, correlations lie between -1 and 1")
        return found

    def covariance(self, links: Sequence[str]) -> Array:
        """(5 K, 5 K) covariance of K plates' errors; ``links`` says what lies between each and the next.

        ``body``, ``disc``, or anything else for plates whose errors have nothing in common.
        """
        fm, fb, mb = self.across_correlation
        within = np.array([[1, fm, fb], [fm, 1, mb], [fb, mb, 1]]) * np.outer(self.across, self.across)
        lengthwise = np.array([[1, self.along_correlation], [self.along_correlation, 1]])
        lengthwise = lengthwise * np.outer(self.along, self.along)
        return np.block(
            [
                [np.kron(self._chain(links, 0), within), np.zeros((3 * len(links) + 3, 2 * len(links) + 2))],
                [
                    np.zeros((2 * len(links) + 2, 3 * len(links) + 3)),
                    np.kron(self._chain(links, 1), lengthwise),
                ],
            ]
        )

    def _chain(self, links: Sequence[str], direction: int) -> Array:
        """(K, K) correlations between plates: what lies further apart is joined by the product of the links."""
        strength = {"body": self.body[direction], "disc": self.disc[direction]}
        steps = [strength.get(link, 0.0) for link in links]
        matrix = np.eye(len(steps) + 1)
        for i in range(len(steps)):
            for j in range(i + 1, len(steps) + 1):
                matrix[i, j] = matrix[j, i] = np.prod(steps[i:j])
        return matrix


def evaluate(
    formula: Formula,
    plates: Array,
    sides: Sequence[int],
    links: Sequence[str],
    localisation: Localisation | None,
) -> dict[Quantity, tuple[Array, Array]]:
    """Values of a formula at N places, and their standard deviations.

    Parameters
    ----------
    plates
        (N, K, 3, 2) float64, px of the plane.
    sides
        0 or 1 for each of the K plates: upper or lower plate of its body.
    links
        K − 1, what lies between them (:meth:`Localisation.covariance`).
    localisation
        None: the standard deviations are NaN.

    Returns
    -------
    By quantity (N,) values and (N,) standard deviations, NaN where plates are missing.
    """
    if localisation is None:
        return {name: (value, np.full(value.shape, np.nan)) for name, value in formula(plates).items()}
    steps = _STEP * _directions(plates, sides)
    # (1 + 2 M, N, K, 3, 2): the plates, and the plates moved forth and back in each of the M ways.
    tried = formula(np.concatenate([plates[None], plates + steps, plates - steps]))
    covariance, count = localisation.covariance(links), len(steps)
    results = {}
    for name, values in tried.items():
        slopes = np.nan_to_num(values[1 : count + 1] - values[count + 1 :]) / (2 * _STEP)
        variance = np.einsum("mn,mk,kn->n", slopes, covariance, slopes)
        results[name] = values[0], np.where(np.isnan(values[0]), np.nan, np.sqrt(np.maximum(variance, 0)))
    return results


def _directions(plates: Array, sides: Sequence[int]) -> Array:
    """(5 K, N, K, 3, 2): how the plates move for an error of their whole length in each way that they can be wrong."""
    count = len(sides)
    size = np.nan_to_num(length(plates))[..., None]
    outwards = np.nan_to_num(along(plates))
    away = footwards(outwards) * np.where(np.asarray(sides) == 1, 1.0, -1.0)[:, None]
    moves = np.zeros((_DIRECTIONS * count, *plates.shape))
    for number in range(count):
        for point in (FRONT, MIDDLE, BACK):
            moves[3 * number + point, :, number, point] = (size * away)[:, number]
        row = 3 * count + 2 * number
        moves[row, :, number, FRONT] = -(size * outwards)[:, number]
        moves[row + 1, :, number, BACK] = (size * outwards)[:, number]
    return moves
