"""Questions for the command line and for metrics; every row is a plain dict that JSON and CSV can write.

Dates and times are ISO 8601 text, times in UTC. Whoever wants more asks the database itself: see docs/sql.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, TypedDict, Unpack

from sqlalchemy import Boolean, ColumnElement, Date, Select, and_, column, literal_column, or_, select, text

from spinepacs.anatomy import ALL_DISCS, Level
from spinepacs.errors import BadSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalState, OutboxState
from spinepacs.store.tables import arrivals, readings
from spinepacs.study import StudyState

QUEUED = (
    StudyState.ARRIVING, StudyState.READY, StudyState.WORKING, StudyState.RECORDED, StudyState.FAILED,
)  # fmt: skip
"""States of studies that something is still to be done for."""

Row = dict[str, Any]


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
    """A vertebra (``L4``; of discs those above and below it) or a disc (``L4/L5``; of vertebrae those around it)."""
    grade: int | None
    """Published grade at least this."""
    all_versions: bool
    """Also readings that a newer model or policy has replaced."""


def find_discs(ledger: Ledger, limit: int = 1000, **filters: Unpack[Filters]) -> list[Row]:
    """Rows of the view ``disc_findings``: newest study first, each film from head to foot.

    Raises
    ------
    BadSettings
        If a level or a date is none.
    """
    conditions = _conditions(filters)
    if level := filters.get("level"):
        upper, lower = _levels(level)
        if upper == lower:
            conditions.append(or_(column("upper_level") == upper, column("lower_level") == lower))
        else:
            conditions.append(and_(column("upper_level") == upper, column("lower_level") == lower))
    return _find(ledger, "disc_findings", "disc_order", conditions, limit)


def find_vertebrae(ledger: Ledger, limit: int = 1000, **filters: Unpack[Filters]) -> list[Row]:
    """Rows of the view ``vertebra_findings``: newest study first, each film from head to foot.

    Raises
    ------
    BadSettings
        If a level or a date is none.
    """
    conditions = _conditions(filters)
    if level := filters.get("level"):
        conditions.append(column("level").in_(_levels(level)))
    return _find(ledger, "vertebra_findings", "level_order", conditions, limit)


def find_studies(
    ledger: Ledger, states: Sequence[StudyState] = (), limit: int = 1000, **filters: Unpack[StudyFilters]
) -> list[Row]:
    """Rows of the view ``study_summary``, newest arrival first.

    Raises
    ------
    BadSettings
        If a date is none.
    """
    conditions = _about_study(filters)
    if states:
        conditions.append(column("state").in_([state.value for state in states]))
    newest_first = (text("last_arrival_at DESC"), text("study_uid"))
    # The view counts a great deal for each of its rows: let it do so for those that are shown only.
    shown = select(text("study_uid")).select_from(text("studies")).where(*conditions)
    summary = select(text("*")).select_from(text("study_summary"))
    rows = summary.where(column("study_uid").in_(shown.order_by(*newest_first).limit(limit)))
    return _plain(ledger.rows(rows.order_by(*newest_first)))


def queue(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """All that is not done, in one list: studies, then objects, then files, at most ``limit`` of each.

    Every row has ``what`` (study, object or file), ``uid``, ``state``, ``where`` (destination or sender),
    ``attempts``, ``since`` and ``reason``.
    """
    studies = [_queued("study", row["study_uid"], row) for row in queued_studies(ledger, limit)]
    objects = [_queued("object", row["sop_uid"], row) for row in queued_objects(ledger, limit)]
    files = [_queued("file", row["sop_uid"], row) for row in kept_arrivals(ledger, limit)]
    return studies + objects + files


def _queued(what: str, uid: str, row: Row) -> Row:
    """One form for three kinds of rows, each with its own names."""
    code, words = row.get("reason_code"), row.get("reason", row.get("message"))
    return {
        "what": what,
        "uid": uid,
        "state": row["state"],
        "where": row.get("destination", row.get("calling_ae", "")),
        "attempts": row.get("attempts", row.get("registrations")),
        "since": row.get("changed_at", row.get("created_at", row.get("received_at"))),
        "reason": f"{code}: {words}" if code else words,
    }


def queued_studies(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Studies for which something is still to be done, failed ones included."""
    return find_studies(ledger, QUEUED, limit)


