"""What happens to a film after the console: other people's windows, local equalisation, soft and small copies."""

from __future__ import annotations

import cv2
import numpy as np

from spinepacs.training.film_look import smooth
from spinepacs.training.film_mesh import Image


def roughen(value: Image, chance: float, rng: np.random.Generator) -> Image:
    """Return display values 0..1 after a random few of these changes; chance: of each of the common ones."""
    if rng.random() < chance:
        value = smooth(value, rng.uniform(0.6, 2.2) * value.shape[0] / 2000)
    if rng.random() < 0.4 * chance:
        value = _resampled(value, float(rng.uniform(0.3, 0.7)))
    if rng.random() < 0.6 * chance:
        value = shaded(value, rng)
    dice = rng.random() / max(chance, 1e-6)
    if dice < 0.25:
        value = equalised(value, float(10 ** rng.uniform(0, 0.8)), int(rng.integers(2, 12)))
    elif dice < 0.6:
        value = value ** float(np.exp(rng.normal(0, 0.45)))
    if rng.random() < 0.35 * chance:  # washed out, too dark or too bright
        low, span = rng.uniform(0, 0.35), rng.uniform(0.35, 0.85)
        value = low + value * min(span, 1 - low)
    return np.asarray(np.clip(value, 0, 1), dtype=np.float32)


def equalised(value: Image, clip: float, tiles: int) -> Image:
    """Return the film after CLAHE (Zuiderveld 1994) with a clip limit and so many tiles a side."""
    eight = np.round(np.clip(value, 0, 1) * 255).astype(np.uint8)
    done = cv2.createCLAHE(clip, (tiles, tiles)).apply(eight)
    return np.asarray(done, dtype=np.float32) / 255


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
