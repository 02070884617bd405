"""What surrounds the spine: skin, airway, arms, gas; and how bones become cortex and marrow.

Everything is built in the donor's own place and then carried by the pose, so it follows the spine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spinepacs.training.film_anatomy import LEVELS, Anatomy, Part
from spinepacs.training.film_mesh import Floats, Ints, Mesh, close_rings, ellipsoid, tube
from spinepacs.training.film_pose import Pose, carry, place_vertebra, rotation

SLICE_MM = 10.0
SIDES = 48
SHOULDER_MM = 150.0
MARROW, CORTEX, METAL = 0.031, 0.056, 0.30  # per mm
SKULL, TOOTH, LUNG, CARTILAGE = 0.046, 0.075, 0.0062, 0.024
HEAD = ("skull", "mandible", "tooth")
# Thickness of the cortex, mm.
CORTEX_MM = {"vertebra": 0.8, "rib": 0.9, "girdle": 1.5, "sternum": 0.9, "mandible": 2.2}


@dataclass(frozen=True)
class Solid:
    """A closed surface in the room and what it adds per mm of path (may be negative).

    fine: its edges are seen, so it is drawn at the film's full resolution.
    """

    vertices: Floats
    faces: Ints
    weight: float
    fine: bool


@dataclass(frozen=True)
class Tissue:
    """One patient's tissues: attenuation per mm and the sizes that hide or show anatomy."""

    soft: float
    density: float
    cortex: float
    muscle: float
    fat_mm: float
    belly_mm: float
    breast_mm: float
    diaphragm_mm: float
    arm_degrees: Floats
    elbow_degrees: Floats
    airway_mm: float


def draw_tissue(rng: np.random.Generator, arms_down: bool) -> Tissue:
    """Draw a patient's tissues. arms_down: as in cervical and frontal films; else swung forward."""
    swing = rng.uniform(-8, 15) if arms_down else rng.uniform(22, 100)
    elbow = rng.uniform(0, 20) if arms_down else rng.choice([rng.uniform(0, 40), rng.uniform(90, 145)])
    return Tissue(
        soft=rng.uniform(0.0183, 0.0197),
        density=rng.uniform(0.65, 1.2),
        cortex=rng.uniform(0.7, 1.4),
        muscle=rng.uniform(0.0008, 0.0022),
        fat_mm=rng.uniform(3, 12) + rng.exponential(6),
        belly_mm=rng.exponential(22),
        breast_mm=rng.uniform(25, 55) if rng.random() < 0.45 else 0.0,
        diaphragm_mm=rng.normal(52, 18),
        arm_degrees=swing + rng.normal(0, 6, 2),
        elbow_degrees=np.clip(elbow + rng.normal(0, 8, 2), 0, 150),
        airway_mm=rng.uniform(4, 9),
    )


def breathe(points: Floats, drop_mm: float) -> Floats:
    """Lower lung bases and upper abdomen by drop_mm, stretching the lungs below their hilum: (N, 3) mm."""
    moved = points.copy()
    moved[:, 2] -= drop_mm * np.clip((1290.0 - points[:, 2]) / 175.0, 0, 1)
    return moved


def widen(points: Floats, trunk: Floats) -> Floats:
    """Scale the trunk's width and depth about the spine; nothing changes above the shoulders."""
    share = np.clip((1430.0 - points[:, 2]) / 60.0, 0, 1)
    moved = points.copy()
    moved[:, 0] *= 1 + share * (trunk[0] - 1)
    moved[:, 1] = -55.0 + (points[:, 1] + 55.0) * (1 + share * (trunk[1] - 1) * (points[:, 1] < -55))
    return moved


