"""The fourth leg: what is to be sent where, and how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, and_, exists, func, or_, select, update

from spinepacs.domain.study import StudyState
from spinepacs.store import events
from spinepacs.store.records import EventKind, OutboxItem, OutboxState
from spinepacs.store.rows import items
from spinepacs.store.states import lock, settle, settle_all, waive
from spinepacs.store.tables import literally, outbox

_WAITING = (OutboxState.PENDING, OutboxState.FAILED)


def due(connection: Connection, destination: str, now: datetime | None, limit: int) -> list[OutboxItem]:
    """See Ledger.due."""
    at = now or datetime.now(UTC)
    # What was touched in the future tells that the clock was set back since: nobody knows how long it has waited.
    touched_at = func.coalesce(outbox.c.last_attempt_at, outbox.c.created_at)
    return items(
        connection,
        outbox.c.next_attempt_at,
        outbox.c.destination == destination,
        outbox.c.state == OutboxState.PENDING,
        or_(outbox.c.next_attempt_at <= at, touched_at > at),
        limit=limit,
    )


def begin(connection: Connection, outbox_ids: Sequence[int], not_before: datetime | None) -> None:
    """See Ledger.begin_delivery."""
    later = {} if not_before is None else {"next_attempt_at": not_before}
    connection.execute(
        update(outbox)
        .where(outbox.c.outbox_id.in_(outbox_ids), outbox.c.state == OutboxState.PENDING)
        .values(attempts=outbox.c.attempts + 1, last_attempt_at=datetime.now(UTC), **later)
    )


def postpone(
    connection: Connection,
    outbox_ids: Sequence[int],
    next_attempt_at: datetime,
    message: str,
    gives_back: bool = False,
) -> None:
    """See Ledger.postpone_delivery."""
    fewer = {"attempts": outbox.c.attempts - 1} if gives_back else {}
    now = datetime.now(UTC)
    connection.execute(
        update(outbox)
        .where(outbox.c.outbox_id.in_(outbox_ids), outbox.c.state == OutboxState.PENDING)
        .values(status=None, message=message, next_attempt_at=next_attempt_at, last_attempt_at=now, **fewer)
    )


def finish(
    connection: Connection,
    outbox_id: int,
    state: OutboxState,
    status: int | None,
    message: str,
    next_attempt_at: datetime | None,
    commitment_due_at: datetime | None,
) -> None:
    """See Ledger.finish_delivery."""
    study_uid = connection.execute(
        select(outbox.c.study_uid).where(outbox.c.outbox_id == outbox_id)
    ).scalar_one()
    study_state = lock(connection, study_uid)
    now = datetime.now(UTC)
    changes: dict[str, Any] = {"next_attempt_at": next_attempt_at or now}
    if state is OutboxState.SENT:
        changes = {"sent_at": now, "commitment_due_at": commitment_due_at}
    connection.execute(
        update(outbox)
        .where(outbox.c.outbox_id == outbox_id, outbox.c.state == OutboxState.PENDING)
        .values(state=state, status=status, message=message, **changes)
    )
    if study_state is StudyState.RECORDED and state is OutboxState.SENT:
        settle(connection, study_uid)


def hurry(connection: Connection, study_uid: str | None, destination: str | None) -> int:
    """See Ledger.hurry."""
    now = datetime.now(UTC)
    chosen = []
    if destination is not None:
        chosen.append(outbox.c.destination == destination)
    if study_uid is not None:
        chosen.append(outbox.c.study_uid == study_uid)
    pending = (outbox.c.state == OutboxState.PENDING, outbox.c.next_attempt_at > now)
    sent = connection.execute(update(outbox).where(*chosen, *pending).values(next_attempt_at=now))
    awaited = outbox.c.commitment_due_at > now
    asked = connection.execute(update(outbox).where(*chosen, awaited).values(commitment_due_at=now))
    return sent.rowcount + asked.rowcount


def strays(connection: Connection, destinations: Collection[str]) -> dict[str, int]:
    """See Ledger.strays."""
    elsewhere = outbox.c.destination.not_in(destinations)
    by_name = select(outbox.c.destination, func.count()).where(elsewhere).group_by(outbox.c.destination)
    awaited = (outbox.c.commitment_due_at.is_not(None), outbox.c.state.not_in(_WAITING))
    waiting: Counter[str] = Counter()
    for rows in (by_name.where(literally(outbox.c.state, *_WAITING)), by_name.where(*awaited)):
        waiting.update({row[0]: row[1] for row in connection.execute(rows)})
    return dict(waiting)


def redirect(connection: Connection, old: str, new: str) -> int:
    """See Ledger.redirect."""
    waiting = and_(outbox.c.destination == old, outbox.c.state.in_(_WAITING))
    there = outbox.alias()
    has_it = exists().where(there.c.sop_uid == outbox.c.sop_uid, there.c.destination == new)
    moved = (
        update(outbox)
        .where(waiting, ~has_it)
        .values(destination=new, state=OutboxState.PENDING, attempts=0, next_attempt_at=datetime.now(UTC))
        .returning(outbox.c.study_uid)
    )
    study_uids = list(connection.execute(moved).scalars())
    _say(connection, EventKind.REDIRECTED, study_uids, f"{old} → {new}")
    return len(study_uids) + withdraw(connection, old)


def withdraw(connection: Connection, destination: str) -> int:
    """See Ledger.withdraw."""
    waiting = (outbox.c.destination == destination, outbox.c.state.in_(_WAITING))
    given_up = (
        update(outbox).where(*waiting).values(state=OutboxState.WITHDRAWN).returning(outbox.c.study_uid)
    )
    study_uids = list(connection.execute(given_up).scalars())
    _say(connection, EventKind.WITHDRAWN, study_uids, destination)
    settle_all(connection, study_uids)
    return len(study_uids) + waive(connection, destination)


def _say(connection: Connection, kind: EventKind, study_uids: Collection[str], detail: str) -> None:
    for study_uid in sorted(set(study_uids)):
        events.add(connection, kind, study_uid, "", detail)
