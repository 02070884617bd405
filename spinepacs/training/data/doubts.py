"""Find films whose labels should not be trained on: crossed quads, a level twice, overlap, a disc included.

Written for upright films: levels must follow each other downwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.training.data.dataset import CLASS_NAMES, Film, LabelledBody

_MAX_HEIGHT_RATIO = 1.6
_MAX_OVERLAP = 0.15


def suspicion(film: Film) -> str | None:
    """Say why the labels of a film should not be trained on, or None.

    Found are: no label, a level given twice, a crossed quad, bodies that overlap, levels out of order along the
    spine, and a body much taller than both neighbours (a quad that includes a disc).
    """
    bodies = sorted(film.bodies, key=lambda body: body.class_id)
    names = [CLASS_NAMES[body.class_id] for body in bodies]
    if not bodies:
        return "no labels"
    if len(set(names)) < len(names):
        return "a level is given twice"
    for body, name in zip(bodies, names, strict=True):
        if len(body.outline_px) == 4 and not _is_convex(body.outline_px):
            return f"{name} is crossed or not convex"
    for upper, lower, name in zip(bodies, bodies[1:], names, strict=False):
        if lower.outline_px[:, 1].mean() <= upper.outline_px[:, 1].mean():
            return f"what follows {name} lies above it"
        if _overlap(upper.outline_px, lower.outline_px) > _MAX_OVERLAP:
            return f"{name} overlaps the next"
    return _odd_height(bodies, names)


def _is_convex(outline: NDArray[np.float32]) -> bool:
    edges = np.roll(outline, -1, axis=0) - outline
    following = np.roll(edges, -1, axis=0)
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    return bool(np.all(turns > 0) or np.all(turns < 0))


def _overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    shared, _ = cv2.intersectConvexConvex(cv2.convexHull(first), cv2.convexHull(second))
    return float(shared) / max(1.0, min(cv2.contourArea(first), cv2.contourArea(second)))


def _odd_height(bodies: Sequence[LabelledBody], names: Sequence[str]) -> str | None:
    heights = [_height_px(body.outline_px) for body in bodies]
    for index in range(len(heights)):
        beside = heights[max(0, index - 2) : index] + heights[index + 1 : index + 3]
        if beside and heights[index] > _MAX_HEIGHT_RATIO * float(np.median(beside)):
            return f"{names[index]} is much taller than its neighbours"
    return None


def _height_px(outline: NDArray[np.float32]) -> float:
    if len(outline) != 4:
        return float(np.ptp(outline[:, 1]))
    left, right = outline[3] - outline[0], outline[2] - outline[1]
    return float((np.hypot(*left) + np.hypot(*right)) / 2)