@lru_cache(maxsize=2)
def _hull(anatomy_key: int) -> tuple[Floats, Floats, Floats]:
    """Return heights (R,), centres (R,) in y and radii (R, SIDES) of the hull of bones and muscles."""
    anatomy = _KNOWN[anatomy_key]
    inner = ("humerus", "radius", "ulna")
    points = np.concatenate([p.mesh.vertices for p in anatomy.parts if not p.name.endswith(inner)])
    points = points[np.abs(points[:, 0]) < SHOULDER_MM]  # what lies farther out swings with the arms
    heights = np.arange(620.0, 1650.0, SLICE_MM)
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    ways = np.stack([np.cos(angle), np.sin(angle)])
    radii = np.zeros((len(heights), SIDES))
    slices = [points[np.abs(points[:, 2] - z) < SLICE_MM * 0.8][:, :2] for z in heights]
    raw = np.array([(near[:, 1].min() + near[:, 1].max()) / 2 for near in slices])
    # Centres must glide, or the skin of neighbouring slices would step.
    centres = np.convolve(np.pad(raw, 8, mode="edge"), np.ones(17) / 17, mode="valid")
    for r, near in enumerate(slices):
        support = ((near - [0.0, centres[r]]) @ ways).max(axis=0)
        gap = np.cos(angle[:, None] - angle[None])
        radii[r] = np.where(gap > 0.2, support[None] / np.maximum(gap, 0.2), 1e9).min(axis=1)
    # No organ fills the front of the donor's belly: span it from the ribs' margin to the pelvis.
    low, high = np.searchsorted(heights, [885.0, 1175.0])
    part = np.linspace(0, 1, high - low)[:, None]
    radii[low:high] = np.maximum(radii[low:high], 0.94 * ((1 - part) * radii[low] + part * radii[high]))
    radii = (radii + np.roll(radii, 1, 1) + np.roll(radii, -1, 1)) / 3
    return heights, centres, radii


_KNOWN: dict[int, Anatomy] = {}


def skin(anatomy: Anatomy, tissue: Tissue) -> Mesh:
    """Return the patient's skin in the donor's place: the hull of each slice and the fat upon it."""
    _KNOWN[id(anatomy)] = anatomy
    heights, centres, radii = _hull(id(anatomy))
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    z = heights[:, None]
    fat = np.interp(z, [600, 900, 1000, 1150, 1330, 1400, 1440, 1500, 1650], [1.6, 1.3, 1.1, 0.9, 0.7, 0.5, 0.4, 0.3, 0.25])
    thick = tissue.fat_mm * fat + 3.0
    front = np.clip(-np.sin(angle), 0, 1)[None] ** 1.5
    thick = thick + front * tissue.belly_mm * np.exp(-(((z - 990) / 90) ** 2))
    # Flesh rounds what the ribs' margin and the shoulders leave as steps; the face keeps its shape.
    smooth = radii.copy()
    for _ in range(14):
        smooth[1:-1] = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]) / 4
    share = np.clip((z - 1410.0) / 40.0, 0, 1)
    grown = share * radii + (1 - share) * np.maximum(smooth, radii * 0.93) + thick
    rings = np.stack([grown * np.cos(angle), centres[:, None] + grown * np.sin(angle), np.broadcast_to(z, grown.shape)], -1)
    return close_rings(rings)


def airway(anatomy: Anatomy, radius_mm: float) -> Mesh:
    """Return the air from the nasopharynx to the carina, in the donor's place."""
    trachea = next(p for p in anatomy.parts if p.name == "trachea").mesh.vertices
    heights = np.arange(1325.0, 1412.0, 6.0)
    low = np.array([[*trachea[np.abs(trachea[:, 2] - z) < 4][:, :2].mean(axis=0), z] for z in heights])
    high = np.array([[0, -113, 1424], [0, -112, 1436], [0, -110.5, 1450], [0, -110.5, 1466], [0, -111, 1484], [0, -114, 1502]])
    size = np.array([[5, 5], [9, 6], [13, 6.5], [14, 6], [13, 6], [10, 8]], dtype=float) * radius_mm / 6.5
    return tube(np.concatenate([low, high]), np.concatenate([np.tile([7.5, 7.0], (len(low), 1)), size]))


