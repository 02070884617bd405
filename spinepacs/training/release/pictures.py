"""Computed pictures that networks are asked about: no film has to be stored with a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FORMULAS = {
    "ladder": "60 + 90 y / h - 30 |x - w / 2| / 320, plus 45 inside and 30 more on the rim of 17 bodies, 44 px wide "
    "and 18 px high, at x = w / 2 + 14 sin(k / 3), y = 90 + 26 k; rounded",
    "waves": "128 + 60 sin(x / 9) cos(y / 23) + 40 sin((x + 2 y) / 31), rounded",
}


def picture(kind: str, height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Deterministic grey picture, uint8 (height, width); see :data:`FORMULAS`."""
    y, x = np.mgrid[0:height_px, 0:width_px].astype(np.float64)
    if kind == "waves":
        values = 128 + 60 * np.sin(x / 9) * np.cos(y / 23) + 40 * np.sin((x + 2 * y) / 31)
        return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)
    values = 60 + 90 * y / height_px - 30 * np.abs(x - width_px / 2) / 320
    for k in range(17):
        centre_x, centre_y = width_px / 2 + 14 * np.sin(k / 3), 90 + 26 * k
        inside = (np.abs(x - centre_x) <= 22) & (np.abs(y - centre_y) <= 9)
        rim = inside & ((np.abs(x - centre_x) >= 20) | (np.abs(y - centre_y) >= 7))
        values = values + 45 * inside + 30 * rim
    return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)
