"""One patient: size, shape and posture of the spine drawn at random, and where every point of the donor goes.

Forward kinematics runs from the sacrum up: each vertebra's lower plate lies a disc height above the plate below.
Targets of the sagittal curves are those of standing adults (lordosis 50, kyphosis 37, sacral slope 35 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.training.films.anatomy import LEVELS, Anatomy
from spinepacs.training.films.build import Build
from spinepacs.training.films.curves import draw_curve
from spinepacs.training.films.discs import Discs, draw_discs
from spinepacs.training.films.mesh import Floats
from spinepacs.training.films.shape import BodyShape, draw_shapes, plate_depth_mm, plate_middle, shape_points

C7, T4, T12, L1 = (LEVELS.index(name) for name in ("C7", "T4", "T12", "L1"))


@dataclass(frozen=True)
class Pose:
    """A posed spine: rotations (N, 3, 3) from each vertebra's frame to the room, centres (N, 3) mm.

    discs: what lies below each level. shapes: one per level.
    trunk: (2,) factors of the trunk's width and depth. scale: of the whole patient.
    """

    rotations: Floats
    centres: Floats
    discs: Discs
    shapes: tuple[BodyShape, ...]
    trunk: Floats
    scale: float


def rotation(sagittal: float, coronal: float, axial: float) -> Floats:
    """Return (3, 3): turn about the long axis, tilt to the left, lean forward; radians."""
    ca, sa, cb, sb, cc, sc = (f(v) for v in (sagittal, coronal, axial) for f in (np.cos, np.sin))
    lean = np.array([[1, 0, 0], [0, ca, -sa], [0, sa, ca]])
    tilt = np.array([[cb, 0, sb], [0, 1, 0], [-sb, 0, cb]])
    turn = np.array([[cc, -sc, 0], [sc, cc, 0], [0, 0, 1]])
    return lean @ tilt @ turn


def _rest_angles(anatomy: Anatomy) -> Floats:
    return np.array([np.arctan2(-v.frame[2, 1], v.frame[2, 2]) for v in anatomy.vertebrae])


def _tipped(slip: Floats) -> Floats:
    """Return how far slips beyond grade II tip forward all that stands above, (N,) rad: lumbosacral kyphosis."""
    own = np.radians(35.0) * np.clip(-slip - 0.45, 0, 0.8)
    return np.asarray(own[::-1].cumsum()[::-1])


def _lean(rng: np.random.Generator, rest: Floats, neck_view: bool, steeper: float) -> Floats:
    """Draw the forward lean of every vertebra, rad; steeper: degrees that S1 leans beyond what is drawn."""
    slope = rng.normal(36, 8) + steeper
    lordosis = 50 + 0.7 * (slope - 36) + rng.normal(0, 9)
    kyphosis = rng.normal(36, 11)
    neck = rng.normal(8, 15) if neck_view else rng.normal(2, 12)
    last = len(rest) - 1
    wanted = {(L1, last): lordosis, (T12, T4): kyphosis, (1, C7): neck}
    steps = rest[:-1] - rest[1:]
    for (a, b), degrees in wanted.items():
        upper, lower = min(a, b), max(a, b)
        goal = np.radians(degrees) * (-1 if (a, b) != (T12, T4) else 1)
        share = np.linspace(0.6, 1.4, lower - upper) if a == L1 else np.ones(lower - upper)
        steps[upper:lower] += (goal - steps[upper:lower].sum()) * share / share.sum()
    steps[1:last] += rng.normal(0, np.radians(1.3), last - 1)
    lean = np.zeros(len(rest))
    lean[last] = rest[last] + np.radians(slope - 36)
    for i in range(last - 1, -1, -1):
        lean[i] = lean[i + 1] + steps[i]
    # Whatever the chest does, the neck stands nearly upright on it: C7 to T4 make up the difference.
    excess = lean[1 : C7 + 1].mean() - rng.normal(np.radians(6), np.radians(8))
    lean[:T4] -= np.clip(excess, -0.45, 0.45) * np.clip((T4 - np.arange(T4)) / (T4 - C7), 0, 1)
    # The head looks ahead: the joint below it takes up most of what the neck leans.
    lean[0] = (
        rest[0]
        + 0.3 * (lean[1] - rest[1])
        - (np.radians(6) if neck_view else 0)
        + rng.normal(0, np.radians(9))
    )
    return lean


def draw_pose(
    anatomy: Anatomy, rng: np.random.Generator, neck_view: bool, scoliosis: float, build: Build | None = None
) -> Pose:
    """Draw one patient's pose.

    neck_view: with the wider neck curves of cervical films. scoliosis: strength of the curves, see `draw_curve`.
    """
    build, count = build or Build(), len(anatomy.vertebrae)
    shapes, discs = draw_shapes(rng, count, build), draw_discs(rng, anatomy.levels, build)
    lean = _lean(rng, _rest_angles(anatomy), neck_view, build.slope) + _tipped(discs.slip)
    tilt, turn = draw_curve(rng, count, scoliosis)
    rotations, centres = _stack(anatomy, shapes, discs, (lean, tilt, turn))
    reach = centres[C7] - centres[-1]
    if neck_view:  # The neck stands as its owner holds it; the rest is out of the film.
        neck = centres[1] - centres[C7]
        fix = rng.normal(np.radians(8), np.radians(9)) + np.arctan2(neck[1], neck[2])
    else:  # Balance: C7 stands over the sacrum.
        fix = np.arctan2(rng.normal(5, 22) + reach[1], reach[2])
    whole = rotation(fix, np.arctan2(rng.normal(0, 9) - reach[0], reach[2]), 0.0)
    rotations = whole @ rotations
    centres = (centres - centres[-1]) @ whole.T
    trunk = np.array([rng.normal(1.0, 0.06), rng.normal(1.0, 0.07)])
    return Pose(rotations, centres, discs, shapes, trunk, build.scale)


def _stack(
    anatomy: Anatomy,
    shapes: tuple[BodyShape, ...],
    discs: Discs,
    angles: tuple[Floats, Floats, Floats],
) -> tuple[Floats, Floats]:
    """Return rotations and centres of the vertebrae, S1's centre at the origin."""
    rotations = np.stack([rotation(*angle) for angle in zip(*angles, strict=True)])
    centres = np.zeros((len(shapes), 3))
    rest = np.array([v.origin for v in anatomy.vertebrae])
    for i in range(len(shapes) - 2, -1, -1):
        if i == 0:  # C1 sits on C2 as in the donor.
            frame = anatomy.vertebrae[1].frame
            centres[0] = centres[1] + rotations[1] @ (frame @ (rest[0] - rest[1]))
            continue
        below, above = anatomy.vertebrae[i + 1], anatomy.vertebrae[i]
        plate = centres[i + 1] + rotations[i + 1] @ plate_middle(below, shapes[i + 1], True)
        up = rotations[i][:, 2] + rotations[i + 1][:, 2]
        up /= np.linalg.norm(up)
        lower = rotations[i] @ plate_middle(above, shapes[i], False)
        # A body that has slipped past the middle sinks along the front of the one below.
        sunk = 25.0 * max(-discs.slip[i] - 0.6, 0.0)
        slip_mm = discs.slip[i] * plate_depth_mm(below, shapes[i + 1])
        centres[i] = plate + (discs.height_mm[i] - sunk) * up + slip_mm * rotations[i + 1][:, 1] - lower
    return rotations, centres


