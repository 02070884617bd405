"""Disk, database and clock failing under a real daemon: it says so, answers 0xA700, and goes on by itself."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import psycopg
import pytest
from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import select

from spinepacs.store import tables
from spinepacs.store.spool import Spool
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film
from tests.peers_postgresql import PostgreSQL

pytestmark = pytest.mark.peer

SUCCESS, NO_RESOURCES = "Success", "Refused: OutOfResources"
MB = 1_000_000
HOUR_S, DAY_S = 3600, 86400


def send(running: Daemon, *paths: Path) -> list[str]:
    """Send with DCMTK; what was answered for each."""
    arguments = [peers.require("storescu"), "-v", "-nh", "-aec", "SPINEPACS", "127.0.0.1", str(running.port)]
    said = subprocess.run(
        [*arguments, *map(str, paths)], capture_output=True, text=True, timeout=60, check=False
    )
    return re.findall(r"Received Store Response \((.*?)\)", said.stderr)


def write_films(folder: Path, *names: int | str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [films.write(film(name), folder / f"{name}.dcm") for name in names]


def readiness(running: Daemon) -> dict[str, str]:
    return dict(json.loads(running.http("/readyz")[1]))


def delivered(scp: peers.StoreScp) -> Counter[str]:
    """How often each kind of object came; a file that is just being written does not count yet."""
    found: Counter[str] = Counter()
    for path in scp.received():
        with suppress(InvalidDicomError, AttributeError):
            found[str(dcmread(path, stop_before_pixels=True).Modality)] += 1
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait, and print how long it took: ``pytest -s`` shows the times that docs/reliability.md reports."""
    begun_s = time.monotonic()
    peers.wait_until(condition, 120, what)
    print(f"{time.monotonic() - begun_s:.1f} s until {what}")


def until_ready(running: Daemon) -> None:
    """After a fault has ended."""
    until(lambda: running.http("/readyz")[0] == 200, "ready again")


@contextmanager
def serving(tmp_path: Path, **sections: object) -> Iterator[tuple[Daemon, peers.StoreScp]]:
    """A daemon that is ready, with a receiver for its results."""
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        daemon(tmp_path, [destination(scp.port)], **sections) as running,
    ):
        running.start()
        running.wait_ready()
        yield running, scp
        assert running.terminate() == 0


# -- the disk ----------------------------------------------------------------------------------------------


def fill(disk: Path, leave_bytes: int = 0) -> Path:
    """Fill a disk with one file, but for so many bytes."""
    filler = disk / "filler"
    with filler.open("ab") as file:
        peers.wait_until(lambda: _took_the_rest(disk, file.fileno(), leave_bytes), what="a disk to be filled")
    return filler


def _took_the_rest(disk: Path, file: int, leave_bytes: int) -> bool:
    """False where somebody else took of it in between."""
    free = os.statvfs(disk)
    try:
        os.posix_fallocate(file, 0, free.f_bavail * free.f_frsize - leave_bytes)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def test_a_full_disk_is_said_before_anything_breaks_and_costs_nothing(
    tmp_path: Path, small_disk: Path
) -> None:
    first, *others, last = write_films(tmp_path / "films", *range(5))
    large = films.write(films.make_dx(np.zeros((3000, 2000), np.uint16)), tmp_path / "large.dcm")
    spool = small_disk / "spool"
    storage = {
        "spool": str(spool),
        "database_url": f"sqlite:///{small_disk / 'ledger.sqlite'}",
        "reserve_mb": 8,
    }
    with serving(tmp_path, storage=storage) as (running, scp):
        filler = fill(small_disk, 4 * MB)
        assert send(running, first) == [NO_RESOURCES]
        assert "below the reserve" in readiness(running)["disk"]
        assert "below its reserve" in running.log.read_text()
        filler.unlink()
        until_ready(running)
        assert send(running, first) == [SUCCESS]

        fill(small_disk, 9 * MB)
        before = sorted(spool.glob("*/*/*"))
        assert send(running, large) == [NO_RESOURCES], "12 MB begin to be written and find no room"
        peers.wait_until(lambda: sorted(spool.glob("*/*/*")) == before, what="the half file gone")
        filler.unlink()

        assert send(running, *others) == [SUCCESS] * 3
        fill(small_disk)  # while they are read
        until(lambda: "full" in running.log.read_text(), "a full disk in the middle of the work")
        assert send(running, last) == [NO_RESOURCES]
        time.sleep(1)
        filler.unlink()
        assert send(running, last) == [SUCCESS]
        until(lambda: running.states() == {"delivered": 5}, "five studies")
        assert delivered(scp) == {"SEG": 5, "SR": 5, "OT": 5}


