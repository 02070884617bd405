"""A console over an empty ledger, and one study in it that was read with signs of every kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.store import makers
from tests.web.consoles import Console, console


@pytest.fixture
def site(ledger: Ledger, spool: Spool) -> Iterator[Console]:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    with console(ledger, spool, destinations=[pacs, {**pacs, "name": "viewer", "port": 105}]) as running:
        yield running


@pytest.fixture
def study(ledger: Ledger) -> str:
    """Study Instance UID of a study that waits to be sent."""
    claim = makers.claimed(ledger)
    plain = makers.result_of(claim)
    images = tuple(makers.replace(image, reading=makers.with_signs(image.reading)) for image in plain.images)
    assert ledger.record(claim, makers.replace(plain, images=images), makers.stored(plain), (makers.PACS,))
    return makers.STUDY
