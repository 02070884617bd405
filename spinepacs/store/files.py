"""Which files of the spool are still wanted, and which may go: rows stay, files are deleted.

Nothing here touches the spool. A row whose ``file_deleted_at`` is set no longer wants its file; :mod:`upkeep` then
removes it, unless the same bytes have come again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
    union_all,
    update,
)

from spinepacs.domain.study import StudyState
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.records import ArrivalState, EventKind, OutboxState
from spinepacs.store.states import lock, move
from spinepacs.store.tables import arrivals, objects, outbox, readings, studies

BATCH = 500
"""Files given up in one transaction: senders wait for it on SQLite."""


class Want(Enum):
    """What the ledger says of a file."""

    WANTED = "wanted"
    GIVEN_UP = "given up"
    """Only rows whose file was deleted know it."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class GivenUp:
    """How many files may go, and their size."""

    originals: int = 0
    results: int = 0
    size_bytes: int = 0

    def __add__(self, other: GivenUp) -> GivenUp:
        return GivenUp(
            self.originals + other.originals,
            self.results + other.results,
            self.size_bytes + other.size_bytes,
        )


@dataclass(frozen=True)
class Files:
    """The part of the ledger that is about the files of the spool; each method is one transaction, as the ledger's."""

    database: Database

    def wanted(self, prefix: str) -> dict[str, str]:
        """SOP UID by digest of the files that are to be there, for digests that begin with ``prefix``."""
        questions = [
            select(table.c.sha256, table.c.sop_uid).where(
                table.c.sha256 >= prefix, table.c.sha256 < f"{prefix}g", table.c.file_deleted_at.is_(None)
            )
            for table in (arrivals, objects)
        ]
        with self.database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(union_all(*questions))}

    def want(self, sha256: str) -> Want:
        """What the ledger says of one file."""
        times = [
            select(table.c.file_deleted_at).where(table.c.sha256 == sha256) for table in (arrivals, objects)
        ]
        with self.database.read() as connection:
            found = [time for question in times for time in connection.execute(question).scalars()]
        if not found:
            return Want.UNKNOWN
        return Want.WANTED if None in found else Want.GIVEN_UP

    def expire(self, settings: RetentionSettings, now: datetime | None = None) -> GivenUp:
        """Give up files by age and size, oldest study first, at most :data:`BATCH`; call it until nothing is given up.

        Originals go when their film was read and every result was delivered (and committed, where that is asked for),
        results when each was delivered to somebody. Films that were refused go only with ``settings.refused``. What
        failed, is unreadable or in conflict stays until a person decides (:meth:`discard`).
        """
        return self.database.write(_expire, settings, now or datetime.now(UTC))

    def discard(self, uid: str) -> int:
        """Give up, by a person's decision, what cannot be processed; the number of files.

        A Study Instance UID: the originals of a study that was refused or has failed, which is ``refused`` then
        (``DISCARDED``). A SOP Instance UID: files that are unreadable or in conflict.
        """
        return self.database.write(_discard, uid)

    def total_bytes(self) -> int:
        """Size of all files that are wanted."""
        with self.database.read() as connection:
            return _total_bytes(connection)


def _expire(connection: Connection, settings: RetentionSettings, now: datetime) -> GivenUp:
    given_up = GivenUp()
    if settings.days:
        too_old = studies.c.changed_at < now - timedelta(days=settings.days)
        given_up += _give_up(connection, _candidates(connection, settings, too_old), now)
    if settings.maximum_gb and not given_up.size_bytes:
        excess = _total_bytes(connection) - settings.maximum_gb * 1e9
        chosen = []
        for candidate in _candidates(connection, settings) if excess > 0 else ():
            chosen.append(candidate)
            excess -= candidate.size_bytes
            if excess <= 0:
                break
        given_up += _give_up(connection, chosen, now)
    return given_up


@dataclass(frozen=True)
class _Candidate:
    table: Table
    sha256: str
    size_bytes: int


def _candidates(
    connection: Connection, settings: RetentionSettings, *conditions: ColumnElement[bool]
) -> list[_Candidate]:
    """Files that may go, those of the study that has been done longest first."""
    found: list[tuple[datetime, _Candidate]] = []
    for name, table, question in (
        ("originals", arrivals, _originals(settings)),
        ("results", objects, _results()),
    ):
        if name in settings.delete:
            oldest = question.where(table.c.file_deleted_at.is_(None), *conditions)
            rows = connection.execute(oldest.order_by(studies.c.changed_at).limit(BATCH))
            found += [(row.changed_at, _Candidate(table, row.sha256, row.size_bytes)) for row in rows]
    return [candidate for _, candidate in sorted(found, key=lambda item: item[0])[:BATCH]]


def _originals(settings: RetentionSettings) -> Select[tuple[str, int, datetime]]:
    read = exists().where(readings.c.arrival_id == arrivals.c.arrival_id, readings.c.refusal_code == "")
    may_go = and_(studies.c.state == StudyState.DELIVERED, arrivals.c.state == ArrivalState.SELECTED, read)
    if settings.refused:
        ended = studies.c.state.in_((StudyState.DELIVERED, StudyState.REFUSED))
        may_go = or_(may_go, and_(ended, ~read))
    joined = arrivals.join(studies, studies.c.study_uid == arrivals.c.study_uid)
    return (
        select(arrivals.c.sha256, arrivals.c.size_bytes, studies.c.changed_at)
        .select_from(joined)
        .where(may_go)
    )


def _results() -> Select[tuple[str, int, datetime]]:
    """Objects that somebody has, and nobody else waits for."""
    letters = outbox.c.sop_uid == objects.c.sop_uid
    arrived = outbox.c.state.in_((OutboxState.SENT, OutboxState.COMMITTED))
    is_open = or_(
        outbox.c.state.in_((OutboxState.PENDING, OutboxState.FAILED)), outbox.c.commitment_due_at.is_not(None)
    )
    joined = objects.join(readings, readings.c.reading_id == objects.c.reading_id).join(
        studies, studies.c.study_uid == readings.c.study_uid
    )
    return (
        select(objects.c.sha256, objects.c.size_bytes, studies.c.changed_at)
        .select_from(joined)
        .where(
            studies.c.state == StudyState.DELIVERED,
            exists().where(letters, arrived),
            ~exists().where(letters, is_open),
        )
    )


def _give_up(connection: Connection, candidates: Iterable[_Candidate], now: datetime) -> GivenUp:
    given_up = GivenUp()
    for candidate in candidates:
        table = candidate.table
        connection.execute(
            update(table)
            .where(table.c.sha256 == candidate.sha256, table.c.file_deleted_at.is_(None))
            .values(file_deleted_at=now)
        )
        is_original = table is arrivals
        given_up += GivenUp(int(is_original), int(not is_original), candidate.size_bytes)
    if given_up.size_bytes:
        detail = f"{given_up.originals} originals, {given_up.results} results, {given_up.size_bytes} bytes"
        events.add(connection, EventKind.FILES_DELETED, detail=detail)
    return given_up


def _total_bytes(connection: Connection) -> int:
    return sum(
        int(
            connection.execute(
                select(func.sum(table.c.size_bytes)).where(table.c.file_deleted_at.is_(None))
            ).scalar()
            or 0
        )
        for table in (arrivals, objects)
    )


def _discard(connection: Connection, uid: str) -> int:
    known = connection.execute(select(studies.c.study_uid).where(studies.c.study_uid == uid)).scalar()
    if known is None:
        kept = arrivals.c.state.in_((ArrivalState.UNREADABLE, ArrivalState.CONFLICT))
        condition = and_(arrivals.c.sop_uid == uid, kept)
    elif lock(connection, uid) not in (StudyState.REFUSED, StudyState.FAILED):
        return 0
    else:
        condition = arrivals.c.study_uid == uid
        reason = "given up by a person's decision"
        move(connection, uid, StudyState.REFUSED, reason_code="DISCARDED", reason=reason)
    gone = update(arrivals).where(condition, arrivals.c.file_deleted_at.is_(None))
    count = connection.execute(gone.values(file_deleted_at=datetime.now(UTC))).rowcount
    if count or known:
        events.add(connection, EventKind.DISCARDED, known or "", "" if known else uid, f"{count} files")
    return count
