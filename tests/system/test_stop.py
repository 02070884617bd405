"""SIGTERM with work in hand: the stop has its time, and what is not finished in it is not held against anybody."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from spinepacs.store.tables import attempts, studies
from tests import films, peers
from tests.daemons import Daemon, daemon
from tests.system import poisoned
from tests.system.load import Load, small_film


def row(running: Daemon) -> dict[str, object]:
    """The one study."""
    with running.ledger() as ledger:
        (study,) = ledger.rows(select(studies.c.state, studies.c.attempts, studies.c.reason_code))
    return study


@pytest.mark.peer
def test_a_study_that_is_not_finished_in_time_is_given_back_and_read_at_the_next_start(tmp_path):
    film = small_film(0)
    film.ImageComments = poisoned.SPIN
    path = films.write(film, tmp_path / "film.dcm")
    with daemon(tmp_path, work={"stop_grace_s": 1, "maximum_attempts": 1}) as running:
        running.module = "tests.system.poisoned"
        running.start()
        running.wait_ready()
        assert Load(tmp_path, running.port, None).store([path]) == [path]
        peers.wait_until(lambda: running.states() == {"working": 1}, 30, "the work")
        assert running.terminate() == 0
        assert row(running) == {"state": "ready", "attempts": 0, "reason_code": "STOPPED"}

        running.module = "spinepacs"
        running.start()
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 60, "the reading")
        assert running.terminate() == 0
        assert row(running) == {"state": "delivered", "attempts": 1, "reason_code": ""}
        with running.ledger() as ledger:
            ended = ledger.rows(select(attempts.c.reason_code).order_by(attempts.c.attempt_id))
        assert [attempt["reason_code"] for attempt in ended] == ["STOPPED", ""]


BROKEN = (
    "import sys\n"
    "from spinepacs.cli import main as cli\n"
    "from spinepacs.serve import daemon\n"
    "daemon.Daemon._is_receiving = lambda self: 1 / 0\n"
    "sys.exit(cli.main())\n"
)


def group(leader: int) -> set[int]:
    """Living processes of a process group."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == leader and state != "Z":
                found.add(int(path.parent.name))
    return found


def test_a_supervisor_with_a_defect_ends_and_leaves_no_process_behind(tmp_path):
    with daemon(tmp_path) as made, made.log.open("wb") as log:
        arguments = [sys.executable, "-c", BROKEN, "serve", "--config", str(made.config)]
        with subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True) as process:
            peers.wait_until(lambda: len(group(process.pid)) > 3, 60, "its children")
            assert process.wait(60) != 0
        peers.wait_until(lambda: not group(process.pid), 10, "the end of its children")
        assert "ZeroDivisionError" in made.log.read_text()
