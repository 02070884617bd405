"""Fixtures that tests of several parts share: a spool and a ledger of one's own; and logging left as it was found."""

from __future__ import annotations

import gc
import logging
import shutil
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from spinepacs import logs
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands that a test runs in this process set up logging for a process of their own."""
    monkeypatch.setattr(logs, "no_core_dumps", lambda: None)  # could not be taken back in this process
    root, ours = logging.getLogger(), logging.getLogger("spinepacs")
    before = root.handlers[:], root.level, ours.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    root.handlers[:], root.level, ours.level = before
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that holds our tables: copying it is quicker than migrating each time."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def ledger(tmp_path: Path, empty_ledger: Path) -> Iterator[Ledger]:
    shutil.copy(empty_ledger, tmp_path / "ledger.sqlite")
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


@pytest.fixture
def collected_sockets() -> Iterator[None]:
    """Collect after the test what pynetdicom leaves open, so that no later test is blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
