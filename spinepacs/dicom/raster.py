"""From outlines to a label map, exact to the pixel centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Outline


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


def packed_frames(labels: NDArray[np.uint8], outlines: Sequence[Outline]) -> tuple[list[int], bytes]:
    """Pack one bit a pixel, a frame for each label that has a pixel, without gaps (PS3.5 8.1.1, 8.2).

    Only the rows of the outline are touched, since a vertebra is a small part of a film.

    Parameters
    ----------
    labels
        :func:`label_map` of these outlines.

    Returns
    -------
    The labels that have a frame, in order, and the bits, low bit first, padded to an even number of bytes.
    """
    spans = {number: _rows_of(outline, labels.shape[0]) for number, outline in enumerate(outlines, start=1)}
    present = [number for number, rows in spans.items() if (labels[rows] == number).any()]
    packed = np.zeros((len(present) * labels.size + 15) // 16 * 2, np.uint8)
    for frame, number in enumerate(present):
        first = frame * labels.size + spans[number].start * labels.shape[1]
        lead = np.zeros(first % 8, bool)  # a frame may begin within a byte
        bits = np.concatenate([lead, (labels[spans[number]] == number).ravel()])
        chunk = np.packbits(bits, bitorder="little")
        packed[first // 8 : first // 8 + len(chunk)] |= chunk
    return present, packed.tobytes()


def _rows_of(outline: Outline, rows: int) -> slice:
    """Rows of the image that an outline may touch."""
    top, bottom = np.floor(outline.points[:, 1].min()), np.ceil(outline.points[:, 1].max())
    return slice(*np.clip([top, bottom], 0, rows).astype(int).tolist())


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
