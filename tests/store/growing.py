"""A ledger of any number of rows, as the ledger's own code writes them; and a study that goes its way there."""

# ruff: noqa: S608 - names of tables and numbers of our own

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import psycopg
from sqlalchemy import Date, Table

from spinepacs.settings.sections import RetentionSettings
from spinepacs.store.columns import PlainJson, UtcTime
from spinepacs.store.ledger import Ledger
from spinepacs.store.queue import queue
from spinepacs.store.records import OutboxState
from spinepacs.store.tables import metadata
from tests.store import makers

T = TypeVar("T")
_KEYS = {
    "arrivals": "arrival_id", "readings": "reading_id", "vertebrae": "vertebra_id", "discs": "disc_id",
    "findings": "finding_id", "measures": "measure_id", "conclusions": "conclusion_id", "outbox": "outbox_id",
    "attempts": "attempt_id", "events": "event_id", "audit_events": "audit_id",
}  # fmt: skip
_UIDS = ("study_uid", "sop_uid", "series_uid")
_DAYS, _SELDOM = 3650, 100
"""Over so many days the studies are spread, and one in so many has a sign of grade 2."""
_SHORT = (
    "commitments",
    "audit_exports",
    "failed_files",
    "machines",
    "senders",
    "installation",
    "accounts",
    "web_sessions",
)
"""Tables that stay short."""


def one_study(ledger: Ledger) -> None:
    """One study that is received, read, sent and delivered, by the ledger's own code."""
    claim = makers.claimed(ledger)
    plain = makers.result_of(claim)
    images = tuple(replace(image, reading=makers.with_signs(image.reading)) for image in plain.images)
    ledger.record(claim, replace(plain, images=images), makers.stored(plain), (makers.PACS,))
    for item in ledger.due("pacs"):
        ledger.begin_delivery([item.outbox_id])
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0x0000)
    ledger.add_event("started")


def multiply(url: str, times: int) -> None:
    """Write the first row of each table ``times`` more, with keys and times of their own; triggers write nothing.

    Nobody may have the ledger open meanwhile.
    """
    tables = [table for table in metadata.sorted_tables if table.name not in _SHORT]
    if url.startswith("sqlite"):
        _multiply_on_sqlite(Path(url.removeprefix("sqlite:///")), tables, times)
    else:
        _multiply_on_postgresql(url, tables, times)


def _multiply_on_sqlite(path: Path, tables: list[Table], times: int) -> None:
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times})"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-500000"):
            connection.execute(f"PRAGMA {pragma}").fetchone()
        made = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL"
        ).fetchall()
        for kind, name, _ in made:
            connection.execute(f"DROP {kind} {name}")
        for table in tables:
            connection.execute(_copies(table, numbers, is_sqlite=True))
        for kind in ("index", "trigger"):
            for sql in (sql for of_kind, _, sql in made if of_kind == kind):
                connection.execute(sql)
        connection.execute("PRAGMA journal_mode=WAL").fetchone()


def _multiply_on_postgresql(url: str, tables: list[Table], times: int) -> None:
    numbers = f"WITH n AS (SELECT generate_series(1, {times}) AS i)"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '256MB'")
        made = connection.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
            "AND indexname NOT IN (SELECT conname FROM pg_constraint)"
        ).fetchall()
        for name, _ in made:
            connection.execute(f"DROP INDEX {name}".encode())
        for table in tables:
            connection.execute(_copies(table, numbers, is_sqlite=False).encode())
            if key := _KEYS.get(table.name):
                newest = f"SELECT max({key}) FROM {table.name}"
                connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', '{key}'), ({newest}))".encode()
                )
        for _, sql in made:
            connection.execute(sql.encode())
        connection.execute("VACUUM ANALYZE")  # what the server does by itself some time after such a change


def _copies(table: Table, numbers: str, *, is_sqlite: bool) -> str:
    names = [column.name for column in table.c]
    values = ", ".join(_value(table, name, is_sqlite) for name in names)
    first = f"(SELECT * FROM {table.name} ORDER BY 1 LIMIT 1)"
    return f"INSERT INTO {table.name} ({', '.join(names)}) {numbers} SELECT {values} FROM n, {first} AS t"


