"""A real daemon, its rules and its policy changed: films are read again on request, and new results are delivered."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from sqlalchemy import select

from spinepacs.settings.shipped import shipped
from spinepacs.store.tables import arrivals, readings
from tests import films, peers
from tests.daemons import Daemon, daemon, destination, film
from tests.test_privacy import send

pytestmark = pytest.mark.peer


def policies(running: Daemon) -> list[str]:
    with running.ledger() as ledger:
        rows = ledger.rows(select(readings.c.policy_version).order_by(readings.c.reading_id))
    return [row["policy_version"] for row in rows]


def restarted(running: Daemon, old: str, new: str) -> None:
    """Change the settings and start again."""
    assert running.terminate() == 0
    text = running.config.read_text()
    assert old in text
    running.config.write_text(text.replace(old, new))
    running.start()
    running.wait_ready()


def test_after_the_rules_and_the_policy_have_changed(tmp_path: Path) -> None:
    policy = tmp_path / "grading.toml"
    shown = shipped("config", "grading.toml").read_text()
    policy.write_text(shown)
    sent = [films.write(film(number), tmp_path / f"{number}.dcm") for number in (1, 2)]
    model = {"folder": str(tmp_path / "model"), "policy": str(policy)}
    with (
        peers.dcmtk_storescp(tmp_path) as pacs,
        daemon(
            tmp_path, [destination(pacs.port, "dcmtk")], model=model, selection={"modalities": ["CR"]}
        ) as running,
    ):
        running.start()
        running.wait_ready()
        assert send(running.port, sent) == [0, 0]
        peers.wait_until(lambda: running.states() == {"refused": 2}, 60, f"two refused; see {running.log}")

        restarted(running, '["CR"]', '["CR", "DX"]')
        assert running.states() == {"refused": 2}, "nothing is read again by itself"
        assert "1 held against today's rules" in running.command(
            "reread", str(dcmread(sent[0]).StudyInstanceUID)
        )
        peers.wait_until(lambda: running.states() == {"refused": 1, "delivered": 1}, 60, "one read")
        assert "1 held against today's rules" in running.command("reread", "--refused", "NOT_SELECTED")
        peers.wait_until(lambda: running.states() == {"delivered": 2}, 60, "both read")
        (before,) = set(policies(running))
        first = pacs.received()

        policy.write_text(shown.replace(f'version = "{before}"', 'version = "next"'))
        restarted(running, '["CR", "DX"]', '["DX"]')
        assert "2 read again" in running.command("reread", "--model-older", "--from", "2026-01-02")
        peers.wait_until(lambda: len(policies(running)) == 4, 60, "both read again")
        peers.wait_until(lambda: running.states() == {"delivered": 2}, 60, "delivered again")
        assert policies(running) == [before] * 2 + ["next"] * 2
        assert len(pacs.received()) == 2 * len(first) == 12
        with running.ledger() as ledger:
            assert {row["state"] for row in ledger.rows(select(arrivals.c.state))} == {"selected"}
        trail = running.command("audit")
        assert trail.count("reread --model-older --from 2026-01-02, by ") == 1
