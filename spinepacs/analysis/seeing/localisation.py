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
