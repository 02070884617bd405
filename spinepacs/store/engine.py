"""Connections to the database: how they are set up, what their transactions are, what their errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError

from spinepacs.errors import BadSettings, DatabaseAway, Permanent, ToMend
from spinepacs.store.silence import probes
from spinepacs.store.spool import make_folder
from spinepacs.store.troubles import summary, translated, why_file_is_denied

BUSY_TIMEOUT_S = 30
"""How long one transaction waits for another one (s) before it gives up as Transient; ``?timeout=`` in SQLite's URL."""

SILENCE_S = 15
"""So long (s) after its last packet either end of a connection gives up the other, which does not answer; the server
lets go of the session's locks then."""

_CLASH_TRIES = 5
P = ParamSpec("P")
T = TypeVar("T")

Announce = Callable[[Connection, Collection[str]], None]
"""Takes note of studies that a transaction has made ready."""


class Access(Enum):
    """What opening a database may do to it."""

    MAKE = "make"
    """An SQLite file that is missing is made."""
    WRITE = "write"
    """What is there is written, and nothing is made."""
    READ = "read"
    """Nothing is made or changed: for questions, by whatever user."""


class Database:
    """The connections of one process; any thread may use them, no child process may.

    On SQLite a write transaction begins with BEGIN IMMEDIATE: it has the write lock before it reads, so it never has to
    give up half-way. The threads of one process queue at a lock first, since SQLite's own waiting is a sleep whose
    luck decides who is next.

    ``announce`` is told, inside the transaction, of studies that have become ready.

    Raises
    ------
    BadSettings
        If the URL is neither SQLite in a file nor PostgreSQL.
    """

    def __init__(self, url: str, access: Access = Access.MAKE, announce: Announce | None = None) -> None:
        self.url = url
        self._parsed = parsed = parse_url(url)
        self._engine = _engine(parsed, access)
        self._writing = self._engine.execution_options(spinepacs_writes=True, spinepacs_announce=announce)
        self._process = os.getpid()
        self._turns = threading.Lock()
        self._patience_s = _patience_s(parsed)

    @property
    def file(self) -> Path | None:
        """SQLite's file; None: PostgreSQL."""
        return Path(str(self._parsed.database)) if self.is_sqlite else None

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
        with translated(self._parsed), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Open a transaction that writes: committed at the end, rolled back on any exception."""
        self._check_process()
        with translated(self._parsed), self._turn(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for one's turn: behind a lock of another process a queue of 25 would take 25 times as long."""
        if not self.is_sqlite:
            yield
            return
        if not self._turns.acquire(timeout=self._patience_s):
            raise DatabaseAway("the database is busy: others of this process wait for it too; try again")
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
                clash = summary(error)
        raise Permanent(f"the database refuses a row: {clash}")

    def check_writable(self) -> None:
        """Raise Transient while nothing can be written: locked, read-only, away."""
        with self.transaction() as connection:
            if not self.is_sqlite and connection.execute(text("SHOW transaction_read_only")).scalar() == "on":
                raise DatabaseAway("the database is read-only")

    def refresh_statistics(self) -> None:
        """Let SQLite's planner know how often each value comes: without that it reads a million findings for a disc's.

        Some hundred rows of each index are looked at. PostgreSQL does this by itself.
        """
        if self.is_sqlite:
            with self.transaction() as connection:
                connection.execute(text("PRAGMA analysis_limit = 400"))
                connection.execute(text("ANALYZE"))

    def why_not_written(self, makes_tables: bool) -> str:
        """Why our user of a PostgreSQL server may not write its tables, or make them; empty: it may.

        From version 15 on only the database's owner may make any in the schema ``public``.
        """
        make = text("SELECT current_user, current_schema(), has_schema_privilege(current_schema(), 'CREATE')")
        write = text("SELECT current_user, current_schema(), has_table_privilege('arrivals', 'INSERT')")
        with self.read() as connection:
            user, schema, may = connection.execute(make if makes_tables else write).one()
        what = f"make no tables in the schema {schema}" if makes_tables else "not write our tables"
        return (
            ""
            if may
            else f"its user {user} may {what}: make {user} the owner of the database (docs/install.md)"
        )

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


def _engine(url: URL, access: Access) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_reader(url) if access is Access.READ else _sqlite_engine(url, access)
    read_only = " -c default_transaction_read_only=on" if access is Access.READ else ""
    of_server, of_ours = probes(SILENCE_S)
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
                **of_ours,
                "application_name": "spinepacs",
                # synchronous_commit: an answer of success to a sender rests on the commit.
                "options": f"-c timezone=UTC -c synchronous_commit=on -c lock_timeout={BUSY_TIMEOUT_S}s {of_server}"
                + read_only,
            },
        )
    except (ImportError, NoSuchModuleError):
        raise BadSettings("PostgreSQL needs its driver: pip install 'spinepacs[postgresql]'") from None


def _sqlite_reader(url: URL) -> Engine:
    """Read a file as it is. Opened in the usual way SQLite would leave its WAL beside it, with the wrong owner."""
    path, patience_s = Path(str(url.database)), _patience_s(url)

    def connect() -> sqlite3.Connection:
        # Whoever has the file open has a WAL; without one nobody writes, and SQLite need not lock.
        how = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
        uri = f"file:{quote(str(path))}?{how}"
        return sqlite3.connect(
            uri, uri=True, timeout=patience_s, check_same_thread=False, isolation_level=None
        )

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _sqlite_engine(url: URL, access: Access) -> Engine:
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
        if access is not Access.MAKE:
            return
        try:
            make_folder(path.parent)
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            if denied := why_file_is_denied(path):
                raise ToMend(denied) from error
            raise DatabaseAway(f"the database file cannot be opened: {error.strerror}") from error

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
