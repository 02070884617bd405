"""Every page of the console with 200 000 studies in the ledger: how long the server takes for it, by HTTP.

``PAGES_SIZE`` says how many studies, ``PAGES_URL`` names a filled ledger to ask; else one is filled first: on SQLite,
or on PostgreSQL with ``PAGES_ON=postgresql``. Processor time is that of the console's process with its visitor and of
the database: what a quiet machine would need, whatever else this one does.
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, select

from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import samples, studies
from tests.peers import children
from tests.peers_postgresql import postgresql
from tests.store import makers
from tests.store.growing import multiply, one_study
from tests.web.consoles import Visitor, console

SIZE = int(os.environ.get("PAGES_SIZE", "200000"))
GOAL_MS = 200
_ROUNDS = 7
_READY, _FAILED = 150, 100
"""Of the studies so many wait to be read, and so many have failed: a bad day."""
_DESTINATIONS = [
    {"name": name, "ae_title": "PACS", "host": "127.0.0.1", "port": 104} for name in ("pacs", "viewer")
]


def main() -> None:
    """Print how long each page takes (ms), and which of them need more than they should."""
    with (
        tempfile.TemporaryDirectory(prefix="spinepacs-pages-", dir="/var/tmp") as name,
        _ledger(name) as (url, server),
        Ledger.open(url) as ledger,
        console(ledger, Spool(Path(name) / "spool"), destinations=_DESTINATIONS) as site,
    ):
        ledger.refresh_statistics()
        visitor = site.visitor(AccountRole.ADMINISTRATOR)
        kind = url.partition(":")[0]
        print(f"pages: {SIZE:,} studies on {kind}; processor: mean, wall: median and worst of {_ROUNDS} (ms)")
        print(f"{'':>54} {'processor':>9} {'wall':>8} {'worst':>8}")
        pages = _pages(ledger, visitor)
        slow = [page for page, path in pages.items() if _show(visitor, page, path, server) > GOAL_MS]
        print(f"over {GOAL_MS} ms: {', '.join(slow) or 'none'}")


@contextmanager
def _ledger(folder: str) -> Iterator[tuple[str, int]]:
    """URL of a filled ledger, and process id of its server; 0: there is none, or it is not ours."""
    if url := os.environ.get("PAGES_URL"):
        yield url, 0
        return
    on_server = os.environ.get("PAGES_ON") == "postgresql"
    with postgresql() if on_server else nullcontext() as server:
        url = server.create_database() if server else f"sqlite:///{Path(folder) / 'ledger.sqlite'}"
        with Ledger.open(url) as ledger:
            one_study(ledger)
        multiply(url, SIZE)
        with Ledger.open(url) as ledger:
            _add_a_bad_day(ledger)
        yield url, server.process.pid if server and server.process else 0


def _add_a_bad_day(ledger: Ledger) -> None:
    """Studies that wait and that have failed, results that wait, and a month of samples."""
    for number in range(_READY + _FAILED):
        makers.take_in(ledger, f"8.{number}.1", f"8.{number}")
        ledger.mark_ready(f"8.{number}")
    for _ in range(_FAILED):
        claim = ledger.claim(makers.VERSIONS, 3)
        if claim:
            ledger.fail(claim, "TIMEOUT", "it took too long", transient=False)
    claim = ledger.claim(makers.VERSIONS, 3)
    if claim:
        result = makers.result_of(claim)
        ledger.record(claim, result, makers.stored(result), (makers.PACS, makers.VIEWER))
    now = datetime.now(UTC)
    ages = [(minutes, 60) for minutes in range(1, 1440)] + [(60 * hours, 3600) for hours in range(25, 720)]
    rows = [
        {
            "taken_at": now - timedelta(minutes=minutes), "seconds": seconds, "reached": {},
            "counted": {"received": 9, "read": 5, "studies": 3, "failed": 0, "sent": {"pacs": 9, "viewer": 3}},
            "waiting": {"unread": 4, "outbox": {"pacs": 7}},
        }
        for minutes, seconds in ages
    ]  # fmt: skip
    with ledger._database.transaction() as connection:
        connection.execute(insert(samples), rows)


_SEARCHES = {
    "a patient": "patient=PAT-777",
    "an accession number": "accession=ACC-777",
    "delivered (nearly all)": "state=delivered",
    "failed": "state=failed",
    "a sign, grade 2": "sign=disc_height_loss&grade=2",
    "any sign, grade 1": "grade=1",
    "a sign, grade 1, at a disc": "sign=disc_height_loss&grade=1&level=L4%2FL5",
    "a sign, grade 3 (none has it)": "sign=osteophytes&grade=3",
    "a level": "level=L4",
    "a level that none has": "level=C3",
    "a model": "model=spine-v0",
    "a model that none was read by": "model=nobody",
    "a destination": "destination=pacs",
    "a destination that few went to": "destination=viewer",
    "two that few have": "sign=disc_height_loss&grade=2&state=failed",
    "a level, and failed": "level=L5&state=failed",
}


def _pages(ledger: Ledger, visitor: Visitor) -> dict[str, str]:
    """Every page that answers by itself; what decodes a film takes as long as that film does."""
    study = f"{makers.STUDY}.{SIZE // 2}"
    (row,) = ledger.rows(select(studies.c.study_date).where(studies.c.study_uid == study))
    day = row["study_date"]
    following = re.search(r'href="/studies\?([^"]*after=[^"]+)"', visitor.get("/studies").text)
    assert following
    searches = _SEARCHES | {"a day": f"date_from={day}&date_to={day}", "since a day": f"date_from={day}"}
    film = f"/studies/{makers.STUDY}/films/{makers.SOP}"
    return {
        "queue": "/queue",
        "queue, what changes": "/queue/now",
        "confirm: retry": "/queue/action?action=retry&study=8.0",
        "confirm: withdraw": "/queue/action?action=withdraw&destination=pacs",
        "studies": "/studies",
        "studies, next page": f"/studies?{following[1].replace('&amp;', '&')}",
        **{f"studies, {name}": f"/studies?{query}" for name, query in searches.items()},
        "a study": f"/studies/{study}",
        "a study that failed": "/studies/8.0",
        "review of a film": f"{film}/review",
        "draft of a correction": f"{film}/review/draft",
        "rules": "/rules",
        "destinations": "/destinations",
        "destinations, what changes": "/destinations/now",
        "machines, day": "/machines",
        "machines, month": "/machines?span=month",
        "login": "/login",
    }


def _show(visitor: Visitor, page: str, path: str, server: int) -> float:
    """Ask for a page some times, print how long it took, and give the mean of the processor time (ms)."""
    walls, statuses = [], set()
    busy_s = _busy_s(server)
    for _ in range(_ROUNDS):
        begin_s = time.perf_counter()
        statuses.add(visitor.get(path).status)
        walls.append(1000 * (time.perf_counter() - begin_s))
    processor = 1000 * (_busy_s(server) - busy_s) / _ROUNDS
    said = "" if statuses <= {200, 303} else f"  HTTP {statuses}"
    print(
        f"{page:>54} {processor:>9.1f} {statistics.median(walls):>8.1f} {max(walls):>8.1f}{said}", flush=True
    )
    return processor


def _busy_s(server: int) -> float:
    """Processor time (s) of this process, and of the processes of a database server, those that have ended too."""
    ticks = 0
    if server:
        ticks += sum(_times(server))  # those of its children that have ended are among its own
        ticks += sum(sum(_times(child)[:2]) for child in children(server))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def _times(pid: int) -> list[int]:
    """User and system time of a process, and of its children that have ended (ticks, proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return [0, 0]
    return [int(field) for field in fields[11:15]]
