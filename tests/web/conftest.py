"""A console over an empty ledger, and one study in it that was read with signs of every kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.peers import require
from tests.review.conftest import house, model, sop_uid  # noqa: F401 - fixtures: a film that a worker has read
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a screen; no sandbox, since CI's user is root."""
    try:
        from playwright import sync_api as playwright
    except ImportError:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("playwright (PyPI) is not installed")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=require("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()
