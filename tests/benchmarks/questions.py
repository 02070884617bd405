"""A ledger of a million studies: each documented query, the queue, a study's way, and how large the tables are.

``QUESTIONS_SIZE`` says how many, ``QUESTIONS_URL`` names a filled ledger to ask, which is else filled first.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import find_studies
from spinepacs.store.queue import queue, queue_counts
from tests.peers_postgresql import postgresql
from tests.store.growing import Steps, go_through, multiply, one_study

SIZE = int(os.environ.get("QUESTIONS_SIZE", "1000000"))
ROUNDS = 5
_LONGEST_S = 30.0
"""After so long a question is broken off."""
_SHOWN = 1000
"""Rows of an answer that are taken: so many a page or a person looks at."""
_PAGE = Path(__file__).parents[2] / "docs" / "sql.md"
_QUERIES = re.findall(r"^### (\d+)\. (.*?)$.*?^```sql\n(.*?);\n```", _PAGE.read_text(), flags=re.M | re.S)


def main() -> None:
    """Print the median time (ms) of each question on both databases."""
    if url := os.environ.get("QUESTIONS_URL"):
        _ask(url)
        return
    with (
        tempfile.TemporaryDirectory(prefix="spinepacs-questions-", dir="/var/tmp") as name,
        postgresql() as server,
    ):
        for url in (f"sqlite:///{Path(name) / 'ledger.sqlite'}", server.create_database()):
            with Ledger.open(url) as ledger:
                one_study(ledger)
            multiply(url, SIZE)
            _ask(url)


def _ask(url: str) -> None:
    with Ledger.open(url) as ledger:
        ledger.refresh_statistics()
        print(f"\nquestions: {SIZE:,} studies on {url.partition(':')[0]}; median of {ROUNDS}, ms")
        for name, question in _questions(ledger).items():
            times = [_ms(question) for _ in range(ROUNDS if _ms(question) < 5000 else 1)]
            print(f"{name[:64]:>64} {statistics.median(times):>10.1f}", flush=True)
        for name, values in _steps(ledger).items():
            print(f"{name:>64} {statistics.median(values):>10.1f}", flush=True)
        for name, megabytes in _sizes(ledger):
            print(f"{name:>64} {megabytes:>10,.0f} MB")


def _questions(ledger: Ledger) -> dict[str, Callable[[], object]]:
    documented = {f"{number}. {title}": _documented(ledger, sql) for number, title, sql in _QUERIES}
    return documented | {
        "the queue": lambda: queue(ledger),
        "the counts above it": lambda: queue_counts(ledger),
        "a patient's studies": lambda: find_studies(ledger, patient="PAT-77777"),
        "the newest studies": lambda: find_studies(ledger, limit=50),
        "what waits": ledger.waiting,
        "all counts, for /metrics": ledger.counts,
    }


def _documented(ledger: Ledger, sql: str) -> Callable[[], object]:
    """The first thousand rows of what a query gives: an answer of a million rows takes as long as it is long."""

    def ask() -> object:
        with ledger._database.read() as connection:
            if not ledger._database.is_sqlite:
                connection.execute(text(f"SET LOCAL statement_timeout = '{_LONGEST_S:.0f}s'"))
            else:
                until_s = time.monotonic() + _LONGEST_S
                driver = connection.connection.driver_connection
                driver.set_progress_handler(lambda: time.monotonic() > until_s, 100_000)
            try:
                return connection.execution_options(stream_results=True).execute(text(sql)).fetchmany(_SHOWN)
            except DBAPIError:
                return None
            finally:
                if ledger._database.is_sqlite:
                    driver.set_progress_handler(None, 0)

    return ask


def _steps(ledger: Ledger) -> dict[str, list[float]]:
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(ROUNDS):
        steps = Steps()
        go_through(ledger, f"9.{time.time_ns()}.{number}", steps)
        for name in ("arrival", "register", "claim", "record", "due", "finish delivery"):
            times[f"a study's way: {name}"].append(steps.seconds[name] * 1000)
    return times


def _sizes(ledger: Ledger) -> Iterator[tuple[str, float]]:
    """Each table with its indexes; on SQLite the file."""
    if ledger._database.is_sqlite:
        yield "the file", Path(ledger.url.removeprefix("sqlite:///")).stat().st_size / 1e6
        return
    asked = (
        "SELECT relname, pg_total_relation_size(oid) FROM pg_class "
        "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC"
    )
    with ledger._database.read() as connection:
        yield from ((name, size / 1e6) for name, size in islice(connection.execute(text(asked)), 12))


def _ms(question: Callable[[], object]) -> float:
    start = time.perf_counter()
    question()
    return (time.perf_counter() - start) * 1000
