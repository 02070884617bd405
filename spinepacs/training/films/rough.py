"""What happens to a film after the console: other people's windows, local equalisation, soft and small copies."""

from __future__ import annotations

import cv2
import numpy as np

from spinepacs.training.films.look import smooth
from spinepacs.training.films.mesh import Image


def roughen(value: Image, chance: float, rng: np.random.Generator) -> Image:
    """Return display values 0..1 after a random few of these changes; chance: of each of the common ones."""
    if rng.random() < 0.35 * chance:
        value = smooth(value, rng.uniform(0.6, 2.2) * value.shape[0] / 2000)
    if rng.random() < 0.3 * chance:
        value = _resampled(value, float(rng.uniform(0.3, 0.7)))
    if rng.random() < 0.6 * chance:
        value = shaded(value, rng)
    dice = rng.random() / max(chance, 1e-6)
    if dice < 0.2:
        value = equalised(value, float(10 ** rng.uniform(-0.1, 0.7)), int(rng.integers(2, 10)))
    elif dice < 0.55:
        value = np.clip(value, 0, None) ** float(np.exp(rng.normal(0, 0.45)))  # shading may go below 0
    if rng.random() < 0.35 * chance:  # washed out, too dark or too bright
        low, span = rng.uniform(0, 0.35), rng.uniform(0.35, 0.85)
        value = low + value * min(span, 1 - low)
    if rng.random() < 0.05 * chance:
        value = photographed(value, rng)
    return np.asarray(np.clip(value, 0, 1), dtype=np.float32)


def photographed(value: Image, rng: np.random.Generator) -> Image:
    """Return the film as a telephone sees it on a screen: moire, a lamp's glare, uneven light, colour noise."""
    height, width = value.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(3, 9)
    moire = np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / pitch)
    slow = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.sin(angle) + y) / rng.uniform(60, 300))
    glare = np.exp(
        -((x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2)
        / (2 * (rng.uniform(0.05, 0.2) * height) ** 2)
    )
    lit = shaded(value, rng) + rng.uniform(0.005, 0.03) * moire * slow + rng.uniform(0, 0.35) * glare
    soft = smooth(np.asarray(lit, dtype=np.float32), 0.8)
    noise = rng.standard_normal(value.shape, dtype=np.float32)
    return np.asarray(0.04 + 0.92 * (soft + 0.015 * noise), dtype=np.float32)


def equalised(value: Image, clip: float, tiles: int) -> Image:
    """Return the film after CLAHE (Zuiderveld 1994) with a clip limit and so many tiles a side."""
    eight = np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)
    done = cv2.createCLAHE(clip, (tiles, tiles)).apply(eight)
    return np.asarray(done / 255.0, dtype=np.float32)


def shaded(value: Image, rng: np.random.Generator) -> Image:
    """Return the film with exposure that drifts across it (heel effect, wedge filters, uneven light)."""
    height, width = value.shape
    corners = rng.normal(0, 0.12, (2, 2)).astype(np.float32)
    ramp = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(value + ramp * np.clip(4 * value, 0, 1), dtype=np.float32)


def _resampled(value: Image, factor: float) -> Image:
    height, width = value.shape
    small = cv2.resize(value, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
