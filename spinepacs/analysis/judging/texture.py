"""What a lateral film shows under the endplates of each body, and what the tracer saw at its rims.

Each body is brought to a patch of the same size: rows from its upper to its lower endplate, columns from well in front
of it to its back. Film values are those before any window, turned so that bone is bright; every result is a ratio of
differences, so neither the scale of the values nor their offset matters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.measuring.plates import BACK, FRONT, Array, Plates
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Spine
from spinepacs.domain.geometry import Spacing
from spinepacs.domain.study import Radiograph, Values, View

UPPER, LOWER = 0, 1
ACROSS = np.linspace(-0.5, 1.0, 181)
"""Columns of a patch: share of the depth behind the front corner; below 0 in front of the body."""
DOWN = np.linspace(-0.1, 1.1, 73)
"""Rows of a patch: share of the height below the upper endplate."""

_WAIST = (0.40, 0.60)
"""Rows that show the front wall without its rims."""
_BONE, _BEFORE = (0.06, 0.22), (-0.42, -0.20)
"""Columns behind the front wall, and of the soft tissue before it."""
_BAND, _CENTRE = (0.03, 0.14), (0.35, 0.65)
"""Rows under an endplate, and of the body's centre."""
_INNER = (0.20, 0.80)
"""Columns that are clear of the walls."""


_HIDDEN = 0.15
"""Spread of a front corner from which its rim does not show: half of the long spurs of 15 real laterals were told
there, and 3 % of 79 drawn ones."""
_NEAR = 4
"""Levels above and below whose endplates say what is usual on this film."""
_LEAST_PLATES = 6
_METAL, _METAL_SHARE = 0.5, 0.03
"""What metal stands above the median of the body at least, as a share of the film's range, and over how much of it. It
is sure rather than keen: on bright films implants hardly stand out from the bone that they overlie."""


@dataclass(frozen=True)
class Texture:
    """What the patches show, NaN where it cannot be said.

    Parameters
    ----------
    spurs
        (25, 2) float64 by level and rim (upper, lower): how far a spur stands out before the front corner, as a share
        of the depth; as the model's tracer saw it, where it looks for spurs and the corner shows.
    densities
        (25, 2) float64 by level and endplate: brightness of the band under it above that of the body's centre, less
        the median of the same over the endplates near by, as a share of the contrast of bone there.
    contrasts
        (25,) float64: what the front wall stands above the soft tissue before it, over the local noise.
    metal
        (25,) bool: something much brighter than bone lies over the body.
    """

    spurs: Array
    densities: Array
    contrasts: Array
    metal: NDArray[np.bool_]


def texture(spine: Spine, film: Radiograph) -> Texture:
    """Look at every body that shows both endplates, on a lateral film whose front is known; at nothing elsewhere."""
    count = len(Level)
    bands = np.full((count, 2), np.nan)
    walls, contrasts = np.full(count, np.nan), np.full(count, np.nan)
    metal, values = np.zeros(count, bool), bone_bright(film)
    patches = tuple(_patches(spine, values, film.spacing))
    scale = _range(values) if patches else 1.0
    for level, patch in patches:
        before = _mean(patch, _WAIST, _BEFORE)
        bone, centre = _mean(patch, _WAIST, _BONE), _mean(patch, _CENTRE, _INNER)
        walls[level] = bone - before
        noise = float(np.nanmedian(np.abs(np.diff(patch, axis=1)))) + 1e-3 * scale
        contrasts[level] = (bone - before) / noise
        body = patch[np.ix_(_within(DOWN, (0.05, 0.95)), _within(ACROSS, (0.05, 0.95)))]
        metal[level] = float(((body - np.nanmedian(body)) / scale > _METAL).mean()) > _METAL_SHARE
        for side in (UPPER, LOWER):
            bands[level, side] = _mean(patch, _from(side, _BAND), _INNER) - centre
    usual, wall = _near(bands), _near(np.abs(walls)[:, None])
    wall = np.where(wall > 0, wall, np.nan)
    return Texture(_spurs(spine), (bands - usual[:, None]) / wall[:, None], contrasts, metal)


def _patches(spine: Spine, values: Values, spacing: Spacing | None) -> Iterator[tuple[Level, Array]]:
    if spine.view is not View.LATERAL or spine.anterior_left is None:
        return
    plates = Plates.of(spine, spacing)
    for vertebra in spine.vertebrae:
        corners = plates.points[vertebra.level]
        if np.isfinite(corners).all():
            patch = patch_of(values, corners, plates)
            if np.isfinite(patch).mean() > 0.5:
                yield vertebra.level, patch


