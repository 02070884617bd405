"""What was found on labelled films, matched with what is there: average precision, curves, confusion, plain counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.training.metrics.bootstrap import average_precision, resample_weights
from spinepacs.training.metrics.reading import FilmReading, reading_figures

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
IOU_STEPS = np.linspace(0.5, 0.95, 10)
KINDS = ("box", "mask")


@dataclass(frozen=True)
class FilmResult:
    """What was found on one film beside what is there.

    ``scores`` (d,), ``classes`` (d,) of the detections, doubtful ones too, best first; ``truth`` (t,) classes of the
    labelled bodies; ``box_iou`` and ``mask_iou`` (d, t); ``unlabelled``: classes that may be in view without a label;
    ``group``: films of one patient or source day; ``reading``: what the product publishes of the film.
    """

    name: str
    scores: Floats
    classes: NDArray[np.int64]
    truth: NDArray[np.int64]
    box_iou: Floats
    mask_iou: Floats
    unlabelled: frozenset[int]
    group: str = ""
    view: str = ""
    reading: FilmReading | None = None


def box_iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair of boxes x0, y0, x1, y1: (n, 4) and (m, 4) to (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (first, second)]
    return np.asarray(shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6))


def match_steps(iou: Floats, steps: Floats) -> NDArray[np.int64]:
    """Greedy matching in the order of the rows (best score first), as COCO does it, at several thresholds at once.

    Parameters
    ----------
    iou
        (d, t); 0 where a pair is not allowed.
    steps
        (s,) thresholds above 0.

    Returns
    -------
    ndarray
        int64 (s, d): matched column or -1; a column is used once.
    """
    found = np.full((len(steps), len(iou)), -1, np.int64)
    if not iou.size:
        return found
    free = np.ones((len(steps), iou.shape[1]), bool)
    places = np.arange(len(steps))
    for row in np.flatnonzero(iou.max(axis=1) >= steps.min()):
        candidates = np.where(free, iou[row], 0.0)
        best = candidates.argmax(axis=1)
        hit = candidates[places, best] >= steps
        found[hit, row] = best[hit]
        free[places[hit], best[hit]] = False
    return found


def match(iou: Floats, allowed: Flags, threshold: float) -> NDArray[np.int64]:
    """Matched column or -1 of each row at one threshold, int64 (d,); see :func:`match_steps`."""
    return match_steps(np.where(allowed, iou, 0.0), np.array([threshold]))[0]


@dataclass(frozen=True)
class Ranking:
    """Every detection of a set of films, best score first: ``films``, ``scores``, ``classes`` (n,).

    ``correct`` (s, n): whether it hit a body at each IoU step; ``counted`` (s, n): False where it missed, but its class
    has no labels on its film, so that it may well be right; ``truth`` (F, 25): bodies by film and class.
    """

    films: NDArray[np.int64]
    scores: Floats
    classes: NDArray[np.int64]
    correct: Flags
    counted: Flags
    truth: Floats

    @property
    def levels(self) -> list[int | None]:
        """Classes that have a body on any of the films."""
        return [int(level) for level in np.flatnonzero(self.truth.sum(axis=0))]

    def average_precision(self, weights: Floats, step: int, level: int | None) -> Floats:
        """(R,) AP at IoU step ``step``, of one level or of all bodies as one class."""
        chosen = self.counted[step] if level is None else self.counted[step] & (self.classes == level)
        truth = self.truth.sum(axis=1) if level is None else self.truth[:, level]
        return average_precision(weights, self.films[chosen], self.correct[step][chosen], truth)


def rank(results: Sequence[FilmResult], kind: str, *, by_level: bool) -> Ranking:
    """Match the detections of all films; ``by_level`` lets a detection hit only a body of its own class."""
    correct, truth = [], np.zeros((len(results), 25))
    for index, result in enumerate(results):
        iou = result.box_iou if kind == "box" else result.mask_iou
        if by_level:
            iou = np.where(result.classes[:, None] == result.truth[None], iou, 0.0)
        correct.append(match_steps(iou, IOU_STEPS) >= 0)
        np.add.at(truth[index], result.truth, 1)
    masked = [np.isin(result.classes, list(result.unlabelled)) for result in results]
    films = np.repeat(np.arange(len(results)), [len(result.scores) for result in results])
    scores = np.concatenate([result.scores for result in results])
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate(correct, axis=1)[:, order]
    classes = np.concatenate([result.classes for result in results])[order]
    return Ranking(films[order], scores[order], classes, hits, hits | ~np.concatenate(masked)[order], truth)


def precision_table(ranking: Ranking, weights: Floats, *, by_level: bool) -> dict[int | None, Floats]:
    """AP by level (or None: as one class) at every IoU step: (s, R) each; only levels that the films show."""
    levels = ranking.levels if by_level else [None]
    return {
        level: np.stack([ranking.average_precision(weights, step, level) for step in range(len(IOU_STEPS))])
        for level in levels
    }


def mean_over_levels(table: dict[int | None, Floats], steps: slice = slice(None)) -> Floats:
    """(R,) mean AP over the levels of a table and the chosen IoU steps, levels without a body left out."""
    stacked = np.stack([values[steps].mean(axis=0) for values in table.values()])
    known = np.isfinite(stacked)
    return np.where(known, stacked, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def mean_average_precision(
    results: Sequence[FilmResult], kind: str, *, by_level: bool
) -> tuple[float, float]:
    """MAP50 and mAP50-95 of ``kind`` ``box`` or ``mask``, by level or as a single class.

    An unmatched detection of a class that the film has no labels for is left out: it may well be right.
    """
    ranking = rank(results, kind, by_level=by_level)
    table = precision_table(ranking, np.ones((1, len(results))), by_level=by_level)
    return float(mean_over_levels(table, slice(1))[0]), float(mean_over_levels(table)[0])


def summary(results: Sequence[FilmResult], min_score: float) -> dict[str, float]:
    """Every figure without its interval, as plain numbers.

    Recall, precision, mask IoU and raw level accuracy count detections of at least ``min_score`` whose mask overlaps
    a labelled body by IoU 0.5 or more, whatever their level; the others are those of the product's own reading.
    """
    figures: dict[str, float] = {
        "films": len(results),
        "bodies": sum(len(result.truth) for result in results),
    }
    for kind in KINDS:
        for name, by_level in (("agnostic", False), ("by_level", True)):
            at_50, overall = mean_average_precision(results, kind, by_level=by_level)
            figures[f"{kind}_map50_{name}"], figures[f"{kind}_map50_95_{name}"] = at_50, overall
    readings = [result.reading for result in results if result.reading]
    published = reading_figures(readings, resample_weights([one.name for one in readings], 0))
    return (
        {name: float(value[0]) for name, value in published.items()} | figures | _counts(results, min_score)
    )


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
