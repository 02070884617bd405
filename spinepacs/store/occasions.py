"""What there is to tell, found in the ledger: events and readings that are new, destinations that take nothing.

A mark says for each channel how far the ledger was looked through. It follows at a distance, since a transaction may
become visible after a later one; what lies between is looked at again, and told once all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Text, and_, cast, exists, func, or_, select

from spinepacs.store.engine import Database
from spinepacs.store.insertion import insert_into
from spinepacs.store.notices import NewNotice, add, is_told
from spinepacs.store.records import EventKind, OutboxState
from spinepacs.store.tables import arrivals, events, findings, literally, notice_marks, outbox, readings

LAG = timedelta(minutes=10)
"""Distance of the mark: no transaction lasts as long, and clocks of machines differ by less."""
FORGOTTEN = timedelta(days=7)
"""A channel that was not looked for so long begins anew: it was not in the settings, or nobody wants old news."""
_REMEMBER = timedelta(hours=1)
PAGE = 1000
"""So many new rows of one source are written down at a time."""
STUDY_FAILED, MACHINE_MISSING, SIGN = "study-failed", "machine-missing", "sign"
_OF_EVENT = {EventKind.FAILED.value: STUDY_FAILED, EventKind.MACHINE_LOST.value: MACHINE_MISSING}
_EVENTS, _READINGS = "events", "readings"


@dataclass(frozen=True)
class Wanted:
    """What a channel is to be told of: kinds of notices, and from which grade on which sign.

    Signs of films of these senders and body parts only; empty: of any.
    """

    kinds: Sequence[str] = ()
    grades: Mapping[str, int] = field(default_factory=dict)
    senders: Sequence[str] = ()
    body_parts: Sequence[str] = ()


@dataclass(frozen=True)
class Stuck:
    """A destination that has taken nothing: how many objects wait, since when, and what was said last."""

    objects: int
    oldest_at: datetime
    message: str


@dataclass(frozen=True)
class Occasions:
    """The part of the ledger that finds what there is to tell."""

    database: Database

    def look(self, channel: str, wanted: Wanted, now: datetime | None = None) -> int:
        """Write down for a channel what is new; how much. What happened before its first look is not told."""
        moment = now or datetime.now(UTC)
        new: list[NewNotice] = []
        marks: dict[str, int] = {}
        with self.database.read() as connection:
            known, is_old = _marks(connection, channel, moment)
            for source, key, at in (
                (_EVENTS, events.c.event_id, events.c.happened_at),
                (_READINGS, readings.c.reading_id, readings.c.read_at),
            ):
                if source not in known:
                    marks[source] = int(connection.execute(select(func.max(key))).scalar() or 0)
                    continue
                old = (key > known[source], at < moment - LAG)
                reached = connection.execute(select(func.max(key)).where(*old)).scalar()
                look = _happened if source == _EVENTS else _graded
                found = look(connection, channel, wanted, known[source])
                new += found
                if reached is not None and len(found) < PAGE:
                    marks[source] = int(reached)
        if new or marks or is_old:
            self.database.write(_write, channel, new, known | marks, moment)
        return len(new)

    def stuck(self, destination: str, since: datetime) -> Stuck | None:
        """What waits for a destination, if some of it does since before then and it has taken nothing after."""
        with self.database.read() as connection:
            return _stuck(connection, destination, since)


def _marks(connection: Connection, channel: str, now: datetime) -> tuple[dict[str, int], bool]:
    """How far the sources were looked through, and whether it should be written down that they still are."""
    rows = connection.execute(select(notice_marks).where(notice_marks.c.channel == channel)).all()
    reached = {row.source: row.reached for row in rows if now - row.looked_at < FORGOTTEN}
    return reached, any(now - row.looked_at > _REMEMBER for row in rows)


def _write(
    connection: Connection, channel: str, new: Sequence[NewNotice], marks: Mapping[str, int], now: datetime
) -> None:
    add(connection, channel, new)
    for source, reached in marks.items():
        values = {"channel": channel, "source": source, "reached": reached, "looked_at": now}
        row = insert_into(connection, notice_marks).values(values)
        newer = {"reached": row.excluded.reached, "looked_at": row.excluded.looked_at}
        connection.execute(row.on_conflict_do_update(index_elements=["channel", "source"], set_=newer))


def _happened(connection: Connection, channel: str, wanted: Wanted, after: int) -> list[NewNotice]:
    kinds = {event: kind for event, kind in _OF_EVENT.items() if kind in wanted.kinds}
    new: list[NewNotice] = []
    for event, kind in kinds.items():
        fresh = (events.c.event_id > after, events.c.kind == event)
        untold = ~is_told(channel, kind, _as_text(events.c.event_id))
        rows = select(events.c.event_id, events.c.study_uid, events.c.detail).where(*fresh, untold)
        for row in connection.execute(rows.order_by(events.c.event_id).limit(PAGE - len(new))):
            detail = {"reason_code": row.detail} if kind == STUDY_FAILED else {"machine": row.detail}
            new.append(NewNotice(kind, str(row.event_id), detail, row.study_uid))
    return new


def _graded(connection: Connection, channel: str, wanted: Wanted, after: int) -> list[NewNotice]:
    """Films of the day's work whose model found a sign of such a grade: one notice for each film and reading."""
    if SIGN not in wanted.kinds or not wanted.grades:
        return []
    grave = or_(
        *(
            and_(findings.c.kind == sign, findings.c.published_grade >= grade)
            for sign, grade in wanted.grades.items()
        )
    )
    conditions = [
        readings.c.reading_id > after,
        readings.c.author == "",
        readings.c.campaign_id.is_(None),
        exists().where(findings.c.reading_id == readings.c.reading_id, grave),
        ~is_told(channel, SIGN, _as_text(readings.c.reading_id)),
    ]
    if wanted.senders:
        conditions.append(arrivals.c.calling_ae.in_(wanted.senders))
    if wanted.body_parts:
        conditions.append(arrivals.c.body_part.in_(wanted.body_parts))
    films = select(readings.c.reading_id, readings.c.study_uid).join(
        arrivals, arrivals.c.arrival_id == readings.c.arrival_id
    )
    rows = connection.execute(films.where(*conditions).order_by(readings.c.reading_id).limit(PAGE)).all()
    signs = _signs(connection, [row.reading_id for row in rows], grave)
    return [
        NewNotice(SIGN, str(row.reading_id), {"signs": signs[row.reading_id]}, row.study_uid) for row in rows
    ]


