"""From outlines to masks and frames, exact to the pixel centre."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Outline


@dataclass(frozen=True)
class Mask:
    """The pixels of one outline.

    Parameters
    ----------
    top, left
        First row and column of the window, within the image.
    inside
        (rows, columns) of the window.
    """

    top: int
    left: int
    inside: NDArray[np.bool_]

    @property
    def bottom(self) -> int:
        """Row after the last one of the window."""
        return self.top + len(self.inside)

    @property
    def right(self) -> int:
        """Column after the last one of the window."""
        return self.left + int(self.inside.shape[1])


def masks(outlines: Sequence[Outline], rows: int, columns: int) -> list[Mask]:
    """Fill outlines: a pixel belongs to the outline that its centre lies in, and to no other.

    Where outlines overlap, a pixel goes to the one whose centroid is nearer. An outline that holds no pixel centre
    has no pixel; what lies outside the image is cut off.

    Parameters
    ----------
    outlines
        Native px; pixel (row, column) has its centre at (column + 0.5, row + 0.5).
    """
    filled: list[Mask] = []
    for outline in outlines:
        new = Mask(*_inside(outline, rows, columns))
        for earlier, mask in zip(outlines, filled, strict=False):
            _part(mask, new, earlier, outline)
        filled.append(new)
    return filled


def _part(a: Mask, b: Mask, outline_a: Outline, outline_b: Outline) -> None:
    """Give each pixel that two masks share to the one whose centroid is nearer, to the first where both are as near."""
    top, bottom = max(a.top, b.top), min(a.bottom, b.bottom)
    left, right = max(a.left, b.left), min(a.right, b.right)
    if top >= bottom or left >= right:
        return
    in_a = a.inside[top - a.top : bottom - a.top, left - a.left : right - a.left]
    in_b = b.inside[top - b.top : bottom - b.top, left - b.left : right - b.left]
    y, x = np.nonzero(in_a & in_b)
    if not len(x):
        return
    at = np.stack([x + left + 0.5, y + top + 0.5], axis=1)
    kept = _distance_2(at, outline_a) <= _distance_2(at, outline_b)
    in_b[y[kept], x[kept]] = False
    in_a[y[~kept], x[~kept]] = False


def label_map(filled: Sequence[Mask], rows: int, columns: int) -> NDArray[np.uint8]:
    """Paint masks with 1, 2, 3 …, at most 255 of them; (rows, columns) uint8, 0 = background."""
    labels = np.zeros((rows, columns), np.uint8)
    for number, mask in enumerate(filled, start=1):
        labels[mask.top : mask.bottom, mask.left : mask.right][mask.inside] = number
    return labels


@dataclass(frozen=True)
class PackedFrames:
    """A frame of one bit a pixel for each mask, without gaps between them (PS3.5 8.1.1, 8.2)."""

    shown: Sequence[Mask]
    rows: int
    columns: int

    @property
    def size_bytes(self) -> int:
        """Size, padded to an even number."""
        return (len(self.shown) * self.rows * self.columns + 15) // 16 * 2

    def write(self, room: NDArray[np.uint8]) -> None:
        """Write the bits, low bit first, into (size_bytes,) zeros.

        Only the rows of a mask are touched, since a vertebra is a small part of a film.
        """
        for frame, mask in enumerate(self.shown):
            first = (frame * self.rows + mask.top) * self.columns
            lead = first % 8  # a frame, and a row, may begin within a byte
            bits = np.zeros(lead + mask.inside.shape[0] * self.columns, bool)
            bits[lead:].reshape(-1, self.columns)[:, mask.left : mask.right] = mask.inside
            chunk = np.packbits(bits, bitorder="little")
            room[first // 8 : first // 8 + len(chunk)] |= chunk


def _distance_2(points: NDArray[np.float64], outline: Outline) -> NDArray[np.float64]:
    """Squares of the distances of (N, 2) points to the centroid of an outline; (N,)."""
    away = points - np.array(outline.centroid)
    return np.asarray(np.einsum("nx,nx->n", away, away))


def _inside(outline: Outline, rows: int, columns: int) -> tuple[int, int, NDArray[np.bool_]]:
    """Even-odd fill of the outline's bounding window: its first row and column, and the mask.

    Every other run of pixels between two crossings of edges with the scan lines through pixel centres is inside. A scan
    line has an even number of crossings, so that the next one begins outside again.
    """
    low = np.floor(outline.points.min(axis=0)).astype(int)
    high = np.ceil(outline.points.max(axis=0)).astype(int)
    left, top = (int(v) for v in np.clip(low, 0, (columns, rows)))
    right, bottom = (int(v) for v in np.clip(high, (left, top), (columns, rows)))
    shape = bottom - top, right - left + 1  # one column more, for crossings at the right of the window
    row, x = _crossings(outline, top, bottom)
    column = np.clip(np.ceil(x - 0.5).astype(int) - left, 0, right - left)
    places = np.sort((row - top) * shape[1] + column)
    runs = np.diff(places, prepend=0, append=shape[0] * shape[1])
    parity = np.arange(len(runs)) % 2 == 1
    return top, left, np.repeat(parity, runs).reshape(shape)[:, :-1]


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
