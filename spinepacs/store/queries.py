"""Questions for the command line and for metrics; every row is a plain dict that JSON and CSV can write.

Dates and times are ISO 8601 text, times in UTC. Whoever wants more asks the database itself: see docs/sql.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Date, Select, column, or_, select, text

from spinepacs.anatomy import DiscLevel, Level
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalState, OutboxState
from spinepacs.store.tables import arrivals, readings
from spinepacs.study import StudyState

QUEUED = (
    StudyState.ARRIVING, StudyState.READY, StudyState.WORKING, StudyState.RECORDED, StudyState.FAILED,
)  # fmt: skip
"""States of studies that something is still to be done for."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Filters:
    """What to look for; None asks for nothing.

    Parameters
    ----------
    level
        Vertebrae of this level, or the discs above and below it.
    disc
        This disc, or the two vertebrae around it.
    minimum_grade
        Published grade at least this.
    date_from, date_to
        Study date, both included; a study without date is then left out.
    all_versions
        Also readings that a newer model or policy has replaced.
    """

    study_uid: str | None = None
    patient_id: str | None = None
    level: Level | None = None
    disc: DiscLevel | None = None
    minimum_grade: int | None = None
    date_from: date | None = None
    date_to: date | None = None
    all_versions: bool = False


def find_discs(ledger: Ledger, filters: Filters, limit: int = 1000) -> list[Row]:
    """Rows of the view ``disc_findings``: newest reading first, each from head to foot."""
    conditions = _conditions(filters)
    if filters.level is not None:
        name = filters.level.name
        conditions.append(or_(column("upper_level") == name, column("lower_level") == name))
    if filters.disc is not None:
        conditions.append(column("disc") == filters.disc.name)
    return _find(ledger, "disc_findings", "disc_order", conditions, limit)


def find_vertebrae(ledger: Ledger, filters: Filters, limit: int = 1000) -> list[Row]:
    """Rows of the view ``vertebra_findings``: newest reading first, each from head to foot."""
    conditions = _conditions(filters)
    if filters.level is not None:
        conditions.append(column("level") == filters.level.name)
    if filters.disc is not None:
        conditions.append(column("level").in_([level.name for level in filters.disc]))
    return _find(ledger, "vertebra_findings", "level_order", conditions, limit)


def find_studies(
    ledger: Ledger, filters: Filters, states: Sequence[StudyState] = (), limit: int = 1000
) -> list[Row]:
    """Rows of the view ``study_summary``, newest arrival first.

    Of ``filters`` the study, the patient and the dates count.
    """
    conditions = _about_study(filters)
    if states:
        conditions.append(column("state").in_([state.value for state in states]))
    return _select(ledger, "study_summary", conditions, ("last_arrival_at DESC", "study_uid"), limit)


def queued_studies(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Studies for which something is still to be done, failed ones included."""
    return find_studies(ledger, Filters(), QUEUED, limit)


def queued_objects(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Rows of the view ``deliveries`` that are pending or failed, oldest first."""
    unsent = column("state") != OutboxState.SENT.value
    return _select(ledger, "deliveries", [unsent], ("created_at", "sop_uid", "destination"), limit)


def kept_arrivals(ledger: Ledger, limit: int = 1000) -> list[Row]:
    """Files that belong to no study: not registered yet, unreadable, or in conflict; with their reasons."""
    names = (
        "arrival_id", "sop_uid", "state", "reason_code", "reason", "source", "calling_ae", "peer", "received_at",
        "size_bytes", "sha256",
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


def _about_study(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.study_uid is not None:
        conditions.append(column("study_uid") == filters.study_uid)
    if filters.patient_id is not None:
        conditions.append(column("patient_id") == filters.patient_id)
    if filters.date_from is not None:
        conditions.append(column("study_date", Date) >= filters.date_from)
    if filters.date_to is not None:
        conditions.append(column("study_date", Date) <= filters.date_to)
    return conditions


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions = _about_study(filters)
    if filters.minimum_grade is not None:
        conditions.append(column("published_grade") >= filters.minimum_grade)
    if not filters.all_versions:
        conditions.append(text("is_current"))  # type: ignore[arg-type]  # a condition, though typed as text
    return conditions


def _find(
    ledger: Ledger, view: str, order: str, conditions: list[ColumnElement[bool]], limit: int
) -> list[Row]:
    order_by = ("read_at DESC", "reading_id DESC", order, "finding")
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
