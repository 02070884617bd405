"""Metal in the spine: pedicle screws with rods, and plates on the front of the neck.

Implants hide edges and are common on follow-up films; the labels stay what they are under them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.training.films.anatomy import LEVELS, Anatomy
from spinepacs.training.films.mesh import Floats, Mesh, sweep
from spinepacs.training.films.pose import Pose, place_vertebra

ROD_MM = 2.75
C7 = LEVELS.index("C7")
USUAL = 0.14
"""Share of patients with metal."""


@dataclass(frozen=True)
class Metal:
    """What a patient carries: closed surfaces in the room, mm; caged: levels with a cage in the disc below."""

    meshes: tuple[Mesh, ...] = ()
    caged: tuple[int, ...] = ()


def implants(anatomy: Anatomy, pose: Pose, rng: np.random.Generator, share: float = USUAL) -> Metal:
    """Return the metal of one patient; most have none, some after fusion have cages too.

    share: of the patients that have metal; with more than usual, half of the rods are long, as after a scoliosis.
    """
    dice = rng.random() * USUAL / share if share else 1.0
    if dice < 0.09:
        meshes, span = _screws_and_rods(anatomy, pose, rng, long=share > USUAL and rng.random() < 0.5)
    elif dice < 0.13:
        meshes, span = _plate(anatomy, pose, rng)
    elif dice < 0.14:
        first = int(rng.integers(2, anatomy.last - 1))
        meshes, span = [], range(first, first + 1)
    else:
        return Metal()
    often = 0.6 if len(span) < 5 else 0.1
    return Metal(tuple(meshes), tuple(i for i in span if rng.random() < often or not meshes))


def _local(anatomy: Anatomy, level: int, points: list[list[float]], pose: Pose) -> Floats:
    """Place points given as shares of half-width, depth (0 front, 1 back wall) and half-height of a body."""
    v = anatomy.vertebrae[level]
    corners = v.sagittal.corners
    front, back = corners[[0, 3], 0].mean(), corners[[1, 2], 0].mean()
    share = np.array(points)
    up = np.where(share[:, 2] > 0, share[:, 2] * v.upper_mm, -share[:, 2] * v.lower_mm)
    local = np.stack([share[:, 0] * v.half_width_mm, front + share[:, 1] * (back - front), up], axis=1)
    return place_vertebra(local, level, anatomy, pose)


def _screws_and_rods(
    anatomy: Anatomy, pose: Pose, rng: np.random.Generator, long: bool = False
) -> tuple[list[Mesh], range]:
    """Return two rods with their screws over two to twelve levels from T3 to S1, and the discs they span.

    long: from T2 … T6 to T12 … S1.
    """
    if long:
        last = int(rng.integers(LEVELS.index("T12"), anatomy.last + 1))
        first = int(rng.integers(LEVELS.index("T2"), LEVELS.index("T6") + 1))
    else:
        last = int(rng.integers(LEVELS.index("T10"), anatomy.last + 1))
        first = max(LEVELS.index("T3"), last - int(rng.integers(1, 12)))
    reach = rng.uniform(0.12, 0.45)
    metal = []
    for side in (-1.0, 1.0):
        heads = []
        for level in range(first, last + 1):
            if rng.random() < 0.15 and first < level < last:
                continue
            head, tip = [side * 0.85, 1.75, 0.55], [side * 0.4, reach, 0.3]
            line = _local(anatomy, level, [head, tip], pose)
            metal.append(sweep(line, pose.scale * (2.2 if level < LEVELS.index("T10") else 3.0)))
            metal.append(sweep(line[0] + (line[0] - line[1]) * np.array([[0.0], [0.2]]), pose.scale * 5.5))
            heads.append(line[0] + 0.12 * (line[0] - line[1]))
        if len(heads) > 1:
            metal.append(sweep(np.array(heads), pose.scale * ROD_MM))
    return metal, range(first, last)


def _plate(anatomy: Anatomy, pose: Pose, rng: np.random.Generator) -> tuple[list[Mesh], range]:
    """Return a plate on the front of two to four cervical bodies, its screws, and the discs it spans."""
    first = int(rng.integers(2, C7 - 1))
    last = min(C7, first + int(rng.integers(1, 4)))
    metal = []
    for side in (-0.4, 0.4):
        line = np.concatenate(
            [_local(anatomy, k, [[side, -0.12, 0.0]], pose) for k in range(first, last + 1)]
        )
        metal.append(sweep(line, 1.6))
        for level in range(first, last + 1):
            metal.append(
                sweep(_local(anatomy, level, [[side, -0.15, 0.1], [side * 0.6, 0.75, 0.2]], pose), 1.5)
            )
    return metal, range(first, last)
