"""From outlines to a label map, exact to the pixel centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.geometry import Outline


def label_map(outlines: Sequence[Outline], rows: int, columns: int) -> NDArray[np.uint8]:
    """Fill outlines with 1, 2, 3 …: a pixel belongs to the outline that its centre lies in.

    Where outlines overlap, a pixel goes to the one whose centroid is nearer. An outline that holds no pixel centre
    leaves no pixel; what lies outside the image is cut off.

    Parameters
    ----------
    outlines
        At most 255, native px; pixel (row, column) has its centre at (column + 0.5, row + 0.5).

    Returns
    -------
    (rows, columns) uint8; 0 = background.
    """
    labels = np.zeros((rows, columns), np.uint8)
    centroids = np.zeros((len(outlines) + 1, 2))
    for number, outline in enumerate(outlines, start=1):
        centroids[number] = outline.centroid
        top, left, inside = _inside(outline, rows, columns)
        window = labels[top : top + inside.shape[0], left : left + inside.shape[1]]
        y, x = np.nonzero(inside & (window > 0))
        at = np.stack([x + left + 0.5, y + top + 0.5], axis=1)
        kept = _distance(at, centroids[window[y, x]]) <= _distance(at, centroids[number])
        inside[y[kept], x[kept]] = False
        window[inside] = number
    return labels


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances of points; (N, 2) and (N, 2) or (2,) to (N,)."""
    distance: NDArray[np.float64] = np.hypot(*(a - b).T)
    return distance


def _inside(outline: Outline, rows: int, columns: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Even-odd fill of the outline's bounding window: its first row and column, and the mask.

    Each scan line through pixel centres is toggled where an edge crosses it; a running parity then fills.
    """
    low = np.floor(outline.points.min(axis=0)).astype(int)
    high = np.ceil(outline.points.max(axis=0)).astype(int)
    left, top = (int(v) for v in np.clip(low, 0, (columns, rows)))
    right, bottom = (int(v) for v in np.clip(high, (left, top), (columns, rows)))
    toggles = np.zeros((bottom - top, right - left + 1), np.uint8)
    row, x = _crossings(outline, top, bottom)
    column = np.clip(np.ceil(x - 0.5).astype(int) - left, 0, right - left)
    np.add.at(toggles, (row - top, column), 1)
    parity = np.bitwise_xor.accumulate(toggles & 1, axis=1)[:, :-1]
    return top, left, parity.astype(bool)


def _crossings(outline: Outline, top: int, bottom: int) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Rows (top <= row < bottom) whose centre line an edge crosses, and the x of each crossing, px."""
    start, end = outline.points, np.roll(outline.points, -1, axis=0)
    # Half-open in y, so that a corner on a scan line counts once.
    first = np.clip(np.ceil(np.minimum(start[:, 1], end[:, 1]) - 0.5).astype(int), top, bottom)
    last = np.clip(np.ceil(np.maximum(start[:, 1], end[:, 1]) - 0.5).astype(int), top, bottom)
    edge = np.repeat(np.arange(len(start)), last - first)
    row = (
        first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(last - first) - (last - first), last - first)
    )
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    return row, start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
