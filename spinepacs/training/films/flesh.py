"""The soft parts of one patient, in the donor's own place: skin, airway, arms, breasts, bowel gas.

The pose carries them afterwards, so they follow the spine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from spinepacs.training.films.anatomy import Anatomy
from spinepacs.training.films.mesh import Floats, Mesh, close_rings, ellipsoid, tube
from spinepacs.training.films.pose import rotation

SLICE_MM = 10.0
SIDES = 48
ARM_BONES = ("humerus", "radius", "ulna")
# Fat by height of the donor: mm of height, and share of the patient's own thickness.
FAT_AT_MM = (600, 900, 1000, 1150, 1330, 1400, 1440, 1500, 1650)
FAT_SHARE = (1.6, 1.3, 1.1, 0.9, 0.6, 0.35, 0.2, 0.2, 0.2)
# The upper airway above the trachea: centres (x, y, z) and half-axes (x, y), mm.
PHARYNX_MM = (
    (0, -113, 1424),
    (0, -112, 1436),
    (0, -110.5, 1450),
    (0, -110.5, 1466),
    (0, -111, 1484),
    (0, -114, 1502),
)
PHARYNX_HALF_MM = ((5, 5), (9, 6), (13, 6.5), (14, 6), (13, 6), (10, 8))
# The arm's axis: distance from the midline and height, and its radius there, mm.
ARM_AXIS_MM = ((238, 800), (236, 930), (225, 1050), (205, 1150), (180, 1250), (155, 1320), (148, 1360))
ARM_RADIUS_MM = (22, 32, 36, 40, 44, 38, 6)


@dataclass(frozen=True)
class Tissue:
    """One patient's tissues.

    soft, muscle: attenuation per mm, and what muscle adds. density, cortex: factors of marrow and of the
    vertebrae's cortex. fat_mm, belly_mm, breast_mm: sizes. diaphragm_mm: how far it stands below the donor's.
    arm_degrees, elbow_degrees: (2,) right and left. airway_mm: its half depth. arm, neck: factors of their girth.
    blade_mm: bow of the shoulder blades. protracted_mm: how far the shoulders come forward.
    hips: how far the flesh about the hips reaches out to the thighs' (0: as narrow as the trunk, 1: all the way).
    buttock_mm: what the buttocks add behind. loin: how much narrower the loin is behind than a hull of its bones.
    """

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
    arm: float
    neck: float
    blade_mm: float
    protracted_mm: float
    hips: float = 0.0
    buttock_mm: float = 0.0
    loin: float = 0.0


def draw_tissue(rng: np.random.Generator, arms_down: bool, young: bool = False) -> Tissue:
    """Draw a patient's tissues. arms_down: as in cervical and frontal films; else swung forward. young: slim."""
    swing = rng.uniform(-8, 15) if arms_down else rng.uniform(22, 85)
    elbow = rng.uniform(0, 20) if arms_down else rng.choice([rng.uniform(0, 40), rng.uniform(90, 145)])
    return Tissue(
        soft=rng.uniform(0.0183, 0.0197),
        density=rng.uniform(0.95, 1.45) if young else rng.uniform(0.65, 1.2),
        cortex=rng.uniform(0.7, 1.4),
        muscle=rng.uniform(0.0008, 0.0022),
        fat_mm=rng.uniform(2, 8) if young else rng.uniform(3, 12) + rng.exponential(6),
        belly_mm=rng.exponential(6 if young else 22),
        breast_mm=rng.uniform(25, 55) if not young and rng.random() < 0.45 else 0.0,
        diaphragm_mm=rng.normal(58, 24),
        arm_degrees=swing + rng.normal(0, 6, 2),
        elbow_degrees=np.clip(elbow + rng.normal(0, 8, 2), 0, 150),
        airway_mm=rng.uniform(4, 9),
        arm=rng.uniform(0.5, 0.9),
        neck=rng.uniform(0.72, 1.0),
        blade_mm=rng.uniform(-4, 14),
        # Arms held forward draw the shoulders off the upper thoracic bodies, which would hide behind them.
        protracted_mm=max(0.0, swing - 10) / 70 * rng.uniform(15, 95),
    )


def breathe(points: Floats, drop_mm: float) -> Floats:
    """Lower lung bases and upper abdomen by drop_mm, stretching the lungs below their hilum: (N, 3) mm.

    The donor's diaphragm crosses the spine at T9.5, that of a standing patient at T10.5 to T12.5, and a network
    counts from it.
    """
    moved = points.copy()
    moved[:, 2] -= drop_mm * np.clip((1295.0 - points[:, 2]) / 120.0, 0, 1)
    # What sinks past the widest ribs must narrow with them.
    moved[:, 0] *= 1 - 0.0025 * drop_mm * np.clip((1190.0 - points[:, 2]) / 80.0, 0, 1)
    return moved


