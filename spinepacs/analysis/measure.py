"""Disc heights from the endplates of neighbouring vertebrae.

Both endplates are taken as lines through their corners. A height is measured at right angles to the bisectrix of the
two lines: the sum of the distances of the two facing corners (or curve middles) from it. That is the construction of
Frobin et al. 1997 (Clin Biomech 12, suppl), here with the endplates' bisectrix instead of the midplanes'; it is
symmetric in the two vertebrae, and a slip along the disc does not change it. The mean of anterior and posterior height
(Dabbs and Dabbs 1990, Spine 15: 1366) over the mean depth of the two endplates is the height index.

Pixels that are not square: everything is computed in a plane of isotropic length, where a length in px is that in mm
divided by √(row spacing × column spacing); with square pixels these are the film's own px.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinepacs.anatomy import DiscLevel, Level
from spinepacs.findings import DiscHeight, Spine
from spinepacs.geometry import Endplate, Spacing

Vector = NDArray[np.float64]


class _Plane(NamedTuple):
    """Native px → isotropic px: ``factor`` (2,) for points; ``mm`` for lengths, None without a spacing."""

    factor: Vector
    mm: float | None


def disc_heights(spine: Spine, spacing: Spacing | None) -> tuple[DiscHeight, ...]:
    """Heights of all discs between neighbouring levels that show both endplates, from head to foot.

    Parameters
    ----------
    spine
        The named vertebrae; ``anterior_left`` decides whether a side is called anterior, posterior, left or right.
    spacing
        Of the film; without it there are no mm.

    Notes
    -----
    A height below 0 (endplates that overlap) is given as 0.
    """
    plane = _plane(spacing)
    discs = []
    for above, below in pairwise(spine.vertebrae):
        neighbours = below.level == above.level + 1 and above.level > Level.C1
        if neighbours and above.lower and below.upper:
            disc = DiscLevel.below(above.level)
            discs.append(_disc(disc, above.lower, below.upper, plane, spine.anterior_left))
    return tuple(discs)


def _plane(spacing: Spacing | None) -> _Plane:
    if spacing is None:
        return _Plane(np.ones(2), None)
    side_mm = float(np.sqrt(spacing.row_mm * spacing.column_mm))
    return _Plane(spacing.xy_mm / side_mm, side_mm)


def _disc(
    disc: DiscLevel, upper: Endplate, lower: Endplate, plane: _Plane, anterior_left: bool | None
) -> DiscHeight:
    along, down, wedge_deg = _frame(upper, lower, plane.factor)
    heights: dict[str, float] = {}
    lines: dict[str, Vector] = {}
    for side, name in _names(anterior_left).items():
        above, below = (np.asarray(getattr(endplate, side)) * plane.factor for endplate in (upper, lower))
        heights[name], lines[name] = _height(above, below, along, down)
    edges = [heights[name] for name in heights if name != "middle"]
    index = 2 * float(np.mean(edges)) / (_length(upper, plane.factor) + _length(lower, plane.factor))
    lengths = {f"{name}_px": height for name, height in heights.items()}
    if plane.mm is not None:
        lengths |= {f"{name}_mm": height * plane.mm for name, height in heights.items()}
    return DiscHeight(
        disc=disc,
        height_index=index,
        wedge_deg=-wedge_deg if anterior_left is False else wedge_deg,
        lines_px={name: line / plane.factor for name, line in lines.items()},
        **lengths,
    )


def _names(anterior_left: bool | None) -> dict[str, str]:
    """Side of an endplate → name of the height measured there."""
    if anterior_left is None:
        return {"left": "left", "middle": "middle", "right": "right"}
    front, back = ("left", "right") if anterior_left else ("right", "left")
    return {front: "anterior", "middle": "middle", back: "posterior"}


def _frame(upper: Endplate, lower: Endplate, factor: Vector) -> tuple[Vector, Vector, float]:
    """Bisectrix from left to right, its normal towards the foot, and the wedge (°), positive if open to the left."""
    first, second = (
        np.subtract(endplate.right, endplate.left) * factor / _length(endplate, factor)
        for endplate in (upper, lower)
    )
    along = (first + second) / np.hypot(*(first + second))
    turn = np.arctan2(second[0] * first[1] - second[1] * first[0], first @ second)
    return along, np.array([-along[1], along[0]]), float(np.degrees(turn))


def _length(endplate: Endplate, factor: Vector) -> float:
    return float(np.hypot(*(np.subtract(endplate.right, endplate.left) * factor)))


def _height(above: Vector, below: Vector, along: Vector, down: Vector) -> tuple[float, Vector]:
    """Height between two points, and the (2, 2) line of that length half-way between them along the disc."""
    height = max(float((below - above) @ down), 0.0)
    start = above + along * ((below - above) @ along) / 2
    return height, np.stack([start, start + height * down])
