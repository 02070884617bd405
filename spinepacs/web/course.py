"""Plots over time as SVG, made on the server: what was going on in the last day, or month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from spinepacs.language import N_, _
from spinepacs.store.samples import Sample

WIDTH, HEIGHT = 480, 96
_TOP, _BOTTOM = 8, 12
_RECENT_S = 3600.0


@dataclass(frozen=True)
class Span:
    """How far back is looked, and in how many pieces."""

    key: str
    name: str
    lasts: timedelta
    piece: timedelta


SPANS = (
    Span("day", N_("24 hours"), timedelta(days=1), timedelta(minutes=10)),
    Span("month", N_("30 days"), timedelta(days=30), timedelta(hours=6)),
)


@dataclass(frozen=True)
class Series:
    """What is drawn: a name, its unit, and what a sample adds to it.

    A rate is what was counted by the hour; else it is a number of things that wait, of which the mean is drawn.
    """

    name: str
    unit: str
    value: Callable[[Sample], float]
    is_rate: bool = True


@dataclass(frozen=True)
class Course:
    """A plot: points of its lines as SVG writes them (where nothing is known, one line ends), and what it says."""

    name: str
    unit: str
    lines: Sequence[str]
    areas: Sequence[str]
    now: str
    most: str
    about: str


def draw(series: Series, samples: Sequence[Sample], span: Span, now: datetime) -> Course:
    """Draw one series."""
    pieces = _pieces(series, samples, span, now)
    known = [value for value in pieces if value is not None]
    highest = max(known, default=0.0)
    number = len(pieces)

    def x(place: int) -> float:
        return WIDTH * (place + 0.5) / number

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / (highest or 1.0)

    lines, areas = [], []
    for is_known, run in groupby(enumerate(pieces), key=lambda pair: pair[1] is not None):
        if not is_known:
            continue
        points = [(x(place), y(value or 0.0)) for place, value in run]
        if len(points) == 1:  # else it would be no line
            points = [(points[0][0] - 1, points[0][1]), (points[0][0] + 1, points[0][1])]
        text = " ".join(f"{left:.1f},{top:.1f}" for left, top in points)
        lines.append(text)
        areas.append(f"{points[0][0]:.1f},{y(0):.1f} {text} {points[-1][0]:.1f},{y(0):.1f}")
    last = next((value for value in reversed(pieces) if value is not None), None)
    shown, most = (
        _number(value) if value is not None else "–" for value in (last, highest if known else None)
    )
    about = _(
        "{name}, {unit}, {span}: now {now}, at most {most}",
        name=series.name, unit=series.unit, span=_(span.name), now=shown, most=most,
    )  # fmt: skip
    return Course(series.name, series.unit, lines, areas, shown, most, about)


def recent_rate(samples: Iterable[Sample], value: Callable[[Sample], float], now: datetime) -> float | None:
    """What was counted in the last hour, by the hour; None: no sample knows."""
    last = [each for each in samples if (now - each.taken_at).total_seconds() < _RECENT_S]
    seconds = sum(each.seconds for each in last)
    return 3600 * sum(value(each) for each in last) / seconds if seconds else None


def _pieces(series: Series, samples: Sequence[Sample], span: Span, now: datetime) -> list[float | None]:
    """The value of each piece of time, oldest first; None: nobody looked."""
    number = round(span.lasts / span.piece)
    begin = now - span.lasts
    found: list[list[Sample]] = [[] for _ in range(number)]
    for sample in samples:
        place = int((sample.taken_at - begin) / span.piece)
        if 0 <= place < number:
            found[place].append(sample)
    return [_value(series, inside, span.piece) for inside in found]


def _value(series: Series, inside: Sequence[Sample], piece: timedelta) -> float | None:
    if not inside:
        return None
    if not series.is_rate:
        return sum(series.value(each) for each in inside) / len(inside)
    # What came in while nobody counted is told by the next sample: it is spread over its own time.
    seconds = sum(each.seconds for each in inside)
    return 3600 * sum(series.value(each) for each in inside) / max(seconds, 1.0)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
