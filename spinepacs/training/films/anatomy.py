"""The donor: surfaces of one adult by part, the frame of every vertebra, and the marks on its body.

Source of the surfaces: BodyParts3D, (c) The Database Center for Life Science, CC BY-SA 2.1 Japan.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from spinepacs.domain.anatomy import Level
from spinepacs.errors import BadSettings
from spinepacs.training.films.landmarks import (
    GRID_MM,
    HALF_MM,
    Body,
    body_of,
    free_form,
    hull_body,
    keep_body,
    plane_mask,
)
from spinepacs.training.films.mesh import Floats, Mesh, cluster, outward, vertex_normals

LEVELS = tuple(level.name for level in Level)
S1 = int(Level.S1)
ORDINALS = (
    "first", "second", "third", "fourth", "fifth", "sixth",
    "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth",
)  # fmt: skip
# Coarsening by group, mm: fine where an edge is seen, coarse where only thickness counts.
CELLS_MM = {"vertebra": 0.6, "rib": 1.3, "skull": 1.4, "mandible": 1.0, "tooth": 0.9, "girdle": 1.6, "sternum": 2.0,
            "lung": 3.0, "organ": 4.0, "muscle": 5.0, "neck": 1.5}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One surface of the donor in its own place: name and group as in the index, normals (N, 3) unit vectors."""

    name: str
    group: str
    mesh: Mesh
    normals: Floats


@dataclass(frozen=True)
class Vertebra:
    """Frame and marks of one level.

    frame: (3, 3), rows x (left), y (back), z (up along the body); origin: (3,) mm, centre of the body.
    sagittal, coronal: its marks on the two planes through the origin. half_width_mm: of its plates.
    """

    level: str
    frame: Floats
    origin: Floats
    sagittal: Body
    coronal: Body
    half_width_mm: float

    @property
    def upper_mm(self) -> float:
        """Height of the upper plate's middle above the origin."""
        return float(self.sagittal.corners[:2, 1].mean())

    @property
    def lower_mm(self) -> float:
        """Height of the lower plate's middle above the origin (negative)."""
        return float(self.sagittal.corners[2:, 1].mean())

    def lift(self, points: Floats, coronal: bool = False) -> Floats:
        """Return points (N, 2) of a plane as (N, 3) mm in the vertebra's frame."""
        zero = np.zeros(len(points))
        columns = [points[:, 0], zero, points[:, 1]] if coronal else [zero, points[:, 0], points[:, 1]]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """All parts of the donor and its vertebrae, C1 to S1 (25, index = class of the network, unless one was added).

    Compared and hashed by identity, so that what is derived from it can be cached.
    """

    parts: tuple[Part, ...]
    vertebrae: tuple[Vertebra, ...]

    @cached_property
    def levels(self) -> tuple[str, ...]:
        """Names of the vertebrae, from the top."""
        return tuple(vertebra.level for vertebra in self.vertebrae)

    @property
    def last(self) -> int:
        """Index of S1."""
        return len(self.vertebrae) - 1


def _rows(folder: Path) -> list[dict[str, str]]:
    index = folder / "index.csv"
    if not index.is_file():
        raise BadSettings(f"{folder} holds no index.csv: not a folder of BodyParts3D surfaces")
    with index.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _load(folder: Path, row: dict[str, str]) -> Mesh:
    with np.load(folder / row["file"]) as data:
        mesh = Mesh(data["vertices"].astype(np.float64), data["faces"].astype(np.int32))
    return outward(mesh)


def _disc_level(name: str) -> str:
    """Return the level above a disc, from its name ("... of axis", "... of sixth thoracic vertebra")."""
    if name.endswith("axis"):
        return "C2"
    ordinal, region = name.replace("intervertebral disk of ", "").split()[:2]
    return f"{region[0].upper()}{ORDINALS.index(ordinal) + 1}"


def _frames(meshes: dict[str, Mesh], discs: dict[str, Mesh]) -> dict[str, tuple[Floats, Floats, float]]:
    """Return level -> (frame, origin, half-width): the axis runs from disc to disc."""
    centres = {level: disc.vertices.mean(axis=0) for level, disc in discs.items()}
    widths = {level: float(np.ptp(disc.vertices[:, 0])) / 2 for level, disc in discs.items()}
    found = {}
    for i in range(2, S1):
        level, above = LEVELS[i], LEVELS[i - 1]
        half = (widths[level] + widths[above]) / 2
        found[level] = (*_frame(centres[level], centres[above]), half)
    frame = found["C3"][0]
    base = centres["C2"]
    found["C2"] = (frame, base + 10.5 * frame[2], widths["C2"])
    arch = meshes["C1"].vertices
    found["C1"] = (np.eye(3), np.array([base[0], arch[:, 1].min() + 5.0, arch[:, 2].mean()]), 22.0)
    found["S1"] = (*_sacral_frame(discs["L5"]), widths["L5"])
    return found


def _frame(below: Floats, above: Floats) -> tuple[Floats, Floats]:
    up = (above - below) * np.array([0.0, 1.0, 1.0])
    up /= np.linalg.norm(up)
    back = np.cross(up, np.array([1.0, 0.0, 0.0]))
    return np.stack([np.array([1.0, 0.0, 0.0]), back, up]), (below + above) / 2