def _swing(points: Floats, side: int, tissue: Tissue) -> Floats:
    """Return arm points of the donor after elbow and shoulder have bent: (N, 3) mm."""
    k = int(side > 0)
    elbow, shoulder = np.array([side * 222.0, -72.0, 1052.0]), np.array([side * 155.0, -72.0, 1335.0])
    fore = np.clip((1075.0 - points[:, 2]) / 40.0, 0, 1)[:, None]
    bent = (points - elbow) @ rotation(-np.radians(tissue.elbow_degrees[k]), 0, 0).T + elbow
    points = (1 - fore) * points + fore * bent
    turn = rotation(-np.radians(tissue.arm_degrees[k]), -side * 0.12, 0)
    return np.asarray((points - shoulder) @ turn.T + shoulder)


def arms(anatomy: Anatomy, tissue: Tissue, pose: Pose) -> list[Solid]:
    """Return bones and flesh of both arms; they swing about the shoulders and follow T2."""
    t2 = LEVELS.index("T2")
    solids = []
    for side, name in ((-1, "right"), (1, "left")):
        line = np.array([[side * x, -70.0, z] for x, z in ((238, 800), (236, 930), (225, 1050), (205, 1150), (180, 1250), (155, 1320), (148, 1360))])
        size = (np.array([22, 32, 36, 40, 44, 38, 6], dtype=float) + 0.35 * tissue.fat_mm) * 0.92
        dense = np.linspace(800, 1360, 36)
        centre = np.stack([np.interp(dense, line[:, 2], line[:, k]) for k in (0, 1)] + [dense], axis=1)
        radii = np.interp(dense, line[:, 2], size)
        flesh = tube(centre, np.stack([radii, radii], axis=1))
        place = lambda p, s=side: carry(_swing(p, s, tissue), anatomy, pose, t2)  # noqa: E731
        solids.append(Solid(place(flesh.vertices), flesh.faces, tissue.soft, False))
        for part in anatomy.parts:
            if part.name in (f"{name} humerus", f"{name} radius", f"{name} ulna"):
                inner = part.mesh.vertices - 1.8 * part.normals
                solids.append(Solid(place(part.mesh.vertices), part.mesh.faces, CORTEX - tissue.soft, True))
                solids.append(Solid(place(inner), part.mesh.faces, -(CORTEX - MARROW * tissue.density), True))
    return solids


def gas(anatomy: Anatomy, tissue: Tissue, pose: Pose, rng: np.random.Generator) -> list[Solid]:
    """Return bowel gas, a stomach bubble and rectal gas as solids without tissue."""
    found = []
    for _ in range(rng.integers(4, 26)):
        place = np.array([rng.uniform(-105, 105), rng.uniform(-185, -100), rng.uniform(850, 1070)])
        found.append(_lumpy(ellipsoid(place, rng.uniform(4, 20) * rng.uniform(0.6, 1.6, 3)), place, rng))
    if rng.random() < 0.7:
        bubble = np.array([rng.uniform(40, 75), rng.uniform(-150, -100), 1165 - tissue.diaphragm_mm])
        found.append(ellipsoid(bubble, rng.uniform(10, 32, 3) * [1.3, 1.3, 0.8]))
    for _ in range(rng.integers(0, 4)):
        place = np.array([rng.uniform(-25, 25), rng.uniform(-75, -50), rng.uniform(800, 880)])
        found.append(_lumpy(ellipsoid(place, rng.uniform(8, 22, 3)), place, rng))
    weights = -tissue.soft * rng.uniform(0.3, 1.0, len(found))
    return [Solid(carry(m.vertices, anatomy, pose), m.faces, w, False) for m, w in zip(found, weights, strict=True)]


