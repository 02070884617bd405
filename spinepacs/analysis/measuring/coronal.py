"""Formulas of AP films, each on stacks of endplates (…, K, 3, 2) in the plane of ``plates``.

Left and right are the sides of the image. A curve's Cobb angle (Cobb 1948, AAOS Instr Course Lect 5: 261) is taken
between its two most tilted vertebrae, the end vertebrae, and the tilt of a vertebra is that of its midline, from the
middle of its left wall to the middle of its right one, as in the AASCE challenge (Wu et al. 2017, MICCAI, "Automatic
landmark estimation for adolescent idiopathic scoliosis assessment using BoostNet"): on films where one endplate is
blurred, the other one still holds the line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.analysis.measuring.plates import (
    BACK,
    FRONT,
    MIDDLE,
    Array,
    along,
    dot,
    footwards,
    length,
    opening_deg,
    unit,
)
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.measures import Quantity

DISC_PLATES = ((0, 1), (1, 0))
"""Plates of a disc's formula: body above or below (0, 1), upper or lower plate (0, 1)."""
DISC_LINKS = ("disc",)
BODY_PLATES = ((0, 0), (0, 1))
BODY_LINKS = ("body",)
CURVE_LINKS = ("body", "apart", "body")
_MEASURED = range(Level.T1, Level.L5 + 1)
"""Levels whose tilt makes a scoliosis curve."""
_LEAST_BODIES = 3
_LEAST_OTHER_DEG = 10.0
"""A curve beside the main one counts from here: less is asymmetry (Scoliosis Research Society)."""


@dataclass(frozen=True)
class Curve:
    """One curve of a spine: end vertebrae, apex, and whether it bends towards the image's left."""

    first: Level
    last: Level
    apex: Level | DiscLevel
    convex_left: bool


def disc(plates: Array) -> dict[Quantity, Array]:
    """Measures of discs from the plates that ``DISC_PLATES`` names; lengths in px."""
    above, below = np.moveaxis(plates, -3, 0)
    first, second = along(above), along(below)
    bisectrix = unit(first + second)
    heights = dot(below - above, footwards(bisectrix)[..., None, :])
    aside = dot((below - above)[..., (FRONT, BACK), :].mean(axis=-2), bisectrix)
    return {
        Quantity.AP_DISC_HEIGHT_LEFT: heights[..., FRONT],
        Quantity.AP_DISC_HEIGHT_MIDDLE: heights[..., MIDDLE],
        Quantity.AP_DISC_HEIGHT_RIGHT: heights[..., BACK],
        Quantity.AP_DISC_HEIGHT_INDEX: (heights[..., FRONT] + heights[..., BACK])
        / (length(above) + length(below)),
        Quantity.AP_DISC_WEDGE: opening_deg(first, second),
        Quantity.LATERAL_LISTHESIS: aside,
        Quantity.LATERAL_LISTHESIS_SHARE: aside / length(below),
    }


def body(plates: Array) -> dict[Quantity, Array]:
    """Measures of bodies from the plates that ``BODY_PLATES`` names."""
    upper, lower = np.moveaxis(plates, -3, 0)
    return {Quantity.AP_VERTEBRA_WEDGE: opening_deg(along(upper), along(lower))}


def cobb(plates: Array) -> dict[Quantity, Array]:
    """Angle between the midlines of two bodies (…, 4, 3, 2: upper, lower, upper, lower plate); never negative."""
    angle = opening_deg(_midline(plates[..., :2, :, :]), _midline(plates[..., 2:, :, :]))
    return {Quantity.COBB_MAIN: np.abs(angle)}


def curves(points: Array) -> list[Curve]:
    """Curves of a spine, the largest one first, then the others of 10° or more from head to foot.

    Parameters
    ----------
    points
        (25, 2, 3, 2) float64, as in :class:`~spinepacs.analysis.measuring.plates.Plates`.

    Returns
    -------
    None of them where fewer than three thoracic or lumbar bodies show both endplates.
    """
    midlines = _midline(points)
    levels = [level for level in map(Level, _MEASURED) if np.isfinite(midlines[level]).all()]
    if len(levels) < _LEAST_BODIES:
        return []
    tilts = np.degrees(np.arctan2(midlines[levels, 1], midlines[levels, 0]))
    first, last = sorted((int(tilts.argmin()), int(tilts.argmax())))
    spans = [(first, last), *_above(tilts, first), *_below(tilts, last)]
    centres = points[levels][:, :, (FRONT, BACK)].mean(axis=(1, 2))
    return [_curve(levels, centres, *span) for span in spans]


def _midline(plates: Array) -> Array:
    """(…, 2) from the middle of the left wall to the middle of the right one of bodies (…, 2, 3, 2)."""
    return np.asarray((plates[..., BACK, :] - plates[..., FRONT, :]).mean(axis=-2))


def _above(tilts: Array, end: int) -> list[tuple[int, int]]:
    """Curves over the one that ends at ``end``, from head to foot: each reaches to the most opposite tilt above."""
    start = int(np.abs(tilts[: end + 1] - tilts[end]).argmax())
    if abs(tilts[start] - tilts[end]) < _LEAST_OTHER_DEG:
        return []
    return [*_above(tilts, start), (start, end)]


def _below(tilts: Array, end: int) -> list[tuple[int, int]]:
    mirrored = _above(tilts[::-1], len(tilts) - 1 - end)
    return [(len(tilts) - 1 - b, len(tilts) - 1 - a) for a, b in mirrored[::-1]]


def _curve(levels: list[Level], centres: Array, first: int, last: int) -> Curve:
    """The apex is the body, or the disc between two, that lies farthest from the line through the ends' centres."""
    within = centres[first : last + 1]
    places: list[Level | DiscLevel] = list(levels[first : last + 1])
    for upper, lower, n in zip(
        levels[first:last], levels[first + 1 : last + 1], range(last - first), strict=True
    ):
        if lower == upper + 1:
            places.append(DiscLevel.below(upper))
            within = np.vstack([within, centres[first + n : first + n + 2].mean(axis=0)])
    aside = dot(within - centres[first], footwards(unit(centres[last] - centres[first])))
    farthest = int(np.abs(aside).argmax())
    return Curve(levels[first], levels[last], places[farthest], bool(aside[farthest] > 0))
