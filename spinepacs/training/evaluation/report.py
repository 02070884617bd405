"""Write what an evaluation found: JSON, a CSV of films and one of bodies, and a short table on the terminal."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from spinepacs.training.evaluation.figures import LEVEL_NAMES
from spinepacs.training.metrics.reading import BodyReading, FilmReading, FoundBody

Row = dict[str, Any]
Values = Sequence[float] | NDArray[np.float64]
_SHOWN = {
    "mask_map50_agnostic": "mask mAP50, one class",
    "mask_map50_95_agnostic": "mask mAP50-95, one class",
    "box_map50_agnostic": "box mAP50, one class",
    "box_map50_95_agnostic": "box mAP50-95, one class",
    "mask_map50_by_level": "mask mAP50, by level",
    "mask_map50_95_by_level": "mask mAP50-95, by level",
    "mask_best_f1": "mask F1 at its best, one class",
    "recall": "recall",
    "precision": "precision",
    "films_with_all_bodies": "films with every body found",
    "level_exact_raw": "level exact, raw",
    "level_exact_chain": "level exact, after the chain",
    "level_within_one_chain": "level within one, after the chain",
    "level_exact_sure": "level exact, of those published as certain",
    "films_with_levels_right": "films with all levels right",
    "wrong_films_doubted": "films named wrong that say so",
    "right_films_doubted": "films named right that doubt",
    "films_wholly_right": "films wholly right",
    "films_with_view_right": "films with the view right",
    "dice_mean": "Dice, mean",
    "corner_share_median": "corner error ÷ size, median",
    "corner_px_median": "corner error, median, px",
    "corner_px_mean": "corner error, mean, px",
    "endplate_mm_median": "endplate error, median, mm",
    "disc_height_mm_median": "disc height error, median, mm",
    "s1_plate_found": "S1's plate found",
}
_TABLE_WIDTH = 200
"""Of a terminal that does not tell its own."""


def print_table(figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the figures that decide, each with half the width of its 95 % interval, one column for each set."""
    table = Table(caption="± half of the 95 % interval, by bootstrap over groups")
    table.add_column("", no_wrap=True)
    for name, part in figures.items():
        table.add_column(f"{name}\n{part['films']} films, {part['groups']} groups", no_wrap=True)
    for key, words in _SHOWN.items():
        cells = [cell(part["figures"].get(key)) for part in figures.values()]
        if any(cells):
            table.add_row(words, *cells)
    show([table])


def show(tables: Iterable[Table]) -> None:
    """Print tables; wide enough where the terminal does not tell its width."""
    console = Console(markup=False)
    wide = console if console.is_terminal else Console(width=_TABLE_WIDTH, markup=False)
    for table in tables:
        wide.print(table)


def cell(told: Mapping[str, float | None] | None, digits: int = 3) -> str:
    """A figure with half the width of its interval; empty where it is not known."""
    if not told or told["value"] is None:
        return ""
    if told["low"] is None or told["high"] is None:
        return f"{told['value']:.{digits}f}"
    return f"{told['value']:.{digits}f} ± {(told['high'] - told['low']) / 2:.{digits}f}"


