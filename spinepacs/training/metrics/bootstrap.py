"""Figures with their uncertainty: every figure is computed for the films as they are and for 1000 resamples at once.

A resample draws as many groups (patients, source days) as there are, with replacement, and is written as the number
of times that each film counts: ``weights`` (1 + R, F), whose first row is all ones, so that one formula gives the
estimate and what it scatters around (Efron and Tibshirani 1993, An Introduction to the Bootstrap, percentile interval).
Films of one group are alike, so groups are drawn and not films.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
_SEED = 20261123
_SHARE = 0.95


def resample_weights(groups: Sequence[str], resamples: int = RESAMPLES) -> Floats:
    """How often each film counts: float64 (1 + resamples, films), the first row ones.

    One group alone says nothing about scatter: then there is the first row only.
    """
    names, member = np.unique(np.asarray(groups, str), return_inverse=True)
    estimate = np.ones((1, len(groups)))
    if len(names) < 2:
        return estimate
    random = np.random.default_rng(_SEED)
    draws = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return np.concatenate([estimate, draws[:, member].astype(np.float64)])


def ratio(weights: Floats, above: Floats, below: Floats) -> Floats:
    """Sum over films of ``above`` (F,) divided by that of ``below`` (F,), for each row of the weights; nan for 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((weights @ above) / (weights @ below))


def per_film(films: NDArray[np.int64], values: Floats | NDArray[np.bool_], n_films: int) -> Floats:
    """Sum ``values`` (n,) by the film (n,) that each belongs to: (F,)."""
    return np.asarray(np.bincount(films, np.asarray(values, np.float64), n_films), np.float64)


def mean(weights: Floats, films: NDArray[np.int64], values: Floats) -> Floats:
    """Mean of ``values`` (n,) for each row of the weights; those that are nan are left out."""
    known = np.isfinite(values)
    n_films = weights.shape[1]
    return ratio(
        weights,
        per_film(films[known], values[known], n_films),
        per_film(films[known], np.ones(int(known.sum())), n_films),
    )


def median(weights: Floats, films: NDArray[np.int64], values: Floats) -> Floats:
    """Median of ``values`` (n,) for each row of the weights; those that are nan are left out."""
    known = np.isfinite(values)
    films, values = films[known], values[known]
    if not len(values):
        return np.full(len(weights), np.nan)
    order = np.argsort(values)
    reached = np.cumsum(weights[:, films[order]], axis=1)
    half = reached[:, -1:] / 2
    last = len(values) - 1
    lower = np.minimum((reached < half).sum(axis=1), last)
    upper = np.minimum((reached <= half).sum(axis=1), last)
    middle = (values[order][lower] + values[order][upper]) / 2
    return np.where(reached[:, -1] > 0, middle, np.nan)


def average_precision(
    weights: Floats, films: NDArray[np.int64], correct: NDArray[np.bool_], truth: Floats
) -> Floats:
    """Average precision for each row of the weights, at the 101 points of recall that COCO takes.

    Parameters
    ----------
    weights
        (R, F).
    films, correct
        (n,): film of each detection, best score first, and whether it hit a body that was still free.
    truth
        (F,): how many bodies each film has.

    Returns
    -------
    (R,) float64; nan where there is no body.
    """
    counts = weights @ truth
    weighted = weights[:, films]
    seen = np.cumsum(weighted, axis=1)[:, correct]
    hits = np.cumsum(weighted[:, correct], axis=1)
    if not hits.shape[1]:
        return np.where(counts > 0, 0.0, np.nan)
    envelope = np.maximum.accumulate((hits / np.maximum(seen, 1))[:, ::-1], axis=1)[:, ::-1]
    # Precision matters only where recall grows: each hit serves the points of recall that it is the first to reach.
    reached = np.floor(100 * hits / np.maximum(counts, 1)[:, None])
    served = np.diff(reached, axis=1, prepend=0)
    area = (envelope[:, 0] + np.einsum("rn,rn->r", envelope, served)) / 101
    return np.where(counts > 0, area, np.nan)


def figure(values: Floats) -> dict[str, float | None]:
    """``value``, ``low`` and ``high`` of a figure's estimate and resamples (1 + R,); None where unknown."""
    resampled = values[1:][np.isfinite(values[1:])]
    edges = np.quantile(resampled, [(1 - _SHARE) / 2, (1 + _SHARE) / 2]) if len(resampled) else [np.nan] * 2
    return {
        name: round(float(number), 5) if np.isfinite(number) else None
        for name, number in zip(("value", "low", "high"), (values[0], *edges), strict=True)
    }