def _lumpy(mesh: Mesh, centre: Floats, rng: np.random.Generator) -> Mesh:
    """Return a ball turned into a loop of bowel: haustra along its length."""
    away = mesh.vertices - centre
    ways = rng.normal(0, 1, (3, 3)) / np.maximum(np.ptp(away, axis=0), 1e-6) * 7.0
    swell = 1 + 0.16 * np.sin(away @ ways + rng.uniform(0, 6, 3)).sum(axis=1)
    return Mesh(centre + away * swell[:, None], mesh.faces)


def _bone(part: Part, anatomy: Anatomy, pose: Pose, tissue: Tissue) -> list[Solid]:
    """Return a bone as cortex minus what its marrow lacks."""
    thickness = CORTEX_MM[part.group] * (tissue.cortex if part.group == "vertebra" else 1.0)
    outer, inner = part.mesh.vertices, part.mesh.vertices - thickness * part.normals
    if part.group == "vertebra":
        level = LEVELS.index(part.name)
        v = anatomy.vertebrae[level]
        places = [place_vertebra((p - v.origin) @ v.frame.T, level, anatomy, pose) for p in (outer, inner)]
    elif part.group == "mandible":
        places = [carry(p, anatomy, pose, 0) for p in (outer, inner)]
    else:
        places = [carry(widen(p, pose.trunk), anatomy, pose) for p in (outer, inner)]
    loss = CORTEX - MARROW * tissue.density
    return [Solid(places[0], part.mesh.faces, CORTEX - tissue.soft, True), Solid(places[1], part.mesh.faces, -loss, True)]


def _plain(part: Part, anatomy: Anatomy, pose: Pose, tissue: Tissue) -> Solid:
    points = part.mesh.vertices
    if part.group in ("skull", "tooth"):
        weight = (SKULL if part.group == "skull" else TOOTH) - tissue.soft
        return Solid(carry(points, anatomy, pose, 0), part.mesh.faces, weight, True)
    if part.name in ("hyoid bone", "thyroid cartilage"):
        weight = (0.045 if part.name[0] == "h" else CARTILAGE) - tissue.soft
        return Solid(carry(points, anatomy, pose), part.mesh.faces, weight, True)
    if part.group == "lung" or part.name in ("liver", "spleen", "stomach"):
        points = breathe(points, tissue.diaphragm_mm)
    weight = LUNG - tissue.soft if part.group == "lung" else tissue.muscle * (1.0 if part.group == "muscle" else 0.5)
    return Solid(carry(widen(points, pose.trunk), anatomy, pose), part.mesh.faces, weight, part.group == "lung")


def build_body(anatomy: Anatomy, pose: Pose, tissue: Tissue, rng: np.random.Generator) -> list[Solid]:
    """Return every solid of the patient in the room (mm); fine ones first to be drawn sharp."""
    cover = skin(anatomy, tissue)
    solids = [Solid(carry(widen(cover.vertices, pose.trunk), anatomy, pose), cover.faces, tissue.soft, False)]
    air = airway(anatomy, tissue.airway_mm)
    solids.append(Solid(carry(air.vertices, anatomy, pose), air.faces, -tissue.soft, True))
    for part in anatomy.parts:
        if part.name.endswith(("humerus", "radius", "ulna")) or part.name in ("trachea", "esophagus"):
            continue
        if part.group in CORTEX_MM and "cartilage" not in part.name:
            solids.extend(_bone(part, anatomy, pose, tissue))
        else:
            solids.append(_plain(part, anatomy, pose, tissue))
    for side in (-1, 1) if tissue.breast_mm else ():
        centre = np.array([side * 75.0, -195.0, 1205.0])
        breast = ellipsoid(centre, tissue.breast_mm * np.array([1.2, 1.0, 1.2]))
        solids.append(Solid(carry(widen(breast.vertices, pose.trunk), anatomy, pose), breast.faces, tissue.soft * 0.8, False))
    return solids + arms(anatomy, tissue, pose) + gas(anatomy, tissue, pose, rng)
