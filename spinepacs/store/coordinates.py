"""Coordinates as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Endplate, Points


def lines(found: Sequence[Points]) -> list[list[list[float | None]]]:
    """Lines as lists of their points."""
    return [points(line) for line in found]


def endplate(plate: Endplate | None) -> dict[str, Any] | None:
    """Corners and curve as JSON holds them."""
    if plate is None:
        return None
    left, right = points(np.array([plate.left, plate.right]))
    return {"left": left, "right": right, "curve": points(plate.curve)}


def points(found: NDArray[np.float64]) -> list[list[float | None]]:
    """(N, 2) px as lists, to a thousandth of a pixel."""
    if np.isfinite(found).all():
        rounded: list[list[float | None]] = np.round(found, 3).tolist()
        return rounded
    return [[number(value, 3) for value in point] for point in found.tolist()]


def number(value: float, digits: int) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return round(float(value), digits) if math.isfinite(value) else None
