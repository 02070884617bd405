"""All figures of a set of films: with intervals, by view, by region and by level; curves; confusion; distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level, Region
from spinepacs.training.evaluation.agreement import agreement_figures
from spinepacs.training.metrics.bootstrap import RESAMPLES, figure, per_film, ratio, resample_weights
from spinepacs.training.metrics.detections import (
    IOU_STEPS,
    KINDS,
    FilmResult,
    Ranking,
    mean_over_levels,
    precision_table,
    rank,
)
from spinepacs.training.metrics.reading import BodyTable, FilmReading, body_figures, reading_figures

Floats = NDArray[np.float64]
Table = dict[int | None, Floats]
THRESHOLDS = np.linspace(0, 1, 101)
LEVEL_NAMES = tuple(level.name for level in Level)
_NONE = len(Level)
"""Row of the confusion matrix for false detections, and column for missed bodies."""


def set_figures(results: Sequence[FilmResult], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Everything that is said of one set of films, ready for JSON; see docs/evaluation.md for the keys."""
    views = sorted({result.view for result in results})
    everything = _Part(results, resamples)
    told: dict[str, Any] = everything.figures()
    if len(views) > 1:
        told["by_view"] = {
            view: _Part([one for one in results if one.view == view], resamples).figures() for view in views
        }
    return told | everything.breakdown() | agreement_figures(everything.readings, everything.weights)


class _Part:
    """A set of films or those of one view: matched once, then counted in several ways."""

    def __init__(self, results: Sequence[FilmResult], resamples: int) -> None:
        self.results = results
        self.readings: list[FilmReading] = [result.reading for result in results if result.reading]
        self.weights = resample_weights([result.group for result in results], resamples)
        self.rankings = {
            (kind, by_level): rank(results, kind, by_level=by_level)
            for kind in KINDS
            for by_level in (False, True)
        }
        self.tables: dict[tuple[str, bool], Table] = {
            (kind, by_level): precision_table(ranking, self.weights, by_level=by_level)
            for (kind, by_level), ranking in self.rankings.items()
        }

    def figures(self) -> dict[str, Any]:
        """Counts and the figures of the whole."""
        values: dict[str, Floats] = {}
        for (kind, by_level), table in self.tables.items():
            values |= _precisions(table, kind, "by_level" if by_level else "agnostic")
        values |= reading_figures(self.readings, self.weights)
        values |= {f"{kind}_best_f1": self._best_f1(kind) for kind in KINDS}
        return {
            "films": len(self.results),
            "groups": len({result.group for result in self.results}),
            "bodies": sum(len(result.truth) for result in self.results),
            "figures": {name: figure(value) for name, value in values.items()},
        }

    def breakdown(self) -> dict[str, Any]:
        """By region and by level, curves, confusion and distribution."""
        shown = [level for level in Level if self.rankings["box", True].truth[:, level].any()]
        regions = [region for region in Region if any(level.region is region for level in shown)]
        labelled = self.rankings["box", True].truth.sum(axis=0)
        return {
            "by_region": {
                region: self._levels([level for level in shown if level.region is region])
                for region in regions
            },
            "by_level": {level.name: self._levels([level]) for level in shown},
            "curves": {
                kind: {
                    name: curves(self.rankings[kind, name == "by_level"], by_level=name == "by_level")
                    for name in ("agnostic", "by_level")
                }
                for kind in KINDS
            },
            "confusion": confusion(self.readings),
            "label_distribution": {level.name: int(labelled[level]) for level in Level},
        }

    def _levels(self, levels: Sequence[Level]) -> dict[str, Any]:
        """Figures of the bodies at neighbouring levels."""
        values: dict[str, Floats] = {}
        for kind in KINDS:
            table: Table = {level: self.tables[kind, True][level] for level in levels}
            values |= _precisions(table, kind, "by_level")
        bodies = BodyTable(self.readings, range(levels[0], levels[-1] + 1))
        values |= body_figures(bodies, self.weights)
        told = {name: figure(value) for name, value in values.items()}
        return {"bodies": len(bodies.level), "figures": told}

    def _best_f1(self, kind: str) -> Floats:
        """F1 of all bodies as one class at the threshold where it is best for the films as they are."""
        ranking = self.rankings[kind, False]
        threshold = curves(ranking, by_level=False)["best_f1_threshold"]
        sure = ranking.counted[0] & (ranking.scores >= threshold)
        films, truth = ranking.films[sure], ranking.truth.sum(axis=1)
        hits, seen = (
            per_film(films, chosen, len(truth)) for chosen in (ranking.correct[0][sure], np.ones(len(films)))
        )
        return ratio(self.weights, 2 * hits, seen + truth)


