"""What the engine and the shared stores cost: studies a second of the whole daemon with workers that answer at once.

Each way begins with so many studies that are ready; the rate is that of the middle ones. Then the same behind a
backlog, how long an urgent study waits there, and how workers add up where the work sleeps, and where it computes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import arrivals, readings
from tests.benchmarks.quick import COMPUTE, SLEEP
from tests.daemons import Daemon, daemon
from tests.peers import free_port
from tests.peers_postgresql import postgresql
from tests.peers_s3 import s3
from tests.store import makers
from tests.store.growing import multiply

STUDIES = int(os.environ.get("ENGINE_STUDIES", "600"))
BACKLOG = int(os.environ.get("ENGINE_BACKLOG", "100000"))
_MEASURED = (0.1, 0.9)
"""Of the studies: the start and the end are left out."""


@dataclass(frozen=True)
class Way:
    """Where a daemon keeps what it has."""

    name: str
    on_postgresql: bool = False
    on_s3: bool = False


WAYS = (Way("SQLite, folder"), Way("PostgreSQL, folder", True), Way("PostgreSQL, engine, S3", True, True))


def main() -> None:
    """Print the rates and their ratios."""
    print(f"engine: studies/s of {STUDIES} made-up studies, workers answer at once")
    for way in WAYS:
        rates = [_rate(way, workers, STUDIES) for workers in (1, 4)]
        print(
            f"{way.name:<26}" + "".join(f"{rate:>9.1f}" for rate in rates) + "   1 and 4 workers", flush=True
        )
    for way in WAYS[:: len(WAYS) - 1]:
        empty, behind = _rate(way, 1, STUDIES), _rate(way, 1, STUDIES, backlog=BACKLOG)
        print(
            f"{way.name:<26}{behind:>9.1f}   behind {BACKLOG:,} studies: {behind / empty:.2f} × as of a short queue"
        )
    print(f"an urgent study behind {BACKLOG:,} is recorded after {_urgent_s(WAYS[-1]):.2f} s", flush=True)
    for what, variable, seconds, most in (("sleeps", SLEEP, 0.2, 8), ("computes", COMPUTE, 0.2, 2)):
        studies = int(20 / seconds)
        one, many = (_rate(WAYS[1], workers, studies, **{variable: str(seconds)}) for workers in (1, most))
        print(f"work that {what} for {seconds} s: {most} workers {many / one:.2f} × one", flush=True)


def _rate(way: Way, workers: int, studies: int, backlog: int = 0, **environment: str) -> float:
    with _filled(way, workers, studies + backlog, environment) as running, running.ledger() as ledger:
        running.start()
        at = [_when(ledger, round(studies * share)) for share in _MEASURED]
        rate = studies * (_MEASURED[1] - _MEASURED[0]) / (at[1] - at[0])
        assert running.terminate(60) == 0
    return rate


def _urgent_s(way: Way) -> float:
    """From the moment that an urgent study is there until it is recorded."""
    with _filled(way, 1, BACKLOG, {}) as running, running.ledger() as ledger:
        running.start()
        _when(ledger, 50)
        start = time.perf_counter()
        ledger.add_arrival(makers.arrival("7.7.7.1"))
        key = ledger.rows(select(func.max(arrivals.c.arrival_id).label("key")))[0]["key"]
        ledger.register(key, makers.header("7.7.7.1", "7.7.7"), None, urgent=True)
        ledger.mark_ready("7.7.7")
        mine = select(readings.c.reading_id).where(readings.c.study_uid == "7.7.7")
        while not ledger.rows(mine):
            time.sleep(0.01)
        waited = time.perf_counter() - start
        assert running.terminate(60) == 0
    return waited


def _when(ledger: Ledger, count: int) -> float:
    """When so many studies had been read (s)."""
    while ledger.rows(select(func.count().label("n")).select_from(readings))[0]["n"] < count:
        time.sleep(0.02)
    return time.perf_counter()


@contextmanager
def _filled(way: Way, workers: int, studies: int, environment: Mapping[str, str]) -> Iterator[Daemon]:
    """A daemon, not started, with so many studies that are ready."""
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="spinepacs-engine-", dir="/var/tmp"))
        )
        url = f"sqlite:///{folder / 'ledger.sqlite'}"
        if way.on_postgresql:
            url = stack.enter_context(postgresql()).create_database()
        storage: dict[str, Any] = {"spool": str(folder / "spool"), "database_url": url, "reserve_mb": 0}
        more = dict(environment)
        if way.on_s3:
            server = stack.enter_context(s3(folder))
            storage |= {"spool": server.make_bucket("films") + "/site", "scratch": str(folder / "scratch")}
            more |= server.environment
        with Ledger.open(url) as ledger:
            _one_ready(ledger)
        multiply(url, studies - 1)
        running = stack.enter_context(
            daemon(
                folder,
                environment=more,
                storage=storage,
                cluster={"enabled": way.on_s3},
                work={"workers": workers, "poll_s": 1.0},
                retention={"grace_s": 1e6},
                listener={"port": free_port(), "processes": 1},
            )
        )
        running.module = "tests.benchmarks.quick"
        yield running


def _one_ready(ledger: Ledger) -> None:
    makers.take_in(ledger, "5.5.1", "5.5")
    ledger.mark_ready("5.5")
