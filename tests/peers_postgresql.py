"""A real PostgreSQL for tests: a cluster of its own on 127.0.0.1, stopped by process id.

It needs the programs only (Debian: ``postgresql``), no service and no rights: as root it runs as user ``postgres``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from spinepacs.store.ledger import Ledger
from tests.peers import free_port, listens, require, wait_until

_NEW_CLUSTER = ("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync")
_PATIENCE_S = 60.0
"""On a machine with ten times the work that it can do, a server has taken longer than 20 s to end."""


@dataclass
class PostgreSQL:
    """A running server; ``restart`` and ``kill`` are for tests of what the ledger survives."""

    folder: Path
    binaries: Path
    port: int
    address: str = "127.0.0.1"
    """Under which others reach it."""
    process: subprocess.Popen[bytes] | None = None
    template: str = "template1"
    """Name of a database that new ones may be copied from."""

    def create_database(self, template: str = "template1") -> str:
        """Make a database of a random name; its URL as a user would write it."""
        name = f"ledger_{uuid.uuid4().hex}"
        with psycopg.connect(self._connection("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return f"postgresql://spinepacs@{self.address}:{self.port}/{name}"

    def run(self, database: str, *statements: str) -> None:
        """Run statements as the superuser in a database, by its name or URL."""
        where = database if "://" in database else self._connection(database)
        with psycopg.connect(where, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def put_in_place(self, url: str, of: str) -> None:
        """Let a database take another one's name, which goes; nobody may be connected to either."""
        old, new = (each.rpartition("/")[2] for each in (of, url))
        self.run("postgres", f"DROP DATABASE {old}", f"ALTER DATABASE {new} RENAME TO {old}")

    def start(self) -> None:
        """Start the server and wait until it takes queries."""
        settings = {
            "port": self.port, "listen_addresses": f"127.0.0.1,{self.address}", "unix_socket_directories": self.folder,
            "fsync": "off", "max_connections": 200,
        }  # fmt: skip
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.binaries / "postgres", "-D", self.folder / "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_identity(),
            )
        wait_until(self._answers, 30, f"PostgreSQL; see {self.folder / 'log'}")

    def stop(self) -> None:
        """End the server at once (SIGINT: its clients are cut off), for sure after a while."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(timeout=_PATIENCE_S)

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        if not listens(self.port):
            return False
        try:
            psycopg.connect(self._connection("postgres")).close()
        except psycopg.OperationalError:  # it is starting up
            return False
        return True

    def _connection(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=spinepacs dbname={database}"


@contextmanager
def postgresql(address: str = "127.0.0.1") -> Iterator[PostgreSQL]:
    """Make a cluster and run it. Its folder is not pytest's: user postgres must be able to enter it."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    binaries = versions[-1] if versions else Path(require("initdb")).parent
    folder = _folder()
    try:
        _run("cp", "-a", _new_cluster(binaries), folder / "data")
        server = PostgreSQL(folder, binaries, free_port(), address)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _new_cluster(binaries: Path) -> Path:
    """A cluster that never runs, made once in this process: to copy it takes a fifth of the time."""
    folder = _folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _run(binaries / "initdb", "-D", folder / "data", "-U", "spinepacs", *_NEW_CLUSTER)
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samenet trust\n")
    return folder / "data"


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="spinepacs-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, capture_output=True, cwd="/", **_identity())


@contextmanager
def postgresql_with_tables() -> Iterator[PostgreSQL]:
    """The same with a template database that holds our tables."""
    with postgresql() as running:
        template = running.create_database()
        Ledger.open(template).close()
        running.template = template.rpartition("/")[2]
        yield running


def _identity() -> dict[str, Any]:
    """Arguments of subprocess for the user that the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}
