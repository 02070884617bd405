"""Count what a merged data set holds: bodies per level, films and groups, by source and part; as a table and as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from spinepacs.training.data.dataset import CLASS_NAMES, Film
from spinepacs.training.data.merge import DataSet


def balance(data: DataSet) -> list[list[str]]:
    """Rows of the balance report: a heading, 25 levels, then bodies, films, groups and views.

    A column is a source and a part (train, validation).  ``–`` marks levels that the source does not label.
    """
    parts = (("train", data.training), ("validation", data.validation))
    columns = [
        (f"{source} {part}", [film for film in films if film.source == source])
        for source in dict.fromkeys(film.source for _, films in parts for film in films)
        for part, films in parts
    ]
    columns = [(heading, films) for heading, films in columns if films]
    rows = [["", *(heading for heading, _ in columns)]]
    rows += [
        [name, *(_cell(films, number) for _, films in columns)] for number, name in enumerate(CLASS_NAMES)
    ]
    rows.append(["bodies", *(str(sum(len(film.bodies) for film in films)) for _, films in columns)])
    rows.append(["films", *(str(len(films)) for _, films in columns)])
    rows.append(["groups", *(str(len({film.group for film in films})) for _, films in columns)])
    rows.append(["views", *(_views(films) for _, films in columns)])
    return rows


def _cell(films: Sequence[Film], level: int) -> str:
    count = sum(body.class_id == level for film in films for body in film.bodies)
    return str(count) if count or any(level not in film.unlabelled for film in films) else "–"


def _views(films: Sequence[Film]) -> str:
    return ", ".join(f"{view} {count}" for view, count in Counter(film.view for film in films).most_common())


def balance_table(rows: Sequence[Sequence[str]]) -> Table:
    """The report for a terminal."""
    table = Table(title="Bodies per level", caption="–: the source does not label this level")
    for heading in rows[0]:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows[1:]:
        table.add_row(*row, end_section=row[0] == CLASS_NAMES[-1])
    return table


def write_balance(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write the report as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
