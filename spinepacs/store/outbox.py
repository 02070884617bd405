"""The fourth leg: what is to be sent where, and how it went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, select, update

from spinepacs.findings import ObjectKind
from spinepacs.store.arrivals import lock
from spinepacs.store.records import OutboxItem, OutboxState
from spinepacs.store.studies import settle
from spinepacs.store.tables import objects, outbox
from spinepacs.study import StudyState


def due(connection: Connection, destination: str, now: datetime | None, limit: int) -> list[OutboxItem]:
    """See Ledger.due."""
    waiting = (
        select(
            outbox.c.outbox_id, outbox.c.study_uid, outbox.c.sop_uid, objects.c.sop_class_uid,
            objects.c.transfer_syntax_uid, objects.c.kind, objects.c.sha256, outbox.c.destination, outbox.c.attempts,
        )
        .join(objects, objects.c.sop_uid == outbox.c.sop_uid)
        .where(
            outbox.c.destination == destination,
            outbox.c.state == OutboxState.PENDING,
            outbox.c.next_attempt_at <= (now or datetime.now(UTC)),
        )
        .order_by(outbox.c.next_attempt_at, outbox.c.outbox_id)
        .limit(limit)
    )  # fmt: skip
    rows = connection.execute(waiting)
    return [OutboxItem(**{**row._mapping, "kind": ObjectKind(row.kind)}) for row in rows]


def begin(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """See Ledger.begin_delivery."""
    connection.execute(
        update(outbox)
        .where(outbox.c.outbox_id.in_(outbox_ids), outbox.c.state == OutboxState.PENDING)
        .values(attempts=outbox.c.attempts + 1, last_attempt_at=datetime.now(UTC))
    )


def finish(
    connection: Connection,
    outbox_id: int,
    state: OutboxState,
    status: int | None,
    message: str,
    next_attempt_at: datetime | None,
) -> None:
    """See Ledger.finish_delivery."""
    study_uid = connection.execute(
        select(outbox.c.study_uid).where(outbox.c.outbox_id == outbox_id)
    ).scalar_one()
    study_state = lock(connection, study_uid)
    now = datetime.now(UTC)
    sent = {"sent_at": now} if state is OutboxState.SENT else {"next_attempt_at": next_attempt_at or now}
    connection.execute(
        update(outbox)
        .where(outbox.c.outbox_id == outbox_id, outbox.c.state == OutboxState.PENDING)
        .values(state=state, status=status, message=message, **sent)
    )
    if study_state is StudyState.RECORDED and state is OutboxState.SENT:
        settle(connection, study_uid)
