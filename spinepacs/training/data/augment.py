"""Turn labelled films into training samples: one affine warp, grey-level changes, soft masks at a quarter size.

Every random choice comes from the generator that is passed in.  Coordinates are x, y with pixel centres at whole
numbers, at the native scale of the film or at that of the canvas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import Film, LabelledBody, read_grey

Grey = NDArray[np.uint8]
Affine = NDArray[np.float64]

PAD_VALUE = 114
MASK_STRIDE = 4
_CACHE_SIDE_PX = 1408
_HIDDEN, _HIDDEN_WEIGHT = range(int(Level.C5), int(Level.T7) + 1), 2.0
"""Levels that shoulders hide on lateral films: windows are centred on them twice as often."""
_MIN_VISIBLE = 0.35
_SUPERSAMPLE = 16
"""Of a mask cell along each axis: fillPoly paints the border pixels too, which must stay thin."""


@dataclass(frozen=True)
class Canvas:
    """Height and width of the network's input in pixels, both multiples of 32."""

    height_px: int
    width_px: int


@dataclass(frozen=True)
class Sample:
    """One training image.

    ``image`` uint8 (height, width); ``classes`` int64 (n,); ``boxes_px`` float32 (n, 4) x0, y0, x1, y1 of the visible
    part; ``masks`` float32 (n, height / 4, width / 4), the share of each cell that the body covers;
    ``unlabelled`` as in :class:`Film`.
    """

    image: Grey
    classes: NDArray[np.int64]
    boxes_px: NDArray[np.float32]
    masks: NDArray[np.float32]
    unlabelled: frozenset[int]


class FilmCache:
    """Films in memory as grey pyramids of at most 1408 px, read once."""

    def __init__(self) -> None:
        self._pyramids: dict[Path, tuple[list[Grey], float]] = {}

    def get(self, film: Film) -> tuple[list[Grey], float]:
        """Pyramid levels, each half the former, and the scale from the film to the first level."""
        if film.path not in self._pyramids:
            self._pyramids[film.path] = self._load(film.path)
        return self._pyramids[film.path]

    @staticmethod
    def _load(path: Path) -> tuple[list[Grey], float]:
        image = read_grey(path)
        height, width = image.shape
        scale = min(1.0, _CACHE_SIDE_PX / max(height, width))
        first = (
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
        )
        levels = [first.astype(np.uint8)]
        while max(levels[-1].shape) > 500:
            levels.append(
                cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.uint8)
            )
        return levels, first.shape[1] / width


def whole_film(film: Film, canvas: Canvas, rng: np.random.Generator) -> Affine:
    """Native-to-canvas affine that shows all of a film: turned, scaled, shifted a little, flipped half the time."""
    fit = min(canvas.height_px / film.height_px, canvas.width_px / film.width_px)
    scale = fit * rng.uniform(0.8, 1.12)
    slack = np.array([canvas.width_px - scale * film.width_px, canvas.height_px - scale * film.height_px])
    centre = np.array([canvas.width_px, canvas.height_px]) / 2 + rng.uniform(-0.5, 0.5, 2) * np.abs(slack)
    return _affine((film.width_px / 2, film.height_px / 2), centre, scale, rng, turn_deg=14)


def zoom_in(film: Film, canvas: Canvas, body_px: tuple[float, float], rng: np.random.Generator) -> Affine:
    """Native-to-canvas affine of a window on the spine, in which a body is ``body_px`` (from, to) pixels high."""
    heights = [float(np.ptp(body.outline_px[:, 1])) for body in film.bodies]
    wanted = np.exp(rng.uniform(*np.log(body_px)))
    scale = wanted / max(4.0, float(np.median(heights)))
    weights = np.array([_HIDDEN_WEIGHT if body.class_id in _HIDDEN else 1.0 for body in film.bodies])
    focus = film.bodies[rng.choice(len(film.bodies), p=weights / weights.sum())].outline_px.mean(axis=0)
    middle = np.array([canvas.width_px, canvas.height_px]) / 2
    target = middle + rng.uniform(-0.3, 0.3, 2) * 2 * middle * (0.8, 0.9)
    return _affine((float(focus[0]), float(focus[1])), target, scale, rng, turn_deg=26)


