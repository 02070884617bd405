"""The patient as solids in the room, each with what it adds to the attenuation per mm of path.

A bone is its whole at the weight of cortex, less its inside at what marrow lacks; everything lies in the skin,
which is full of soft tissue, so a part's weight is its own attenuation less that of soft tissue.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spinepacs.training.films.anatomy import LEVELS, Anatomy, Part
from spinepacs.training.films.build import Build, settle, with_ribs
from spinepacs.training.films.flesh import (
    ARM_BONES,
    Tissue,
    airway,
    arm_flesh,
    breasts,
    breathe,
    gas_bubbles,
    skin,
    swing,
    widen,
)
from spinepacs.training.films.hand import hand_bones, hand_flesh
from spinepacs.training.films.mesh import Floats, Ints, Mesh
from spinepacs.training.films.pose import Pose, carry, place_vertebra
from spinepacs.training.films.sacrum import bent, remnant
from spinepacs.training.films.scapula import scapula
from spinepacs.training.films.second import HIP
from spinepacs.training.films.signs import SCLEROSIS, Sign

# Attenuation per mm, at about 80 kV.
MARROW, CORTEX, METAL = 0.031, 0.056, 0.30
SKULL, TOOTH, LUNG, CARTILAGE, HYOID = 0.046, 0.075, 0.0062, 0.024, 0.045
# Thickness of the cortex, mm.
CORTEX_MM = {"vertebra": 0.8, "rib": 0.9, "girdle": 1.5, "sternum": 0.9, "mandible": 2.2}
BREATHING = ("liver", "spleen", "stomach")


@dataclass(frozen=True)
class Solid:
    """A closed surface in the room and what it adds per mm of path (may be negative).

    fine: its edges are seen, so it is drawn at the film's full resolution. airy: it is lung.
    """

    vertices: Floats
    faces: Ints
    weight: float
    fine: bool
    airy: bool = False


@dataclass(frozen=True)
class Vessel:
    """A thin branch in the lung: its line (N, 3) mm in the room, its radius, and what it adds per mm."""

    line: Floats
    radius_mm: float
    weight: float


def vessels(anatomy: Anatomy, pose: Pose, tissue: Tissue, rng: np.random.Generator) -> list[Vessel]:
    """Return branching vessels that fan out from both hila."""
    found = []
    for side in (-1, 1):
        hilum = np.array([side * 32.0, -88.0, 1262.0])
        for _ in range(int(rng.integers(15, 45))):
            way = rng.normal(0, 1, 3) * [0.7, 1.0, 1.3] + [side * 0.8, 0, -0.4]
            start, radius = hilum + rng.normal(0, 8, 3), rng.uniform(1.6, 4.5)
            for _ in range(5):
                way = way / np.linalg.norm(way) + rng.normal(0, 0.3, 3)
                end = start + way / np.linalg.norm(way) * rng.uniform(10, 24)
                line = carry(breathe(np.linspace(start, end, 3), tissue.diaphragm_mm), anatomy, pose)
                found.append(Vessel(line, radius, tissue.soft - LUNG))
                start, radius = end, max(radius * 0.72, 0.6)
    return found


def _hollow(
    part: Part, thickness_mm: float, tissue: Tissue, place: Callable[[Floats], Floats], marrow: float = 1.0
) -> list[Solid]:
    """Return a bone as cortex less what its marrow lacks; marrow: factor of its density."""
    inner = part.mesh.vertices - thickness_mm * part.normals
    loss = CORTEX - MARROW * tissue.density * marrow
    return [
        Solid(place(part.mesh.vertices), part.mesh.faces, CORTEX - tissue.soft, True),
        Solid(place(inner), part.mesh.faces, -loss, True),
    ]


def _bone(part: Part, anatomy: Anatomy, pose: Pose, tissue: Tissue, build: Build) -> list[Solid]:
    thickness_mm = CORTEX_MM[part.group]
    if part.group == "vertebra":
        level = anatomy.levels.index(part.name)
        own = anatomy.vertebrae[level]
        curve = build.sacrum_curve if level == anatomy.last else 0.0

        def put(points: Floats) -> Floats:
            local = bent((points - own.origin) @ own.frame.T, curve)
            return place_vertebra(local, level, anatomy, pose)

        marrow = build.pelvis if level == anatomy.last else 1.0
        return _hollow(part, thickness_mm * tissue.cortex * build.cortex, tissue, put, marrow)
    level_or_none = 0 if part.group == "mandible" else None

    def place(points: Floats) -> Floats:
        own = settle(points, part, build, anatomy)
        wide = own if part.group == "mandible" else widen(own, pose.trunk)
        return carry(wide, anatomy, pose, level_or_none)

    return _hollow(part, thickness_mm, tissue, place, build.pelvis if part.name.endswith(HIP) else 1.0)


def _plain(part: Part, anatomy: Anatomy, pose: Pose, tissue: Tissue, build: Build) -> Solid:
    """Return a part of one material."""
    points, faces = settle(part.mesh.vertices, part, build, anatomy), part.mesh.faces
    if part.group in ("skull", "tooth"):
        weight = (SKULL if part.group == "skull" else TOOTH) - tissue.soft
        return Solid(carry(points, anatomy, pose, 0), faces, weight, True)
    if part.name in ("hyoid bone", "thyroid cartilage"):
        weight = (HYOID if part.name == "hyoid bone" else CARTILAGE) - tissue.soft
        return Solid(carry(points, anatomy, pose), faces, weight, True)
    lung = part.group == "lung"
    if lung or part.name in BREATHING:
        points = breathe(points, tissue.diaphragm_mm)
    extra = tissue.muscle * (1.0 if part.group == "muscle" else 0.5)
    weight = LUNG - tissue.soft if lung else extra
    return Solid(carry(widen(points, pose.trunk), anatomy, pose), faces, weight, lung, lung)


def _arms(anatomy: Anatomy, pose: Pose, tissue: Tissue, build: Build) -> list[Solid]:
    """Return both arms, which swing about the shoulders and follow T2, and the shoulder blades."""
    t2, lift = LEVELS.index("T2"), np.array([0.0, 0.0, build.shoulder_mm])
    solids = []
    for side, name in ((-1, "right"), (1, "left")):

        def place(points: Floats, side: int = side) -> Floats:
            return carry(swing(points, side, tissue) + lift, anatomy, pose, t2)

        flesh = arm_flesh(side, tissue)
        solids.append(Solid(place(flesh.vertices), flesh.faces, build.shade[1] * tissue.soft, False))
        for mesh in hand_flesh(side):
            solids.append(Solid(place(mesh.vertices), mesh.faces, build.shade[1] * tissue.soft, False))
        for mesh in hand_bones(side):
            solids.append(Solid(place(mesh.vertices), mesh.faces, 0.6 * CORTEX - tissue.soft, True))
        raised = float(tissue.arm_degrees[int(side > 0)])
        for blade in scapula(side, raised, tissue.blade_mm, tissue.protracted_mm):
            points = carry(widen(blade.vertices + lift, pose.trunk), anatomy, pose)
            solids.append(Solid(points, blade.faces, build.shade[0] * (0.8 * CORTEX - tissue.soft), True))
        for part in anatomy.parts:
            if part.name.startswith(name) and part.name.endswith(ARM_BONES):
                solids.extend(_hollow(part, 1.8, tissue, place))
    return solids


def metal_solids(metal: tuple[Mesh, ...]) -> list[Solid]:
    """Return implants, given in the room, as solids."""
    return [Solid(mesh.vertices, mesh.faces, METAL, True) for mesh in metal]


def sign_solids(found: list[Sign], tissue: Tissue) -> list[Solid]:
    """Return signs of wear and repair as solids."""
    bone = MARROW * tissue.density + 0.006 - tissue.soft
    weights = {"gas": -0.9 * tissue.soft, "bridge": max(bone, 0.004), "cage": METAL}
    return [
        Solid(
            sign.mesh.vertices,
            sign.mesh.faces,
            SCLEROSIS[sign.grade] if sign.kind == "sclerosis" else weights[sign.kind],
            True,
        )
        for sign in found
    ]


def _remnant(anatomy: Anatomy, pose: Pose, tissue: Tissue, build: Build) -> list[Solid]:
    """Return what is left of the disc between S1 and S2: a slit without marrow between two dense plates, or nothing."""
    if not build.remnant[0]:
        return []
    slit, plates = remnant(anatomy.vertebrae[-1], build.remnant[0], build.remnant[1])
    lost = min(tissue.soft - MARROW * tissue.density * build.pelvis, 0.0) - 0.002
    weights = (lost, build.remnant[2], build.remnant[2])

    def put(mesh: Mesh) -> Floats:
        return place_vertebra(bent(mesh.vertices, build.sacrum_curve), anatomy.last, anatomy, pose)

    return [Solid(put(m), m.faces, w, True) for m, w in zip((slit, *plates), weights, strict=True)]


def build_body(
    anatomy: Anatomy, pose: Pose, tissue: Tissue, build: Build, rng: np.random.Generator
) -> list[Solid]:
    """Return every solid of the patient in the room, mm."""

    def soft(mesh: Mesh, weight: float, fine: bool = False) -> Solid:
        return Solid(carry(widen(mesh.vertices, pose.trunk), anatomy, pose), mesh.faces, weight, fine)

    solids = [soft(skin(anatomy, tissue, build.head), tissue.soft)]
    solids.append(soft(airway(anatomy, tissue.airway_mm), -tissue.soft, fine=True))
    for part in with_ribs(anatomy, build):
        if part.name.endswith(ARM_BONES) or part.name in ("trachea", "esophagus"):
            continue
        if part.group in CORTEX_MM and "cartilage" not in part.name:
            solids.extend(_bone(part, anatomy, pose, tissue, build))
        else:
            solids.append(_plain(part, anatomy, pose, tissue, build))
    solids.extend(_remnant(anatomy, pose, tissue, build))
    solids.extend(soft(breast, 0.45 * tissue.soft) for breast in breasts(tissue))
    solids.extend(soft(gas, -tissue.soft * rng.uniform(0.3, 1.0)) for gas in gas_bubbles(tissue, rng))
    return solids + _arms(anatomy, pose, tissue, build)
