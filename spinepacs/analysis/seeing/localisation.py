"""How far a model's endplates are off, as its manifest states it; ``analysis.measuring.uncertainty`` propagates it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level, Region
from spinepacs.domain.findings import Spine

Array = NDArray[np.float64]

MODES = ("shift", "tilt", "bow", "slide", "stretch")
"""How a plate can be wrong: moved away from its body (the mean of front, middle and back); turned, the front away from
the body; bent, the middle away from the body; moved along itself to the back; longer. Independent of each other."""


@dataclass(frozen=True)
class Localisation:
    """The localisation error of one model on one view.

    Root mean squares and correlations are taken about zero, not about the mean, so that a bias counts as an error.

    Parameters
    ----------
    shares
        By level (``L5``) or, for those that are not named, by region (``lumbar``): root mean square error of a plate
        without doubt in each of the ``MODES``, as a share of its length. Other levels have no uncertainty.
    doubt
        How the errors grow with doubt: they are ``shares × (1 + doubt × d)``. d is the plate's ``spread`` where a
        tracer has placed its corners; else what the body's score lacks of 1.
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
        """(25, 2, 5) standard deviations of the plates by level and side, shares of their length; NaN: not known."""
        growth = 1 + self.doubt * doubts(spine)
        found = np.full((*growth.shape, len(MODES)), np.nan)
        for vertebra in spine.vertebrae:
            shares = self.shares.get(vertebra.level.name, self.shares.get(vertebra.level.region))
            if shares is not None:
                found[vertebra.level] = np.array(shares) * growth[vertebra.level][:, None]
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


def doubts(spine: Spine) -> Array:
    """(25, 2) by level and side: the plate's spread, or what the body's score lacks of 1; NaN where no body is."""
    found = np.full((len(Level), 2), np.nan)
    for vertebra in spine.vertebrae:
        for side, plate in enumerate((vertebra.upper, vertebra.lower)):
            spread = None if plate is None else plate.spread
            found[vertebra.level, side] = 1 - vertebra.score if spread is None else spread
    return found
