"""The shape of one vertebral body: how it differs from the donor's by age, wear and fracture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from spinepacs.training.films.anatomy import LEVELS, Vertebra
from spinepacs.training.films.build import Build
from spinepacs.training.films.mesh import Floats

# Depth of real bodies over the donor's, C3 to L6, so that height over depth is that of real films.
_DEPTHS = (
    0.87, 0.94, 0.98, 0.92, 0.86,
    0.83, 0.91, 0.98, 0.97, 0.99, 0.90, 0.88, 0.84, 0.86, 0.84, 0.86, 0.85,
    0.91, 0.89, 0.91, 0.87, 0.79, 0.79,
)  # fmt: skip
DEPTH = dict(enumerate(_DEPTHS, start=2))
C7, T5, T11 = (LEVELS.index(name) for name in ("C7", "T5", "T11"))
# Lengths of spurs, mm, that part the grades 0, 1, 2 and 3.
SPUR_GRADES_MM = (1.0, 2.5, 4.5)
# Loss of height that parts Genant's grades 0 to 3 (J Bone Miner Res 1993;8:1137).
GENANT_LOSS = (0.20, 0.25, 0.40)


@dataclass(frozen=True)
class BodyShape:
    """How one vertebra differs from the donor's; factors, and mm where named so.

    spur_mm: (2, 3), growth of the upper and lower rim in front, behind and to both sides. sclerosis: (2,) grade 0 to 3
    of the upper and lower plate. fracture: "", "wedge", "biconcave" or "crush"; loss: share of height lost by it.
    """

    scale: float = 1.0
    depth: float = 1.0
    height: float = 1.0
    wedge: float = 0.0
    hollow_mm: float = 0.0
    spur_mm: Floats = field(default_factory=lambda: np.zeros((2, 3)))
    sclerosis: tuple[int, int] = (0, 0)
    fracture: str = ""
    loss: float = 0.0


def draw_shapes(rng: np.random.Generator, count: int, build: Build) -> tuple[BodyShape, ...]:
    """Draw one BodyShape per level. The donor's bodies are too deep, see DEPTH; regions vary together."""
    regions = build.depth * (1 + rng.normal(0, 0.045, 3))
    adult = build.cortex == 1
    worn = rng.uniform(0.15, 0.6) if adult and rng.random() < 0.4 else 0.0
    broken = set(rng.integers(T5, count - 1, rng.integers(1, 4))) if adult and rng.random() < 0.08 else set()
    shapes = []
    for i in range(count):
        if not 1 < i < count - 1:  # C1, C2 and S1 keep the donor's shape
            shapes.append(BodyShape(scale=1 + rng.normal(0, 0.02), height=build.height))
            continue
        depth = DEPTH.get(i, 1.0) * regions[0 if i <= C7 else 1 if i < T11 else 2]
        shape = BodyShape(
            scale=1 + rng.normal(0, 0.02),
            depth=depth * (1 + rng.normal(0, 0.02)),
            height=build.height * (1 + rng.normal(0, 0.03)),
            wedge=rng.normal(0, 0.04),
            hollow_mm=rng.normal(0.3, 0.4),
            spur_mm=_spurs(rng, worn),
            sclerosis=_sclerosis(rng, worn),
        )
        shapes.append(_broken(shape, rng) if i in broken else shape)
    return tuple(shapes)


def _spurs(rng: np.random.Generator, worn: float) -> Floats:
    size = rng.exponential(3.0, (2, 3)) * [1.0, 0.5, 1.0] * (rng.random((2, 3)) < worn)
    return np.asarray(np.minimum(size, [8.0, 3.5, 7.0]))


def _sclerosis(rng: np.random.Generator, worn: float) -> tuple[int, int]:
    upper, lower = rng.choice([1, 2, 3], 2, p=[0.5, 0.35, 0.15]) * (rng.random(2) < 0.5 * worn)
    return int(upper), int(lower)


def _broken(shape: BodyShape, rng: np.random.Generator) -> BodyShape:
    """Return the shape after a fracture that takes 20 to 60 % of the height in front, amid or everywhere."""
    kind, loss = str(rng.choice(["wedge", "biconcave", "crush"], p=[0.6, 0.25, 0.15])), rng.uniform(0.2, 0.6)
    height, wedge, hollow = shape.height, shape.wedge, shape.hollow_mm
    if kind == "wedge":
        height, wedge = height * (1 - loss / 2), wedge + loss / 2
    elif kind == "biconcave":
        hollow = hollow + 12.0 * loss
    else:
        height *= 1 - loss
    return replace(shape, height=height, wedge=wedge, hollow_mm=hollow, fracture=kind, loss=float(loss))


def spur_grade(length_mm: float) -> int:
    """Return the grade 0 to 3 of a spur by its length: from 1, 2.5 and 4.5 mm on."""
    return int(np.searchsorted(SPUR_GRADES_MM, length_mm, side="right"))


def genant_grade(loss: float) -> int:
    """Return Genant's grade 0 to 3 of a share of height lost."""
    return int(np.searchsorted(GENANT_LOSS, loss, side="right"))


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
    wide = x
    if shape.spur_mm.any():
        wide, deep = _grow_spurs(local, wide, deep, vertebra, shape)
    return np.asarray(shape.scale * np.stack([wide, deep, up], axis=1))


def _grow_spurs(
    local: Floats, wide: Floats, deep: Floats, vertebra: Vertebra, shape: BodyShape
) -> tuple[Floats, Floats]:
    """Return x and y (N,) mm with the rims drawn out to spurs in front, behind and at the sides."""
    corners = vertebra.sagittal.corners
    front, back = corners[[0, 3], 0].mean(), corners[[1, 2], 0].mean()
    x, y, z = local.T
    half = vertebra.half_width_mm
    for grown, plate in zip(shape.spur_mm, (vertebra.upper_mm, vertebra.lower_mm), strict=True):
        rim = np.exp(-(((z - plate) / 2.5) ** 2))
        deep = deep - grown[0] * rim * np.exp(-(np.clip((y - front) / 4, 0, None) ** 2))
        # Spurs behind grow from the body alone, not from the arch at the same height.
        body = (np.abs(x) < 0.6 * half) & (y < back + 2)
        deep = deep + grown[1] * rim * body * np.exp(-(np.clip((back - y) / 3, 0, None) ** 2))
        side = np.clip((np.abs(x) - half + 4) / 4, 0, 1) * (y < back - 2) * (np.abs(x) < half + 4)
        wide = wide + np.sign(x) * grown[2] * rim * side
    return wide, deep


def plate_middle(vertebra: Vertebra, shape: BodyShape, upper: bool) -> Floats:
    """Return the middle of a plate, (3,) mm in the vertebra's frame, after its change of shape."""
    corners = vertebra.sagittal.corners
    mean = (corners[:2] if upper else corners[2:]).mean(axis=0)
    return np.asarray(shape_points(np.array([[0.0, mean[0], mean[1]]]), vertebra, shape)[0])


def plate_depth_mm(vertebra: Vertebra, shape: BodyShape) -> float:
    """Return the depth of the upper plate from front to back, mm, without its spurs."""
    bare = replace(shape, spur_mm=np.zeros((2, 3)))
    front, back = shape_points(vertebra.lift(vertebra.sagittal.corners[:2]), vertebra, bare)
    return float(np.linalg.norm(back - front))
