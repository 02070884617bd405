"""What a claim, an arrival, a delivery … cost while the ledger grows: 100, 10 000 and 1 000 000 rows in each table.

A small true study goes through the ledger's own code; its rows are then multiplied by the database itself, with keys
and times of their own. So a filled ledger looks as if that many studies had come, been read and been delivered.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from spinepacs.store.ledger import Ledger
from tests.peers_postgresql import postgresql
from tests.store.growing import Steps, go_through, multiply, one_study

SIZES = tuple(int(size) for size in os.environ.get("GROWTH_SIZES", "100,10000,1000000").split(","))
ROUNDS = 25


def main() -> None:
    """Print what each operation costs (ms) at each size, on both databases, and the ratio of most to least."""
    with (
        tempfile.TemporaryDirectory(prefix="spinepacs-growth-", dir="/var/tmp") as name,
        postgresql() as server,
    ):
        urls = {
            "SQLite": [f"sqlite:///{Path(name) / f'{size}.sqlite'}" for size in SIZES],
            "PostgreSQL": [server.create_database() for _ in SIZES],
        }
        for database, each in urls.items():
            with ExitStack() as stack:
                ledgers = [
                    stack.enter_context(_filled(url, size)) for url, size in zip(each, SIZES, strict=True)
                ]
                _print(database, _measured(ledgers))


@contextmanager
def _filled(url: str, size: int) -> Iterator[Ledger]:
    start = time.perf_counter()
    with Ledger.open(url) as ledger:
        one_study(ledger)
    multiply(url, size)
    with Ledger.open(url) as ledger:
        print(f"{size:>9} rows filled in {time.perf_counter() - start:.0f} s", flush=True)
        yield ledger


def _measured(ledgers: list[Ledger]) -> list[dict[str, float]]:
    """Lower quartile (ms) of each operation for each ledger; the ledgers take turns, so that other work hits all."""
    times: list[dict[str, list[float]]] = [defaultdict(list) for _ in ledgers]
    for number in range(ROUNDS + 2):
        for ledger, of_ledger in zip(ledgers, times, strict=True):
            for name, seconds in _seconds(ledger, f"9.{number}").items():
                of_ledger[name].append(seconds * 1000)
    return [{name: statistics.quantiles(v[2:])[0] for name, v in each.items()} for each in times]


def _print(database: str, results: list[dict[str, float]]) -> None:
    print(f"\ngrowth: {database}, {ROUNDS} rounds, lower quartile in ms (SQLite: processor time)")
    print(f"{'rows a table':>16}" + "".join(f"{size:>11,}" for size in SIZES) + f"{'ratio':>9}")
    for name in results[0]:
        values = [result[name] for result in results]
        ratio = max(values) / min(values)
        print(f"{name:>16}" + "".join(f"{value:>11.2f}" for value in values) + f"{ratio:>9.2f}", flush=True)


def _seconds(ledger: Ledger, uid: str) -> dict[str, float]:
    # SQLite works in this process: its processor time says more than the disk and what runs beside it.
    steps = Steps(time.process_time if ledger.url.startswith("sqlite") else time.perf_counter)
    go_through(ledger, uid, steps)
    return steps.seconds
