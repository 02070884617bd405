"""Other people's vertebrae from L1 down, laid in the first donor's place: a patient may have either's loin and sacrum.

Sources of the surfaces: the Visible Human male, symmetrised: L1 to L5, sacrum and pelvis, (c) 2021 Robin Remus,
BSD-3-Clause (PLoS ONE 16(4): e0250456); the mean L2 to L5 of 87 patients, (c) 2022 Allison Clouthier, MIT
(J Biomech 146: 111421, 2023). Their axes are x forwards, y to a side, z up; mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from spinepacs.errors import BadSettings
from spinepacs.training.films.anatomy import CELLS_MM, Anatomy, Part, Vertebra, marks
from spinepacs.training.films.landmarks import body_of, keep_body, plane_mask
from spinepacs.training.films.mesh import Floats, Mesh, cluster, outward, vertex_normals

LUMBAR = ("L1", "L2", "L3", "L4", "L5")
PLATE_MM, BACK_MM = 13.4, 13.0
"""Height of S1's plate, and place of its back rim, from its origin: as in the first donor."""
LIP = 0.5
"""These surfaces are smooth: straight lines of wall and plate would meet outside their rounded rims."""
_SLOPE = np.radians(36.0)
"""Where to look for the plate of S1 first; what is found then corrects it."""
_PELVIS, HIP = "Pelvis", "hip bone"


@dataclass(frozen=True, eq=False)
class Second:
    """Another donor in the first one's place: its vertebrae, and its parts (of them, and hip bones), by name."""

    vertebrae: Mapping[str, Vertebra]
    parts: Mapping[str, Part]


def load_second(folder: Path, donor: Anatomy) -> Second:
    """Read the second donor's surfaces and lay them where the first one's L1 and S1 are; takes some seconds.

    folder: `L1.npz` to `L5.npz`, `S1.npz` (the whole sacrum) and `Pelvis.npz` with `vertices` and `faces`.
    Raises BadSettings when one of them is missing.
    """
    return _placed({name: _load(folder / f"{name}.npz") for name in (*LUMBAR, "S1", _PELVIS)}, donor)


def load_mean(path: Path, donor: Anatomy) -> Second:
    """Read the mean L2 to L5, one file of four separate surfaces, and lay them where the first donor's are.

    Raises BadSettings when it is missing or holds another number of surfaces.
    """
    pieces = _pieces(_load(path))
    if len(pieces) != len(LUMBAR) - 1:
        raise BadSettings(f"{path} holds {len(pieces)} surfaces, not those of L2 to L5")
    pieces.sort(key=lambda mesh: -float(mesh.vertices[:, 2].mean()))
    return _placed(dict(zip(LUMBAR[1:], pieces, strict=True)), donor)


@lru_cache(maxsize=8)
def with_second(donor: Anatomy, second: Second, lumbar: bool, sacrum: bool) -> Anatomy:
    """Return the first donor with the other's lumbar vertebrae, or its sacrum and hip bones, or both."""
    taken = {name for name in second.vertebrae if (sacrum if name == "S1" else lumbar)}
    vertebrae = tuple(second.vertebrae[v.level] if v.level in taken else v for v in donor.vertebrae)
    parts = [second.parts[p.name] if p.name in taken else p for p in donor.parts]
    if sacrum:
        parts = [p for p in parts if not p.name.endswith(HIP)] + [second.parts[_PELVIS]]
    return Anatomy(tuple(parts), vertebrae)


def _load(path: Path) -> Mesh:
    if not path.is_file():
        raise BadSettings(f"{path.parent} holds no {path.name}: not lumbosacral surfaces")
    with np.load(path) as data:
        forward, aside, up = data["vertices"].astype(np.float64).T
        faces = data["faces"].astype(np.int32)
    return outward(Mesh(np.stack([aside, -forward, up], axis=1), faces))


def _pieces(mesh: Mesh) -> list[Mesh]:
    """Return the surfaces that hang together."""
    edges = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(mesh.vertices),) * 2)
    count, which = connected_components(graph, directed=False)
    found = []
    for piece in range(count):
        own = which == piece
        number = np.cumsum(own) - 1
        found.append(Mesh(mesh.vertices[own], number[mesh.faces[own[mesh.faces[:, 0]]]].astype(np.int32)))
    return found


