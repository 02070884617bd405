"""How much was going on, minute by minute for a day and hour by hour for a month: what the console's plots show.

Each sample counts what is new since the one before, by keys, so it costs the same however many rows there are. A row
whose transaction ends long after its key was given may be missed: plots need no better.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, distinct, func, insert, select

from spinepacs.domain.study import StudyState
from spinepacs.store import counts
from spinepacs.store.engine import Database
from spinepacs.store.records import ArrivalState, EventKind, OutboxState
from spinepacs.store.tables import arrivals, events, outbox, readings, samples

MINUTES_FOR, HOURS_FOR = timedelta(days=1), timedelta(days=30)
"""So long samples are kept as they were taken, and then by the hour."""
COUNTED = ("received", "read", "studies", "failed")
"""What is counted beside what each destination has taken."""
_SLOWEST = timedelta(hours=1)
"""No attempt to deliver lasts longer: see :func:`_sent`."""
_UNREAD = (StudyState.ARRIVING, StudyState.READY, StudyState.WORKING)


@dataclass(frozen=True)
class Sample:
    """What happened within ``seconds`` before ``taken_at``, and what waited then.

    ``counted``: images received, films read, their studies, studies that failed; ``sent``: objects by destination.
    ``unread``: studies, and images of none yet; ``outbox``: objects by destination; means, of an hour.
    """

    taken_at: datetime
    seconds: float
    counted: Mapping[str, int]
    sent: Mapping[str, int]
    unread: float
    outbox: Mapping[str, float]


@dataclass(frozen=True)
class Samples:
    """The part of the ledger that is about the plots; each method is one transaction, as the ledger's."""

    database: Database

    def take(self, destinations: Collection[str], now: datetime | None = None) -> None:
        """Take a sample; the first one ever counts nothing."""
        at = now or datetime.now(UTC)
        with self.database.read() as connection:
            row = _take(connection, destinations, at)
        if row is not None:
            self.database.write(_add, row)

    def thin(self, now: datetime | None = None) -> None:
        """Put what is older than a day together by the hour, and delete what is older than a month."""
        at = now or datetime.now(UTC)
        self.database.write(_thin, at)

    def since(self, begin: datetime) -> list[Sample]:
        """Samples that were taken after then, in order."""
        with self.database.read() as connection:
            rows = select(samples).where(samples.c.taken_at > begin).order_by(samples.c.taken_at)
            return [_sample(row._mapping) for row in connection.execute(rows)]


def _sample(row: Any) -> Sample:
    counted = {name: row["counted"].get(name, 0) for name in COUNTED}
    sent, waits = row["counted"].get("sent", {}), row["waiting"]
    return Sample(
        row["taken_at"], row["seconds"], counted, sent, waits.get("unread", 0), waits.get("outbox", {})
    )


def _take(connection: Connection, destinations: Collection[str], at: datetime) -> dict[str, Any] | None:
    newest = select(samples.c.taken_at, samples.c.reached).order_by(samples.c.taken_at.desc()).limit(1)
    last = connection.execute(newest).first()
    if last is not None and last.taken_at >= at:  # the clock was set back
        return None
    keys = {"arrivals": arrivals.c.arrival_id, "readings": readings.c.reading_id, "events": events.c.event_id}
    reached = {
        name: int(connection.execute(select(func.max(key))).scalar() or 0) for name, key in keys.items()
    }
    counted: dict[str, Any] = dict.fromkeys(COUNTED, 0) | {"sent": {}}
    if last is not None:
        counted = _counted(connection, last.reached, reached)
        counted["sent"] = _sent(connection, destinations, last.taken_at, at)
    seconds = (at - last.taken_at).total_seconds() if last is not None else 0.0
    waiting = _waiting(connection)
    return {"taken_at": at, "seconds": seconds, "counted": counted, "waiting": waiting, "reached": reached}


def _counted(connection: Connection, before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, Any]:
    def new(key: Any, source: str) -> tuple[Any, Any]:
        return key > before.get(source, 0), key <= now[source]

    came = select(func.count()).where(*new(arrivals.c.arrival_id, "arrivals"))
    by_model = (*new(readings.c.reading_id, "readings"), readings.c.author == "")
    read = select(func.count(), func.count(distinct(readings.c.study_uid))).where(*by_model)
    is_failure = events.c.kind == EventKind.FAILED.value
    gave_up = select(func.count()).where(*new(events.c.event_id, "events"), is_failure)
    films, studies = connection.execute(read).one()
    received, failed = (connection.execute(question).scalar_one() for question in (came, gave_up))
    return {"received": received, "read": films, "studies": studies, "failed": failed}


def _sent(
    connection: Connection, destinations: Collection[str], begin: datetime, end: datetime
) -> dict[str, int]:
    """Objects by destination: an attempt that begins puts the next one after itself, so an index finds the newest."""
    found = {}
    for destination in destinations:
        took = select(func.count()).where(
            outbox.c.destination == destination,
            outbox.c.state.in_((OutboxState.SENT, OutboxState.COMMITTED)),
            outbox.c.next_attempt_at > begin - _SLOWEST,
            outbox.c.sent_at > begin,
            outbox.c.sent_at <= end,
        )
        found[destination] = connection.execute(took).scalar_one()
    return found


def _waiting(connection: Connection) -> dict[str, Any]:
    undone = counts.count_open(connection)
    unread = sum(undone.studies.get(state, 0) for state in _UNREAD)
    unread += undone.arrivals.get(ArrivalState.RECEIVED, 0)
    pending = {
        name: number for (name, state), number in undone.outbox.items() if state == OutboxState.PENDING
    }
    return {"unread": unread, "outbox": pending}


def _add(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(samples).values(**row))


def _thin(connection: Connection, now: datetime) -> None:
    connection.execute(samples.delete().where(samples.c.taken_at < now - HOURS_FOR))
    hour = (now - MINUTES_FOR).replace(minute=0, second=0, microsecond=0)
    old = select(samples).where(samples.c.taken_at <= hour).order_by(samples.c.taken_at)
    by_hour: dict[datetime, list[Any]] = defaultdict(list)
    for row in connection.execute(old):
        begins = (row.taken_at - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
        by_hour[begins].append(row._mapping)
    for rows in by_hour.values():
        if len(rows) > 1:
            times = [row["taken_at"] for row in rows]
            connection.execute(samples.delete().where(samples.c.taken_at.in_(times)))
            _add(connection, _together(rows))


def _together(rows: Sequence[Any]) -> dict[str, Any]:
    """One row for several: what was counted is added up, of what waited the mean."""
    counted: dict[str, Any] = {name: sum(row["counted"].get(name, 0) for row in rows) for name in COUNTED}
    sent: Counter[str] = Counter()
    for row in rows:
        sent.update(row["counted"].get("sent", {}))
    counted["sent"] = dict(sent)
    unread = _mean(row["waiting"].get("unread", 0) for row in rows)
    names = {name for row in rows for name in row["waiting"].get("outbox", {})}
    pending = {
        name: _mean(row["waiting"].get("outbox", {}).get(name, 0) for row in rows) for name in sorted(names)
    }
    last = rows[-1]
    return {
        "taken_at": last["taken_at"], "seconds": sum(row["seconds"] for row in rows), "counted": counted,
        "waiting": {"unread": unread, "outbox": pending}, "reached": last["reached"],
    }  # fmt: skip


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(sum(found) / len(found), 2)
