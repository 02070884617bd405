"""A PostgreSQL with our tables: nothing here is about one machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spinepacs.store.ledger import Ledger
from tests.peers_postgresql import PostgreSQL, postgresql_with_tables


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    with postgresql_with_tables() as running:
        yield running


@pytest.fixture
def url(server: PostgreSQL) -> str:
    return server.create_database(server.template)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened
