"""Shoulder blades, which the donor lacks: simple bodies laid in the gap between the donor's own muscles.

On lateral films their borders cross T2 to T7, where a network otherwise never learns to look through them.
"""

from __future__ import annotations

import numpy as np

from spinepacs.training.films.mesh import Floats, Mesh, close_rings, ellipsoid, outward, sweep
from spinepacs.training.films.pose import rotation

# Marks of the left blade, mm, in the donor's place.
SUPERIOR, INFERIOR, GLENOID = (72.0, -12.0, 1338.0), (92.0, 6.0, 1222.0), (148.0, -62.0, 1318.0)
ROOT, ACROMION, CORACOID = (76.0, -8.0, 1318.0), (176.0, -48.0, 1358.0), (142.0, -100.0, 1338.0)
PIVOT = (150.0, -60.0, 1345.0)


def _blade(corners: Floats, thickness_mm: float) -> Mesh:
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    offset = normal / np.linalg.norm(normal) * thickness_mm / 2
    return outward(close_rings(np.stack([corners - offset, corners + offset])))


def scapula(side: int, arm_degrees: float, bow_mm: float, protracted_mm: float) -> list[Mesh]:
    """Return the parts of one shoulder blade; side: -1 right, 1 left.

    arm_degrees: how far the arm is raised forward: the blade turns with a third of it and slides around the chest.
    bow_mm: how far the blade's borders bow backwards, which differs between people. protracted_mm: how far the
    shoulder comes forward; the blade, which slides around the chest, follows by four fifths.
    """
    parts = [
        _blade(np.array([SUPERIOR, INFERIOR, GLENOID]), 3.5),
        sweep(_bowed(GLENOID, INFERIOR, bow_mm), 4.5),
        sweep(_bowed(SUPERIOR, INFERIOR, bow_mm), 2.5),
        sweep(_bowed(ROOT, ACROMION, 2 * bow_mm), 5.0),
        sweep(_bowed(GLENOID, CORACOID, -bow_mm), 5.5),
        ellipsoid(np.array(GLENOID), np.array([9.0, 13.0, 18.0])),
        ellipsoid(np.array(ACROMION), np.array([14.0, 20.0, 6.0])),
    ]
    raised = max(arm_degrees, 0.0)
    turn = rotation(-np.radians(raised / 3), 0.0, 0.0)
    slide = np.array([0.12 * raised, -0.3 * raised - 0.8 * protracted_mm, 0.1 * raised])
    mirror = np.array([float(side), 1.0, 1.0])
    moved = [(mesh.vertices - PIVOT) @ turn.T + PIVOT + slide for mesh in parts]
    return [outward(Mesh(points * mirror, mesh.faces)) for points, mesh in zip(moved, parts, strict=True)]


def _bowed(start: tuple[float, ...], end: tuple[float, ...], bow_mm: float) -> Floats:
    share = np.linspace(0, 1, 7)[:, None]
    line = (1 - share) * np.array(start) + share * np.array(end)
    line[:, 1] += bow_mm * 4 * share[:, 0] * (1 - share[:, 0])
    return line
