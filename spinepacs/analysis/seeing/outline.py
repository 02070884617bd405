"""Mask prototypes → a sub-pixel outline, without drawing any mask at the film's size.

The logit field of one vertebra is interpolated by cubic convolution (Keys 1981, IEEE Trans ASSP 29: 1153,
a = −1/2) from the 160-px prototypes at about one input px inside its box only, and the outline is the level line of
that smooth field: marching squares with linear interpolation, so no step of the prototype grid shows in it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Points

_OUTSIDE = -1e4
"""Logit of the ring around the box: the outline ends at the box, as Ultralytics crops its masks."""
_MOST_NODES = 64
"""Nodes along a side of the box: then large bodies (films of few vertebrae) cost no more than small ones."""
_TOLERANCE_PX = 0.08
"""Largest deviation of the simplified outline, input px: a fifth of what the network localises at best."""

# Marching squares: which crossed edge of a cell (top 0, right 1, bottom 2, left 3) leads to which, by the cell's
# case = 1 × top-left + 2 × top-right + 4 × bottom-right + 8 × bottom-left inside. Runs clockwise around the inside;
# the two ambiguous cases (5, 10) are taken as separate. (cases, steps, 2), −1 for a step that is not there.
_NONE = (-1, -1)
_STEPS = np.array((
    (_NONE, _NONE), ((0, 3), _NONE), ((1, 0), _NONE), ((1, 3), _NONE), ((2, 1), _NONE), ((0, 3), (2, 1)),
    ((2, 0), _NONE), ((2, 3), _NONE), ((3, 2), _NONE), ((0, 2), _NONE), ((1, 0), (3, 2)), ((1, 2), _NONE),
    ((3, 1), _NONE), ((0, 1), _NONE), ((3, 0), _NONE), (_NONE, _NONE),
))  # fmt: skip


def mask_outline(
    prototypes: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    box_px: NDArray[np.float64],
    stride_px: float,
    threshold_logit: float,
) -> Points | None:
    """Outline of one mask in input px; None where nothing inside the box reaches the threshold.

    Parameters
    ----------
    prototypes
        (masks, h, w) float32; cell (i, j) covers the input px from ``stride × (j, i)`` to ``stride × (j + 1, i + 1)``.
    coefficients
        (masks,) float32.
    box_px
        (4,) float64: x0, y0, x1, y1 in input px.
    stride_px
        Input px of one prototype cell.
    threshold_logit
        The outline runs where the logit field has this value.

    Returns
    -------
    (N, 2) float64 x, y in input px, of the largest connected part, or None.
    """
    x0, y0, x1, y1 = box_px
    if x1 - x0 < 2 or y1 - y0 < 2:
        return None
    x, y = _nodes(x0, x1), _nodes(y0, y1)
    columns, weights_x = _cubic_taps(x / stride_px - 0.5, prototypes.shape[2])
    rows, weights_y = _cubic_taps(y / stride_px - 0.5, prototypes.shape[1])
    (top, bottom), (left, right) = (rows.min(), rows.max() + 1), (columns.min(), columns.max() + 1)
    # einsum and four taps instead of matrix products: BLAS would wake all its threads for these small ones.
    coarse = np.einsum("k,kij->ij", coefficients, prototypes[:, top:bottom, left:right]).astype(np.float64)
    tall = np.einsum("ty,tyx->yx", weights_y, coarse[rows - top])
    field = np.einsum("tx,ytx->yx", weights_x, tall[:, columns - left]) - threshold_logit
    ringed = np.full((len(y) + 2, len(x) + 2), _OUTSIDE)
    ringed[1:-1, 1:-1] = field
    loop = largest_level_line(ringed)
    if loop is None:
        return None
    nodes = np.clip(loop - 1, 0, (len(x) - 1, len(y) - 1))
    step = np.array([x[1] - x[0], y[1] - y[0]])
    return simplified(nodes * step + [x0, y0], _TOLERANCE_PX)


def _nodes(start: float, end: float) -> NDArray[np.float64]:
    """Node positions from ``start`` to ``end``, input px: about one px apart, never more than 64 of them."""
    return np.linspace(start, end, min(int(np.ceil(end - start)) + 1, _MOST_NODES))


def _cubic_taps(positions: NDArray[np.float64], size: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The four cells around each position, (4, positions), and their weights; the border cell goes on outside."""
    base = np.floor(positions)
    cells = base + np.arange(-1, 3)[:, None]
    distance = np.abs(positions - cells)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.clip(cells, 0, size - 1).astype(np.intp), np.where(distance <= 1, near, far)


