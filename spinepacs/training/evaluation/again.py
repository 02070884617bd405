"""Read the same films again and again, each time shown a little differently: what two models differ by on few films.

On 15 films one reading cannot tell two models apart: another gamma moves as many bodies as a better network does.  The
mean of several readings can.  Run as ``python -m spinepacs.training.evaluation.again --model DIR … --lateral DIR``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.errors import BadSettings
from spinepacs.training.data.dataset import Film
from spinepacs.training.evaluation.evaluate import Conditions, film_sets
from spinepacs.training.evaluation.film import evaluate_film
from spinepacs.training.metrics.reading import FilmReading

Grey = NDArray[np.uint8]


def _gamma(power: float) -> Callable[[Grey], Grey]:
    curve = np.round(255 * (np.arange(256) / 255) ** power).astype(np.uint8)
    return lambda film: curve[film]


def _equalised(limit: float) -> Callable[[Grey], Grey]:
    return lambda film: np.asarray(cv2.createCLAHE(limit, (8, 16)).apply(film), np.uint8)


class Look(NamedTuple):
    """One way to show a film: what is done to its greys, and by how much its windows are enlarged."""

    change: Callable[[Grey], Grey]
    enlarged: float = 1.0


LOOKS = {
    "as it is": Look(lambda film: film),
    "gamma 0.7": Look(_gamma(0.7)),
    "gamma 1.4": Look(_gamma(1.4)),
    "CLAHE, limit 2": Look(_equalised(2)),
    "CLAHE, limit 4": Look(_equalised(4)),
    "median of 5 px": Look(lambda film: np.asarray(cv2.medianBlur(film, 5), np.uint8)),
    "blurred by 1 px": Look(lambda film: np.asarray(cv2.GaussianBlur(film, (0, 0), 1.0), np.uint8)),
    "windows × 0.85": Look(lambda film: film, 0.85),
    "windows × 1.05": Look(lambda film: film, 1.05),
}


class Counts(NamedTuple):
    """Of one reading of a set: bodies found, films with every body, films whose names are right, those that doubt."""

    found: int
    whole: int
    right: int
    doubted: int

    @classmethod
    def of(cls, readings: Sequence[FilmReading]) -> Counts:
        """Counted over films."""
        return cls(
            sum(body.found for reading in readings for body in reading.bodies),
            sum(reading.all_found for reading in readings),
            sum(reading.levels_right for reading in readings),
            sum(reading.levels_doubted for reading in readings),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: a table for each set of films, a row for each look, a column for each model."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.evaluation.again", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, nargs="+", required=True, help="model folders or checkpoints")
    add("--ap", type=Path, help="AP folder with corner tables: its validation groups are used")
    add("--lateral", type=Path, help="lateral folder with corners.csv")
    add("--synthetic", type=Path, nargs="+", default=[], help="YOLO-seg folders")
    add("--precision", choices=("auto", "fp32", "int8"), default="auto")
    given = parser.parse_args(arguments)
    sets = film_sets(given.ap, given.lateral, given.synthetic)
    if not sets:
        raise BadSettings("no films to read: give --ap, --lateral or --synthetic")
    segmenters = [Conditions(model=model, precision=given.precision).open() for model in given.model]
    cv2.setNumThreads(1)
    for name, films in sets.items():
        counts = compared(segmenters, films)
        bodies = sum(len(film.bodies) for film in films)
        Console().print(_table(f"{name}: {len(films)} films, {bodies} bodies", given.model, counts))
    return 0


def compared(segmenters: Sequence[Segmenter], films: Sequence[Film]) -> list[list[Counts]]:
    """What each model reads on the films, in each of :data:`LOOKS`."""
    counts: list[list[Counts]] = [[] for _ in segmenters]
    for look in LOOKS.values():
        for segmenter, column in zip(segmenters, counts, strict=True):
            manifest = segmenter.manifest
            segmenter.manifest = replace(manifest, window_body_px=manifest.window_body_px * look.enlarged)
            results = [evaluate_film(segmenter, film, change=look.change) for film in films]
            segmenter.manifest = manifest
            column.append(Counts.of([result.reading for result in results if result.reading]))
    return counts


def _table(title: str, models: Sequence[Path], counts: Sequence[Sequence[Counts]]) -> Table:
    table = Table("look", *map(str, models), title=f"{title}; found, films whole, named right, doubted")
    for row, look in enumerate(LOOKS):
        table.add_row(look, *(", ".join(map(str, column[row])) for column in counts))
    means = [np.mean(column, axis=0) for column in counts]
    table.add_row("mean", *(", ".join(f"{value:.1f}" for value in mean) for mean in means))
    return table


if __name__ == "__main__":
    raise SystemExit(main())
