"""Fixtures that tests of several parts share: a spool and a ledger of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened
