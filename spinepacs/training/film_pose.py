"""One patient: size, shape and posture of the spine drawn at random, and where every point of the donor goes.

Forward kinematics runs from the sacrum up: each vertebra's lower plate lies a disc height above the plate below.
Targets of the sagittal curves are those of standing adults (lordosis 50, kyphosis 37, sacral slope 35 degrees).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.training.film_anatomy import LEVELS, Anatomy, Vertebra
from spinepacs.training.film_build import Build
from spinepacs.training.film_curves import draw_curve
from spinepacs.training.film_mesh import Floats

# Depth of real bodies over the donor's, C3 to L6, so that height over depth is that of real films.
_DEPTHS = (
    0.87, 0.94, 0.98, 0.92, 0.86,
    0.83, 0.91, 0.98, 0.97, 0.99, 0.90, 0.88, 0.84, 0.86, 0.84, 0.86, 0.85,
    0.91, 0.89, 0.91, 0.87, 0.79, 0.79,
)  # fmt: skip
DEPTH = dict(enumerate(_DEPTHS, start=2))
# Mean height of the disc below C2 to L6, mm.
_DISCS_MM = (
    4.0, 4.1, 4.1, 4.2, 4.2, 4.3,
    4.2, 4.0, 4.0, 4.1, 4.2, 4.2, 4.2, 4.3, 4.6, 4.9, 5.3, 5.8,
    7.0, 7.6, 8.4, 9.4, 8.8, 8.8,
)  # fmt: skip
DISC_MM = dict(enumerate(_DISCS_MM, start=1))
C7, T4, T12, L1 = (LEVELS.index(name) for name in ("C7", "T4", "T12", "L1"))


@dataclass(frozen=True)
class BodyShape:
    """How one vertebra differs from the donor's; factors, and mm where named so."""

    scale: float
    depth: float
    height: float
    wedge: float
    hollow_mm: float
    spur_mm: Floats  # (2,): growth of the upper and lower front rim


@dataclass(frozen=True)
class Pose:
    """A posed spine: rotations (N, 3, 3) from each vertebra's frame to the room, centres (N, 3) mm.

    disc_mm: (N,) height of the disc below each level (C2 to L5; 0 elsewhere). shapes: one per level.
    trunk: (2,) factors of the trunk's width and depth. scale: of the whole patient.
    """

    rotations: Floats
    centres: Floats
    disc_mm: Floats
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


def draw_shapes(rng: np.random.Generator, count: int, build: Build) -> tuple[BodyShape, ...]:
    """Draw one BodyShape per level. The donor's bodies are too deep, see DEPTH; regions vary together."""
    regions = build.depth * (1 + rng.normal(0, 0.045, 3))
    aged = rng.random() < (0.4 if build.cortex == 1 else 0.0)
    shapes = []
    for i in range(count):
        body = 1 < i < count - 1  # the others keep the donor's shape
        depth = DEPTH.get(i, 1.0) * regions[0 if i <= C7 else 1 if i < T12 - 1 else 2]
        wedge = rng.normal(0, 0.04) + (rng.uniform(0.1, 0.3) if i > C7 and rng.random() < 0.012 else 0)
        spur = rng.uniform(0, 6, 2) * (rng.random(2) < 0.4) if aged else np.zeros(2)
        shapes.append(
            BodyShape(
                scale=1 + rng.normal(0, 0.02),
                depth=depth * (1 + rng.normal(0, 0.02)) if body else 1.0,
                height=build.height * (1 + rng.normal(0, 0.03)),
                wedge=wedge if body else 0.0,
                hollow_mm=rng.normal(0.3, 0.4) if body else 0.0,
                spur_mm=spur if body else np.zeros(2),
            )
        )
    return tuple(shapes)


def shape_points(local: Floats, vertebra: Vertebra, shape: BodyShape) -> Floats:
    """Return points (N, 3) mm of a vertebra's frame after its change of shape, in the same frame."""
    corners = vertebra.sagittal.corners
    front, back = corners[[0, 3], 0].mean(), corners[[1, 2], 0].mean()
    half_depth, middle = (back - front) / 2, (back + front) / 2
    x, y, z = local[:, 0], local[:, 1], local[:, 2]
    inside = np.clip((back + 6 - y) / 6, 0, 1)  # 1 in the body, 0 from 6 mm behind its wall
    along = np.clip((y - middle) / half_depth, -1.2, 1.2)
    bowl = np.clip(1 - along**2, 0, 1) * np.clip(1 - (x / (vertebra.half_width_mm + 1)) ** 2, 0, 1)
    rise = np.where(z > 0, z / max(vertebra.upper_mm, 1), z / max(-vertebra.lower_mm, 1))
    up = z * (1 + inside * (shape.height - 1 + shape.wedge * along))
    up -= inside * np.sign(z) * np.clip(np.abs(rise), 0, 1) ** 3 * bowl * shape.hollow_mm
    deep = np.where(y < back, back + (y - back) * shape.depth, y)
    for spur, plate in zip(shape.spur_mm, (vertebra.upper_mm, vertebra.lower_mm), strict=True):
        deep = deep - spur * np.exp(-(((z - plate) / 2.5) ** 2) - np.clip((y - front) / 4, 0, None) ** 2)
    return np.asarray(shape.scale * np.stack([x, deep, up], axis=1))


def plate_middle(vertebra: Vertebra, shape: BodyShape, upper: bool) -> Floats:
    """Return the middle of a plate, (3,) mm in the vertebra's frame, after its change of shape."""
    corners = vertebra.sagittal.corners
    mean = (corners[:2] if upper else corners[2:]).mean(axis=0)
    return np.asarray(shape_points(np.array([[0.0, mean[0], mean[1]]]), vertebra, shape)[0])


def draw_discs(rng: np.random.Generator, levels: tuple[str, ...], build: Build) -> Floats:
    """Draw the height of the disc below each level, mm; narrowed ones mostly at C4-C6 and L3-L5."""
    heights = np.zeros(len(levels))
    for i in range(1, len(levels) - 1):
        region, number = levels[i][0], int(levels[i][1:])
        often = (region == "C" and 4 <= number <= 6) or (region == "L" and number >= 3)
        heights[i] = DISC_MM[i] * rng.normal(1, 0.12) * build.disc
        if rng.random() < (0.22 if often else 0.08) and build.cortex == 1:
            heights[i] *= rng.uniform(0.25, 0.75)
    if build.deep_seated:
        heights[-2] *= rng.uniform(0.15, 0.5)
    return np.maximum(heights, 0.8)


def _rest_angles(anatomy: Anatomy) -> Floats:
    return np.array([np.arctan2(-v.frame[2, 1], v.frame[2, 2]) for v in anatomy.vertebrae])


def _lean(rng: np.random.Generator, rest: Floats, neck_view: bool) -> Floats:
    """Draw the forward lean of every vertebra, rad."""
    slope = rng.normal(36, 8)
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


def draw_slips(rng: np.random.Generator, count: int) -> Floats:
    """Draw how far each vertebra stands behind the one below, mm (negative: in front), mostly at C3-C5, L3-L5."""
    slips = np.zeros(count)
    for i in (2, 3, 4, count - 4, count - 3, count - 2):
        if rng.random() < 0.12:
            slips[i] = rng.uniform(2, 7) * rng.choice([-1, 1]) * (0.6 if i <= C7 else 1)
    return slips


def draw_pose(
    anatomy: Anatomy, rng: np.random.Generator, neck_view: bool, scoliosis: float, build: Build | None = None
) -> Pose:
    """Draw one patient's pose.

    neck_view: with the wider neck curves of cervical films. scoliosis: strength of the curves, see `draw_curve`.
    """
    build, count = build or Build(), len(anatomy.vertebrae)
    shapes, discs = draw_shapes(rng, count, build), draw_discs(rng, anatomy.levels, build)
    lean = _lean(rng, _rest_angles(anatomy), neck_view)
    tilt, turn = draw_curve(rng, count, scoliosis)
    slips = draw_slips(rng, count)
    rotations, centres = _stack(anatomy, shapes, discs, (lean, tilt, turn), slips)
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
    discs: Floats,
    angles: tuple[Floats, Floats, Floats],
    slips: Floats,
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
        centres[i] = plate + discs[i] * up + slips[i] * rotations[i + 1][:, 1] - lower
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
