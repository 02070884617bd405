"""Power loss at every point of a receive: what was answered with success is there, and the next start goes on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.store import power_cuts
from tests.store.power import Call

pytestmark = pytest.mark.peer

SHARE = 0.02
"""Of SQLite's writes; all of them take minutes: ``python -m tests.store.power_cuts``."""


@pytest.fixture(scope="module")
def receive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """Folder and calls of a receiver."""
    return power_cuts.record(tmp_path_factory.mktemp("receive"))


def test_success_is_answered_after_everything_is_durable(receive: tuple[Path, list[Call]]) -> None:
    """Rule 1, seen from the kernel: write, fsync, rename, fsync of the folder, the ledger's commit, the answer."""
    _, calls = receive
    letters = {"write": "w", "fsync": "f", "rename": "r", "pwrite64": "p", "fdatasync": "d"}
    said = "".join("A" if call.acknowledged else letters.get(call.name, "") for call in calls)
    images = said.split("A")[:-1]
    assert len(images) == power_cuts.IMAGES
    assert all(re.search(r"wfrfw*p+d$", image) for image in images), images


def test_no_power_loss_takes_what_was_acknowledged(receive: tuple[Path, list[Call]]) -> None:
    states, wrong = power_cuts.cut(*receive, SHARE)
    assert wrong == ""
    assert states > 100


@pytest.mark.parametrize("call", ["fsync", "fdatasync"])
def test_the_simulation_finds_a_missing_fsync(receive: tuple[Path, list[Call]], call: str) -> None:
    root, calls = receive
    _, wrong = power_cuts.cut(root, [made for made in calls if made.name != call], SHARE)
    assert wrong
