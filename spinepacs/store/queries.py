"""Questions for the command line and for metrics; every row is a plain dict that JSON and CSV can write.

Dates and times are ISO 8601 text, times in UTC. Whoever wants more asks the database itself: see docs/sql.md.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any, TypedDict, Unpack

from sqlalchemy import (
    Boolean,
    ColumnElement,
    CompoundSelect,
    Date,
    Select,
    Table,
    column,
    literal_column,
    select,
    text,
    union,
)

from spinepacs.domain.anatomy import ALL_DISCS, Level
from spinepacs.domain.measures import Quantity
from spinepacs.domain.signs import Area, Sign
from spinepacs.domain.study import StudyState
from spinepacs.errors import BadSettings
from spinepacs.store.columns import PlainJson
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import (
    arrivals,
    conclusions,
    discs,
    findings,
    measures,
    readings,
    vertebrae,
)

Row = dict[str, Any]

_SHORT_DISC = re.compile(r"^([CTL])(\d+)/(\d+)$")
"""A disc as people write it, L4/5."""


class StudyFilters(TypedDict, total=False):
    """What to look for in studies; None and what is left out ask for nothing."""

    study: str | None
    """Study Instance UID."""
    patient: str | None
    """Patient ID, whole."""
    date_from: str | None
    """Study date from, ISO 8601 (``2026-11-20``), included; a study without date is then left out."""
    date_to: str | None
    """And up to, included."""


class Filters(StudyFilters, total=False):
    """What to look for in findings."""

    level: str | None
    """A vertebra (``L4``, with the discs above and below it) or a disc (``L4/L5``, with the vertebrae around it)."""
    grade: int | None
    """Published grade, stage or degree at least this."""
    kind: str | None
    """A sign (``osteophytes``), a quantity of measures (``slip``), or the area of a conclusion (``lumbar``)."""
    all_versions: bool
    """Also readings that a newer model or policy has replaced."""


@dataclass(frozen=True)
class _View:
    """A view with its order within a film, and the columns that the filters of the same names look at."""

    name: str
    order: tuple[str, ...]
    level: str = ""
    grade: str = ""
    kind: str = ""


VIEWS = {
    "discs": _View("disc_measures", ("disc_order",), "disc", "stage"),
    "vertebrae": _View("vertebra_findings", ("level_order", "finding", "side"), "level", "published_grade", "finding"),
    "findings": _View("study_findings", ("level_order", "finding_id"), "place", "published_grade", "finding"),
    "measures": _View("study_measures", ("level_order", "quantity", "place"), "place", kind="quantity"),
    "conclusions": _View("study_conclusions", ("conclusion_id",), grade="published_degree", kind="area"),
    "films": _View("film_readings", ()),
    "follow-up": _View("disc_follow_up", ("disc_order",), "disc", "stage"),
}  # fmt: skip
"""What :func:`find` finds, and where."""

_FLAGS = ("is_current", "is_beyond_error", "convex_left", "anterior_left")
"""Columns that are true, false or unknown; SQLite counts them 1 and 0."""


def find(ledger: Ledger, what: str, limit: int | None = None, **filters: Unpack[Filters]) -> list[Row]:
    """Rows of one of :data:`VIEWS`, newest study first, each film from head to foot; all of them without ``limit``.

    Raises
    ------
    BadSettings
        If a level or a date is none, or a filter asks for what these rows do not have.
    """
    return [row for page in find_pages(ledger, what, limit, **filters) for row in page]


def find_pages(
    ledger: Ledger, what: str, limit: int | None = None, **filters: Unpack[Filters]
) -> Iterator[list[Row]]:
    """Give the same page by page, so that an archive of any size goes into a file."""
    return _newest_first(ledger, VIEWS[what], _conditions(what, filters), limit)


def columns_of(ledger: Ledger, what: str) -> list[str]:
    """Columns of one of :data:`VIEWS`, in order."""
    return ledger.columns(select(text("*")).select_from(text(VIEWS[what].name)))


def find_films(ledger: Ledger, limit: int | None = None, **filters: Unpack[Filters]) -> list[Row]:
    """Films with all that was found on them.

    A level chooses the films that show it, and of those films the rows of it and its neighbours: see
    :class:`Filters`; conclusions are about regions and stay. Kind and grade choose films that hold such a finding, and
    show them whole.

    Returns
    -------
    Rows of the view ``film_readings``, newest study first, each with lists ``vertebrae``, ``discs``, ``measures``,
    ``findings`` and ``conclusions``: the rows of these tables without coordinates, from head to foot.

    Raises
    ------
    BadSettings
        If a level or a date is none.
    """
    chosen = [*_about_study(filters), *_current(filters)]
    level = filters.get("level")
    places = places_of(level) if level else []
    if any(filters.get(name) is not None for name in ("grade", "kind")):
        holding = select(text("reading_id")).select_from(text("study_findings"))
        chosen.append(column("reading_id").in_(holding.where(*_conditions("findings", filters))))
    elif places:
        chosen.append(column("reading_id").in_(_showing(places[0])))
    pages = _newest_first(ledger, VIEWS["films"], chosen, limit, page=_FILMS_A_PAGE)
    return [film for page in pages for film in _with_parts(ledger, page, places)]


def _showing(place: str) -> CompoundSelect[Any]:
    """Keys of the readings that found a vertebra, or measured a disc."""
    return union(
        select(vertebrae.c.reading_id).where(vertebrae.c.level == place),
        select(discs.c.reading_id).where(discs.c.disc == place),
    )


def _with_parts(ledger: Ledger, films: list[Row], places: Collection[str]) -> Iterator[Row]:
    """Films with the rows of their parts: all of them, or those at some places."""
    keys = [film["reading_id"] for film in films]
    parts = {table.name: _by_reading(ledger, table, order, keys, places) for table, order in _PARTS.items()}
    for film in films:
        if places:
            film["missing_levels"] = " ".join(
                name for name in film["missing_levels"].split() if name in places
            )
        yield film | {name: rows[film["reading_id"]] for name, rows in parts.items()}


ALL_FINDINGS = "all_findings"
"""Where :func:`with_all_findings` puts what it adds."""


def with_all_findings(ledger: Ledger, films: Iterable[Row]) -> list[Row]:
    """Films as :func:`find_films` gives them, with the findings that were left out: conclusions rest on them."""
    films = list(films)
    rows: dict[int, list[Row]] = {}
    for start in range(0, len(films), _FILMS_A_PAGE):
        keys = [film["reading_id"] for film in films[start : start + _FILMS_A_PAGE]]
        rows |= _by_reading(ledger, findings, _PARTS[findings], keys, ())
    return [film | {ALL_FINDINGS: rows.get(film["reading_id"], [])} for film in films]


_FILMS_A_PAGE = 500
_PARTS = {
    vertebrae: "level_order",
    discs: "disc_order",
    measures: "measure_id",
    findings: "finding_id",
    conclusions: "conclusion_id",
}


_PLACE = {vertebrae.name: "level", discs.name: "disc", measures.name: "place", findings.name: "place"}
"""Columns that say where something is; a conclusion is about a region."""


def _by_reading(
    ledger: Ledger, table: Table, order: str, keys: list[int], places: Collection[str]
) -> dict[int, list[Row]]:
    """Rows of a table by reading, without coordinates; all, or those at some places."""
    shown = [part for part in table.c if not isinstance(part.type, PlainJson) or part.name == "support"]
    rows: dict[int, list[Row]] = defaultdict(list)
    wanted = select(*shown).where(table.c.reading_id.in_(keys))
    if places and table.name in _PLACE:
        wanted = wanted.where(table.c[_PLACE[table.name]].in_(places))
    for row in plain(ledger.rows(wanted.order_by(table.c[order]))):
        rows[row.pop("reading_id")].append(row)
    return rows


def _newest_first(
    ledger: Ledger, view: _View, wanted: list[ColumnElement[bool]], limit: int | None, page: int = 2000
) -> Iterator[list[Row]]:
    order = ("study_date DESC NULLS LAST", "reading_id DESC", *view.order)
    for rows in ledger.pages(_selection(view.name, wanted, order, limit), page):
        yield [{**row, **{name: _flag(row[name]) for name in _FLAGS if name in row}} for row in plain(rows)]


def _conditions(what: str, filters: Filters) -> list[ColumnElement[bool]]:
    """Filters as conditions on one of :data:`VIEWS`; raises as :func:`find` does."""
    view, wanted = VIEWS[what], _about_study(filters)
    for name in ("level", "grade", "kind"):
        if filters.get(name) is not None and not getattr(view, name):
            raise BadSettings(f"{what} cannot be chosen by {name}")
    if level := filters.get("level"):
        wanted.append(column(view.level).in_(places_of(level)))
    if (grade := filters.get("grade")) is not None:
        wanted.append(column(view.grade) >= grade)
    if kind := filters.get("kind"):
        wanted.append(column(view.kind) == _known_kind(view.kind, kind))
    return wanted + _current(filters)


def _known_kind(of: str, kind: str) -> str:
    """Check that rows of this kind can exist: a misspelt one would look like a cohort without findings."""
    known = [str(member) for member in _KINDS[of]]
    if kind not in known:
        raise BadSettings(f"{kind!r} is no {of}; there are {', '.join(known)}")
    return kind


_KINDS: dict[str, type[StrEnum]] = {"finding": Sign, "quantity": Quantity, "area": Area}
"""What the columns hold that :attr:`_View.kind` names."""


def _current(filters: Filters) -> list[ColumnElement[bool]]:
    return [] if filters.get("all_versions") else [literal_column("is_current", Boolean)]


def find_studies(
    ledger: Ledger, states: Sequence[StudyState] = (), limit: int = 1000, **filters: Unpack[StudyFilters]
) -> list[Row]:
    """Rows of the view ``study_summary``, newest arrival first.

    Raises
    ------
    BadSettings
        If a date is none.
    """
    conditions = _about_study({**filters, "patient": None})
    if patient := filters.get("patient"):  # of any of its films: the study's row names the first one's only
        theirs = select(arrivals.c.study_uid).where(arrivals.c.patient_id == patient)
        conditions.append(column("study_uid").in_(theirs))
    if states:
        conditions.append(column("state").in_([state.value for state in states]))
    newest_first = (text("last_arrival_at DESC"), text("study_uid"))
    # The view counts a great deal for each of its rows: let it do so for those that are shown only.
    shown = select(text("study_uid")).select_from(text("studies")).where(*conditions)
    summary = select(text("*")).select_from(text("study_summary"))
    rows = summary.where(column("study_uid").in_(shown.order_by(*newest_first).limit(limit)))
    return plain(ledger.rows(rows.order_by(*newest_first)))


def step_seconds(ledger: Ledger, newest: int = 100) -> dict[str, float]:
    """Mean seconds of each step of the pipeline over the newest readings."""
    recent = select(readings.c.seconds).order_by(readings.c.reading_id.desc()).limit(newest)
    by_step: dict[str, list[float]] = defaultdict(list)
    for row in ledger.rows(recent):
        for step, seconds in row["seconds"].items():
            by_step[step].append(seconds)
    return {step: sum(values) / len(values) for step, values in by_step.items()}


def _about_study(filters: Filters | StudyFilters) -> list[ColumnElement[bool]]:
    """Conditions on the columns of a study."""
    conditions: list[ColumnElement[bool]] = []
    if study := filters.get("study"):
        conditions.append(column("study_uid") == study)
    if patient := filters.get("patient"):
        conditions.append(column("patient_id") == patient)
    if date_from := filters.get("date_from"):
        conditions.append(column("study_date", Date) >= as_date(date_from))
    if date_to := filters.get("date_to"):
        conditions.append(column("study_date", Date) <= as_date(date_to))
    return conditions


def as_date(text: str) -> date:
    """A date as people write it (``2026-11-20``); raises ``BadSettings``."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadSettings(f"{text!r} is not a date; give one like 2026-11-20") from None


