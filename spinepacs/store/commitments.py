"""After the fourth leg: the promise of a destination to keep what it was sent (PS3.4 Annex J).

A row of the outbox that is sent and has a time in ``commitment_due_at`` waits for it; then it is asked for, or asked
for again. What the answer says is written down here and nowhere judged: that is the delivery's task.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, case, insert, or_, select, update

from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.records import EventKind, OutboxItem, OutboxState
from spinepacs.store.rows import items
from spinepacs.store.states import settle_all, waive
from spinepacs.store.tables import commitments
from spinepacs.store.tables import outbox as letters


@dataclass(frozen=True)
class Commitments:
    """The part of the ledger that is about storage commitment; each method is one transaction, as the ledger's are."""

    database: Database

    def due(self, destination: str, now: datetime | None = None, limit: int = 100) -> list[OutboxItem]:
        """Objects that the destination has accepted and whose commitment is to be asked for, longest due first."""
        at = now or datetime.now(UTC)
        with self.database.read() as connection:
            return items(
                connection,
                letters.c.commitment_due_at,
                letters.c.destination == destination,
                letters.c.state == OutboxState.SENT,
                letters.c.commitment_due_at.is_not(None),
                # What was sent in the future tells that the clock was set back since.
                or_(letters.c.commitment_due_at <= at, letters.c.sent_at > at),
                limit=limit,
            )

    def begin(
        self, transaction_uid: str, destination: str, outbox_ids: Sequence[int], again_at: datetime
    ) -> None:
        """Keep a transaction before it is asked for, so that its answer is known after a crash too.

        ``again_at``: when to ask again if no answer has come.
        """
        self.database.write(_begin, transaction_uid, destination, outbox_ids, again_at)

    def asked(self, transaction_uid: str, outbox_ids: Sequence[int], status: int | None) -> None:
        """Write down how the request itself was answered (None: it was not), and count it if it was accepted."""
        self.database.write(_asked, transaction_uid, outbox_ids, status)

    def is_answered(self, transaction_uid: str) -> bool:
        """Whether its report has come."""
        with self.database.read() as connection:
            answered = select(commitments.c.answered_at)
            answered = answered.where(commitments.c.transaction_uid == transaction_uid)
            return connection.execute(answered).scalar() is not None

    def answer(
        self, transaction_uid: str, committed: Collection[str], refused: Mapping[str, int], answered_by: str
    ) -> bool:
        """Take in a report: what is committed becomes ``committed``, what is refused is due for a decision.

        A report may come twice, or late, after it was asked for again: it holds for what has not been sent anew since.

        Parameters
        ----------
        committed
            SOP Instance UIDs.
        refused
            Failure reason (PS3.3 C.14.1.1) by SOP Instance UID.

        Returns
        -------
        bool
            False if nobody asked under this transaction.
        """
        return self.database.write(_answer, transaction_uid, committed, refused, answered_by)

    def postpone(self, outbox_ids: Sequence[int], due_at: datetime, message: str) -> None:
        """Ask not before ``due_at``, since the destination could not be asked now."""
        self.database.write(_postpone, outbox_ids, due_at, message)

    def send_again(
        self, item: OutboxItem, state: OutboxState, message: str, next_attempt_at: datetime
    ) -> None:
        """Treat what was accepted as lost: ``pending`` (to be sent again) or ``failed``."""
        self.database.write(_send_again, item, state, message, next_attempt_at)

    def waive(self, destination: str) -> int:
        """No longer wait for a destination that is not asked any more; the number of objects it was about."""
        return self.database.write(waive, destination)


def _begin(
    connection: Connection,
    transaction_uid: str,
    destination: str,
    outbox_ids: Sequence[int],
    again_at: datetime,
) -> None:
    row = {"transaction_uid": transaction_uid, "destination": destination, "objects": len(outbox_ids)}
    now = datetime.now(UTC)
    connection.execute(insert(commitments).values(requested_at=now, **row))
    # Whatever the clock said then, it was sent before this request: see _answer.
    sent_at = case((letters.c.sent_at > now, now), else_=letters.c.sent_at)
    later = {"commitment_due_at": again_at, "sent_at": sent_at}
    connection.execute(update(letters).where(*_awaited(outbox_ids)).values(later))


def _awaited(outbox_ids: Sequence[int]) -> tuple[ColumnElement[bool], ...]:
    """Those that still wait: an answer may have come meanwhile."""
    return letters.c.outbox_id.in_(outbox_ids), letters.c.commitment_due_at.is_not(None)


def _asked(
    connection: Connection, transaction_uid: str, outbox_ids: Sequence[int], status: int | None
) -> None:
    row = commitments.c.transaction_uid == transaction_uid
    connection.execute(update(commitments).where(row).values(status=status))
    if status == 0x0000:
        counted = {"commitment_requests": letters.c.commitment_requests + 1, "message": ""}
        connection.execute(update(letters).where(*_awaited(outbox_ids)).values(counted))


def _answer(
    connection: Connection,
    transaction_uid: str,
    committed: Collection[str],
    refused: Mapping[str, int],
    answered_by: str,
) -> bool:
    known = commitments.c.transaction_uid == transaction_uid
    transaction = connection.execute(select(commitments).where(known)).first()
    if transaction is None:
        return False
    now = datetime.now(UTC)
    asked_about = (
        letters.c.destination == transaction.destination,
        letters.c.state == OutboxState.SENT,
        letters.c.sent_at <= transaction.requested_at,
    )
    study_uids: list[str] = []
    for sop_uid in sorted(set(committed) - set(refused)):
        done = {"state": OutboxState.COMMITTED, "committed_at": now, "commitment_due_at": None, "message": ""}
        row = update(letters).where(*asked_about, letters.c.sop_uid == sop_uid).values(done)
        study_uids += connection.execute(row.returning(letters.c.study_uid)).scalars()
    for sop_uid, reason in sorted(refused.items()):
        failed = {"commitment_failure": reason, "commitment_due_at": now}
        awaited = letters.c.commitment_due_at.is_not(None)
        connection.execute(
            update(letters).where(*asked_about, awaited, letters.c.sop_uid == sop_uid).values(failed)
        )
    numbers = {"committed": len(committed), "refused": len(refused)}
    connection.execute(
        update(commitments).where(known).values(answered_at=now, answered_by=answered_by, **numbers)
    )
    settle_all(connection, study_uids)
    return True


def _postpone(connection: Connection, outbox_ids: Sequence[int], due_at: datetime, message: str) -> None:
    later = {"commitment_due_at": due_at, "message": message}
    connection.execute(update(letters).where(*_awaited(outbox_ids)).values(later))


def _send_again(
    connection: Connection, item: OutboxItem, state: OutboxState, message: str, next_attempt_at: datetime
) -> None:
    lost = {
        "state": state,
        "message": message,
        "next_attempt_at": next_attempt_at,
        "losses": letters.c.losses + 1,
        "commitment_due_at": None,
        "commitment_requests": 0,
        "commitment_failure": None,
    }
    row = update(letters).where(*_awaited([item.outbox_id])).values(lost).returning(letters.c.outbox_id)
    if connection.execute(row).first():
        detail = f"{item.destination}: {message}"
        events.add(connection, EventKind.NOT_KEPT, item.study_uid, item.sop_uid, detail)