def _sacral_frame(disc: Mesh) -> tuple[Floats, Floats]:
    """Return S1's frame: the disc's plane gives the plate, its centre lies 17 mm below the disc."""
    centred = disc.vertices - disc.vertices.mean(axis=0)
    flat = centred[:, 1:]
    _, _, axes = np.linalg.svd(flat[::7], full_matrices=False)
    up = np.array([0.0, *(axes[1] * np.sign(axes[1][1]))])
    frame = np.stack([np.array([1.0, 0.0, 0.0]), np.cross(up, np.array([1.0, 0.0, 0.0])), up])
    return frame, disc.vertices.mean(axis=0) - 19.0 * up


def marks(
    level: str, mesh: Mesh, frame: Floats, origin: Floats, half: float, lip: float | None = None
) -> Vertebra:
    """Return a vertebra with the marks of its body.

    mesh: its surface; frame (3, 3) and origin (3,) mm: see `Vertebra`. half: half the width of its plates, mm.
    lip: see `body_of`; None: what suits the first donor.
    """
    reach = 4.0 if level[0] == "C" else 6.0
    sagittal = keep_body(plane_mask(mesh, frame, origin, 0, np.linspace(-reach, reach, 7)))
    coronal = plane_mask(mesh, frame, origin, 1, np.linspace(-4, 4, 5))
    columns = np.abs(np.arange(coronal.shape[1]) + 0.5 - coronal.shape[1] / 2) * GRID_MM
    coronal[:, columns > half + 1.5] = 0
    rows = HALF_MM - (np.arange(coronal.shape[0]) + 0.5) * GRID_MM
    if level == "S1":
        sagittal[rows < -14], coronal[rows < -14] = 0, 0
        sagittal[:, np.arange(sagittal.shape[1]) > (HALF_MM + 13.0) / GRID_MM] = 0
    band = {"C2": (-7.0, 0.0), "S1": (-11.0, 9.0)}.get(level, (-3.5, 3.5) if level[0] == "C" else (-5.0, 5.0))
    if level == "C1":
        return Vertebra(level, frame, origin, *_atlas_marks(mesh, frame, origin), half)
    if lip is None:
        lip = 0.9 if level[0] == "C" else 0.0 if level == "S1" else 0.4
    across, along = body_of(keep_body(coronal), band), body_of(sagittal, band, lip)
    if level in ("C2", "S1"):
        along = free_form(sagittal, along.corners)
    if level == "C2":
        along, across = _with_dens(along), _with_dens(free_form(keep_body(coronal), across.corners))
    return Vertebra(level, frame, origin, along, across, half)


def _with_dens(body: Body) -> Body:
    """Put the upper corners of C2 on the shoulders of its dens, 2 mm under the tip."""
    top = body.outline[:, 1].max()
    tip = body.outline[body.outline[:, 1] > top - 4.0]
    corners = body.corners.copy()
    corners[0], corners[1] = (tip[:, 0].min(), top - 2.0), (tip[:, 0].max(), top - 2.0)
    return Body(body.outline, corners)


def _atlas_marks(mesh: Mesh, frame: Floats, origin: Floats) -> tuple[Body, Body]:
    """Return the marks of C1: what lies in front of mid-canal, without the transverse processes."""
    local = (mesh.vertices - origin) @ frame.T
    front = local[
        (local[:, 1] < 0.5 * (local[:, 1].min() + local[:, 1].max()) - 3) & (np.abs(local[:, 0]) < 22)
    ]
    return hull_body(front[:, 1:]), hull_body(front[:, [0, 2]])


def load_anatomy(folder: Path) -> Anatomy:
    """Read the donor's surfaces and find the frame and marks of every vertebra; takes some seconds.

    folder: index.csv (file, name, group) and npz files with `vertices` (mm) and `faces`.
    Raises BadSettings when the index, FileNotFoundError when one of its files is missing.
    """
    rows = _rows(folder)
    fine = {row["name"]: _load(folder, row) for row in rows if row["group"] in ("vertebra", "disc")}
    bones = {name.replace(" vertebra", ""): mesh for name, mesh in fine.items() if name.endswith("vertebra")
             and not name.startswith("intervertebral")}  # fmt: skip
    bones["S1"] = fine["sacrum"]
    discs = {_disc_level(name): mesh for name, mesh in fine.items() if name.startswith("intervertebral")}
    frames = _frames(bones, discs)
    vertebrae = tuple(marks(level, bones[level], *frames[level]) for level in LEVELS)
    parts = []
    for row in rows:
        if row["group"] == "disc":
            continue
        mesh = cluster(fine.get(row["name"]) or _load(folder, row), CELLS_MM[row["group"]])
        name = row["name"].replace(" vertebra", "") if row["group"] == "vertebra" else row["name"]
        parts.append(Part("S1" if name == "sacrum" else name, row["group"], mesh, vertex_normals(mesh)))
    return Anatomy(tuple(parts), vertebrae)