def widen(points: Floats, trunk: Floats) -> Floats:
    """Scale the trunk's width and depth about the spine; nothing changes above the shoulders."""
    share = np.clip((1430.0 - points[:, 2]) / 60.0, 0, 1)
    moved = points.copy()
    moved[:, 0] *= 1 + share * (trunk[0] - 1)
    moved[:, 1] = -55.0 + (points[:, 1] + 55.0) * (1 + share * (trunk[1] - 1) * (points[:, 1] < -55))
    return moved


@lru_cache(maxsize=32)
def _hull(anatomy: Anatomy, reach_mm: float) -> tuple[Floats, Floats, Floats]:
    """Return heights (R,), centres (R,) in y and radii (R, SIDES) of the hull of bones, organs and muscles."""
    points = np.concatenate([p.mesh.vertices for p in anatomy.parts if not p.name.endswith(ARM_BONES)])
    points = points[np.abs(points[:, 0]) < reach_mm]  # what lies farther out swings with the arms
    heights = np.arange(620.0, 1650.0, SLICE_MM)
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    ways = np.stack([np.cos(angle), np.sin(angle)])
    gap = np.cos(angle[:, None] - angle[None])
    slices = [points[np.abs(points[:, 2] - z) < SLICE_MM * 0.8][:, :2] for z in heights]
    raw = np.array([(near[:, 1].min() + near[:, 1].max()) / 2 for near in slices])
    # Centres must glide, or the skin of neighbouring slices would step.
    centres = np.convolve(np.pad(raw, 8, mode="edge"), np.ones(17) / 17, mode="valid")
    radii = np.zeros((len(heights), SIDES))
    for r, near in enumerate(slices):
        support = ((near - [0.0, centres[r]]) @ ways).max(axis=0)
        radii[r] = np.where(gap > 0.2, support[None] / np.maximum(gap, 0.2), 1e9).min(axis=1)
    # No organ fills the front of the donor's belly: span it from the ribs' margin to the pelvis.
    low, high = np.searchsorted(heights, [885.0, 1175.0])
    part = np.linspace(0, 1, high - low)[:, None]
    radii[low:high] = np.maximum(radii[low:high], 0.94 * ((1 - part) * radii[low] + part * radii[high]))
    return heights, centres, (radii + np.roll(radii, 1, 1) + np.roll(radii, -1, 1)) / 3


def skin(anatomy: Anatomy, tissue: Tissue, head: float = 1.0) -> Mesh:
    """Return the patient's skin: the hull of each slice, and the fat upon it. head: factor of the head's size."""
    heights, centres, radii = _hull(anatomy, 185.0 if tissue.arm_degrees.mean() < 20 else 118.0)
    if tissue.hips:
        _, low_centres, low_radii = _hull(anatomy, 185.0)
        share = tissue.hips * np.clip((1030.0 - heights) / 90.0, 0, 1)
        centres = centres + share * (low_centres - centres)
        radii = radii + share[:, None] * (low_radii - radii)
    angle = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    front, back = np.clip(-np.sin(angle), 0, 1)[None], np.clip(np.sin(angle), 0, 1)[None]
    z = heights[:, None]
    thick = tissue.fat_mm * np.interp(z, FAT_AT_MM, FAT_SHARE) * (1 - 0.55 * back) + 3.0
    thick = thick + front**1.5 * tissue.belly_mm * np.exp(-(((z - 990) / 90) ** 2))
    thick = thick + back * tissue.buttock_mm * np.exp(-(((z - 845) / 75) ** 2))
    # Flesh rounds what the ribs' margin and the shoulders leave as steps; the face keeps its shape.
    smooth = radii.copy()
    for _ in range(14):
        smooth[1:-1] = (smooth[:-2] + 2 * smooth[1:-1] + smooth[2:]) / 4
    share = np.clip((z - 1410.0) / 40.0, 0, 1)
    grown = share * radii + (1 - share) * np.maximum(smooth, radii * 0.93) + thick
    # The hull of chin, shoulders and neck would fill the hollows of nape and throat.
    nape = np.exp(-(((z - 1430) / 42) ** 2)) * np.clip(1 + np.sin(angle), 0, 1)[None]
    throat = np.exp(-(((z - 1405) / 30) ** 2)) * front
    grown *= 1 - np.maximum(nape, throat) * (1 - tissue.neck)
    narrow = 1 - tissue.loin * np.clip(np.sin(angle), 0, 1)[None] * np.exp(-(((z - 1000) / 110) ** 4))
    across, along = grown * np.cos(angle) * narrow, centres[:, None] + grown * np.sin(angle)
    rings = np.stack([across, along, np.broadcast_to(z, grown.shape)], axis=-1)
    size = 1 + (head - 1) * np.clip((z[..., None] - 1450.0) / 40.0, 0, 1)
    centre = anatomy.vertebrae[0].origin
    return close_rings(centre + size * (rings - centre))