def _signs(
    connection: Connection, reading_ids: Sequence[int], grave: ColumnElement[bool]
) -> dict[int, list[dict[str, Any]]]:
    of_them = (findings.c.reading_id.in_(reading_ids), grave)
    names = ("kind", "place", "side", "published_grade")
    rows = select(findings.c.reading_id, *(findings.c[name] for name in names)).where(*of_them)
    signs: dict[int, list[dict[str, Any]]] = {reading_id: [] for reading_id in reading_ids}
    for row in connection.execute(rows.order_by(findings.c.level_order, findings.c.finding_id)):
        said = {"sign": row.kind, "place": row.place, "side": row.side, "grade": row.published_grade}
        signs[row.reading_id].append(said)
    return signs


def _as_text(key: Column[int]) -> ColumnElement[str]:
    return cast(key, Text)


def _stuck(connection: Connection, destination: str, since: datetime) -> Stuck | None:
    unsent = literally(outbox.c.state, OutboxState.PENDING, OutboxState.FAILED)
    waits = (unsent, outbox.c.destination == destination, outbox.c.state == OutboxState.PENDING)
    oldest_at = connection.execute(select(func.min(outbox.c.created_at)).where(*waits)).scalar()
    if oldest_at is None or oldest_at > since:
        return None
    # An attempt that begins puts the next one after itself, so the index finds what was taken of late.
    took = exists().where(
        outbox.c.destination == destination,
        outbox.c.state.in_((OutboxState.SENT, OutboxState.COMMITTED)),
        outbox.c.next_attempt_at > since,
        outbox.c.sent_at > since,
    )
    if connection.execute(select(took)).scalar():
        return None
    objects = connection.execute(select(func.count()).where(*waits)).scalar_one()
    said = select(outbox.c.message).where(*waits, outbox.c.last_attempt_at.is_not(None))
    message = connection.execute(said.order_by(outbox.c.last_attempt_at.desc()).limit(1)).scalar()
    return Stuck(objects, oldest_at, message or "")
