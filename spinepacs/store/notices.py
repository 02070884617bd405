"""What is to be told to whom: a row for each thing and channel, told together, and once.

A row is in the database before anybody is told, and stays pending until that has gone well, so nothing is lost; where
the answer of a mail server or a webhook got lost, the same batch is sent again, under the same identity.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, literal, or_, select, update

from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.tables import literally, notices, studies

LASTING = ("certificate-ends", "destination-down", "storage-down")
"""What begins and ends; all else happens once."""
SHOWN = 200
"""So many rows of a batch are handed out; the others are counted."""


class NoticeState(StrEnum):
    """Where a row stands."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    """Given up: nobody has been told."""


@dataclass(frozen=True)
class NewNotice:
    """Something to tell; ``subject`` says what of its kind it is about, and is told of once.

    ``has_ended``: it is the end of something that lasted.
    """

    kind: str
    subject: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    study_uid: str = ""
    has_ended: bool = False


@dataclass(frozen=True)
class Notice:
    """A row; ``ended_at``: of what lasts, when it was over."""

    notice_id: int
    kind: str
    subject: str
    study_uid: str
    detail: Mapping[str, Any]
    made_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class Batch:
    """What is told in one message: its identity, the attempt, the first rows, and how many there are of each kind."""

    batch: str
    attempt: int
    oldest_at: datetime
    counts: Mapping[str, int]
    items: Sequence[Notice]


@dataclass(frozen=True)
class Standing:
    """How a channel does: what waits, what was given up, when somebody was told last, and what went wrong last."""

    waiting: int = 0
    failed: int = 0
    sent_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class Notices:
    """The part of the ledger that is about notifications; each method is one transaction, as the ledger's."""

    database: Database

    def add(self, channel: str, new: Sequence[NewNotice]) -> None:
        """Write down what is to be told; what is known already stays as it is."""
        if new:
            self.database.write(add, channel, new)

    def lasts(self, channel: str, kind: str, now: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down what of one kind lasts now, by subject; the end of what did so before is told too."""
        with self.database.read() as connection:
            known = _open(connection, channel, kind)
        if known.keys() != now.keys():
            self.database.write(_lasts, channel, kind, now)

    def begin(
        self, channel: str, gather_s: float, interval_s: float, wait_s: Callable[[int], float]
    ) -> Batch | None:
        """Take what is to be told now and count the attempt before it is made; None: nothing is due.

        Parameters
        ----------
        gather_s
            So long (s) the oldest row waits for others.
        interval_s
            So long (s) after the last message there is none.
        wait_s
            Gives for so many attempts the time (s) until the next one.
        """
        with self.database.read() as connection:
            if not connection.execute(select(notices.c.notice_id).where(*_pending(channel)).limit(1)).first():
                return None
        return self.database.write(_begin, channel, gather_s, interval_s, wait_s)

    def sent(self, batch: Batch, message: str = "") -> None:
        """All of a batch was told."""
        told = {"state": NoticeState.SENT, "sent_at": datetime.now(UTC), "message": message}
        self.database.write(_finish, batch.batch, told)

    def not_sent(self, batch: Batch, why: str, is_over: bool = False) -> None:
        """It was not; ``is_over``: and is given up."""
        state = NoticeState.FAILED if is_over else NoticeState.PENDING
        self.database.write(_finish, batch.batch, {"state": state, "message": why})

    def whose(self, study_uids: Collection[str]) -> dict[str, dict[str, str]]:
        """Patient ID, accession number and date of these studies, for those who may be told."""
        names = ("patient_id", "accession_number", "study_date")
        rows = select(studies.c.study_uid, *(studies.c[name] for name in names))
        with self.database.read() as connection:
            found = connection.execute(rows.where(studies.c.study_uid.in_(study_uids))).mappings().all()
        return {row["study_uid"]: {name: str(row[name] or "") for name in names} for row in found}

    def forget(self, before: datetime) -> int:
        """Delete what was written down before then and does not last; how many rows."""
        return self.database.write(_forget, before)

    def standing(self, channels: Collection[str]) -> dict[str, Standing]:
        """How these channels do."""
        with self.database.read() as connection:
            return {channel: _standing(connection, channel) for channel in channels}


def add(connection: Connection, channel: str, new: Sequence[NewNotice]) -> None:
    """See Notices.add."""
    now = datetime.now(UTC)
    same = {"channel": channel, "state": NoticeState.PENDING.value, "made_at": now, "next_attempt_at": now}
    for one in new:
        row: dict[str, Any] = {
            "kind": one.kind,
            "subject": one.subject,
            "detail": dict(one.detail),
            "study_uid": one.study_uid,
        }
        row["ended_at"] = now if one.has_ended else None
        connection.execute(insert_into(connection, notices).values(same | row).on_conflict_do_nothing())


def is_told(channel: str, kind: str, subject: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a row speaks of this subject, for a question about something else."""
    known = (notices.c.channel == channel, notices.c.kind == kind, notices.c.ended_at.is_(None))
    return select(literal(1)).where(*known, notices.c.subject == subject).exists()


def _pending(channel: str) -> tuple[ColumnElement[bool], ...]:
    return notices.c.channel == channel, literally(notices.c.state, NoticeState.PENDING)


def _open(connection: Connection, channel: str, kind: str) -> dict[str, Notice]:
    lasting = (notices.c.channel == channel, notices.c.kind == kind, notices.c.ended_at.is_(None))
    return {each.subject: each for each in _rows(connection, *lasting)}


def _rows(connection: Connection, *where: ColumnElement[bool], limit: int | None = None) -> list[Notice]:
    wanted = [notices.c[name] for name in Notice.__dataclass_fields__]
    rows = select(*wanted).where(*where).order_by(notices.c.notice_id).limit(limit)
    return [Notice(**row._mapping) for row in connection.execute(rows)]


def _lasts(connection: Connection, channel: str, kind: str, now: Mapping[str, Mapping[str, Any]]) -> None:
    known = _open(connection, channel, kind)
    for subject in known.keys() - now.keys():
        was = known[subject]
        ended = update(notices).where(notices.c.notice_id == was.notice_id).values(ended_at=datetime.now(UTC))
        row = connection.execute(ended.returning(notices.c.state, notices.c.batch)).one()
        if row.state != NoticeState.PENDING or row.batch:  # somebody knows that it began
            over = {**was.detail, "over": True, "began_at": was.made_at.isoformat(timespec="seconds")}
            add(connection, channel, [NewNotice(kind, subject, over, has_ended=True)])
    add(connection, channel, [NewNotice(kind, key, now[key]) for key in sorted(now.keys() - known.keys())])


def _begin(
    connection: Connection,
    channel: str,
    gather_s: float,
    interval_s: float,
    wait_s: Callable[[int], float],
) -> Batch | None:
    now = datetime.now(UTC)
    batch, attempts = _tried(connection, channel, now, wait_s) or (None, 0)
    if batch is None:
        if not _is_time(connection, channel, now, gather_s, interval_s):
            return None
        batch = uuid.uuid4().hex
        gathered = update(notices).where(*_pending(channel), notices.c.batch == "")
        connection.execute(gathered.values(batch=batch))
    if not batch:
        return None
    of_it = (*_pending(channel), notices.c.batch == batch)
    later = now + timedelta(seconds=wait_s(attempts + 1))
    connection.execute(update(notices).where(*of_it).values(attempts=attempts + 1, next_attempt_at=later))
    by_kind = select(notices.c.kind, func.count()).where(*of_it).group_by(notices.c.kind)
    oldest = connection.execute(select(func.min(notices.c.made_at)).where(*of_it)).scalar_one()
    counts = {row[0]: row[1] for row in connection.execute(by_kind)}
    return Batch(batch, attempts + 1, oldest, counts, _rows(connection, *of_it, limit=SHOWN))


def _tried(
    connection: Connection, channel: str, now: datetime, wait_s: Callable[[int], float]
) -> tuple[str, int] | None:
    """The batch that was tried before and its attempts, its name empty while it waits; None: there is none."""
    tried = select(notices.c.batch, notices.c.attempts, notices.c.next_attempt_at).where(
        *_pending(channel), notices.c.batch != ""
    )
    row = connection.execute(tried.limit(1)).first()
    if row is None:
        return None
    left_s = (row.next_attempt_at - now).total_seconds()
    waits = 0 < left_s <= wait_s(row.attempts) + 1  # more: the clock was set back since
    return ("" if waits else row.batch), row.attempts


def _is_time(connection: Connection, channel: str, now: datetime, gather_s: float, interval_s: float) -> bool:
    oldest = connection.execute(select(func.min(notices.c.made_at)).where(*_pending(channel))).scalar()
    if oldest is None or 0 <= (now - oldest).total_seconds() < gather_s:
        return False
    last = _last_sent(connection, channel)
    return last is None or not 0 <= (now - last).total_seconds() < interval_s


def _last_sent(connection: Connection, channel: str) -> datetime | None:
    told = (notices.c.channel == channel, notices.c.state == NoticeState.SENT)
    found: datetime | None = connection.execute(select(func.max(notices.c.sent_at)).where(*told)).scalar()
    return found


def _finish(connection: Connection, batch: str, values: Mapping[str, object]) -> None:
    is_it = (literally(notices.c.state, NoticeState.PENDING), notices.c.batch == batch)
    connection.execute(update(notices).where(*is_it).values(**values))


def _forget(connection: Connection, before: datetime) -> int:
    lasts = and_(notices.c.kind.in_(LASTING), notices.c.ended_at.is_(None))
    gone = or_(~lasts, notices.c.state == NoticeState.PENDING)
    return connection.execute(notices.delete().where(notices.c.made_at < before, gone)).rowcount


def _standing(connection: Connection, channel: str) -> Standing:
    def count(*where: ColumnElement[bool]) -> int:
        return int(connection.execute(select(func.count()).select_from(notices).where(*where)).scalar_one())

    last = select(notices.c.message).where(*_pending(channel), notices.c.attempts > 0).limit(1)
    failed = (notices.c.channel == channel, notices.c.state == NoticeState.FAILED)
    message = connection.execute(last).scalar() or ""
    return Standing(count(*_pending(channel)), count(*failed), _last_sent(connection, channel), message)
