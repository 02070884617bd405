"""The raw heads of a YOLO11-seg network → candidates in input pixels; plain numpy, no network, no film.

The heads are those of Ultralytics' export without NMS: ``output0`` (1, 4 + classes + masks, anchors) holds
cx, cy, w, h in input px, class scores after the sigmoid, and mask coefficients; ``output1`` (1, masks, h / 4, w / 4)
holds the prototypes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MOST_CANDIDATES = 400
"""Candidates that enter NMS: a spine has 25 vertebrae, each with some ten overlapping anchors."""
_MOST_FOUND = 60
"""Boxes that leave NMS: a spine has 25 vertebrae, and noise must not flood what comes after."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """What the network found, best first.

    Parameters
    ----------
    boxes_px
        (N, 4) float32: x0, y0, x1, y1 in input px.
    class_scores
        (N, classes) float32, 0–1.
    scores
        (N,) float32: noisy-OR over the classes, 0–1.
    coefficients
        (N, masks) float32: weights of the prototypes.
    """

    boxes_px: Floats
    class_scores: Floats
    scores: Floats
    coefficients: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: NDArray[np.intp]) -> Candidates:
        """Those at ``index``, in its order."""
        return Candidates(
            self.boxes_px[index], self.class_scores[index], self.scores[index], self.coefficients[index]
        )


def decode(heads: Floats, classes: int, score_threshold: float, iou_threshold: float) -> Candidates:
    """Candidates above the threshold, one for each vertebra, best first.

    The score of being a vertebra at all is the noisy-OR over the 25 level scores, 1 − Π(1 − p): a body between two
    levels shares its score among them, and none of them alone may reach the threshold. Which of several overlapping
    candidates is kept is decided by the best single class, as Ultralytics does (the noisy-OR chooses no better).

    Parameters
    ----------
    heads
        ``output0`` of one picture, (4 + classes + masks, anchors) float32.
    """
    scores = 1 - np.prod(1 - heads[4 : 4 + classes], axis=0)
    chosen = np.flatnonzero(scores >= score_threshold)
    surest = heads[4 : 4 + classes, chosen].max(axis=0)
    chosen = chosen[np.argsort(-surest, kind="stable")][:_MOST_CANDIDATES]
    rows = heads[:, chosen].T
    centre, half = rows[:, :2], rows[:, 2:4] / 2
    candidates = Candidates(
        boxes_px=np.hstack([centre - half, centre + half]),
        class_scores=rows[:, 4 : 4 + classes],
        scores=scores[chosen],
        coefficients=rows[:, 4 + classes :],
    )
    return candidates.take(suppress(candidates.boxes_px, iou_threshold)[:_MOST_FOUND])


def suppress(boxes_px: Floats, iou_threshold: float) -> NDArray[np.intp]:
    """Greedy class-agnostic NMS over boxes sorted best first: indices of those kept, in order."""
    overlap = box_iou(boxes_px) > iou_threshold
    alive = np.ones(len(boxes_px), bool)
    kept = []
    for index in range(len(boxes_px)):
        if alive[index]:
            kept.append(index)
            alive &= ~overlap[index]
    return np.array(kept, np.intp)


def box_iou(boxes: Floats) -> Floats:
    """(N, N) float32: intersection over union of each box with each."""
    x0, y0, x1, y1 = boxes.T
    width = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    height = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    area = np.maximum(x1 - x0, 0) * np.maximum(y1 - y0, 0)
    union = area[:, None] + area[None, :] - shared
    overlap: Floats = shared / np.maximum(union, np.float32(1e-9))
    return overlap