def places_of(text: str) -> list[str]:
    """A vertebra and the discs that touch it, or a disc and its two vertebrae, its own name first.

    Raises
    ------
    BadSettings
        If it is neither.
    """
    name = _SHORT_DISC.sub(r"\1\2/\1\3", text.strip().upper().replace("-", "/"))
    around = [disc for disc in ALL_DISCS if name in (disc.name, disc.upper.name, disc.lower.name)]
    if name in Level.__members__:
        return [name, *(disc.name for disc in around)]
    if around:
        return [name, around[0].upper.name, around[0].lower.name]
    raise BadSettings(f"{text!r} is not a level; give a vertebra like L4 or a disc like L4/L5")


def _flag(value: object) -> bool | None:
    return None if value is None else bool(value)


def rows_of_view(
    ledger: Ledger, view: str, conditions: list[ColumnElement[bool]], order_by: Sequence[str], limit: int
) -> list[Row]:
    """Rows of a view, all columns; the names come from the caller's code, values are bound."""
    return plain(ledger.rows(_selection(view, conditions, order_by, limit)))


def _selection(
    view: str, conditions: list[ColumnElement[bool]], order_by: Sequence[str], limit: int | None
) -> Select[Any]:
    """Rows of a view, all columns; the names come from this module, values are bound."""
    everything: Select[Any] = select(text("*")).select_from(text(view)).where(*conditions)
    return everything.order_by(*map(text, order_by)).limit(limit)


def plain(rows: list[Row]) -> list[Row]:
    """Dates and times as ISO text."""
    return [{name: _as_text(value) for name, value in row.items()} for row in rows]


def _as_text(value: Any) -> Any:
    """Dates and times as ISO text, as SQLite gives them already."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value
