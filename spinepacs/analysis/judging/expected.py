"""How high a disc should be: the usual height index of its level, scaled to the spine that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spinepacs.analysis.judging.policy import HeightRules
from spinepacs.domain.anatomy import DiscLevel
from spinepacs.domain.signs import ExpectedFrom


@dataclass(frozen=True)
class Expected:
    """Expected height index; ``spread`` is the standard deviation of its logarithm."""

    index: float
    spread: float
    source: ExpectedFrom


def expected_index(
    disc: DiscLevel, indices: Mapping[DiscLevel, float], rules: HeightRules
) -> Expected | None:
    """Expected height index of a disc from published means and the other discs of its spine.

    Each neighbour is compared with the usual index of its own level, those that are narrowed themselves are left out,
    and the median of the rest is drawn towards the usual as a normal prior has it (spread of spines, of discs).

    Parameters
    ----------
    indices
        Height index of all discs of the film.

    Returns
    -------
    None where the policy knows no usual index for the disc.
    """
    usual = rules.usual_index.get(disc)
    if usual is None:
        return None
    near = [
        np.log(max(index, 1e-6) / rules.usual_index[other])
        for other, index in indices.items()
        if other in rules.usual_index and 0 < abs(other.upper - disc.upper) <= rules.reach
    ]
    if not near:
        return Expected(usual, rules.spine_spread, ExpectedFrom.NORMS)
    ratios = np.array(near)
    healthy = ratios[ratios >= np.median(ratios) - rules.narrowed]
    weight = len(healthy) / rules.disc_spread**2
    prior = 1 / rules.spine_spread**2
    scale = float(np.median(healthy)) * weight / (weight + prior)
    return Expected(usual * float(np.exp(scale)), float((weight + prior) ** -0.5), ExpectedFrom.BOTH)
