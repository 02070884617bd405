"""What else lies in the beam: buttons, zips, hooks, wires, jewellery. Drawn on the film, not in the room."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from spinepacs.training.films.mesh import Image

Sketch = Callable[[Image, float, np.random.Generator], None]


def clutter(shape_px: tuple[int, int], spacing_mm: float, rng: np.random.Generator) -> Image:
    """Return what clothing and jewellery add to the attenuation, (H, W) float32; nothing on most films."""
    layer = np.zeros(shape_px, np.float32)
    if rng.random() < 0.22:
        for _ in range(int(rng.integers(1, 3))):
            SKETCHES[int(rng.integers(len(SKETCHES)))](layer, spacing_mm, rng)
        layer = np.asarray(cv2.GaussianBlur(layer, (0, 0), max(0.4 / spacing_mm, 0.5)), dtype=np.float32)
    return layer


def _spot(layer: Image, rng: np.random.Generator) -> tuple[int, int]:
    height, width = layer.shape
    return int(rng.uniform(0.15, 0.85) * width), int(rng.uniform(0.1, 0.9) * height)


def _buttons(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    x, y = _spot(layer, rng)
    radius, step = round(rng.uniform(4, 9) / spacing_mm), round(rng.uniform(60, 110) / spacing_mm)
    shade, hollow = float(rng.uniform(0.1, 0.8)), rng.random() < 0.5
    for k in range(int(rng.integers(1, 7))):
        place = (x + int(rng.normal(0, 2 / spacing_mm)), y + k * step)
        cv2.circle(layer, place, radius, shade, max(1, radius // 4) if hollow else -1, cv2.LINE_AA)


def _zip(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    x, y = _spot(layer, rng)
    shade, pitch = float(rng.uniform(0.2, 1.0)), 2.6 / spacing_mm
    for k in range(int(rng.integers(30, 140))):
        place = (int(x + (1 if k % 2 else -1) * 1.5 / spacing_mm), int(y + k * pitch))
        cv2.circle(layer, place, max(1, round(1.1 / spacing_mm)), shade, -1, cv2.LINE_AA)


def _bra(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    x, y = _spot(layer, rng)
    shade = float(rng.uniform(0.3, 1.5))
    for k in range(int(rng.integers(2, 4))):  # hooks and eyes
        for side in (-1, 1):
            place = (int(x + side * 6 / spacing_mm), int(y + 9 * k / spacing_mm))
            axes = (max(1, round(3 / spacing_mm)), max(1, round(1.6 / spacing_mm)))
            cv2.ellipse(layer, place, axes, 0, 0, 300, shade, max(1, round(0.8 / spacing_mm)), cv2.LINE_AA)
    if rng.random() < 0.5:  # the wires, and the slides of the straps
        for side in (-1, 1):
            axes = (round(55 / spacing_mm), round(45 / spacing_mm))
            place = (int(x + side * 70 / spacing_mm), int(y - 10 / spacing_mm))
            cv2.ellipse(layer, place, axes, 0, 10, 170, shade, max(1, round(1.5 / spacing_mm)), cv2.LINE_AA)


def _slide(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    x, y = _spot(layer, rng)
    half = (round(rng.uniform(3, 9) / spacing_mm), round(rng.uniform(5, 16) / spacing_mm))
    corners = ((x - half[0], y - half[1]), (x + half[0], y + half[1]))
    shade, thick = float(rng.uniform(0.4, 2.0)), max(1, round(1.2 / spacing_mm))
    cv2.rectangle(layer, *corners, shade, thick, cv2.LINE_AA)


def _chain(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    x, y = _spot(layer, rng)
    angle = np.linspace(0, np.pi, 90)
    across, down = rng.uniform(40, 75) / spacing_mm, rng.uniform(30, 130) / spacing_mm
    line = np.stack([x + across * np.cos(angle), y * 0.3 + down * np.sin(angle)], axis=1).astype(np.int32)
    cv2.polylines(layer, [line], False, float(rng.uniform(0.1, 0.6)), max(1, round(1 / spacing_mm)))


def _wire(layer: Image, spacing_mm: float, rng: np.random.Generator) -> None:
    """Draw a tube or a lead across the film, with an electrode at its end."""
    points = np.array([_spot(layer, rng) for _ in range(4)], dtype=float)
    t = np.linspace(0, 1, 120)[:, None]
    a, b, c, d = points
    line = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
    shade = float(rng.uniform(0.08, 0.5))
    thick = max(1, round(rng.uniform(0.8, 3) / spacing_mm))
    cv2.polylines(layer, [line.astype(np.int32)], False, shade, thick, cv2.LINE_AA)
    cv2.circle(layer, (int(d[0]), int(d[1])), round(5 / spacing_mm), shade, -1, cv2.LINE_AA)


SKETCHES: tuple[Sketch, ...] = (_buttons, _zip, _bra, _slide, _chain, _wire)
