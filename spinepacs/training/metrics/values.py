"""Measured values beside true ones: mean error, bias, limits of agreement, SMAPE, each for all resamples at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.training.metrics.bootstrap import mean, median

Floats = NDArray[np.float64]
AGREEMENT = 1.96
"""Standard deviations about the mean difference between which 95 % of the differences lie, were they normal."""


@dataclass(frozen=True)
class ComparedValue:
    """One measure of the product beside the true one.

    Parameters
    ----------
    quantity, unit
        :class:`spinepacs.domain.measures.Quantity` or a name of docs/evaluation.md; ``mm``, ``deg`` or ``1``, a ratio.
    place, level
        Where, at the labelled levels; class of its first vertebra.
    true, found
        Both values.
    deviation
        Standard deviation that the product states; nan where it states none.
    """

    quantity: str
    unit: str
    place: str
    level: int
    true: float
    found: float
    deviation: float = float("nan")


def value_figures(weights: Floats, values: Sequence[tuple[int, ComparedValue]]) -> dict[str, Floats]:
    """Figures of one quantity's values, each given with its film's place, by name: (R,) each.

    ``bias`` is the mean of found minus true, ``limit_low`` and ``limit_high`` are the limits of agreement (Bland and
    Altman 1986, Lancet 327: 307), ``covered`` is the share of stated 95 % intervals that hold the truth.
    """
    film = np.array([film for film, _ in values], np.int64)
    error = np.array([one.found - one.true for _, one in values], np.float64)
    margin = AGREEMENT * np.array([one.deviation for _, one in values], np.float64)
    held = np.where(np.isfinite(margin), np.abs(error) <= margin, np.nan)
    bias, squares = mean(weights, film, error), mean(weights, film, error**2)
    spread = AGREEMENT * np.sqrt(np.maximum(squares - bias**2, 0))
    return {
        "mean_error": mean(weights, film, np.abs(error)),
        "median_error": median(weights, film, np.abs(error)),
        "bias": bias,
        "limit_low": bias - spread,
        "limit_high": bias + spread,
        "covered": mean(weights, film, held),
    }


def smape(weights: Floats, values: Sequence[tuple[int, ComparedValue]]) -> Floats:
    """Symmetric mean absolute percentage error (%) of films with several angles, (R,).

    As in the AASCE challenge (Wang et al. 2021, Med Image Anal 72: 102115): of each film the sum of the differences
    over the sum of all angles, then the mean over the films.
    """
    films = weights.shape[1]
    apart, together = np.zeros(films), np.zeros(films)
    for film, one in values:
        apart[film] += abs(one.found - one.true)
        together[film] += abs(one.found) + abs(one.true)
    known = np.flatnonzero(together > 0)
    return 100 * mean(weights, known, apart[known] / together[known])
