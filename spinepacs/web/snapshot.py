"""The queue at one moment: what all who look at it are shown."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from spinepacs.store.ledger import Ledger
from spinepacs.store.queue import queue
from spinepacs.store.records import OpenCounts

MOST_ROWS = 200
"""Rows of each kind that are shown; the numbers beside them count all."""
SHARE = 0.1
"""Of the time at most, however many look: a queue of which the list takes 0.5 s is asked for every 5 s."""


@dataclass(frozen=True)
class Snapshot:
    """When it was, the rows of :func:`spinepacs.store.queue.queue`, and how much is not done."""

    at: datetime
    rows: list[dict[str, Any]]
    counts: OpenCounts


def look(ledger: Ledger, destinations: Collection[str]) -> Snapshot:
    """Ask the ledger now."""
    return Snapshot(datetime.now(UTC), queue(ledger, destinations, MOST_ROWS), ledger.open_counts())