def largest_level_line(field: NDArray[np.float64]) -> Points | None:
    """Largest closed zero line around positive values of a field whose border is negative.

    Returns
    -------
    (N, 2) float64 x, y in node units (column, row), closed implicitly; None where no value is positive.
    """
    inside = field > 0
    if not inside.any():
        return None
    following = _links(inside)
    points = _crossings(field, inside)
    best, most = None, 0.0
    while following:
        start, edge = following.popitem()
        loop = [start]
        while edge != start:
            loop.append(edge)
            edge = following.pop(edge)
        line = points[loop]
        area = _signed_area(line)
        if area > most:  # holes run the other way round: their area is negative
            best, most = line, area
    return best


def _links(inside: NDArray[np.bool_]) -> dict[int, int]:
    """Crossed edge → next crossed edge. Edges are numbered 2 × node (to the right) and 2 × node + 1 (downwards)."""
    a, b, c, d = inside[:-1, :-1], inside[:-1, 1:], inside[1:, 1:], inside[1:, :-1]
    case = a + 2 * b.astype(np.uint8) + 4 * c.astype(np.uint8) + 8 * d.astype(np.uint8)
    columns = inside.shape[1]
    number_of_edge = np.array(
        (0, 3, 2 * columns, 1)
    )  # top, right, bottom, left, from twice the cell's top-left node
    rows_at, columns_at = np.nonzero((case > 0) & (case < 15))
    steps = _STEPS[case[rows_at, columns_at]]
    corners = 2 * (rows_at * columns + columns_at)
    starts, ends = (corners[:, None, None] + number_of_edge[steps])[steps[:, :, 0] >= 0].T.tolist()
    return dict(zip(starts, ends, strict=True))


def _crossings(field: NDArray[np.float64], inside: NDArray[np.bool_]) -> Points:
    """(edges, 2) x, y where the zero line crosses each edge, by linear interpolation; nothing where it does not."""
    columns = field.shape[1]
    points = np.empty((2 * field.size, 2))
    for down in (0, 1):
        here = (slice(None, -1), slice(None)) if down else (slice(None), slice(None, -1))
        there = (slice(1, None), slice(None)) if down else (slice(None), slice(1, None))
        i, j = np.nonzero(inside[here] != inside[there])
        share = field[here][i, j] / (field[here][i, j] - field[there][i, j])
        edges = 2 * (i * columns + j) + down
        points[edges, 0], points[edges, 1] = j + share * (1 - down), i + share * down
    return points


def _signed_area(line: Points) -> float:
    """Enclosed area, positive where the line runs clockwise as seen on the screen (y downwards)."""
    x, y = line[:, 0], line[:, 1]
    after = np.concatenate([line[1:], line[:1]])
    return float(np.dot(x, after[:, 1]) - np.dot(y, after[:, 0])) / 2


def simplified(line: Points, tolerance: float, most: int = 100) -> Points:
    """Drop points that lie within ``tolerance`` of the line without them (Douglas and Peucker), to ``most`` points."""
    single = line.astype(np.float32)[:, None]
    while len(fewer := cv2.approxPolyDP(single, tolerance, closed=True)) > most:
        tolerance *= 1.5
    result: Points = fewer[:, 0].astype(np.float64)
    return result
