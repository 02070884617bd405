"""Rows as the parts of the ledger hand them on: arrivals, those that are still to be read, objects in the outbox."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, and_, bindparam, exists, or_, select

from spinepacs.domain.findings import ObjectKind, Versions
from spinepacs.domain.study import Arrival, Source
from spinepacs.store.records import ArrivalState, OutboxItem
from spinepacs.store.tables import arrivals, objects, outbox, readings

_FIELDS = (
    "arrival_id", "sop_uid", "sop_class_uid", "transfer_syntax_uid", "sha256", "size_bytes", "source", "calling_ae",
    "received_at", "study_uid", "series_uid",
)  # fmt: skip


def columns() -> Select[Any]:
    """Select what an Arrival holds."""
    return select(*(arrivals.c[name] for name in _FIELDS))


def as_arrivals(rows: Iterable[Row[Any]]) -> list[Arrival]:
    """Rows of :func:`columns` as Arrivals."""
    return [Arrival(**{**row._mapping, "source": Source(row.source)}) for row in rows]


def unread(
    connection: Connection, study_uid: str, versions: Versions, wanted: ColumnElement[bool] | None = None
) -> list[Arrival]:
    """Selected arrivals of a study that ``versions`` have yet to read, in the order in which they came.

    ``wanted``: those of a campaign; None: those of the day's work.
    """
    if wanted is None:
        question = _unread_of_the_day(versions)
    else:
        question = _selected().where(wanted, ~answered(versions, or_bare=True))
    return as_arrivals(connection.execute(question, {"of_study": study_uid}))


@lru_cache(maxsize=8)
def _unread_of_the_day(versions: Versions) -> Select[Any]:
    """Made once: to put it together costs more than to run it."""
    return _selected().where(arrivals.c.source != Source.CAMPAIGN.value, ~answered(versions))


def _selected() -> Select[Any]:
    selected = columns().where(
        arrivals.c.study_uid == bindparam("of_study"),
        arrivals.c.state == ArrivalState.SELECTED,
        arrivals.c.file_deleted_at.is_(None),
    )
    return selected.order_by(arrivals.c.arrival_id)


def answered(versions: Versions, or_bare: bool = False) -> ColumnElement[bool]:
    """Arrivals that this model and policy have read.

    A reading that refused the film no longer counts when a person has asked for the film again since; one that a
    campaign made, and no objects of, counts with ``or_bare`` only: the day's work owes the archive the objects.
    """
    asked = arrivals.c.reread_after
    counts = or_(readings.c.refusal_code == "", asked.is_(None), readings.c.reading_id > asked)
    if not or_bare:
        counts = and_(counts, ~readings.c.bare)
    return exists().where(readings.c.arrival_id == arrivals.c.arrival_id, under(versions), counts)


def under(versions: Versions) -> ColumnElement[bool]:
    """Readings made with this model and policy, and by no person."""
    made_with = (readings.c[name] == value for name, value in vars(versions).items())
    return and_(readings.c.author == "", *made_with)


def items(
    connection: Connection, time: Column[Any], *conditions: ColumnElement[bool], limit: int
) -> list[OutboxItem]:
    """Rows of the outbox with what is known of their objects, by the ``time`` that makes them due."""
    found = (
        select(
            outbox.c.outbox_id, outbox.c.study_uid, outbox.c.sop_uid, objects.c.sop_class_uid,
            objects.c.transfer_syntax_uid, objects.c.kind, objects.c.sha256, outbox.c.destination, outbox.c.attempts,
            outbox.c.losses, outbox.c.commitment_requests, outbox.c.commitment_failure,
        )
        .join(objects, objects.c.sop_uid == outbox.c.sop_uid)
        .where(*conditions)
        .order_by(time, outbox.c.outbox_id)
        .limit(limit)
    )  # fmt: skip
    rows = connection.execute(found)
    return [OutboxItem(**{**row._mapping, "kind": ObjectKind(row.kind)}) for row in rows]
