"""Sacra that differ below S1: how they bend, and what is left of the disc between S1 and S2.

S1 with a slit below it looks like one vertebra more. Marks end above the bend, so the truth stays exact.
"""

from __future__ import annotations

import numpy as np

from spinepacs.training.films.anatomy import Vertebra
from spinepacs.training.films.mesh import Floats, Mesh, ellipsoid

BEND_MM = -14.0
"""Height in S1's frame below which the sacrum bends: the lower end of S1's outline."""
SLIT_MM = -17.0
"""Height in S1's frame of the disc between S1 and S2."""
_REACH_MM = 75.0


def bent(local: Floats, curve: float) -> Floats:
    """Return points (N, 3) mm of S1's frame with what lies below S1 drawn back by ``curve`` times its depth squared."""
    if not curve:
        return local
    below = np.clip(BEND_MM - local[:, 2], 0, None)
    # Past the reach it runs on straight: the coccyx must not fly away.
    near = np.minimum(below, _REACH_MM)
    moved = local.copy()
    moved[:, 1] += curve * (near**2 + 2 * _REACH_MM * (below - near))
    return moved


def remnant(vertebra: Vertebra, thick_mm: float, share: float) -> tuple[Mesh, list[Mesh]]:
    """Return the slit of a disc between S1 and S2, and the plates above and below it; mm in S1's frame.

    share: of the depth there that it takes up.
    """
    corners = vertebra.sagittal.corners
    front, back = corners[3, 0], corners[2, 0]
    # The sacrum narrows downwards from S1's lower marks.
    middle = np.array([0.0, (front + back) / 2 + 0.5, SLIT_MM])
    half = np.array([0.55 * vertebra.half_width_mm, share * max((back - front) / 2, 6.0), thick_mm / 2])
    tilt = (corners[1, 1] - corners[0, 1]) / (corners[1, 0] - corners[0, 0]) + 0.12

    def lens(centre: Floats, axes: Floats) -> Mesh:
        mesh = ellipsoid(centre, axes)
        points = mesh.vertices.copy()
        points[:, 2] += tilt * (points[:, 1] - middle[1])
        return Mesh(points, mesh.faces)

    shift = np.array([0.0, 0.0, thick_mm / 2 + 0.7])
    plate = half * [1.0, 1.05, 0.0] + [0.0, 0.0, 0.9]
    return lens(middle, half), [lens(middle + shift, plate), lens(middle - shift, plate)]
