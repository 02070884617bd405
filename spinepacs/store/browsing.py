"""Studies as the console searches them: page by page, each page from where the last one ended, by indexes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, column, exists, func, or_, select, text

from spinepacs.domain.anatomy import ALL_DISCS, Level
from spinepacs.domain.signs import Sign
from spinepacs.domain.study import StudyState
from spinepacs.errors import BadSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Row, as_date, places_of, plain
from spinepacs.store.tables import arrivals, discs, findings, outbox, readings, studies, vertebrae

_FEW = 5000
"""Rows that are looked up by themselves; of more than these every study is asked whether it has one."""


@dataclass(frozen=True)
class Search:
    """What is looked for; what is empty asks for nothing."""

    patient: str = ""
    """Patient ID of any of its films, whole."""
    accession: str = ""
    """Accession number of any of its films, whole."""
    date_from: str = ""
    """Study date from, ISO 8601, included."""
    date_to: str = ""
    state: str = ""
    level: str = ""
    """A vertebra or a disc that is shown, or that has the sign."""
    sign: str = ""
    grade: str = ""
    """Published grade of the sign (of any sign) at least this."""
    model: str = ""
    """Name of the model that read it, or name and version."""
    destination: str = ""
    """Where something of it went, or is to go."""

    @property
    def asked(self) -> list[str]:
        """Names of what is not empty."""
        return [field.name for field in fields(self) if getattr(self, field.name)]


@dataclass(frozen=True)
class Page:
    """Rows of the view ``study_summary``, newest image first, and where the next page begins; empty: it is the last."""

    rows: list[Row]
    after: str


def find_page(ledger: Ledger, search: Search, after: str = "", size: int = 50) -> Page:
    """One page of what is looked for.

    Parameters
    ----------
    after
        :attr:`Page.after` of the page before; empty: the first.

    Raises
    ------
    BadSettings
        If a date, a level, a sign, a grade, a state or ``after`` is none.
    """
    conditions = _conditions(ledger, search)
    if after:
        conditions.append(_behind(after))
    newest_first = (studies.c.last_arrival_at.desc(), studies.c.study_uid.desc())
    wanted = select(studies.c.study_uid, studies.c.last_arrival_at).where(*conditions)
    # One more than is shown tells whether there is a next page.
    found = ledger.rows(wanted.order_by(*newest_first).limit(size + 1))
    shown = found[:size]
    summary = select(text("*")).select_from(text("study_summary"))
    rows = ledger.rows(summary.where(column("study_uid").in_([row["study_uid"] for row in shown])))
    by_uid = {row["study_uid"]: row for row in plain(rows)}
    last = f"{shown[-1]['last_arrival_at'].isoformat()} {shown[-1]['study_uid']}" if shown else ""
    # A study that was removed between the two questions is left out.
    listed = [by_uid[row["study_uid"]] for row in shown if row["study_uid"] in by_uid]
    return Page(listed, last if len(found) > size else "")


def find_all(ledger: Ledger, search: Search, size: int = 500) -> Iterator[list[Row]]:
    """Give every page; raises as :func:`find_page`, at the first."""
    after = ""
    while True:
        page = find_page(ledger, search, after, size)
        yield page.rows
        if not (after := page.after):
            return


def columns(ledger: Ledger) -> list[str]:
    """Names of the columns of a row, in order."""
    return ledger.columns(select(text("*")).select_from(text("study_summary")))


def models(ledger: Ledger) -> list[str]:
    """Name and version of the models that made the newest readings, for people to choose from."""
    newest = select(readings.c.model_name, readings.c.model_version)
    rows = ledger.rows(newest.order_by(readings.c.reading_id.desc()).limit(1000))
    return sorted({f"{row['model_name']} {row['model_version']}" for row in rows})


def _behind(after: str) -> ColumnElement[bool]:
    moment, _, study_uid = after.partition(" ")
    try:
        at = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadSettings("this is no place in the list: begin with its first page") from None
    earlier = or_(
        studies.c.last_arrival_at < at,
        and_(studies.c.last_arrival_at == at, studies.c.study_uid < study_uid),
    )
    # The first condition alone lets the index be entered where the page begins.
    return and_(studies.c.last_arrival_at <= at, earlier)


def _conditions(ledger: Ledger, search: Search) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    for name, value in (("patient_id", search.patient), ("accession_number", search.accession)):
        if value:
            its = select(arrivals.c.study_uid).where(arrivals.c[name] == value)
            wanted.append(studies.c.study_uid.in_(its))
    if search.date_from:
        wanted.append(studies.c.study_date >= as_date(search.date_from))
    if search.date_to:
        wanted.append(studies.c.study_date <= as_date(search.date_to))
    if search.state:
        wanted.append(studies.c.state == _one_of(search.state, StudyState, "state"))
    if search.destination:
        sent = select(outbox.c.study_uid).where(outbox.c.destination == search.destination)
        wanted.append(_among(ledger, sent, outbox.c.study_uid))
    if search.model:
        wanted.append(_among(ledger, _read_by(search.model), readings.c.study_uid))
    return wanted + _found(ledger, search)


def _among(
    ledger: Ledger, its: Select[Any], study_uid: ColumnElement[str], rows: Select[Any] | None = None
) -> ColumnElement[bool]:
    """Whether a study is among those that a question gives.

    What is rare is looked up by its own index, wherever its studies are; else the newest studies are asked one by one,
    since a page of them is soon found. ``rows``: what is counted to tell (None: the question's own rows).
    """
    some = (its if rows is None else rows).limit(_FEW).subquery()
    (counted,) = ledger.rows(select(func.count().label("number")).select_from(some))
    if counted["number"] < _FEW:
        return studies.c.study_uid.in_(its)
    return its.where(study_uid == studies.c.study_uid).correlate(studies).exists()


def _read_by(model: str) -> Select[Any]:
    name, _, version = model.partition(" ")
    read = select(readings.c.study_uid).where(readings.c.model_name == name)
    return read.where(readings.c.model_version == version) if version else read


def _found(ledger: Ledger, search: Search) -> list[ColumnElement[bool]]:
    """What was found on the newest readings: a sign of a grade, at a level; or the level alone."""
    places = places_of(search.level)[:1] if search.level else []
    if not search.sign and not search.grade:
        return [_shows(ledger, places[0])] if places else []
    kinds = [_one_of(search.sign, Sign, "sign")] if search.sign else [sign.value for sign in Sign]
    matching = [findings.c.kind.in_(kinds), findings.c.published_grade >= _grade(search.grade)]
    if places:
        matching.append(findings.c.place == places[0])
    joined = select(readings.c.study_uid).join(findings, findings.c.reading_id == readings.c.reading_id)
    its = joined.where(*matching, _is_newest())
    return [_among(ledger, its, readings.c.study_uid, select(findings.c.finding_id).where(*matching))]


def _shows(ledger: Ledger, place: str) -> ColumnElement[bool]:
    """Whether a vertebra was found, or a disc measured."""
    table, name = (vertebrae, "level") if place in Level.__members__ else (discs, "disc")
    joined = select(readings.c.study_uid).join(table, table.c.reading_id == readings.c.reading_id)
    its = joined.where(table.c[name] == place, _is_newest())
    return _among(ledger, its, readings.c.study_uid, select(table.c.reading_id).where(table.c[name] == place))


def _is_newest() -> ColumnElement[bool]:
    newer = readings.alias()
    return ~exists().where(
        newer.c.arrival_id == readings.c.arrival_id, newer.c.reading_id > readings.c.reading_id
    )


def _grade(given: str) -> int:
    if given and not (given.isascii() and given.isdigit() and len(given) < 3):
        raise BadSettings(f"{given!r} is no grade; give a number from 0 on")
    return int(given or 1)


def _one_of(given: str, kind: type[Sign] | type[StudyState], name: str) -> str:
    known = [member.value for member in kind]
    if given not in known:
        raise BadSettings(f"{given!r} is no {name}; there are {', '.join(known)}")
    return given


PLACES = [*(level.name for level in Level), *(disc.name for disc in ALL_DISCS)]
"""What may be looked for as a level."""
