"""Average precision and the plain counts that say what a radiologist would see, from matched detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
IOU_STEPS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class FilmResult:
    """What was found on one film beside what is there.

    ``scores`` (d,), ``classes`` (d,) of the detections, best first; ``truth`` (t,) classes of the labelled bodies;
    ``box_iou`` and ``mask_iou`` (d, t); ``unlabelled``: classes that may be in view without a label.
    """

    name: str
    scores: Floats
    classes: NDArray[np.int64]
    truth: NDArray[np.int64]
    box_iou: Floats
    mask_iou: Floats
    unlabelled: frozenset[int]


def box_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair of boxes x0, y0, x1, y1: (n, 4) and (m, 4) to (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6))


def match(iou: Floats, allowed: NDArray[np.bool_], threshold: float) -> NDArray[np.int64]:
    """Greedy matching in the order of the rows (best score first).

    Returns
    -------
    ndarray
        int64 (d,): matched column or -1; a column is used once.
    """
    found = np.full(len(iou), -1, np.int64)
    free = np.ones(iou.shape[1], bool)
    for row in range(len(iou)):
        candidates = np.where(allowed[row] & free, iou[row], 0.0)
        if candidates.size and candidates.max() >= threshold:
            found[row] = int(candidates.argmax())
            free[found[row]] = False
    return found


def average_precision(scores: Floats, correct: NDArray[np.bool_], n_truth: int) -> float:
    """Area under the precision envelope, 101 recall points as COCO takes them; nan without any truth."""
    if n_truth == 0:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(correct[order])
    recall = hits / n_truth
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, np.linspace(0, 1, 101), side="left")
    return float(np.mean([envelope[place] if place < len(envelope) else 0.0 for place in places]))


def mean_average_precision(
    results: Sequence[FilmResult], kind: str, *, by_level: bool
) -> tuple[float, float]:
    """MAP50 and mAP50-95 of ``kind`` ``box`` or ``mask``, by level or as a single class.

    An unmatched detection of a class that the film has no labels for is left out: it may well be right.
    """
    levels = sorted({int(level) for result in results for level in result.truth}) if by_level else [None]
    table = np.array([[_precision(results, kind, level, step) for step in IOU_STEPS] for level in levels])
    return float(np.nanmean(table[:, 0])), float(np.nanmean(table))


def _precision(results: Sequence[FilmResult], kind: str, level: int | None, threshold: float) -> float:
    scores, correct, n_truth = [], [], 0
    for result in results:
        iou = result.box_iou if kind == "box" else result.mask_iou
        rows = np.ones(len(result.scores), bool) if level is None else result.classes == level
        columns = np.ones(len(result.truth), bool) if level is None else result.truth == level
        found = match(iou[rows], np.broadcast_to(columns, (int(rows.sum()), len(columns))), threshold) >= 0
        counted = found | ~np.isin(result.classes[rows], list(result.unlabelled))
        scores.append(result.scores[rows][counted])
        correct.append(found[counted])
        n_truth += int(columns.sum())
    return average_precision(np.concatenate(scores), np.concatenate(correct), n_truth)


def summary(results: Sequence[FilmResult], min_score: float) -> dict[str, float]:
    """Every figure of the model card, as shares of one.

    Recall, precision, mask IoU and level accuracy count detections of at least ``min_score`` whose mask overlaps
    a labelled body by IoU 0.5 or more, whatever their level.
    """
    figures: dict[str, float] = {
        "films": len(results),
        "bodies": sum(len(result.truth) for result in results),
    }
    for kind in ("box", "mask"):
        for name, by_level in (("agnostic", False), ("by_level", True)):
            at_50, overall = mean_average_precision(results, kind, by_level=by_level)
            figures[f"{kind}_map50_{name}"], figures[f"{kind}_map50_95_{name}"] = at_50, overall
    return figures | _counts(results, min_score)


def _counts(results: Sequence[FilmResult], min_score: float) -> dict[str, float]:
    found = complete = extra = 0
    offsets: list[int] = []
    overlaps: list[float] = []
    for result in results:
        sure = result.scores >= min_score
        iou, classes = result.mask_iou[sure], result.classes[sure]
        matched = match(iou, np.ones(iou.shape, bool), 0.5)
        hits = np.flatnonzero(matched >= 0)
        found += len(hits)
        complete += len(hits) == len(result.truth)
        extra += int(np.sum((matched < 0) & ~np.isin(classes, list(result.unlabelled))))
        offsets += list(classes[hits] - result.truth[matched[hits]])
        overlaps += list(iou[hits, matched[hits]])
    bodies = sum(len(result.truth) for result in results)
    exact, near = np.array(offsets) == 0, np.abs(np.array(offsets)) <= 1
    return {
        "recall": found / max(1, bodies),
        "precision": found / max(1, found + extra),
        "films_with_all_bodies": complete / max(1, len(results)),
        "mask_iou_mean": float(np.mean(overlaps)) if overlaps else 0.0,
        "level_exact_raw": float(exact.mean()) if overlaps else 0.0,
        "level_within_one_raw": float(near.mean()) if overlaps else 0.0,
    }