def _placed(meshes: dict[str, Mesh], donor: Anatomy) -> Second:
    """Lay surfaces, by level from the top (and the pelvis), where the donor's first and last of these levels are."""
    own = {vertebra.level: vertebra for vertebra in donor.vertebrae}
    levels = [name for name in meshes if name in own]
    ends = levels[0], levels[-1]
    here = [_frame_of(name, meshes[name])[1] for name in ends]
    there = [own[name].origin for name in ends]
    vertebrae, parts = {}, {}
    for name, mesh in meshes.items():
        laid = Mesh(_laid(mesh.vertices, here, there), mesh.faces)
        if name in own:
            vertebrae[name], laid = _vertebra(name, laid, own[name])
        group, called = ("vertebra", name) if name in own else ("girdle", HIP)
        coarse = cluster(laid, CELLS_MM[group])
        parts[name] = Part(called, group, coarse, vertex_normals(coarse))
    return Second(vertebrae, parts)


def _upright(up: Floats) -> Floats:
    """The frame (3, 3) whose z is ``up``, a vector without a part to the side."""
    up = up / np.linalg.norm(up)
    left = np.array([1.0, 0.0, 0.0])
    return np.stack([left, np.cross(up, left), up])


def _frame_of(name: str, mesh: Mesh) -> tuple[Floats, Floats]:
    """Return frame (3, 3) and origin (3,) mm of a vertebra by the corners of its body, found in a few rounds."""
    middle = mesh.vertices[np.abs(mesh.vertices[:, 0]) < 6.0]
    body = middle[middle[:, 1] < middle[:, 1].min() + 30.0]
    frame, origin = np.eye(3), np.array([0.0, middle[:, 1].min() + 17.0, body[:, 2].mean()])
    if name == "S1":
        frame = _upright(np.array([0.0, -np.sin(_SLOPE), np.cos(_SLOPE)]))
        front = middle[np.argmin(middle[:, 1])]  # the promontory
        origin = np.array([0.0, *front[1:]]) + 16.0 * frame[1] - PLATE_MM * frame[2]
    for _ in range(5):
        mask = keep_body(plane_mask(mesh, frame, origin, 0, np.linspace(-6, 6, 7)))
        corners = body_of(mask, (-9.0, 9.0) if name == "S1" else (-5.0, 5.0), LIP).corners
        corners = origin + corners[:, :1] * frame[1] + corners[:, 1:] * frame[2]
        upper, lower = corners[:2].mean(axis=0), corners[2:].mean(axis=0)
        if name == "S1":
            frame = _upright(np.cross(frame[0], corners[1] - corners[0]))
            origin = corners[1] - BACK_MM * frame[1] - PLATE_MM * frame[2]
        else:
            frame, origin = _upright(upper - lower), (upper + lower) / 2
    return frame, origin


def _laid(points: Floats, own: list[Floats], there: list[Floats]) -> Floats:
    """Return points turned, moved and scaled alike everywhere so that ``own`` come to lie at ``there``."""
    here, wanted = (ends[0] - ends[1] for ends in (own, there))
    scale = np.linalg.norm(wanted[1:]) / np.linalg.norm(here[1:])
    angle = np.arctan2(wanted[2], wanted[1]) - np.arctan2(here[2], here[1])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return np.asarray(scale * (points - own[1]) @ turn.T + there[1])


def _vertebra(name: str, mesh: Mesh, like: Vertebra) -> tuple[Vertebra, Mesh]:
    """Return frame and marks of a vertebra, and its surface as deep for its height as the first donor's.

    A patient's bodies get their depth as factors of the first donor's; the shapes stay the second's.
    """
    frame, origin = _frame_of(name, mesh)
    local = (mesh.vertices - origin) @ frame.T
    found = marks(name, mesh, frame, origin, _half_width(local), LIP)
    if name != "S1":
        local = local * [1.0, _slender(found) / _slender(like), 1.0]
        mesh = Mesh(local @ frame + origin, mesh.faces)
        found = marks(name, mesh, frame, origin, found.half_width_mm, LIP)
    return found, mesh


def _slender(vertebra: Vertebra) -> float:
    """Height over depth of a body."""
    corners = vertebra.sagittal.corners
    depth = np.linalg.norm(corners[[1, 2]] - corners[[0, 3]], axis=1).mean()
    return float((vertebra.upper_mm - vertebra.lower_mm) / depth)


def _half_width(local: Floats) -> float:
    """Half the width of the upper plate: what stands in front of the canal, near the top."""
    top = local[(np.abs(local[:, 0]) < 32) & (local[:, 1] < 8) & (local[:, 2] > 6) & (local[:, 2] < 18)]
    return float(np.percentile(np.abs(top[:, 0]), 97))
