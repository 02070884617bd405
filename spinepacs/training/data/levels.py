"""Names of films that were read anew: ``docs/aasce-levels.csv`` says by how many levels a film's labels are off."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spinepacs.training.data.dataset import CLASS_NAMES, Film, LabelledBody, LabelsError

_COLUMNS = ("film", "offset", "note")


@dataclass(frozen=True)
class Reading:
    """``offset``: levels to add to every label of a film, None: undecided. ``note``: ``six``, ``four``, ``cut`` …"""

    offset: int | None
    note: str


def read_levels(table: Path) -> dict[str, Reading]:
    """By film's file name: what was read of it.

    Raises
    ------
    LabelsError
        The table is missing, lacks a column, or an offset is no whole number.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            return {row["film"]: _reading(row) for row in csv.DictReader(file)}
    except OSError as error:
        raise LabelsError(f"{table}: cannot be read ({error.strerror})") from error
    except (KeyError, ValueError) as error:
        raise LabelsError(
            f"{table}: {error}; columns {', '.join(_COLUMNS)}, offsets whole or empty"
        ) from error


def _reading(row: Mapping[str, str]) -> Reading:
    return Reading(int(row["offset"]) if row["offset"] else None, row["note"])


def renamed(films: Iterable[Film], readings: Mapping[str, Reading]) -> list[Film]:
    """Films under the names that were read, in the given order; without those that are undecided or not in the table.

    What then has no name (a body below S1) loses its label; levels without a label count as unlabelled.
    """
    known = [(film, readings[film.name]) for film in films if film.name in readings]
    return [_renamed(film, reading.offset) for film, reading in known if reading.offset is not None]


def _renamed(film: Film, offset: int) -> Film:
    moved = [LabelledBody(body.class_id + offset, body.outline_px) for body in film.bodies]
    bodies = tuple(body for body in moved if 0 <= body.class_id < len(CLASS_NAMES))
    labelled = {body.class_id for body in bodies}
    return replace(film, bodies=bodies, unlabelled=frozenset(range(len(CLASS_NAMES))) - labelled)