def _value(table: Table, name: str, is_sqlite: bool) -> str:
    """SQL of a column of the i-th copy."""
    column, value = table.c[name], f"t.{name}"
    if isinstance(column.type, PlainJson):
        value = "'{}'"
    elif name in _UIDS:
        value = f"t.{name} || '.' || n.i"
    elif name == "sha256":
        digest = "lower(hex(randomblob(32)))" if is_sqlite else "encode(sha256(random()::text::bytea), 'hex')"
        value = f"CASE WHEN t.{name} = '' THEN '' ELSE {digest} END"
    elif name == "patient_id":
        value = "'PAT-' || n.i"
    elif name == "accession_number":
        value = "'ACC-' || n.i"
    elif isinstance(column.type, Date):
        value = (
            f"date(t.{name}, '-' || (n.i % {_DAYS}) || ' days')" if is_sqlite else f"t.{name} - n.i % {_DAYS}"
        )
    elif name in ("published_grade", "computed_grade", "published_degree", "computed_degree"):
        value = f"CASE WHEN n.i % {_SELDOM} = 0 THEN 2 ELSE 0 END"
    elif name in _KEYS.values():
        value = f"t.{name} + 1000 + n.i"
    elif isinstance(column.type, UtcTime) and is_sqlite:
        moved = f"strftime('%Y-%m-%d %H:%M:%f', t.{name}, '-' || n.i || ' seconds') || '000+00:00'"
        value = f"CASE WHEN t.{name} IS NULL THEN NULL ELSE {moved} END"
    elif isinstance(column.type, UtcTime):
        value = f"t.{name} - n.i * interval '1 second'"
    return value


class Steps:
    """Seconds of each step of a round, by name and by a clock."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock

    def time(self, name: str, work: Callable[[], T]) -> T:
        """Do it, and note how long it took."""
        start = self._clock()
        result = work()
        self.seconds[name] = self._clock() - start
        return result


def go_through(ledger: Ledger, uid: str, steps: Steps) -> None:
    """One study goes its way, and everything is looked for once that is looked for over and over."""
    sop_uid = f"{uid}.1"
    steps.time("arrival", lambda: ledger.add_arrival(makers.arrival(sop_uid)))
    steps.time("duplicate", lambda: ledger.add_arrival(makers.arrival(sop_uid)))
    waiting = steps.time("unregistered", lambda: ledger.unregistered(50, ("STAT",)))
    key = waiting[0].arrival_id
    steps.time("count attempt", lambda: ledger.begin_registration(key))
    steps.time("register", lambda: ledger.register(key, makers.header(sop_uid, uid), None))
    steps.time("arriving", ledger.arriving)
    steps.time("mark ready", lambda: ledger.mark_ready(uid))
    claim = steps.time("claim", lambda: ledger.claim(makers.VERSIONS, 3))
    assert claim is not None
    assert claim.study_uid == uid
    result = makers.result_of(claim)
    stored = makers.stored(result)
    steps.time("record", lambda: ledger.record(claim, result, stored, (makers.PACS,)))
    items = steps.time("due", lambda: ledger.due("pacs"))
    assert [item.study_uid for item in items] == [uid] * 3
    steps.time("begin delivery", lambda: ledger.begin_delivery([item.outbox_id for item in items]))
    steps.time("finish delivery", lambda: ledger.finish_delivery(items[0].outbox_id, OutboxState.SENT, 0))
    for item in items[1:]:
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)
    for name, look in _looks(ledger).items():
        steps.time(name, look)


def _looks(ledger: Ledger) -> dict[str, Callable[[], object]]:
    """What is looked for over and over while nothing happens, and what the pages show."""
    old = RetentionSettings(days=9_000)
    return {
        "nothing to claim": lambda: ledger.claim(makers.VERSIONS, 3),
        "nothing due": lambda: ledger.due("pacs"),
        "orphans": lambda: ledger.return_orphans(()),
        "commitments": lambda: ledger.commitments.due("pacs"),
        "strays": lambda: ledger.strays(("pacs",)),
        "want": lambda: ledger.files.want(makers.digest("nothing")),
        "expire": lambda: ledger.files.expire(old),
        "waiting": ledger.waiting,
        "counts": ledger.counts,
        "queue": lambda: queue(ledger),
    }
