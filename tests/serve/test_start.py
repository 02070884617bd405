"""A first start that cannot succeed ends and says what to do; one that can, waits; and what lasts is said once."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests import films, peers
from tests.daemons import daemon, destination, film
from tests.peers_postgresql import PostgreSQL, postgresql
from tests.test_privacy import send

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def server() -> PostgreSQL:
    with postgresql() as running:
        running.run("postgres", "CREATE ROLE u LOGIN PASSWORD 'right'")
        rules = ["host all spinepacs all trust", "host all all all scram-sha-256"]
        (running.folder / "data" / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        running.stop()
        running.start()
        yield running


def storage(tmp_path: Path, url: str) -> dict[str, object]:
    return {"spool": str(tmp_path / "spool"), "database_url": url, "reserve_mb": 0}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:wrong@127.0.0.1:{port}/postgres", "password authentication failed"),
        ("postgresql://u:right@127.0.0.1:{port}/absent", 'database "absent" does not exist'),
    ],
)
def test_a_database_that_does_not_let_us_in_ends_the_start(tmp_path, server, url, said):
    with daemon(tmp_path, storage=storage(tmp_path, url.format(port=server.port))) as running:
        running.start()
        assert running.process.wait(60) == 2
        log = running.log.read_text()
        assert said in log
        assert "SPINEPACS_DATABASE_URL" in log
        assert "cannot do it now" not in log
        assert ":wrong" not in log
        assert "Traceback" not in log


def test_a_spool_that_cannot_be_written_ends_the_start_and_promises_nothing(tmp_path):
    (tmp_path / "file").touch()
    where = {
        "spool": str(tmp_path / "file" / "spool"),
        "database_url": f"sqlite:///{tmp_path}/l",
        "reserve_mb": 0,
    }
    with daemon(tmp_path, storage=where) as running:
        running.start()
        assert running.process.wait(60) == 2
        log = running.log.read_text()
        assert f"storage.spool: {tmp_path / 'file'} is a file where a folder has to be" in log
        assert "again" not in log


def test_a_database_that_is_not_there_yet_is_waited_for(tmp_path, server):
    """As at boot, when everything starts at once."""
    server.stop()
    url = f"postgresql://spinepacs@127.0.0.1:{server.port}/postgres"
    with daemon(tmp_path, storage=storage(tmp_path, url)) as running:
        running.start()
        peers.wait_until(lambda: "the start waits" in running.log.read_text(), 180, "a start that waits")
        time.sleep(2)
        assert running.process.poll() is None
        server.start()
        running.wait_ready(180)
        assert running.log.read_text().count("the start waits") == 1
        assert running.log.read_text().count("the start goes on") == 1
        assert running.terminate() == 0


def test_a_database_that_is_away_is_said_once_and_once_that_it_is_back(tmp_path, server):
    server.run("postgres", "CREATE DATABASE night")
    url = f"postgresql://spinepacs@127.0.0.1:{server.port}/night"
    watched = tmp_path / "watched"
    watched.mkdir()
    more = {"storage": storage(tmp_path, url), "watch": {"folder": str(watched)}, "work": {"workers": 2}}
    sent = films.write(film(1), tmp_path / "film.dcm")
    with daemon(tmp_path, [destination(peers.free_port())], **more) as running:
        running.start()
        running.wait_ready(180)
        peers.wait_until(lambda: "worker-2 is ready" in running.log.read_text(), 180, "both workers")
        before = running.log.read_text()
        server.stop()
        films.write(film(2), watched / "film.dcm")
        assert send(running.port, [sent]) == [0xA700]
        time.sleep(6)
        away = warnings(running.log.read_text().removeprefix(before))
        server.start()
        peers.wait_until(lambda: "goes on after" in running.log.read_text(), 180, "that it is back")
        running.wait_ready(180)
        time.sleep(3)
        whole = warnings(running.log.read_text().removeprefix(before))
        assert len(away) == 1, away
        assert "the database" in away[0]
        assert [line for line in whole if "the database" in line] == away
        assert len([line for line in whole if "the work on studies goes on after" in line]) == 1
        assert running.terminate() == 0


def warnings(log: str) -> list[str]:
    """What an administrator's eye stops at; the PACS of these tests is away all the time."""
    lines = [line for line in log.splitlines() if " WARNING " in line or " ERROR " in line]
    return [line for line in lines if "destination=pacs" not in line]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_start_by_the_wrong_user_says_whose_the_folder_is(tmp_path):
    from tests.check.test_checks import NOBODY, python

    interpreter, libraries = python()
    state, config = tmp_path / "state", tmp_path / "spinepacs.toml"
    state.mkdir(mode=0o700)
    config.write_text(
        f'[storage]\nspool = "{state}/spool"\ndatabase_url = "sqlite:///{state}/ledger.sqlite"\n'
    )
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o011)
    done = subprocess.run(
        [interpreter, "-m", "spinepacs", "serve", "--config", str(config)],
        capture_output=True, text=True, timeout=60, check=False, cwd="/", user=NOBODY, group=NOBODY, extra_groups=[],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": libraries, "LANG": "C.UTF-8"},
    )  # fmt: skip
    if "encodings" in done.stderr or "ModuleNotFoundError" in done.stderr:
        pytest.skip("no interpreter that others may run")
    assert done.returncode == 2, done.stderr
    assert f"nobody may make nothing in {state}, which belongs to root" in done.stderr