def _affine(
    source: tuple[float, float],
    target: NDArray[np.float64],
    scale: float,
    rng: np.random.Generator,
    turn_deg: float,
) -> Affine:
    angle = np.deg2rad(rng.normal(0, turn_deg / 2))
    stretch = np.exp(rng.normal(0, 0.05))
    flip = rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = scale * turn @ np.diag([flip * stretch, 1.0])
    return np.column_stack([linear, target - linear @ np.array(source)])


def make_sample(
    film: Film, cache: FilmCache, canvas: Canvas, affine: Affine, rng: np.random.Generator | None
) -> Sample:
    """Warp a film and its labels onto the canvas; without ``rng`` the grey levels stay as they are."""
    levels, first_scale = cache.get(film)
    image = _warp(levels, first_scale, affine, canvas)
    if rng is not None:
        image = veiled(change_greys(image, rng), rng)
    linear, shift = affine[:, :2].T.astype(np.float32), affine[:, 2].astype(np.float32)
    outlines = [body.outline_px @ linear + shift for body in film.bodies]
    return _labelled(image, film.bodies, outlines, canvas, film.unlabelled)


def _warp(levels: Sequence[Grey], first_scale: float, affine: Affine, canvas: Canvas) -> Grey:
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    level = 0
    # Bilinear sampling aliases below half size, so the coarsest level that still has the detail is taken.
    while level + 1 < len(levels) and scale / (first_scale * 0.5 ** (level + 1)) < 1.15:
        level += 1
    level_scale = first_scale * 0.5**level
    to_native = np.array(
        [[1 / level_scale, 0, 0.5 / level_scale - 0.5], [0, 1 / level_scale, 0.5 / level_scale - 0.5]]
    )
    combined = affine[:, :2] @ to_native
    combined[:, 2] += affine[:, 2]
    size = (canvas.width_px, canvas.height_px)
    warped = cv2.warpAffine(levels[level], combined, size, flags=cv2.INTER_LINEAR, borderValue=PAD_VALUE)
    return np.asarray(warped, np.uint8)


def _labelled(
    image: Grey,
    bodies: Sequence[LabelledBody],
    outlines: Sequence[NDArray[np.float32]],
    canvas: Canvas,
    unlabelled: frozenset[int],
) -> Sample:
    limits = np.array([canvas.width_px, canvas.height_px], np.float32) - 0.5
    classes, boxes, masks = [], [], []
    for body, outline in zip(bodies, outlines, strict=True):
        visible = np.clip(outline, -0.5, limits)
        area = cv2.contourArea(outline)
        mask = soft_mask(outline, canvas)
        if area < 12 or mask.sum() * MASK_STRIDE**2 < _MIN_VISIBLE * area:
            continue
        classes.append(body.class_id)
        boxes.append(np.concatenate([visible.min(axis=0), visible.max(axis=0)]) + 0.5)
        masks.append(mask)
    shape = (0, canvas.height_px // MASK_STRIDE, canvas.width_px // MASK_STRIDE)
    return Sample(
        image,
        np.array(classes, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.stack(masks) if masks else np.zeros(shape, np.float32),
        unlabelled,
    )


def soft_mask(outline_px: NDArray[np.float32], canvas: Canvas) -> NDArray[np.float32]:
    """Share of every 4 × 4-pixel cell that lies inside the outline.

    Shares instead of a threshold tell the network where inside a cell the edge runs.

    Returns
    -------
    ndarray
        float32 (height / 4, width / 4) in 0 … 1.
    """
    rows, columns = canvas.height_px // MASK_STRIDE, canvas.width_px // MASK_STRIDE
    mask = np.zeros((rows, columns), np.float32)
    low = np.floor((outline_px.min(axis=0) + 0.5) / MASK_STRIDE).astype(int)
    high = np.ceil((outline_px.max(axis=0) + 0.5) / MASK_STRIDE).astype(int) + 1
    x0, y0 = np.clip(low, 0, [columns, rows])
    x1, y1 = np.clip(high, 0, [columns, rows])
    if x0 >= x1 or y0 >= y1:
        return mask
    fine = np.zeros(((y1 - y0) * _SUPERSAMPLE, (x1 - x0) * _SUPERSAMPLE), np.uint8)
    points = ((outline_px + 0.5) / MASK_STRIDE - [x0, y0]) * _SUPERSAMPLE - 0.5
    cv2.fillPoly(fine, [np.round(points * 16).astype(np.int32)], 255, shift=4)
    mask[y0:y1, x0:x1] = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA) / np.float32(255)
    return mask


def change_greys(image: Grey, rng: np.random.Generator) -> Grey:
    """Vary window, gamma, local contrast, sharpness, noise, collimation and polarity, each now and then."""
    if rng.random() < 0.3:
        image = _local_contrast(image, rng)
    values: NDArray[np.float32] = image.astype(np.float32) / np.float32(255)
    if rng.random() < 0.7:
        values = values ** np.float32(np.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.7:
        gain, offset = rng.uniform(0.55, 1.5), rng.uniform(-0.15, 0.15)
        values = (values - np.float32(0.5)) * np.float32(gain) + np.float32(0.5 + offset)
    if rng.random() < 0.25:
        values = np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.3)), np.float32)
    if rng.random() < 0.4:
        values = values + rng.normal(0, rng.uniform(0.005, 0.05), values.shape).astype(np.float32)
    if rng.random() < 0.15:
        values = _collimate(values, rng)
    if rng.random() < 0.12:
        values = _rule(values, rng)
    if rng.random() < 0.12:
        values = np.float32(1) - values
    return np.asarray(np.clip(values * 255 + 0.5, 0, 255), np.uint8)