def write_report(
    out: Path,
    header: Mapping[str, Any],
    readings: Mapping[str, Sequence[FilmReading]],
    figures: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write ``figures.json``, ``films.csv`` and ``bodies.csv`` into ``out``; the worst films come first."""
    out.mkdir(parents=True, exist_ok=True)
    films = [film_row(name, reading) for name, part in readings.items() for reading in worst_first(part)]
    told = {
        name: {**part, "by_film": [row for row in films if row["set"] == name]}
        for name, part in figures.items()
    }
    text = json.dumps({**header, "sets": told}, indent=1, ensure_ascii=False, allow_nan=False)
    (out / "figures.json").write_text(text + "\n", encoding="utf-8")
    write_csv(out / "films.csv", films)
    write_csv(
        out / "bodies.csv",
        (row for name, part in readings.items() for reading in part for row in body_rows(name, reading)),
    )


def worst_first(readings: Iterable[FilmReading]) -> list[FilmReading]:
    """Films by the share of bodies that are missed, published at a wrong level or false; then by corner error."""
    return sorted(
        readings, key=lambda one: (_badness(one), _median(_corner_shares(one)) or 0.0), reverse=True
    )


def _badness(reading: FilmReading) -> float:
    wrong = sum(body.published_level != body.level for body in reading.bodies)
    return (wrong + len(reading.false)) / max(1, len(reading.bodies))


def film_row(set_name: str, reading: FilmReading) -> Row:
    """One film's figures as plain values; None where there is nothing to measure."""
    found = [body for body in reading.bodies if body.found]
    offsets = [abs(body.published_level - body.level) for body in found if body.published_level >= 0]
    plate = reading.plate
    return {
        "set": set_name,
        "film": reading.name,
        "group": reading.group,
        "view": reading.view,
        "published_view": reading.published_view,
        "bodies": len(reading.bodies),
        "found": len(found),
        "published": len(offsets),
        "false": len(reading.false),
        "missed": " ".join(LEVEL_NAMES[body.level] for body in reading.bodies if not body.found),
        "level_exact_raw": sum(body.raw_level == body.level for body in found),
        "level_exact_chain": offsets.count(0),
        "level_within_one_chain": offsets.count(0) + offsets.count(1),
        "wholly_right": int(reading.all_found and reading.levels_right),
        "dice_mean": _mean([_dice(body) for body in found]),
        "corner_px_median": _median(np.concatenate([[], *(body.corners_px for body in found)])),
        "corner_share_median": _median(_corner_shares(reading)),
        "endplate_mm_median": _median(np.concatenate([[], *(body.endplates_mm for body in found)])),
        "disc_height_mm_median": _median([abs(body.disc_mm) for body in found]),
        "s1_plate": "" if plate is None else "found" if plate.found else "missed",
        "s1_plate_error": None if plate is None else _known(plate.error),
        "notes": " ".join(reading.notes),
        "seconds": round(reading.seconds, 3),
    }


def body_rows(set_name: str, reading: FilmReading) -> list[Row]:
    """One row for each labelled body, and one without a level for each false detection."""
    film = {"set": set_name, "film": reading.name, "group": reading.group, "view": reading.view}
    return [
        *({**film, **_labelled_row(body)} for body in reading.bodies),
        *({**film, **_false_row(one)} for one in reading.false),
    ]


def _labelled_row(body: BodyReading) -> Row:
    corners = dict(zip(("ul", "ur", "lr", "ll"), body.corners_px, strict=True))
    upper, lower = body.endplates_mm
    return {
        "level": LEVEL_NAMES[body.level],
        "raw_level": _name(body.raw_level),
        "published_level": _name(body.published_level),
        "score": _known(body.score),
        "iou": _known(body.iou),
        "dice": _known(_dice(body)),
        **{f"corner_{name}_px": _known(error) for name, error in corners.items()},
        "corner_share_mean": _mean(body.corners_px / body.size_px),
        "size_px": _known(body.size_px),
        "upper_endplate_mm": _known(upper),
        "lower_endplate_mm": _known(lower),
        "disc_height_error_mm": _known(body.disc_mm),
    }


def _false_row(found: FoundBody) -> Row:
    x, y = found.outline_px.mean(axis=0)
    return {
        "raw_level": _name(found.raw_level),
        "published_level": _name(found.published_level),
        "score": _known(found.score),
        "x_px": _known(x),
        "y_px": _known(y),
    }


def _name(level: int) -> str:
    return LEVEL_NAMES[level] if level >= 0 else ""


def _dice(body: BodyReading) -> float:
    return 2 * body.iou / (1 + body.iou)


def _corner_shares(reading: FilmReading) -> Sequence[float]:
    return np.concatenate([[], *(body.corners_px / body.size_px for body in reading.bodies)]).tolist()


def _known(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def _median(values: Values) -> float | None:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return _known(float(np.median(known))) if len(known) else None


def _mean(values: Values) -> float | None:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return _known(float(known.mean())) if len(known) else None


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as CSV under all names that any of them has; nothing where there are none."""
    kept = list(rows)
    if not kept:
        return
    names = list(dict.fromkeys(name for row in kept for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(kept)
