"""Connections to the database: how they are set up, what their transactions are, what their errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spinepacs.errors import BadSettings, Permanent, SpinepacsError, Transient
from spinepacs.store.spool import make_folder

BUSY_TIMEOUT_S = 30
"""How long one transaction waits for another one (s) before it gives up as Transient; ``?timeout=`` in SQLite's URL."""

_CLASH_TRIES = 5
_POSTGRESQL_TRANSIENT = ("08", "25006", "40", "53", "55", "57", "58")
"""SQLSTATE classes: connection, read-only, rollback (deadlock), resources (disk), locks, shutdown, system."""

P = ParamSpec("P")
T = TypeVar("T")


class Database:
    """The connections of one process; any thread may use them, no child process may.

    On SQLite a write transaction begins with BEGIN IMMEDIATE: it has the write lock before it reads, so it never has to
    give up half-way. The threads of one process queue at a lock first, since SQLite's own waiting is a sleep whose
    luck decides who is next.

    Raises
    ------
    BadSettings
        If the URL is neither SQLite in a file nor PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = parse_url(url)
        self._engine = _engine(parsed)
        self._writing = self._engine.execution_options(spinepacs_writes=True)
        self._process = os.getpid()
        self._turns = threading.Lock()
        self._patience_s = _patience_s(parsed)

    @property
    def is_sqlite(self) -> bool:
        """SQLite, else PostgreSQL."""
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Close all connections that are not in use."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that reads; what others commit meanwhile does not show on SQLite."""
        self._check_process()
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that writes: committed at the end, rolled back on any exception."""
        self._check_process()
        with translated(), self._turn(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one's turn: behind a lock of another process a queue of 25 would take 25 times as long."""
        if not self.is_sqlite:
            yield
            return
        if not self._turns.acquire(timeout=self._patience_s):
            raise Transient("the database is busy: others of this process wait for it too; try again")
        try:
            yield
        finally:
            self._turns.release()

    def write(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work`` in a transaction that writes.

        Two processes may find at once that a row is missing and both insert it. The second one clashes at the
        unique constraint; it is then run again and finds the row of the first.
        """
        for _ in range(_CLASH_TRIES):
            try:
                with self.transaction() as connection:
                    return work(connection, *args, **kwargs)
            except IntegrityError as error:
                clash = _summary(error)
        raise Permanent(f"the database refuses a row: {clash}")

    def check_writable(self) -> None:
        """Raise Transient while nothing can be written: locked, read-only, away."""
        with self.transaction() as connection:
            if not self.is_sqlite and connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                raise Transient("the database is read-only")

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("a ledger was carried over a fork: open one in each process")


def parse_url(url: str) -> URL:
    """Check a database URL and name its driver.

    Raises
    ------
    BadSettings
        With the remedy; the URL itself is not repeated, since it may hold a password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise BadSettings(
            "database_url is not a URL; give sqlite:////path/to/file or postgresql+psycopg://user@host/name"
        ) from None
    backend = parsed.get_backend_name()
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise BadSettings(f"database_url: {backend} is not supported; give an SQLite or PostgreSQL URL")
    if parsed.database in (None, "", ":memory:") or str(parsed.database).startswith("file:"):
        raise BadSettings("database_url: an SQLite ledger needs a file: sqlite:////path/to/file")
    return parsed


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the database raises into what should happen next.

    A unique constraint's IntegrityError passes: its catcher knows what it means. The original exception is
    not chained: drivers quote whole rows in theirs, and rows hold patient IDs.
    """
    try:
        yield
    except (SpinepacsError, IntegrityError):
        raise
    except PoolTimeout:
        raise Transient("all connections to the database are in use; try again") from None
    except DBAPIError as error:
        if _may_pass(error):
            raise Transient(f"the database cannot do it now: {_summary(error)}") from None
        raise Permanent(f"the database refuses: {_summary(error)}") from None


def _may_pass(error: DBAPIError) -> bool:
    """Whether the same call may succeed later."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRESQL_TRANSIENT)
    if isinstance(error.orig, sqlite3.Error):
        lasting = ("no such table", "no such column")  # no tables yet, or those of another version
        return isinstance(error.orig, sqlite3.OperationalError) and not str(error.orig).startswith(lasting)
    return error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "InterfaceError")


def _summary(error: DBAPIError) -> str:
    """First line of the driver's message: PostgreSQL quotes rows in the others, and wrong values (22) here."""
    if str(getattr(error.orig, "sqlstate", "")).startswith("22"):
        return type(error.orig).__name__
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _patience_s(url: URL) -> float:
    """How long to wait for a lock of another transaction (s).

    Raises
    ------
    BadSettings
        If the URL asks for something that is no number of seconds.
    """
    try:
        return float(str(url.query.get("timeout", BUSY_TIMEOUT_S)))
    except ValueError:
        raise BadSettings("database_url: timeout is a number of seconds: ?timeout=30") from None


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    try:
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,  # a restarted server costs one reconnection, not one error per connection
            pool_size=5,
            max_overflow=20,
            pool_timeout=BUSY_TIMEOUT_S,
            connect_args={
                "connect_timeout": 10,
                # A server that is cut off without a word is found out: by what it does not acknowledge, or by probes.
                "tcp_user_timeout": BUSY_TIMEOUT_S * 1000,
                "keepalives_idle": BUSY_TIMEOUT_S,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "application_name": "spinepacs",
                # synchronous_commit: an answer of success to a sender rests on the commit.
                "options": f"-c timezone=UTC -c synchronous_commit=on -c lock_timeout={BUSY_TIMEOUT_S}s",
            },
        )
    except (ImportError, NoSuchModuleError):
        raise BadSettings("PostgreSQL needs its driver: pip install 'spinepacs[postgresql]'") from None


def _sqlite_engine(url: URL) -> Engine:
    path = Path(str(url.database))
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=5,
        max_overflow=50,
        pool_timeout=BUSY_TIMEOUT_S,
        connect_args={"timeout": _patience_s(url), "check_same_thread": False},
    )

    @event.listens_for(engine, "do_connect")
    def _private_file(*_: object) -> None:
        """Make the file readable by us only: it holds patient IDs. SQLite gives its WAL the same mode.

        A file that is there is never opened here: closing it would drop the locks of this process's other connections
        (POSIX), and the next process to leave would take itself for the last one and delete the WAL under them.
        """
        try:
            make_folder(path.parent)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise Transient(f"the database file cannot be opened: {error.strerror}") from error

    @event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # sqlite3 must not begin transactions by itself: _begin does
        _write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("spinepacs_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; once set, the file keeps it.

    The switch needs the file for itself and does not wait for it, whatever the busy timeout says.
    """
    until = time.monotonic() + BUSY_TIMEOUT_S
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
