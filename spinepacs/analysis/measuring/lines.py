"""The segments that show a measure on the film: a height's line, an angle's legs, the way of a slip."""

from __future__ import annotations

import numpy as np

from spinepacs.analysis.measuring.plates import BACK, FRONT, MIDDLE, Array, along, dot, footwards, unit
from spinepacs.domain.measures import Quantity

Pair = tuple[tuple[int, int], tuple[int, int]]

_BETWEEN: dict[Quantity, tuple[Pair, ...]] = {
    # From one point (number of the plate in its formula's stack, point of the plate) to another.
    Quantity.DISC_HEIGHT_DABBS: (((1, FRONT), (2, FRONT)), ((1, BACK), (2, BACK))),
    Quantity.DISC_HEIGHT_HURXTHAL: (((1, MIDDLE), (2, MIDDLE)),),
    Quantity.DISC_ANGLE: (((1, FRONT), (1, BACK)), ((2, FRONT), (2, BACK))),
    Quantity.SEGMENT_ANGLE: (((0, FRONT), (0, BACK)), ((3, FRONT), (3, BACK))),
    Quantity.VERTEBRA_HEIGHT_ANTERIOR: (((2, FRONT), (3, FRONT)),),
    Quantity.VERTEBRA_HEIGHT_MIDDLE: (((2, MIDDLE), (3, MIDDLE)),),
    Quantity.VERTEBRA_HEIGHT_POSTERIOR: (((2, BACK), (3, BACK)),),
    Quantity.CERVICAL_LORDOSIS: (((0, FRONT), (0, BACK)), ((1, FRONT), (1, BACK))),
    Quantity.THORACIC_KYPHOSIS: (((0, FRONT), (0, BACK)), ((1, FRONT), (1, BACK))),
    Quantity.LUMBAR_LORDOSIS: (((0, FRONT), (0, BACK)), ((1, FRONT), (1, BACK))),
    Quantity.AP_DISC_WEDGE: (((0, FRONT), (0, BACK)), ((1, FRONT), (1, BACK))),
    Quantity.AP_VERTEBRA_WEDGE: (((0, FRONT), (0, BACK)), ((1, FRONT), (1, BACK))),
}
_UPRIGHT: dict[Quantity, tuple[int, int, int]] = {
    # Plate above, plate below, point: at right angles to the bisectrix of the two plates.
    Quantity.DISC_HEIGHT_ANTERIOR: (1, 2, FRONT),
    Quantity.DISC_HEIGHT_MIDDLE: (1, 2, MIDDLE),
    Quantity.DISC_HEIGHT_POSTERIOR: (1, 2, BACK),
    Quantity.AP_DISC_HEIGHT_LEFT: (0, 1, FRONT),
    Quantity.AP_DISC_HEIGHT_MIDDLE: (0, 1, MIDDLE),
    Quantity.AP_DISC_HEIGHT_RIGHT: (0, 1, BACK),
}
_ASIDE: dict[Quantity, tuple[int, int, tuple[int, ...]]] = {
    # Plate above, plate below, points whose mean is displaced.
    Quantity.SLIP: (1, 2, (BACK,)),
    Quantity.LATERAL_LISTHESIS: (0, 1, (FRONT, BACK)),
}


def lines_of(quantity: Quantity, plates: Array) -> list[Array]:
    """(…, 2, 2) segments in px of the plane from the (…, K, 3, 2) plates of the quantity's formula; none for ratios."""
    if quantity is Quantity.SEGMENT_ANGLE:  # S1 has no lower plate: its upper one is the angle's other leg
        is_missing = np.isnan(plates[..., 3:, :, :]).any(axis=(-1, -2), keepdims=True)
        last = np.where(is_missing, plates[..., 2:3, :, :], plates[..., 3:, :, :])
        plates = np.concatenate([plates[..., :3, :, :], last], axis=-3)
    if quantity in _BETWEEN:
        return [_segment(*(plates[..., plate, at, :] for plate, at in ends)) for ends in _BETWEEN[quantity]]
    if quantity in _UPRIGHT:
        return [_upright(*_UPRIGHT[quantity], plates)]
    if quantity in _ASIDE:
        return [_aside(*_ASIDE[quantity], plates)]
    if quantity in (Quantity.COBB_MAIN, Quantity.COBB_OTHER):
        halves = plates[..., :2, :, :], plates[..., 2:, :, :]
        return [half.mean(axis=-3)[..., (FRONT, BACK), :] for half in halves]
    return []


def _segment(start: Array, end: Array) -> Array:
    return np.stack([start, end], axis=-2)


def _bisectrix(above: Array, below: Array) -> Array:
    return unit(along(above) + along(below))


def _upright(upper: int, lower: int, point: int, plates: Array) -> Array:
    """The height's line, half-way between its two points along the disc."""
    above, below = plates[..., upper, :, :], plates[..., lower, :, :]
    bisectrix = _bisectrix(above, below)
    down = footwards(bisectrix)
    way = below[..., point, :] - above[..., point, :]
    start = above[..., point, :] + bisectrix * dot(way, bisectrix)[..., None] / 2
    return _segment(start, start + np.maximum(dot(way, down), 0.0)[..., None] * down)


def _aside(upper: int, lower: int, points: tuple[int, ...], plates: Array) -> Array:
    """The way of a slip, drawn on the lower plate: from where the upper body should stand to where it stands."""
    above, below = plates[..., upper, :, :], plates[..., lower, :, :]
    bisectrix = _bisectrix(above, below)
    home = below[..., points, :].mean(axis=-2)
    way = home - above[..., points, :].mean(axis=-2)
    return _segment(home, home - bisectrix * dot(way, bisectrix)[..., None])