def veiled(image: Grey, rng: np.random.Generator) -> Grey:
    """Now and then a part is bright and flat, as behind shoulders and under the belly, or dark."""
    if rng.random() > 0.35:
        return image
    rows, columns = image.shape
    y, x = np.mgrid[:rows, :columns]
    middle = rng.uniform(0, [rows, columns])
    reach = rng.uniform(0.2, 0.8) * rows
    veil = rng.uniform(0.2, 0.95) * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (2 * reach**2))
    grey = rng.choice([rng.uniform(170, 255), rng.uniform(0, 60)])
    return np.asarray(image * (1 - veil) + grey * veil, np.uint8)


def _local_contrast(image: Grey, rng: np.random.Generator) -> Grey:
    if rng.random() < 0.6:
        tiles = int(rng.integers(2, 9))
        return np.asarray(cv2.createCLAHE(rng.uniform(1, 4), (tiles, tiles)).apply(image), np.uint8)
    values = image.astype(np.float32)
    smooth = cv2.GaussianBlur(cv2.resize(values, None, fx=0.25, fy=0.25), (0, 0), rng.uniform(3, 12))
    coarse = cv2.resize(smooth, (image.shape[1], image.shape[0]))
    flattened = (
        values + rng.uniform(-0.3, 0.6) * (values - coarse) - rng.uniform(0, 0.5) * (coarse - coarse.mean())
    )
    return np.asarray(np.clip(flattened, 0, 255), np.uint8)


def _rule(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Thin lines over the whole film, as a measuring grid, a stitch seam or a plumb line draws them."""
    ruled = values.copy()
    step = int(rng.integers(24, 140))
    grey = np.float32(rng.choice([0.0, 0.8, 1.0]))
    strength = np.float32(rng.uniform(0.2, 0.9))
    first = int(rng.integers(step))
    if rng.random() < 0.7:
        ruled[first::step] += strength * (grey - ruled[first::step])
    if rng.random() < 0.7:
        ruled[:, first::step] += strength * (grey - ruled[:, first::step])
    return ruled


def _collimate(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    height, width = values.shape
    left, right = (int(share * width) for share in rng.uniform(0, 0.14, 2))
    top, bottom = (int(share * height) for share in rng.uniform(0, 0.03, 2))
    shut = np.full_like(values, rng.choice([0.0, 0.02, 1.0]))
    shut[top : height - bottom, left : width - right] = values[top : height - bottom, left : width - right]
    return shut