def place_vertebra(points: Floats, level: int, anatomy: Anatomy, pose: Pose) -> Floats:
    """Return points (N, 3) mm of a vertebra's frame in the room."""
    shaped = shape_points(points, anatomy.vertebrae[level], pose.shapes[level])
    return np.asarray(pose.scale * (shaped @ pose.rotations[level].T + pose.centres[level]))


def carry(points: Floats, anatomy: Anatomy, pose: Pose, level: int | None = None) -> Floats:
    """Return donor points (N, 3) mm in the room, carried by the vertebrae at their height (or rigidly by one)."""
    frames = np.stack([v.frame for v in anatomy.vertebrae])
    origins = np.stack([v.origin for v in anatomy.vertebrae])
    turns = pose.rotations @ frames
    if level is not None:
        return np.asarray(pose.scale * ((points - origins[level]) @ turns[level].T + pose.centres[level]))
    place = np.interp(-points[:, 2], -origins[:, 2], np.arange(len(origins), dtype=float))
    upper = np.minimum(place.astype(int), anatomy.last - 1)
    part = (place - upper)[:, None]
    moved = np.zeros_like(points)
    for i in range(anatomy.last):
        mine = upper == i
        if mine.any():
            for j, weight in ((i, 1 - part[mine]), (i + 1, part[mine])):
                moved[mine] += weight * ((points[mine] - origins[j]) @ turns[j].T + pose.centres[j])
    return np.asarray(pose.scale * moved)
