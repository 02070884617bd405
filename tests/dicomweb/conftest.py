"""A server over an empty ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.dicomweb.servers import Running, serving


@pytest.fixture
def site(ledger: Ledger, spool: Spool) -> Iterator[Running]:
    with serving(ledger, spool) as running:
        yield running