def _range(values: Values) -> float:
    """Almost all of the film's values lie within so much; sorted first, a third of what a partition of them takes."""
    return float(np.subtract(*np.percentile(np.sort(values[::4, ::4], axis=None), (99.5, 0.5)))) or 1.0


def _near(values: Array) -> Array:
    """(25,) medians of (25, N) over the levels near by; NaN where too few are known."""
    found = np.full(len(values), np.nan)
    for level in range(len(values)):
        near = values[max(0, level - _NEAR) : level + _NEAR + 1]
        known = near[np.isfinite(near)]
        if known.size * 2 >= _LEAST_PLATES * values.shape[1]:
            found[level] = np.median(known)
    return found


def bone_bright(film: Radiograph) -> Values:
    """Film values, negated where bone is dark in them."""
    rows, columns = film.display.shape
    step = max(1, min(rows, columns) // 200)
    shown = film.display[::step, ::step].astype(np.float64).ravel()
    stored = film.values[::step, ::step].astype(np.float64).ravel()
    same = float(np.dot(shown - shown.mean(), stored - stored.mean())) >= 0
    return film.values if same else -film.values


def patch_of(values: Values, corners: Array, plates: Plates) -> Array:
    """(73, 181) float64 values of one body; NaN beyond the film.

    Parameters
    ----------
    corners
        (2, 3, 2) its plates, px of the plane.
    """
    down = DOWN[:, None]
    front, back = corners[:, FRONT], corners[:, BACK]
    # x and y one after the other: numpy takes short rows of two one by one.
    x, y = (
        ((1 - down) * upper + down * lower) / factor
        for (upper, lower), factor in zip(
            (front + ACROSS[:, None, None] * (back - front)).T, plates.factor, strict=True
        )
    )
    return _bilinear(values, x, y)


def _bilinear(values: Values, x: Array, y: Array) -> Array:
    """Values at points, px, whose pixel centres lie at halves; NaN beyond the film."""
    x, y = x - 0.5, y - 0.5
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    rows, columns = values.shape
    inside = (left >= 0) & (top >= 0) & (left < columns - 1) & (top < rows - 1)
    left, top = np.clip(left, 0, columns - 2), np.clip(top, 0, rows - 2)
    u, v = x - left, y - top
    at = top * columns + left  # numbers of pixels: half the time of an index by rows and columns
    upper = values.take(at) * (1 - u) + values.take(at + 1) * u
    lower = values.take(at + columns) * (1 - u) + values.take(at + columns + 1) * u
    return np.where(inside, upper * (1 - v) + lower * v, np.nan)


def _from(side: int, rows: tuple[float, float]) -> tuple[float, float]:
    """Rows counted from an endplate into the body → rows of the patch."""
    return rows if side == UPPER else (1 - rows[1], 1 - rows[0])


def _within(axis: Array, span: tuple[float, float]) -> NDArray[np.bool_]:
    return (axis >= span[0]) & (axis <= span[1])


def _mean(patch: Array, rows: tuple[float, float], columns: tuple[float, float]) -> float:
    found = patch[np.ix_(_within(DOWN, rows), _within(ACROSS, columns))]
    return float(found.mean()) if found.size else float("nan")


def _spurs(spine: Spine) -> Array:
    """Of the front rims, where the front is known."""
    found = np.full((len(Level), 2), np.nan)
    if spine.view is View.LATERAL and spine.anterior_left is not None:
        front = 0 if spine.anterior_left else 1
        for vertebra in spine.vertebrae:
            for side, plate in enumerate((vertebra.upper, vertebra.lower)):
                if plate and plate.spurs and (plate.spreads is None or plate.spreads[front] < _HIDDEN):
                    found[vertebra.level, side] = max(0.0, plate.spurs[front])
    return found


def spur_mark(spine: Spine, level: Level, side: int, share: float) -> tuple[Array, ...]:
    """(2, 2) line from a fitted front corner to the end of its spur, native px."""
    front, back = _plate_ends(spine, level, side)
    return (np.array([front, front + share * (front - back)]),)


def plate_mark(spine: Spine, level: Level, side: int) -> tuple[Array, ...]:
    """(2, 2) line along an endplate, native px."""
    return (np.array(_plate_ends(spine, level, side)),)


def _plate_ends(spine: Spine, level: Level, side: int) -> tuple[Array, Array]:
    vertebra = next(vertebra for vertebra in spine.vertebrae if vertebra.level == level)
    plate = vertebra.lower if side == LOWER else vertebra.upper
    if plate is None:
        raise ValueError(f"{level.name} shows no such endplate")
    ends = np.array(plate.left), np.array(plate.right)
    return ends if spine.anterior_left else ends[::-1]
