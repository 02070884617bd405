"""The endplates of a film as one array, in a plane where lengths and angles are true and the front is at the left.

Pixels that are not square: a length in px of this plane is that in mm divided by √(row spacing × column spacing); with
square pixels these are the film's own px. Where the front is at the image's right, x runs to the left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Spine
from spinepacs.domain.geometry import Endplate, Points, Spacing

Array = NDArray[np.float64]

FRONT, MIDDLE, BACK = 0, 1, 2
"""Points of a plate: at the front, half-way, at the back; on AP films the image's left, half-way, right."""


@dataclass(frozen=True)
class Plates:
    """Where the endplates of a film are.

    Parameters
    ----------
    points
        (25, 2, 3, 2) float64, px of the plane: level; upper, lower plate; front corner, middle of the curve, back
        corner; x, y. NaN where there is no plate.
    factor
        (2,) float64: multiply the film's px by it to get px of the plane.
    px_mm
        mm of one px of the plane; None without a spacing.
    """

    points: Array
    factor: Array
    px_mm: float | None

    @classmethod
    def of(cls, spine: Spine, spacing: Spacing | None) -> Plates:
        """Collect the plates of a spine."""
        factor, px_mm = np.ones(2), None
        if spacing:
            px_mm = float(np.sqrt(spacing.row_mm * spacing.column_mm))
            factor = spacing.xy_mm / px_mm
        mirrored = spine.anterior_left is False
        factor = factor * [-1, 1] if mirrored else factor
        points = np.full((len(Level), 2, 3, 2), np.nan)
        for vertebra in spine.vertebrae:
            for side, plate in enumerate((vertebra.upper, vertebra.lower)):
                if plate:
                    points[vertebra.level, side] = _three(plate, mirrored) * factor
        return cls(points, factor, px_mm)

    def to_film(self, points: Points) -> Points:
        """Px of the plane → native px; (…, 2) float64 in and out."""
        film: Points = points / self.factor
        return film


def _three(plate: Endplate, mirrored: bool) -> Points:
    points = np.array([plate.left, plate.middle, plate.right])
    return points[::-1] if mirrored else points


def along(plate: Array) -> Array:
    """(…, 2) unit vectors from front to back of plates (…, 3, 2)."""
    return unit(plate[..., BACK, :] - plate[..., FRONT, :])


def length(plate: Array) -> Array:
    """(…) distances between the corners of plates (…, 3, 2)."""
    return distance(plate[..., FRONT, :], plate[..., BACK, :])


def distance(first: Array, second: Array) -> Array:
    """(…) distances between points (…, 2)."""
    return np.asarray(np.hypot(*np.moveaxis(second - first, -1, 0)))


def unit(vector: Array) -> Array:
    """(…, 2) vectors brought to length 1; NaN where they have none."""
    size = np.hypot(vector[..., 0], vector[..., 1])[..., None]
    return np.divide(vector, size, out=np.full_like(vector, np.nan), where=size > 0)


def footwards(direction: Array) -> Array:
    """(…, 2) vectors at right angles to directions from front to back, towards the foot."""
    return np.stack([-direction[..., 1], direction[..., 0]], axis=-1)


def dot(first: Array, second: Array) -> Array:
    """(…) scalar products of vectors (…, 2)."""
    return np.asarray((first * second).sum(axis=-1))


def opening_deg(upper: Array, lower: Array) -> Array:
    """(…) angles (°) between two directions from front to back (…, 2), positive where they open to the front."""
    cross = lower[..., 0] * upper[..., 1] - lower[..., 1] * upper[..., 0]
    return np.degrees(np.arctan2(cross, dot(upper, lower)))