def test_retention_and_strays_in_the_running_daemon(tmp_path: Path) -> None:
    """A day passes in a second: what was delivered goes, a failed study stays, an unknown image is taken in."""
    delivered_film, bad, unknown = write_films(tmp_path / "films", *range(3))
    films.write(film(1, PixelData=b"\0\0"), bad)
    stray = Spool(tmp_path / "spool").add([unknown.read_bytes()])
    retention = {"days": 1e-5, "grace_s": 2}
    with serving(tmp_path, retention=retention) as (running, scp):
        assert send(running, delivered_film, bad) == [SUCCESS] * 2
        kept = sorted((tmp_path / "spool" / "files").glob("*/*"))
        assert stray.path in kept
        until(lambda: delivered(scp) == {"SEG": 2, "SR": 2, "OT": 2}, "results of both good films")
        until(lambda: len(sorted((tmp_path / "spool" / "files").glob("*/*"))) == 1, "retention")
        with running.ledger() as ledger:
            (wanted,) = ledger.files.wanted("").values()
        assert wanted == dcmread(bad, stop_before_pixels=True).SOPInstanceUID
        text = running.log.read_text()
        assert "was taken in" in text
        assert "2 originals" in text or text.count("1 originals") == 2
        metrics = running.http("/metrics")[1].splitlines()
        assert 'spinepacs_files_deleted{what="original"} 2.0' in metrics
        assert 'spinepacs_files_deleted{what="result"} 6.0' in metrics


# -- the database ------------------------------------------------------------------------------------------


def test_a_locked_sqlite_is_no_success_and_work_goes_on_after_it(tmp_path: Path) -> None:
    one, two, three = write_films(tmp_path / "films", 1, 2, 3)
    path = tmp_path / "ledger.sqlite"
    storage = {
        "spool": str(tmp_path / "spool"),
        "database_url": f"sqlite:///{path}?timeout=1",
        "reserve_mb": 0,
    }
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as scp,
        daemon(tmp_path, [destination(scp.port)], storage=storage) as running,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        running.ledger().close()  # makes the tables
        other.execute("BEGIN EXCLUSIVE")
        running.start()
        until(lambda: "the start waits" in running.log.read_text(), "a start that waits")
        other.execute("ROLLBACK")
        until_ready(running)

        assert send(running, one, two) == [SUCCESS] * 2
        other.execute("BEGIN EXCLUSIVE")  # while they are read
        assert send(running, three) == [NO_RESOURCES]
        until(lambda: "locked" in readiness(running)["database"], "a database that is said to be locked")
        other.execute("ROLLBACK")
        until_ready(running)
        assert send(running, three) == [SUCCESS]
        until(lambda: running.states() == {"delivered": 3}, "three studies")
        assert running.terminate() == 0
        assert delivered(scp) == {"SEG": 3, "SR": 3, "OT": 3}


def set_read_only(server: PostgreSQL, url: str, *, on: bool) -> None:
    """Make a PostgreSQL database read-only for everybody, or no longer."""
    name = url.rpartition("/")[2]
    with psycopg.connect(url.replace(name, "postgres"), autocommit=True) as connection:
        state = "on" if on else "off"
        connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )


def test_postgresql_stopped_or_read_only_is_no_success_and_work_goes_on_after_it(
    tmp_path: Path, server: PostgreSQL
) -> None:
    one, two, three, four = write_films(tmp_path / "films", *range(4))
    url = server.create_database(server.template)
    storage = {"spool": str(tmp_path / "spool"), "database_url": url, "reserve_mb": 0}
    with serving(tmp_path, storage=storage) as (running, scp):
        assert send(running, one, two) == [SUCCESS] * 2
        server.stop()  # while they are read
        try:
            assert send(running, three) == [NO_RESOURCES]
            assert readiness(running)["database"] != "ok"
        finally:
            server.start()
        until_ready(running)
        assert send(running, three) == [SUCCESS]

        set_read_only(server, url, on=True)
        assert send(running, four) == [NO_RESOURCES]
        assert "read-only" in readiness(running)["database"]
        set_read_only(server, url, on=False)
        until_ready(running)
        assert send(running, four) == [SUCCESS]
        until(lambda: running.states() == {"delivered": 4}, "four studies")
        assert delivered(scp) == {"SEG": 4, "SR": 4, "OT": 4}


# -- the same SOP UID --------------------------------------------------------------------------------------