def _precisions(table: Table, kind: str, name: str) -> dict[str, Floats]:
    return {
        f"{kind}_map50_{name}": mean_over_levels(table, slice(1)),
        f"{kind}_map50_95_{name}": mean_over_levels(table),
    }


def curves(ranking: Ranking, *, by_level: bool) -> dict[str, Any]:
    """Precision, recall and F1 over score thresholds 0 … 1 and precision over recall, at IoU 0.5.

    By level each curve is the mean over the levels that have bodies.
    """
    levels = ranking.levels if by_level else [None]
    each = [_curve(ranking, level) for level in levels]
    precision, recall, f1, over_recall = (np.mean(part, axis=0) for part in zip(*each, strict=True))
    best = int(f1.argmax())
    return {
        "iou": float(IOU_STEPS[0]),
        "thresholds": _rounded(THRESHOLDS),
        "precision": _rounded(precision),
        "recall": _rounded(recall),
        "f1": _rounded(f1),
        "precision_at_recall": _rounded(over_recall),
        "best_f1": round(float(f1[best]), 5),
        "best_f1_threshold": float(THRESHOLDS[best]),
    }


def _curve(ranking: Ranking, level: int | None) -> tuple[Floats, Floats, Floats, Floats]:
    chosen = ranking.counted[0] if level is None else ranking.counted[0] & (ranking.classes == level)
    scores, correct = ranking.scores[chosen], ranking.correct[0][chosen]
    truth = float(ranking.truth.sum() if level is None else ranking.truth[:, level].sum())
    hits = np.concatenate([[0], np.cumsum(correct)])
    seen = np.searchsorted(-scores, -THRESHOLDS, side="right")
    # Where nothing is as sure as that, nothing is wrong.
    precision = np.where(seen > 0, hits[seen] / np.maximum(seen, 1), 1.0)
    recall = hits[seen] / truth
    steps = hits[1:] / np.arange(1, len(hits))
    envelope = np.append(np.maximum.accumulate(steps[::-1])[::-1], 0.0)
    over_recall = envelope[np.searchsorted(hits[1:] / truth, THRESHOLDS)]
    return precision, recall, 2 * hits[seen] / np.maximum(seen + truth, 1), over_recall


def confusion(readings: Sequence[FilmReading]) -> dict[str, Any]:
    """Labelled level (rows) against found level (columns), raw and after the chain.

    The last column counts bodies that were missed (or dropped by the chain), the last row detections without a body.
    """
    tables = {name: np.zeros((_NONE + 1, _NONE + 1), np.int64) for name in ("raw", "chain")}
    for reading in readings:
        for body in reading.bodies:
            for name, level in (("raw", body.raw_level), ("chain", body.published_level)):
                tables[name][body.level, level if level >= 0 else _NONE] += 1
        for found in reading.false:
            tables["raw"][_NONE, found.raw_level] += 1
            if found.published_level >= 0:
                tables["chain"][_NONE, found.published_level] += 1
    return {
        "rows": [*LEVEL_NAMES, "false"],
        "columns": [*LEVEL_NAMES, "missed"],
        **{name: table.tolist() for name, table in tables.items()},
    }


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), 5) for value in values]
