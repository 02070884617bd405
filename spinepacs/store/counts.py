"""How many of what, and since when, for metrics."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select

from spinepacs.domain.study import StudyState
from spinepacs.store import folder, unseen
from spinepacs.store.records import ArrivalState, OpenCounts, OutboxState, QueueCounts, Waiting
from spinepacs.store.tables import arrivals, literally, objects, outbox, readings, studies

QUEUED = (
    StudyState.ARRIVING, StudyState.READY, StudyState.WORKING, StudyState.RECORDED, StudyState.FAILED,
)  # fmt: skip
"""States of studies that something is still to be done for."""

OUTSIDE = (ArrivalState.RECEIVED, ArrivalState.UNREADABLE, ArrivalState.CONFLICT)
"""States of files that belong to no study."""


def count(connection: Connection) -> QueueCounts:
    """See Ledger.counts."""
    by_study = select(studies.c.state, func.count()).group_by(studies.c.state)
    by_arrival = select(arrivals.c.state, func.count()).group_by(arrivals.c.state)
    to_send = select(outbox.c.destination, outbox.c.state, func.count()).group_by(
        outbox.c.destination, outbox.c.state
    )
    images = {row[0]: row[1] for row in connection.execute(by_arrival)}
    results = connection.execute(select(func.count()).select_from(objects)).scalar_one()
    return QueueCounts(
        studies={row[0]: row[1] for row in connection.execute(by_study)},
        arrivals=images,
        outbox={(row[0], row[1]): row[2] for row in connection.execute(to_send)},
        refused=_refused(connection),
        uncommitted=_uncommitted(connection),
        unseen=unseen.count(connection),
        files_deleted={
            "original": sum(images.values()) - _kept(connection, arrivals),
            "result": results - _kept(connection, objects),
        },
        folder_failed=folder.count(connection),
    )


def count_open(connection: Connection) -> OpenCounts:
    """See Ledger.open_counts: through indexes of what is open alone."""
    by_study = (
        select(studies.c.state, func.count()).where(studies.c.state.in_(QUEUED)).group_by(studies.c.state)
    )
    by_arrival = select(arrivals.c.state, func.count()).where(
        arrivals.c.state.in_(OUTSIDE), arrivals.c.file_deleted_at.is_(None)
    )
    unsent = literally(outbox.c.state, OutboxState.PENDING, OutboxState.FAILED)
    to_send = select(outbox.c.destination, outbox.c.state, func.count()).where(unsent)
    return OpenCounts(
        studies={row[0]: row[1] for row in connection.execute(by_study)},
        arrivals={row[0]: row[1] for row in connection.execute(by_arrival.group_by(arrivals.c.state))},
        outbox={
            (row[0], row[1]): row[2]
            for row in connection.execute(to_send.group_by(outbox.c.destination, outbox.c.state))
        },
        uncommitted=_uncommitted(connection),
    )


def _uncommitted(connection: Connection) -> dict[str, int]:
    awaited = select(outbox.c.destination, func.count()).where(outbox.c.commitment_due_at.is_not(None))
    return {row[0]: row[1] for row in connection.execute(awaited.group_by(outbox.c.destination))}


def _kept(connection: Connection, table: Table) -> int:
    """Files that are wanted."""
    return int(connection.execute(select(func.count()).where(table.c.file_deleted_at.is_(None))).scalar_one())


def _refused(connection: Connection) -> dict[str, int]:
    """Images by reason: at selection, as unreadable, and by the reading."""
    early = (
        select(arrivals.c.reason_code, func.count())
        .where(arrivals.c.state.in_((ArrivalState.REFUSED, ArrivalState.UNREADABLE)))
        .group_by(arrivals.c.reason_code)
    )
    late = (
        select(readings.c.refusal_code, func.count())
        .where(readings.c.refusal_code != "", readings.c.author == "")
        .group_by(readings.c.refusal_code)
    )
    total: Counter[str] = Counter()
    for question in (early, late):
        total.update({row[0]: row[1] for row in connection.execute(question)})
    return dict(total)


_UNREAD = (StudyState.ARRIVING, StudyState.READY, StudyState.WORKING)


def waiting(connection: Connection) -> Waiting:
    """See Ledger.waiting."""
    by_id = select(arrivals.c.received_at)
    newest = connection.execute(by_id.order_by(arrivals.c.arrival_id.desc()).limit(1)).scalar()
    new = by_id.where(literally(arrivals.c.state, ArrivalState.RECEIVED))
    unregistered = connection.execute(new.order_by(arrivals.c.arrival_id).limit(1)).scalar()
    # The last image of a study: one that is opened again waits since then.
    of_studies = select(func.min(studies.c.last_arrival_at)).where(
        studies.c.state.in_(_UNREAD), studies.c.campaign_id.is_(None)
    )
    unread = [at for at in (unregistered, connection.execute(of_studies).scalar()) if at]
    unsent = literally(outbox.c.state, OutboxState.PENDING, OutboxState.FAILED)
    pending = select(outbox.c.destination, func.min(outbox.c.created_at)).where(
        unsent, outbox.c.state == OutboxState.PENDING
    )
    awaited = select(outbox.c.destination, func.min(outbox.c.sent_at)).where(
        outbox.c.commitment_due_at.is_not(None)
    )
    return Waiting(
        last_received_at=newest,
        oldest_unread_at=min(unread, default=None),
        oldest_pending_at=_by_destination(connection, pending),
        oldest_uncommitted_at=_by_destination(connection, awaited),
    )


def _by_destination(connection: Connection, oldest: Select[Any]) -> dict[str, datetime]:
    return {row[0]: row[1] for row in connection.execute(oldest.group_by(outbox.c.destination))}
