"""Small plots as SVG: the course of a disc from study to study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from spinepacs.domain import words
from spinepacs.domain.measures import HALF_95
from spinepacs.domain.study import View

Row = dict[str, Any]
WIDTH, HEIGHT = 180, 48
_MARGIN = 6
_LEAST_RANGE = 0.1
"""Of a height index: what changes by less than this looks level."""


@dataclass(frozen=True)
class Dot:
    """A value at its place in the plot, with the upper and the lower end of its 95 % interval, and what it says."""

    x: float
    y: float
    upper_y: float
    lower_y: float
    about: str


@dataclass(frozen=True)
class Plot:
    """The course of one disc on films of one view."""

    disc: str
    view: str
    dots: list[Dot]
    change: str

    @property
    def line(self) -> str:
        """Points of the line, as SVG writes them."""
        return " ".join(f"{dot.x:.1f},{dot.y:.1f}" for dot in self.dots)


def plots(rows: Sequence[Row]) -> list[Plot]:
    """Draw rows of :func:`spinepacs.store.story.course`: discs that two studies show."""
    known = [row for row in rows if row["height_index"] is not None and row["study_date"]]
    made = []
    for (_, disc, view), group in groupby(
        sorted(known, key=_which), key=lambda row: (row["disc_order"], row["disc"], row["view_position"])
    ):
        course = list(group)
        if len({row["study_uid"] for row in course}) > 1:
            made.append(_plot(disc, view, course))
    return made


def view(code: object) -> str:
    """A view in words, within a line."""
    known = str(code) in set(View)
    return words.VIEWS[View(str(code))] if known and code != View.UNKNOWN else str(code).lower()


def _which(row: Row) -> tuple[int, str, str, str]:
    return row["disc_order"], row["disc"], str(row["view_position"]), str(row["study_date"])


def _plot(disc: str, which: str, course: list[Row]) -> Plot:
    days = [date.fromisoformat(str(row["study_date"])).toordinal() for row in course]
    values = [float(row["height_index"]) for row in course]
    margins = [HALF_95 * (row["height_index_sd"] or 0.0) for row in course]
    low = min(value - margin for value, margin in zip(values, margins, strict=True))
    high = max(value + margin for value, margin in zip(values, margins, strict=True))
    middle, half = (low + high) / 2, max(high - low, _LEAST_RANGE) / 2

    def x(day: int) -> float:
        return _MARGIN + (WIDTH - 2 * _MARGIN) * (day - days[0]) / max(days[-1] - days[0], 1)

    def y(value: float) -> float:
        return HEIGHT / 2 - (HEIGHT / 2 - _MARGIN) * (value - middle) / half

    dots = [
        Dot(
            x(day),
            y(value),
            y(value + margin),
            y(value - margin),
            f"{row['study_date']}: {value:.2f} ± {margin:.2f}",
        )
        for row, day, value, margin in zip(course, days, values, margins, strict=True)
    ]
    return Plot(disc, view(which), dots, f"{values[0]:.2f} → {values[-1]:.2f}")