def test_what_comes_again_late_or_changed_gives_no_result_twice(tmp_path: Path) -> None:
    """One study: sent, sent again, put into the folder, with a corrected name, and with a late image."""
    watched = tmp_path / "watched"
    watched.mkdir()
    first, late, renamed = (tmp_path / f"{name}.dcm" for name in ("first", "late", "renamed"))
    films.write(film("first", StudyInstanceUID="1.2.3"), first)
    films.write(film("late", StudyInstanceUID="1.2.3"), late)
    films.write(film("first", StudyInstanceUID="1.2.3", PatientName="Corrected^Name"), renamed)
    with serving(tmp_path, watch={"folder": str(watched)}) as (running, scp):
        assert send(running, first) == [SUCCESS]
        until(lambda: running.states() == {"delivered": 1}, "the study")
        assert send(running, first, renamed) == [SUCCESS] * 2
        shutil.copy(first, watched / "first.dcm")
        shutil.copy(renamed, watched / "renamed.dcm")
        until(lambda: len(list(watched.glob("*/*.dcm"))) == 2, "the folder")
        assert {path.name for path in watched.glob("done/*")} == {"first.dcm", "renamed.dcm"}
        assert running.states() == {"delivered": 1}, "it was not opened again"

        assert send(running, late) == [SUCCESS]
        until(lambda: delivered(scp) == {"SEG": 2, "SR": 2, "OT": 2}, "results of the late image only")
        until(lambda: running.states() == {"delivered": 1}, "the study again")
        arguments = [
            sys.executable,
            "-m",
            "spinepacs",
            "queue",
            "--config",
            str(running.config),
            "--format",
            "json",
        ]
        said = json.loads(subprocess.run(arguments, capture_output=True, check=True).stdout)
        assert [(row["what"], row["state"]) for row in said] == [("file", "conflict")]
        assert said[0]["reason"].startswith("CONFLICT: another file of this SOP UID came earlier")
        uid = dcmread(renamed, stop_before_pixels=True).SOPInstanceUID
        subprocess.run([*arguments[:3], "discard", "--config", str(running.config), uid], check=True)
        assert json.loads(subprocess.run(arguments, capture_output=True, check=True).stdout) == []


# -- the clock ---------------------------------------------------------------------------------------------


CLOCK = """
import datetime, os, time

def ahead_s():
    with open(os.environ["CLOCK_AHEAD"]) as file:
        return float(file.read() or 0)

class Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=ahead_s())

real_time = time.time
time.time = lambda: real_time() + ahead_s()
datetime.datetime = Datetime
"""
"""Loaded by every Python process before anything else: the time of day is what a file says; monotonic time is not."""


@contextmanager
def shifted_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], object]]:
    """What is started inside sees a time of day that is ahead by as many seconds as the given function is told."""
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{tmp_path / 'clock'}{os.pathsep}{Path(__file__).parents[2]}")
        patch.setenv("CLOCK_AHEAD", str(ahead))
        yield lambda seconds: ahead.write_text(str(seconds))


def test_a_clock_that_jumps_neither_hurries_nor_holds_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = [
        films.write(film(half, StudyInstanceUID="1.2.3"), tmp_path / f"{half}.dcm")
        for half in ("left", "right")
    ]
    one, two = write_films(tmp_path / "films", 1, 2)
    port = peers.free_port()
    with daemon(tmp_path, [destination(port)], assembly={"quiet_period_s": 3}) as running:
        with shifted_clock(tmp_path, monkeypatch) as set_clock:
            running.start()
        with peers.dcmtk_storescp(tmp_path, "--fork", port=port) as scp:
            until_ready(running)
            assert send(running, halves[0]) == [SUCCESS]
            set_clock(DAY_S)
            time.sleep(1.5)
            assert send(running, halves[1]) == [SUCCESS]
            until(lambda: running.states() == {"delivered": 1}, "the study with both images")
            with running.ledger() as ledger:
                assert len(ledger.rows(select(tables.attempts))) == 1, (
                    "it was not read before it was complete"
                )

            set_clock(-HOUR_S)
            assert send(running, one) == [SUCCESS]
            until(lambda: running.states() == {"delivered": 2}, "a study after the clock was set back")
        assert send(running, two) == [SUCCESS]
        until(lambda: running.states() == {"delivered": 2, "recorded": 1}, "a result that cannot be sent")
        set_clock(-2 * HOUR_S)
        with peers.dcmtk_storescp(tmp_path, "--fork", port=port) as scp:
            until(lambda: running.states() == {"delivered": 3}, "a retry after the clock was set back")
            assert running.terminate() == 0
            assert delivered(scp) == {"SEG": 4, "SR": 4, "OT": 4}
