"""Signs of wear and repair as solids: dense plates, gas in discs, bony bridges, cages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.training.films.anatomy import Anatomy
from spinepacs.training.films.mesh import Floats, Mesh, close_rings, ellipsoid, outward, sweep
from spinepacs.training.films.pose import Pose, place_vertebra

# What a sclerotic plate adds per mm of path, by grade.
SCLEROSIS = (0.0, 0.010, 0.018, 0.028)


@dataclass(frozen=True)
class Sign:
    """A closed surface in the room, mm, and what it adds per mm; kind: "sclerosis", "gas", "bridge" or "cage"."""

    mesh: Mesh
    kind: str
    grade: int = 0


def signs(anatomy: Anatomy, pose: Pose, caged: tuple[int, ...] = ()) -> list[Sign]:
    """Return what the pose says of plates and discs; caged: levels with a cage in the disc below."""
    found = []
    for i, shape in enumerate(pose.shapes):
        for upper, grade in zip((True, False), shape.sclerosis, strict=True):
            if grade:
                found.append(Sign(_dense_plate(anatomy, pose, i, upper, grade), "sclerosis", grade))
        if pose.discs.fused[i]:
            found.append(Sign(_between(anatomy, pose, i, 0.92), "bridge"))
        elif pose.discs.gas[i]:
            found.append(Sign(_between(anatomy, pose, i, 0.6, thin=0.25), "gas"))
    for i in caged:
        found.extend(Sign(bar, "cage") for bar in _cage(anatomy, pose, i))
    return found


def _dense_plate(anatomy: Anatomy, pose: Pose, level: int, upper: bool, grade: int) -> Mesh:
    """Return a lens of dense bone under a plate, thicker with its grade."""
    vertebra = anatomy.vertebrae[level]
    corners = vertebra.sagittal.corners[:2] if upper else vertebra.sagittal.corners[2:]
    depth = float(abs(corners[0, 0] - corners[1, 0]))
    thick = 1.2 + 0.9 * grade
    z = corners[:, 1].mean() + (-thick if upper else thick)
    half = np.array([0.85 * vertebra.half_width_mm, 0.48 * depth, thick])
    ball = ellipsoid(np.array([0.0, corners[:, 0].mean(), z]), half)
    return Mesh(place_vertebra(ball.vertices, level, anatomy, pose), ball.faces)


def _plate_ring(anatomy: Anatomy, pose: Pose, level: int, upper: bool, share: float) -> Floats:
    """Return a ring (24, 3) mm in the room on a plate, at a share of its half width and depth."""
    vertebra = anatomy.vertebrae[level]
    corners = vertebra.sagittal.corners[[0, 1] if upper else [3, 2]]
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    along = 0.5 + 0.5 * share * np.sin(angle)
    x = share * vertebra.half_width_mm * np.cos(angle)
    y = corners[0, 0] + along * (corners[1, 0] - corners[0, 0])
    z = corners[0, 1] + along * (corners[1, 1] - corners[0, 1])
    return place_vertebra(np.stack([x, y, z], axis=1), level, anatomy, pose)


def _between(anatomy: Anatomy, pose: Pose, level: int, share: float, thin: float = 0.0) -> Mesh:
    """Return what fills the disc below a level out to a share of the plates; thin: left free at each plate."""
    above = _plate_ring(anatomy, pose, level, False, share)
    below = _plate_ring(anatomy, pose, level + 1, True, share)
    low, high = below + thin * (above - below), above + thin * (below - above)
    return outward(close_rings(np.stack([low, high])))


def _cage(anatomy: Anatomy, pose: Pose, level: int) -> list[Mesh]:
    """Return the metal of a cage: a ring on each plate and four posts."""
    rings = [_plate_ring(anatomy, pose, level + lower, bool(lower), 0.6) for lower in (0, 1)]
    bars = [sweep(np.concatenate([ring, ring[:1]]), pose.scale * 0.7) for ring in rings]
    posts = [np.stack([rings[0][k], rings[1][k]]) for k in (0, 6, 12, 18)]
    return bars + [sweep(post, pose.scale * 0.9) for post in posts if np.ptp(post, axis=0).max() > 1.0]
