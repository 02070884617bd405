"""Evaluate a model on labelled films as the product reads them: detections, chain, outlines and endplates in native px.

Run as ``spinepacs evaluate --model DIR|FILE --ap DIR --lateral DIR --synthetic DIR --out DIR``; the model is a model
folder or a checkpoint. docs/evaluation.md says what each figure means.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.seeing.segment import Precision, Segmenter
from spinepacs.domain.study import View
from spinepacs.errors import BadSettings
from spinepacs.settings.shipped import shipped
from spinepacs.training.data.dataset import Film, read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.data.levels import read_levels, renamed
from spinepacs.training.evaluation.charts import draw_agreement
from spinepacs.training.evaluation.figures import set_figures
from spinepacs.training.evaluation.film import evaluate_film
from spinepacs.training.evaluation.pictures import draw_figures, write_overlays
from spinepacs.training.evaluation.report import print_table, show, worst_first, write_report
from spinepacs.training.evaluation.segmenters import RememberingSegmenter, open_segmenter
from spinepacs.training.evaluation.tables import tables, write_agreement
from spinepacs.training.metrics.detections import FilmResult, summary
from spinepacs.training.metrics.reading import FilmReading


@dataclass(frozen=True)
class Conditions:
    """Under which a model is evaluated.

    Parameters
    ----------
    model
        Model folder or checkpoint.
    precision
        ``auto``, ``fp32`` or ``int8``, see :meth:`spinepacs.analysis.seeing.segment.Segmenter.open`.
    view
        What the header states of every film; None: each film's own view.
    inverted
        Films are shown with black bone.
    whole_film_only
        Without the closer look in windows.
    min_score
        In the place of the model's own threshold; None: that.
    workers
        Processes that read films, each with one thread.
    policy
        By which signs are graded.
    """

    model: Path
    precision: Precision = "auto"
    view: View | None = None
    inverted: bool = False
    whole_film_only: bool = False
    min_score: float | None = None
    workers: int = 1
    policy: Path = field(default_factory=lambda: shipped("config", "grading.toml"))

    def open(self, threads: int = 1) -> RememberingSegmenter:
        """The model, with its manifest as the conditions ask for it."""
        segmenter = open_segmenter(self.model, threads, self.precision)
        manifest = segmenter.manifest
        if self.whole_film_only:
            manifest = replace(manifest, window_body_px=0.0)
        if self.min_score is not None:
            manifest = replace(manifest, score_threshold=self.min_score)
        segmenter.manifest = manifest
        return segmenter

    def described(self) -> dict[str, Any]:
        """Model and conditions for the head of the report."""
        manifest, policy = self.open().manifest, Policy.load(self.policy)
        return {
            "model": {
                "path": str(self.model),
                "name": manifest.name,
                "version": manifest.version,
                "sha256": manifest.sha256,
                "score_threshold": manifest.score_threshold,
                "iou_threshold": manifest.iou_threshold,
                "window_body_px": manifest.window_body_px,
            },
            "conditions": {
                "precision": self.precision,
                "view": "header" if self.view is None else self.view.lower(),
                "inverted": self.inverted,
            },
            "policy": {"name": policy.name, "version": policy.version},
        }


def read_films(conditions: Conditions, films: Sequence[Film]) -> Iterator[FilmResult]:
    """Evaluate films in several processes; the results come in the order of the films."""
    workers = min(conditions.workers, len(films))
    if workers <= 1:
        read = _Reader(conditions, threads=2)
        yield from map(read, films)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open_in_worker, (conditions,)) as pool:
        yield from pool.map(_read_in_worker, films)


class _Reader:
    """Reads films under the given conditions, the model opened once."""

    def __init__(self, conditions: Conditions, threads: int) -> None:
        self._conditions, self._segmenter = conditions, conditions.open(threads)
        self._policy = Policy.load(conditions.policy)

    def __call__(self, film: Film) -> FilmResult:
        given = self._conditions
        return evaluate_film(
            self._segmenter, film, inverted=given.inverted, view=given.view, policy=self._policy
        )


_worker: _Reader


def _open_in_worker(conditions: Conditions) -> None:
    global _worker  # noqa: PLW0603  (a process pool has no other place for what its tasks share)
    cv2.setNumThreads(1)
    _worker = _Reader(conditions, threads=1)


def _read_in_worker(film: Film) -> FilmResult:
    return _worker(film)


def evaluate(
    segmenter: Segmenter, films: Iterable[Film], min_score: float = 0.25, *, inverted: bool = False
) -> dict[str, float]:
    """Every figure of :func:`spinepacs.training.metrics.detections.summary` for a set of films, without intervals."""
    return summary([evaluate_film(segmenter, film, inverted=inverted) for film in films], min_score)


def film_sets(
    ap: Path | None, lateral: Path | None, synthetic: Sequence[Path], levels: Path | None = None
) -> dict[str, list[Film]]:
    """Named sets of labelled films: AP validation groups, lateral films, YOLO-seg folders under their own names.

    levels: table of names that were read anew; the AP films are then there once more, under those names.

    Raises
    ------
    BadSettings
        If a folder is not there or holds no such film: nothing would be evaluated.
    """
    for folder in filter(None, (ap, lateral, *synthetic)):
        if not folder.is_dir():
            raise BadSettings(f"{folder}: there is no such folder")
    sets: dict[str, list[Film]] = {}
    if ap:
        sets["ap_validation"] = real_films(ap)[1]
        if levels:
            sets["ap_renamed"] = renamed(sets["ap_validation"], read_levels(levels))
    if lateral:
        sets["lateral"] = read_lateral_corners(lateral)
    for folder in synthetic:
        sets[folder.resolve().name] = read_yolo_seg(folder)
    if empty := [name for name, films in sets.items() if not films]:
        raise BadSettings(
            f"no labelled films in {', '.join(empty)}: docs/training.md says what each kind of folder holds"
        )
    return sets


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spinepacs evaluate", description="Evaluate a vertebra model on labelled films."
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder or checkpoint (.pt)")
    add("--ap", type=Path, help="AP folder with corner tables: its validation groups are used")
    add("--levels", type=Path, help="table of AP films' names that were read anew: judge by them, too")
    add("--lateral", type=Path, help="lateral folder with corners.csv")
    add("--synthetic", type=Path, nargs="+", default=[], help="YOLO-seg folders, with truth/ or without")
    add("--out", type=Path, help="folder for JSON, CSV and pictures; without it there is only the table")
    add("--limit", type=int, help="at most this many films of each set, spread over it")
    add(
        "--view",
        choices=("header", "unknown"),
        default="header",
        help="what the films' headers state of the view",
    )
    add("--min-score", type=float, help="in the place of the model's own score threshold")
    add(
        "--precision",
        choices=("auto", "fp32", "int8"),
        default="auto",
        help="which of the model's weights are run",
    )
    add("--policy", type=Path, default=shipped("config", "grading.toml"), help="by which signs are graded")
    add("--inverted", action="store_true", help="show every film with black bone")
    add("--whole-film-only", action="store_true", help="without the closer look in windows")
    add("--worst", type=int, default=8, help="overlays of so many worst films of each set")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: read every set, print the short table, write the report."""
    given = _parser().parse_args(arguments)
    conditions = Conditions(
        model=given.model,
        precision=given.precision,
        view=View.UNKNOWN if given.view == "unknown" else None,
        inverted=given.inverted,
        whole_film_only=given.whole_film_only,
        min_score=given.min_score,
        workers=given.workers,
        policy=given.policy,
    )
    sets = film_sets(given.ap, given.lateral, given.synthetic, given.levels)
    if not sets:
        raise BadSettings("no films to evaluate on: give --ap, --lateral or --synthetic")
    sets = {name: _spread(films, given.limit) for name, films in sets.items()}
    results = {name: _read_with_bar(conditions, name, films) for name, films in sets.items()}
    figures = {name: set_figures(part) for name, part in results.items()}
    print_table(figures)
    show(table for name, told in figures.items() for table in tables(name, told))
    if given.out:
        readings = {name: [one.reading for one in part if one.reading] for name, part in results.items()}
        write_report(given.out, conditions.described(), readings, figures)
        write_agreement(given.out, readings)
        _write_pictures(given.out, conditions, sets, readings, figures, given.worst)
    return 0


