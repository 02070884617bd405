"""How sure a measure is: the localisation error of the endplates, propagated through the measure's own formula.

The law of propagation of uncertainty (JCGM 100:2008, 5.2: sensitivity coefficients and covariances), with the
coefficients by central differences. A plate's errors are taken in its own frame and as shares of its length, because a
network errs by much the same share of a body wherever it sees bodies of the same size. They grow where the network is
less sure that there is a vertebra: on synthetic films of the chest fourfold from a score of 0.95 to one of 0.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spinepacs.analysis.plates import BACK, FRONT, Array, along, footwards, length
from spinepacs.anatomy import Level, Region
from spinepacs.findings import Spine
from spinepacs.measures import Quantity

Formula = Callable[[Array], Mapping[Quantity, Array]]
"""(…, K, 3, 2) plates to values (…) by quantity."""

MODES = ("shift", "tilt", "bow", "slide", "stretch")
"""How a plate can be wrong: moved away from its body (the mean of front, middle and back); turned, the front away from
the body; bent, the middle away from the body; moved along itself to the back; longer. Independent of each other."""
_STEP = 2e-3
"""Of the differences, as a share of the plate's length."""


@dataclass(frozen=True)
class Localisation:
    """The localisation error of one model on one view.

    Root mean squares and correlations are taken about zero, not about the mean, so that a bias counts as an error.

    Parameters
    ----------
    shares
        By level (``L5``) or, for those that are not named, by region (``lumbar``): root mean square error of a body
        whose score is 1 in each of the ``MODES``, as a share of the plate's length. Other levels have no uncertainty.
    doubt
        How the errors grow with doubt: they are ``shares × (1 + doubt × (1 − score))``.
    body, disc
        By mode, the correlation of the errors of the two plates of one body, and of two that face each other over a
        disc.
    """

    shares: Mapping[str, tuple[float, ...]]
    doubt: float
    body: tuple[float, ...]
    disc: tuple[float, ...]

    def __post_init__(self) -> None:
        if any(len(modes) != len(MODES) for modes in (*self.shares.values(), self.body, self.disc)):
            raise ValueError(f"localisation: {len(MODES)} numbers for each level, body and disc")
        if min((self.doubt, *(share for modes in self.shares.values() for share in modes))) < 0:
            raise ValueError("localisation: shares and doubt are not negative")
        if max(map(abs, (*self.body, *self.disc))) > 1:
            raise ValueError("localisation: correlations lie between -1 and 1")

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Localisation:
        """Read one view's table of a manifest, whose keys are the attributes' names.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a key is missing or cannot be meant.
        """
        known = {*Region, *Level.__members__}
        if strangers := set(table["shares"]) - known:
            raise ValueError(f"localisation: neither region nor level: {', '.join(sorted(strangers))}")
        shares = {place: tuple(map(float, modes)) for place, modes in table["shares"].items()}
        body, disc = (tuple(map(float, table[name])) for name in ("body", "disc"))
        return cls(shares, float(table["doubt"]), body, disc)

    def deviations(self, spine: Spine) -> Array:
        """(25, 5) standard deviations of the plates of each level, shares of their length; NaN where not known."""
        found = np.full((len(Level), len(MODES)), np.nan)
        for vertebra in spine.vertebrae:
            shares = self.shares.get(vertebra.level.name, self.shares.get(vertebra.level.region))
            if shares is not None:
                found[vertebra.level] = np.array(shares) * (1 + self.doubt * (1 - vertebra.score))
        return found

    def correlation(self, links: Sequence[str]) -> Array:
        """(5, K, K) correlation of the errors of K plates by mode.

        ``links`` says what lies between each plate and the next: ``body``, ``disc``, or anything else for plates whose
        errors have nothing in common. What lies further apart is joined by the product of the links between.
        """
        strength = {"body": np.array(self.body), "disc": np.array(self.disc)}
        steps = [strength.get(link, np.zeros(len(MODES))) for link in links]
        matrix = np.repeat(np.eye(len(steps) + 1)[None], len(MODES), axis=0)
        for i in range(len(steps)):
            for j in range(i + 1, len(steps) + 1):
                matrix[:, i, j] = matrix[:, j, i] = np.prod(steps[i:j], axis=0)
        return matrix


def standard_deviations(
    formula: Formula, plates: Array, sides: Sequence[int], deviations: Array, correlation: Array
) -> dict[Quantity, Array]:
    """Standard deviations of what a formula gives at N places.

    Parameters
    ----------
    plates
        (N, K, 3, 2) float64, px of the plane.
    sides
        0 or 1 for each of the K plates: upper or lower plate of its body.
    deviations
        (N, K, 5) of the plates' errors by mode, shares of their length.
    correlation
        (5, K, K) of these errors.

    Returns
    -------
    By quantity (N,), NaN where a plate is missing that the quantity depends on, or its deviations are.
    """
    steps = _STEP * _moves(plates, sides)
    forth, back = (formula(plates + sign * steps) for sign in (1, -1))
    spread = np.moveaxis(deviations, 0, 2)
    found = {}
    for name, values in forth.items():
        slopes = (values - back[name]) / (2 * _STEP)
        blind = (np.isnan(slopes) | (np.isnan(spread) & (slopes != 0))).any(axis=(0, 1))
        errors = np.nan_to_num(slopes * spread)
        variance = np.einsum("kmn,mkl,lmn->n", errors, correlation, errors)
        found[name] = np.where(blind, np.nan, np.sqrt(np.maximum(variance, 0)))
    return found


def _moves(plates: Array, sides: Sequence[int]) -> Array:
    """(K, 5, N, K, 3, 2): how the plates move for an error of their whole length in each of the modes."""
    size = np.nan_to_num(length(plates))[..., None]
    backwards = np.nan_to_num(along(plates)) * size
    away = footwards(backwards) * np.where(np.asarray(sides) == 1, 1.0, -1.0)[:, None]
    weights = np.zeros(
        (len(MODES), 2, 3)
    )  # how far front, middle and back go away from the body, and backwards
    weights[0, 0] = 1
    weights[1, 0, (FRONT, BACK)] = 0.5, -0.5
    weights[2, 0] = -1 / 3, 2 / 3, -1 / 3
    weights[3, 1] = 1
    weights[4, 1, (FRONT, BACK)] = -0.5, 0.5
    way = np.einsum("mdp,dnkx->mnkpx", weights, np.stack([away, backwards]))
    moves = np.zeros((len(sides), *way.shape))
    for number in range(len(sides)):
        moves[number, :, :, number] = way[:, :, number]
    return moves
