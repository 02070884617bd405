"""Hands, which the donor lacks: bones and flesh that hang from the wrist and swing with the arm."""

from __future__ import annotations

import numpy as np

from spinepacs.training.films.mesh import Floats, Mesh, ellipsoid, sweep

WRIST = (252.0, -110.0, 812.0)  # of the left arm, mm, in the donor's place
# Ends of the segments of thumb and fingers from the wrist: (front, down) mm.
RAYS_MM = (
    ((-14, 14), (-32, 48), (-42, 78), (-46, 102)),
    ((-9, 18), (-20, 84), (-24, 124), (-25, 148), (-25, 168)),
    ((-3, 18), (-6, 86), (-7, 131), (-7, 158), (-7, 180)),
    ((3, 18), (8, 82), (9, 124), (9, 150), (9, 170)),
    ((9, 18), (20, 76), (24, 108), (26, 126), (27, 144)),
)
WIDTH_MM = (4.6, 3.9, 3.4, 2.9)


def _ray(side: int, ends: tuple[tuple[int, int], ...]) -> Floats:
    across = np.array(ends, dtype=float)
    # Relaxed fingers curl towards the thigh.
    curl = -0.0016 * np.clip(across[:, 1] - 70, 0, None) ** 2
    x = side * (WRIST[0] + curl)
    return np.stack([x, WRIST[1] + across[:, 0], WRIST[2] - across[:, 1]], axis=1)


def hand_bones(side: int) -> list[Mesh]:
    """Return the bones of a hand that hangs down; side: -1 right, 1 left."""
    bones = [ellipsoid(np.array([side * WRIST[0], WRIST[1], WRIST[2] - 6.0]), np.array([7.0, 16.0, 11.0]))]
    for ends in RAYS_MM:
        line = _ray(side, ends)
        for width, start, end in zip(WIDTH_MM, line[:-1], line[1:], strict=False):
            gap = 0.05 * (end - start)
            bones.append(sweep(np.stack([start + gap, end - gap]), width))
    return bones


def hand_flesh(side: int) -> list[Mesh]:
    """Return palm and fingers of a hand that hangs down; side: -1 right, 1 left."""
    palm = ellipsoid(np.array([side * WRIST[0], WRIST[1], WRIST[2] - 45.0]), np.array([13.0, 34.0, 52.0]))
    return [palm] + [sweep(_ray(side, ends)[1:], 8.5) for ends in RAYS_MM]
