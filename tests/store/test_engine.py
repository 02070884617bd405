"""What the database does to us, and what we say of it."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import stat
import subprocess
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from spinepacs.errors import BadSettings, Permanent, Transient
from spinepacs.store import engine
from spinepacs.store.engine import Database, parse_url
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome
from tests.peers_postgresql import PostgreSQL
from tests.store.conftest import Ask
from tests.store.makers import arrival, header


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "postgres"])
def test_postgresql_is_reached_with_psycopg(scheme: str) -> None:
    parsed = parse_url(f"{scheme}://user:secret@host:5433/name")
    assert parsed.render_as_string(hide_password=False) == "postgresql+psycopg://user:secret@host:5433/name"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ledger.sqlite",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://u:secret@host/name",
        "nonsense://secret",
    ],
)
def test_other_databases_are_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(BadSettings, match="database_url") as caught:
        parse_url(url)
    assert "sqlite" in str(caught.value).lower()
    assert "secret" not in str(caught.value)


def test_sqlite_is_set_up_to_survive_a_power_loss_and_for_our_eyes_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ledger.sqlite"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.add_arrival(arrival())
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert files == dict.fromkeys(["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"], 0o600)
    database = Database(f"sqlite:///{path}")
    with database.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.peer
def test_postgresql_answers_a_commit_only_when_it_is_durable(server: PostgreSQL) -> None:
    url = server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off".encode())
    database = Database(url)
    with database.read() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    database.close()


def test_a_locked_database_is_transient_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            ledger.add_arrival(arrival())
        assert ledger.unregistered(1) == [], "reading goes on meanwhile"
        other.execute("ROLLBACK")
        other.close()
        assert ledger.add_arrival(arrival()) is ArrivalOutcome.NEW


def test_a_queue_behind_a_lock_gives_up_together(tmp_path: Path) -> None:
    """Each for itself would wait its own time at the lock: the last of 25 senders for a quarter of an hour."""
    path = tmp_path / "ledger.sqlite"
    with Ledger.open(f"sqlite:///{path}?timeout=0.5") as ledger:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            begun = time.monotonic()
            with ThreadPoolExecutor(20) as pool:
                waiting = [pool.submit(ledger.add_arrival, arrival(f"1.{number}")) for number in range(20)]
                assert all(isinstance(future.exception(), Transient) for future in waiting)
            assert time.monotonic() - begun < 5
        assert ledger.add_arrival(arrival()) is ArrivalOutcome.NEW


def test_a_timeout_that_is_none_is_refused() -> None:
    with pytest.raises(BadSettings, match="timeout"):
        Ledger.open("sqlite:////tmp/ledger.sqlite?timeout=soon")


def test_a_full_disk_is_transient_and_work_goes_on_when_there_is_room(empty_ledger_disk: Path) -> None:
    filler = empty_ledger_disk / "filler"
    filler.write_bytes(bytes(400_000))
    with Ledger.open(f"sqlite:///{empty_ledger_disk / 'ledger.sqlite'}") as ledger:
        sent = itertools.count()
        with pytest.raises(Transient, match="full"):
            list(iter(lambda: ledger.add_arrival(arrival(f"1.{next(sent)}")), None))
        filler.unlink()
        first_refused = next(sent) - 1
        assert len(ledger.unregistered(10_000)) == first_refused
        assert ledger.add_arrival(arrival(f"1.{first_refused}")) is ArrivalOutcome.NEW


def test_a_folder_that_cannot_be_made_is_transient(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Transient, match="database file"):
        Ledger.open(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}")


def test_a_file_that_is_no_database_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(Permanent, match="not a database"):
        Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


def test_a_server_that_is_away_is_transient() -> None:
    with pytest.raises(Transient, match="database"):
        Ledger.open("postgresql://user:secret@127.0.0.1:1/name")


@pytest.mark.peer
def test_a_restarted_server_costs_nothing_and_a_stopped_one_is_transient(server: PostgreSQL) -> None:
    with Ledger.open(server.create_database(server.template)) as ledger:
        ledger.add_arrival(arrival())
        server.stop()
        with pytest.raises(Transient):
            ledger.add_arrival(arrival("1.2"))
        server.start()
        assert ledger.add_arrival(arrival("1.2")) is ArrivalOutcome.NEW
        server.stop()
        server.start()
        assert ledger.add_arrival(arrival("1.3")) is ArrivalOutcome.NEW, (
            "no error when nobody called meanwhile"
        )


@pytest.mark.peer
def test_a_server_that_is_frozen_is_waited_for(server: PostgreSQL) -> None:
    """Nobody can tell it from a slow one: the senders' own time limits end the wait."""
    with Ledger.open(server.create_database(server.template)) as ledger, ThreadPoolExecutor(1) as pool:
        ledger.add_arrival(arrival())
        assert server.process
        postmaster = server.process.pid
        backends = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
        for pid in (postmaster, *map(int, backends)):
            os.kill(pid, signal.SIGSTOP)
        try:
            waiting = pool.submit(ledger.add_arrival, arrival("1.2"))
            with pytest.raises(TimeoutError):
                waiting.result(1)
        finally:
            for pid in (postmaster, *map(int, backends)):
                os.kill(pid, signal.SIGCONT)
        assert waiting.result(30) is ArrivalOutcome.NEW


def test_a_disk_that_becomes_read_only_is_transient(empty_ledger_disk: Path) -> None:
    """As the kernel does with a disk that fails (errors=remount-ro)."""
    url = f"sqlite:///{empty_ledger_disk / 'ledger.sqlite'}?timeout=1"
    with Ledger.open(url) as ledger:
        ledger.add_arrival(arrival())
    subprocess.run(["mount", "-o", "remount,ro", empty_ledger_disk], check=True)
    for _ in range(2):
        with pytest.raises(Transient), Ledger.open(url) as ledger:
            ledger.add_arrival(arrival("1.2"))
    subprocess.run(["mount", "-o", "remount,rw", empty_ledger_disk], check=True)
    with Ledger.open(url) as ledger:
        assert ledger.add_arrival(arrival()) is ArrivalOutcome.DUPLICATE
        assert ledger.add_arrival(arrival("1.2")) is ArrivalOutcome.NEW


@pytest.mark.peer
def test_a_server_that_is_read_only_is_transient(server: PostgreSQL) -> None:
    url = server.create_database(server.template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on".encode()
        )
    with Ledger.open(url) as ledger, pytest.raises(Transient, match="read-only"):
        ledger.add_arrival(arrival())


def test_no_error_repeats_a_patient(ledger: Ledger, ask: Ask) -> None:
    """PostgreSQL quotes the whole row that it refuses; SQLAlchemy quotes all parameters."""
    ledger.add_arrival(arrival())
    [waiting] = ledger.unregistered(1)
    with pytest.raises(Permanent, match="patient_sex") as caught:
        ledger.register(waiting.arrival_id, header(patient_sex=None), None)
    said = "".join(traceback.format_exception(caught.value))
    assert "PAT-0001" not in said
    assert "ACC-1" not in said
    assert ask("studies", "study_uid") == []


@pytest.mark.peer
def test_no_error_repeats_a_value_that_the_database_cannot_read(server: PostgreSQL) -> None:
    database = Database(server.create_database())
    with pytest.raises(Permanent, match="InvalidTextRepresentation") as caught, database.read() as connection:
        connection.execute(text("SELECT CAST(:value AS integer)"), {"value": "Geheim"})
    database.close()
    assert "Geheim" not in "".join(traceback.format_exception(caught.value))


def test_a_ledger_is_not_carried_over_a_fork(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="fork"):
        ledger.unregistered(1)