def _read_with_bar(conditions: Conditions, name: str, films: Sequence[Film]) -> list[FilmResult]:
    results = read_films(conditions, films)
    return list(track(results, escape(name), len(films), console=Console(stderr=True), transient=True))


def _write_pictures(
    out: Path,
    conditions: Conditions,
    sets: Mapping[str, Sequence[Film]],
    readings: Mapping[str, Sequence[FilmReading]],
    figures: Mapping[str, Mapping[str, Any]],
    worst: int,
) -> None:
    for name, films in sets.items():
        film_of = {id(reading): film for film, reading in zip(films, readings[name], strict=True)}
        chosen = [(film_of[id(reading)], reading) for reading in worst_first(readings[name])[:worst]]
        write_overlays(out / "overlays" / name, chosen, inverted=conditions.inverted)
    if find_spec("matplotlib") is None:
        missing = "no curves: matplotlib is missing; pip install 'spinepacs[train]'"
        Console(stderr=True).print(missing, markup=False)
        return
    for name, told in figures.items():
        draw_figures(out, name, told)
        draw_agreement(out, name, told, readings[name])


def _spread(films: Sequence[Film], limit: int | None) -> list[Film]:
    """At most ``limit`` films, evenly from the first to the last."""
    if not limit or limit >= len(films):
        return list(films)
    return [films[index * len(films) // limit] for index in range(limit)]


if __name__ == "__main__":
    raise SystemExit(main())
