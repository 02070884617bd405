"""Backup and restore as docs/backup.md says: its own commands, on both databases, under a running daemon."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import column, select, table

from tests import films, peers
from tests.daemons import Daemon, daemon, destination
from tests.peers_postgresql import PostgreSQL, postgresql
from tests.system.load import small_film
from tests.test_privacy import send

DOCS = Path(__file__).parents[2] / "docs" / "backup.md"
GRACE_S = 3.0

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


def commands(name: str) -> str:
    """The block of the page that begins with this comment."""
    (block,) = re.findall(rf"```sh\n# {name}\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    return block


def run(name: str, state: Path, backup: Path, url: str) -> None:
    """Run it in bash, which ends at the first command that fails."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    environment = {
        **os.environ,
        "STATE": str(state),
        "BACKUP": str(backup),
        "URL": url,
        "PATH": ":".join([*map(str, binaries[-1:]), os.environ["PATH"]]),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands(name)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        peers.require("sqlite3")
        return f"sqlite:///{tmp_path / 'state' / 'ledger.sqlite'}"
    return request.getfixturevalue("server").create_database()


def test_what_was_backed_up_is_there_again_and_what_came_later_is_read_from_the_spool(
    tmp_path: Path, url: str
):
    kind = url.partition(":")[0]
    state, backup = tmp_path / "state", tmp_path / "backup"
    backup.mkdir()
    before, later = (films.write(small_film(2 * number), tmp_path / f"{number}.dcm") for number in range(2))
    more = {
        "storage": {"spool": str(state / "spool"), "database_url": url, "reserve_mb": 0},
        "retention": {"grace_s": GRACE_S},
    }
    with (
        peers.dcmtk_storescp(tmp_path, "--fork") as pacs,
        daemon(tmp_path, [destination(pacs.port)], **more) as running,
    ):
        running.start()
        running.wait_ready(180)
        delivered(running, before, 1)
        run(f"backup, {kind}", state, backup, url)
        findings = rows(running)
        delivered(running, later, 2)
        running.kill()  # the machine is gone; the disk of the spool is not

        run(f"restore, {kind}", state, backup, url)
        assert rows(running) == findings
        running.start()
        running.wait_ready(180)
        peers.wait_until(lambda: running.states() == {"delivered": 2}, 180, "the later film, from the spool")
        assert running.terminate() == 0
        assert {"network", "spool"} == sources(running)
        got = Counter(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in pacs.received())
        assert len(got) == 6, "each result under one UID, however often it was sent"

        shutil.rmtree(state / "spool")  # the disk is gone too
        run(f"restore, {kind}", state, backup, url)
        running.start()
        running.wait_ready(180)
        assert running.states() == {"delivered": 1}
        assert send(running.port, [later]) == [0]
        peers.wait_until(lambda: running.states() == {"delivered": 2}, 180, "the film that was sent again")
        assert running.terminate() == 0
        assert "missing in the spool" not in running.log.read_text()


def delivered(running: Daemon, film: Path, number: int) -> None:
    assert send(running.port, [film]) == [0]
    peers.wait_until(lambda: running.states() == {"delivered": number}, 180, "a study delivered")


def rows(running: Daemon) -> list[str]:
    """UIDs of what is in the database."""
    with running.ledger() as ledger:
        return sorted(
            row["sop_uid"] for row in ledger.rows(select(column("sop_uid")).select_from(table("objects")))
        )


def sources(running: Daemon) -> set[str]:
    with running.ledger() as ledger:
        return {row["source"] for row in ledger.rows(select(column("source")).select_from(table("arrivals")))}