def queued_objects(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Rows of the view ``deliveries`` that are pending or failed, oldest first."""
    unsent = column("state") != OutboxState.SENT.value
    return _select(ledger, "deliveries", [unsent], ("created_at", "sop_uid", "destination"), limit)


def kept_arrivals(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Files that belong to no study: not registered yet, unreadable, or in conflict; with their reasons."""
    names = (
        "arrival_id", "sop_uid", "state", "reason_code", "reason", "source", "calling_ae", "peer", "received_at",
        "registrations", "size_bytes", "sha256",
    )  # fmt: skip
    outside = (ArrivalState.RECEIVED, ArrivalState.UNREADABLE, ArrivalState.CONFLICT)
    kept = select(*(arrivals.c[name] for name in names)).where(arrivals.c.state.in_(outside))
    return _plain(ledger.rows(kept.order_by(arrivals.c.arrival_id).limit(limit)))


def step_seconds(ledger: Ledger, newest: int = 100) -> dict[str, float]:
    """Mean seconds of each step of the pipeline over the newest readings."""
    recent = select(readings.c.seconds).order_by(readings.c.reading_id.desc()).limit(newest)
    by_step: dict[str, list[float]] = defaultdict(list)
    for row in ledger.rows(recent):
        for step, seconds in row["seconds"].items():
            by_step[step].append(seconds)
    return {step: sum(values) / len(values) for step, values in by_step.items()}


def _about_study(filters: Filters | StudyFilters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if study := filters.get("study"):
        conditions.append(column("study_uid") == study)
    if patient := filters.get("patient"):
        conditions.append(column("patient_id") == patient)
    if date_from := filters.get("date_from"):
        conditions.append(column("study_date", Date) >= _date(date_from))
    if date_to := filters.get("date_to"):
        conditions.append(column("study_date", Date) <= _date(date_to))
    return conditions


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = _about_study(filters)
    if (grade := filters.get("grade")) is not None:
        conditions.append(column("published_grade") >= grade)
    if not filters.get("all_versions"):
        conditions.append(literal_column("is_current", Boolean))
    return conditions


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise BadSettings(f"{text!r} is not a date; give one like 2026-11-20") from None


def _levels(text: str) -> tuple[str, str]:
    """Names of the two vertebrae around a disc, or of a vertebra twice."""
    name = text.strip().upper()
    if name in Level.__members__:
        return name, name
    for disc in ALL_DISCS:
        if name == disc.name:
            return disc.upper.name, disc.lower.name
    raise BadSettings(f"{text!r} is not a level; give a vertebra like L4 or a disc like L4/L5")


def _find(
    ledger: Ledger, view: str, order: str, conditions: list[ColumnElement[bool]], limit: int
) -> list[Row]:
    order_by = ("study_date DESC NULLS LAST", "read_at DESC", "reading_id DESC", order, "finding")
    rows = _select(ledger, view, conditions, order_by, limit)
    return [{**row, "is_current": bool(row["is_current"])} for row in rows]


def _select(
    ledger: Ledger, view: str, conditions: list[ColumnElement[bool]], order_by: Sequence[str], limit: int
) -> list[Row]:
    """Rows of a view, all columns; the names come from this module, values are bound."""
    everything: Select[Any] = select(text("*")).select_from(text(view)).where(*conditions)
    return _plain(ledger.rows(everything.order_by(*map(text, order_by)).limit(limit)))


def _plain(rows: list[Row]) -> list[Row]:
    return [{name: _as_text(value) for name, value in row.items()} for row in rows]


def _as_text(value: Any) -> Any:
    """Dates and times as ISO text, as SQLite gives them already."""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="microseconds")
    return value.isoformat() if isinstance(value, date) else value
