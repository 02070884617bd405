"""Whether one image holds two exposures: two columns of vertebrae beside each other, or one that begins anew below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.findings import SURE_SCORE, Detection

_LEAST_BODIES = 3
"""In each column."""
_LEAST_GAP_BODIES = 2.5
"""Between the columns, in sizes (√area of its box) of a body: two exposures are 5 to 20 apart; within one, the
neighbours in a curve differ by less than one."""
_LEAST_RESTART = 2
"""Levels by which a column begins anew below: on one film they only grow downwards."""
_LEAST_ORDER = 0.8
"""Correlation of level and height within a column: what looks like vertebrae elsewhere has no order."""

Vector = NDArray[np.float64]


def are_two(found: Sequence[Detection]) -> bool:
    """Tell two exposures on one image from one, by what was found on it with its head up; in any order."""
    sure = [one for one in found if one.score >= SURE_SCORE]
    if len(sure) < 2 * _LEAST_BODIES:
        return False
    corners = np.array([one.box_px for one in sure])
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    levels = np.array([one.raw_level for one in sure], np.float64)
    size = float(np.median(np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))))
    return _side_by_side(centres, levels, size) or _stacked(centres[:, 1], levels)


def _side_by_side(centres: Vector, levels: Vector, size: float) -> bool:
    order = np.argsort(centres[:, 0])
    gaps = np.diff(centres[order, 0])
    cut = int(gaps.argmax()) + 1
    columns = [order[:cut], order[cut:]]
    heights = [centres[column, 1] for column in columns]
    common = min(y.max() for y in heights) - max(y.min() for y in heights)
    return bool(
        gaps[cut - 1] > _LEAST_GAP_BODIES * size
        and common > 0
        and all(_is_column(y, levels[column]) for y, column in zip(heights, columns, strict=True))
    )


def _stacked(heights: Vector, levels: Vector) -> bool:
    order = np.argsort(heights)
    y, named = heights[order], levels[order]
    usual = np.median(np.lib.stride_tricks.sliding_window_view(named, _LEAST_BODIES), axis=1)
    restarts = (
        np.flatnonzero(usual[:-_LEAST_BODIES] - usual[_LEAST_BODIES:] >= _LEAST_RESTART) + _LEAST_BODIES
    )
    return any(_is_column(y[:cut], named[:cut]) and _is_column(y[cut:], named[cut:]) for cut in restarts)


def _is_column(heights: Vector, levels: Vector) -> bool:
    """Whether there are enough bodies and their levels grow downwards."""
    if len(heights) < _LEAST_BODIES or not np.ptp(levels) or not np.ptp(heights):
        return False
    return float(np.corrcoef(heights, levels)[0, 1]) > _LEAST_ORDER
