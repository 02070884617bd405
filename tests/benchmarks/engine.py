"""What the engine and the shared stores cost: studies a second of the whole daemon with workers that answer at once.

Each way begins with so many studies that are ready; the rate is that of the middle ones. In parts, of which each takes
minutes: ``engine``; ``engine-backlog``, the same behind a backlog; ``engine-urgent``, how long an urgent study waits
there; ``engine-sleeping`` and ``engine-computing``, how workers add up where the work waits, and where it computes.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, update

from spinepacs.cluster.engine import announce
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import readings
from spinepacs.store.tables import studies as studies_table
from tests.benchmarks.quick import COMPUTE, SLEEP
from tests.daemons import Daemon, daemon
from tests.peers import free_port
from tests.peers_postgresql import postgresql
from tests.peers_s3 import s3
from tests.store import makers
from tests.store.growing import multiply

STUDIES = int(os.environ.get("ENGINE_STUDIES", "600"))
BACKLOG = int(os.environ.get("ENGINE_BACKLOG", "100000"))
ROUNDS = 3
_WORK_S, _A_WORKER = 0.2, 100
_URGENT = 10
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
    """Print the rates of each way with one worker and with four."""
    print(
        f"engine: studies/s of {STUDIES} made-up studies, workers answer at once, 1 and 4 workers; {_load()}"
    )
    for way in WAYS:
        rates = [_rate(way, workers, STUDIES) for workers in (1, 4)]
        print(f"{way.name:<26}" + "".join(f"{rate:>9.1f}" for rate in rates) + f"   {_load()}", flush=True)


def behind() -> None:
    """Print what a backlog costs one worker."""
    print(f"engine-backlog: studies/s of {STUDIES} made-up studies, one worker; {_load()}")
    for way in WAYS[:: len(WAYS) - 1]:
        empty, behind = _rate(way, 1, STUDIES), _rate(way, 1, STUDIES, backlog=BACKLOG)
        print(
            f"{way.name:<26}{empty:>9.1f}, {behind:.1f} behind {BACKLOG:,}: {behind / empty:.2f} ×   {_load()}",
            flush=True,
        )


def urgent() -> None:
    """Print how long an urgent study waits behind a backlog."""
    for way in WAYS[:: len(WAYS) - 1]:
        times = _urgent_s(way)
        print(
            f"engine-urgent: {way.name}, behind {BACKLOG:,} studies recorded after {statistics.median(times):.2f} s "
            f"(median of {len(times)}; longest {max(times):.2f}); {_load()}",
            flush=True,
        )


def sleeping() -> None:
    """Print how workers add up where the work waits."""
    _scaling("sleeps", SLEEP, 8)


def computing() -> None:
    """Print how workers add up where the work computes: one a core, on two cores."""
    _scaling("computes", COMPUTE, 2)


def _scaling(what: str, variable: str, most: int) -> None:
    """The parts of each round in turns."""
    ratios = []
    for _ in range(ROUNDS):
        one, many = (
            _rate(WAYS[1], workers, _A_WORKER * max(1, workers // 2), **{variable: str(_WORK_S)})
            for workers in (1, most)
        )
        ratios.append(many / one)
        print(
            f"work that {what} for {_WORK_S} s: {most} workers {ratios[-1]:.2f} × one; {_load()}", flush=True
        )
    print(f"median of {ROUNDS} rounds: {statistics.median(ratios):.2f} ×")


def _load() -> str:
    """What else the machine did in the last minute."""
    return f"load {os.getloadavg()[0]:.1f}"


def _rate(way: Way, workers: int, studies: int, backlog: int = 0, **environment: str) -> float:
    with _filled(way, workers, studies + backlog, environment) as running, running.ledger() as ledger:
        running.start()
        at = [_when(ledger, round(studies * share)) for share in _MEASURED]
        rate = studies * (_MEASURED[1] - _MEASURED[0]) / (at[1] - at[0])
        assert running.terminate(60) == 0
    return rate


def _urgent_s(way: Way) -> list[float]:
    """Of urgent studies, one after the other: from the moment that each becomes ready until it is recorded."""
    has_engine = way.on_s3
    with (
        _filled(way, 1, BACKLOG, {}, assembly={"quiet_period_s": 1e6}) as running,
        Ledger.open(
            running.settings["storage"]["database_url"], announce=announce if has_engine else None
        ) as ledger,
    ):
        for number in range(_URGENT):
            ledger.add_arrival(makers.arrival(f"7.7.{number}.1"))
            (waiting,) = ledger.unregistered(1)
            ledger.register(
                waiting.arrival_id, makers.header(waiting.sop_uid, f"7.7.{number}"), None, urgent=True
            )
        running.start()
        _when(ledger, 50)
        waited = []
        for number in range(_URGENT):
            mine = select(readings.c.reading_id).where(readings.c.study_uid == f"7.7.{number}")
            start = time.perf_counter()
            ledger.mark_ready(f"7.7.{number}")
            while not ledger.rows(mine):
                time.sleep(0.01)
            waited.append(time.perf_counter() - start)
        assert running.terminate(60) == 0
    return waited


def _when(ledger: Ledger, count: int) -> float:
    """When so many studies had been read (s)."""
    while ledger.rows(select(func.count().label("n")).select_from(readings))[0]["n"] < count:
        time.sleep(0.02)
    return time.perf_counter()


@contextmanager
def _filled(
    way: Way, workers: int, studies: int, environment: Mapping[str, str], **sections: Any
) -> Iterator[Daemon]:
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
        _as_if_of_now(url)
        running = stack.enter_context(
            daemon(
                folder,
                environment=more,
                storage=storage,
                cluster={"enabled": way.on_s3},
                work={"workers": workers, "poll_s": 1.0},
                retention={"grace_s": 1e6},
                listener={"port": free_port(), "processes": 1},
                **sections,
            )
        )
        running.module = "tests.benchmarks.quick"
        yield running


def _as_if_of_now(url: str) -> None:
    """Let all have become due now: whoever has waited for more than an hour goes before urgent ones, and rightly."""
    now = datetime.now(UTC)
    with Ledger.open(url) as ledger, ledger._database.transaction() as connection:
        connection.execute(update(studies_table).values(due_at=now, turn_at=now))


def _one_ready(ledger: Ledger) -> None:
    makers.take_in(ledger, "5.5.1", "5.5")
    ledger.mark_ready("5.5")