def airway(anatomy: Anatomy, half_depth_mm: float) -> Mesh:
    """Return the air from the nasopharynx to the carina."""
    trachea = next(p for p in anatomy.parts if p.name == "trachea").mesh.vertices
    heights = np.arange(1325.0, 1412.0, 6.0)
    low = np.array([[*trachea[np.abs(trachea[:, 2] - z) < 4][:, :2].mean(axis=0), z] for z in heights])
    half = np.array(PHARYNX_HALF_MM) * half_depth_mm / 6.5
    trunk = np.tile([7.5, 7.0], (len(low), 1))
    return tube(np.concatenate([low, np.array(PHARYNX_MM)]), np.concatenate([trunk, half]))


def arm_flesh(side: int, tissue: Tissue) -> Mesh:
    """Return the flesh of an arm that hangs down; side: -1 right, 1 left."""
    axis = np.array(ARM_AXIS_MM, dtype=float)
    radius = (np.array(ARM_RADIUS_MM) + 0.3 * tissue.fat_mm) * tissue.arm
    height = np.linspace(axis[0, 1], axis[-1, 1], 36)
    across = side * np.interp(height, axis[:, 1], axis[:, 0])
    girth = np.interp(height, axis[:, 1], radius)
    along = np.interp(height, [800.0, 1050.0], [-110.0, -70.0])
    centres = np.stack([across, along, height], axis=1)
    return tube(centres, np.stack([girth, girth], axis=1))


def swing(points: Floats, side: int, tissue: Tissue) -> Floats:
    """Return arm points (N, 3) mm after elbow and shoulder have bent; side: -1 right, 1 left."""
    k = int(side > 0)
    elbow, shoulder = np.array([side * 222.0, -72.0, 1052.0]), np.array([side * 155.0, -72.0, 1335.0])
    fore = np.clip((1075.0 - points[:, 2]) / 40.0, 0, 1)[:, None]
    bent = (points - elbow) @ rotation(-np.radians(tissue.elbow_degrees[k]), 0, 0).T + elbow
    points = (1 - fore) * points + fore * bent
    turn = rotation(-np.radians(tissue.arm_degrees[k]), -side * 0.12, 0)
    return np.asarray((points - shoulder) @ turn.T + shoulder) - [0.0, tissue.protracted_mm, 0.0]


def breasts(tissue: Tissue) -> list[Mesh]:
    """Return both breasts, or none."""
    if not tissue.breast_mm:
        return []
    half = tissue.breast_mm * np.array([1.25, 0.8, 1.6])
    return [ellipsoid(np.array([side * 75.0, -195.0, 1205.0]), half) for side in (-1, 1)]


def gas_bubbles(tissue: Tissue, rng: np.random.Generator) -> list[Mesh]:
    """Return bowel gas, now and then a stomach bubble under the diaphragm, and rectal gas."""
    found = []
    for _ in range(int(rng.integers(4, 26))):
        place = np.array([rng.uniform(-105, 105), rng.uniform(-185, -100), rng.uniform(850, 1070)])
        found.append(_lumpy(place, rng.uniform(4, 20) * rng.uniform(0.6, 1.6, 3), rng))
    if rng.random() < 0.7:
        bubble = np.array([rng.uniform(40, 75), rng.uniform(-150, -100), 1165 - tissue.diaphragm_mm])
        found.append(ellipsoid(bubble, rng.uniform(10, 32, 3) * [1.3, 1.3, 0.8]))
    for _ in range(int(rng.integers(0, 4))):
        place = np.array([rng.uniform(-25, 25), rng.uniform(-75, -50), rng.uniform(800, 880)])
        found.append(_lumpy(place, rng.uniform(8, 22, 3), rng))
    return found


def _lumpy(centre: Floats, half_axes: Floats, rng: np.random.Generator) -> Mesh:
    """Return a loop of bowel: a ball with haustra."""
    mesh = ellipsoid(centre, half_axes)
    away = mesh.vertices - centre
    ways = rng.normal(0, 3.5, (3, 3)) / half_axes
    swell = 1 + 0.16 * np.sin(away @ ways + rng.uniform(0, 6, 3)).sum(axis=1)
    return Mesh(centre + away * swell[:, None], mesh.faces)
