"""``status`` tells of a real daemon whether it lives, since when, and what needs a person: while it does, and after."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spinepacs.status import Code
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film
from tests.test_privacy import send

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


def status(of: Daemon) -> dict[str, Any]:
    """What it says as JSON; the exit code is in it, and must be that of the process."""
    command = [sys.executable, "-m", "spinepacs", "status", "--config", str(of.config), "--format", "json"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    told = json.loads(asked.stdout)
    assert told["exit_status"] == asked.returncode
    return told


def age_s(text: str) -> float:
    return (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()


def test_from_before_the_first_start_to_after_the_last_stop(tmp_path: Path):
    sent = films.write(film(1), tmp_path / "film.dcm")
    with peers.dcmtk_storescp(tmp_path) as pacs, daemon(tmp_path, [destination(pacs.port)]) as running:
        new = status(running)
        assert (new["exit_status"], new["running"]) == (Code.NOT_RUNNING, False)
        assert "no daemon has ever run" in new["how"]

        running.start()
        running.wait_ready(180)
        assert send(running.port, [sent]) == [0]
        peers.wait_until(lambda: running.states() == {"delivered": 1}, 180, "a study delivered")
        well = status(running)
        assert (well["exit_status"], well["problems"]) == (Code.WELL, [])
        assert 0 < age_s(well["since"]) < 120
        assert age_s(well["last_received_at"]) < 120
        assert well["disk_free_mb"] > 0
        assert {row["process"]: row["state"] for row in well["processes"]} == dict.fromkeys(
            ["listener-1", "listener-2", "delivery", "campaign", "worker-1"], "up"
        )
        (pacs_row,) = well["destinations"]
        assert (pacs_row["destination"], pacs_row["pending"], pacs_row["failed"]) == ("pacs", 0, 0)
        assert age_s(pacs_row["last_sent_at"]) < 120

        running.kill()
        killed = status(running)
        assert (killed["exit_status"], killed["running"]) == (Code.NOT_RUNNING, False)
        assert "ended without a word" in killed["how"]
        assert age_s(killed["since"]) < 60
        assert killed["studies"] == {"delivered": 1}, "the database answers all the same"

        running.start()
        running.wait_ready(180)
        assert running.terminate() == 0
        assert "stopped in order" in status(running)["how"]


def test_what_needs_a_person_is_told_and_ends_with_1(tmp_path: Path):
    bad = films.write(film(1, PixelData=b"\0\0"), tmp_path / "bad.dcm")
    good = films.write(film(2), tmp_path / "good.dcm")
    with daemon(tmp_path, [destination(peers.free_port())], work={"maximum_attempts": 1}) as running:
        running.start()
        running.wait_ready(180)
        assert send(running.port, [bad, good]) == [0, 0]
        peers.wait_until(lambda: running.states().get("recorded") == 1, 180, "a study read")
        peers.wait_until(
            lambda: "failed" in running.states() or "refused" in running.states(), 180, "the other"
        )
        with running.ledger() as ledger:  # as if the PACS had been away for two hours
            ledger._database.write(
                lambda connection: connection.exec_driver_sql(
                    "UPDATE outbox SET created_at = '2026-01-01 00:00:00.000000+00:00'"
                )
            )
        told = status(running)
        assert told["exit_status"] == Code.NEEDS_A_PERSON
        assert any("has waited for" in problem and "pacs" in problem for problem in told["problems"])
        assert running.terminate() == 0


def test_a_model_that_cannot_be_loaded_is_told_with_its_path(tmp_path: Path):
    with daemon(tmp_path) as running:
        (tmp_path / "model" / "manifest.toml").unlink()
        running.start()
        peers.wait_until(lambda: str(tmp_path / "model") in running.http("/readyz")[1], 180, "the reason")
        told = status(running)
        assert told["exit_status"] == Code.NEEDS_A_PERSON
        assert any(str(tmp_path / "model") in problem for problem in told["problems"])
        assert running.terminate() == 0
