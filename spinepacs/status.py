"""``spinepacs status``: does the daemon run, since when, and does anything need a person?

It asks the daemon's health pages, the lock of its spool and the database. Each may be away; nothing is changed.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from spinepacs.delivery.pace import open_for_s
from spinepacs.domain.priors import AskState
from spinepacs.domain.worklist import OPEN, WorkitemState
from spinepacs.errors import SpinepacsError
from spinepacs.health_pages import page, readiness
from spinepacs.settings.settings import Settings
from spinepacs.show.listing import as_text as table
from spinepacs.store import lock
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import QueueCounts, Waiting, age_s
from spinepacs.store.rights import name_of, nearest
from spinepacs.store.tables import events, outbox

LATE_S = 3600.0
"""A result that has waited so long for its destination (s) needs a person; deploy/alerts.yaml says the same."""

UNREAD_LATE_S = 4 * 3600.0
"""And so does an image that has waited so long to be read (s)."""

LOST_TOLD = timedelta(days=3)
"""A workitem that was lost is told of for so long: what became of it at the server nobody tells us."""

SILENT_S = 60.0
"""A machine that has not beaten for so long (s), and that nobody has taken for dead, needs a person."""

_TIMEOUT_S = 5.0
_MB = 1_000_000
Row = dict[str, Any]


class Code(IntEnum):
    """Exit codes, for scripts; 2 is the command line's own, for bad settings."""

    WELL = 0
    NEEDS_A_PERSON = 1
    NOT_RUNNING = 3
    """As of ``systemctl status``."""


@dataclass
class Status:
    """What was found, as values that JSON can write; times in UTC.

    Parameters
    ----------
    running, since
        Whether the daemon lives, and since when it does, or does not.
    how
        A sentence about that.
    last_received_at
        When the newest image came.
    oldest_unread_s
        How long the oldest image waits to be read.
    processes, destinations
        One row for each.
    priors
        How many patients wait to be asked for in an archive (``waiting``), or cannot be (``failed``), and what it waits
        for (``trouble``); empty: priors are off.
    worklist
        How many workitems are ours and not done (``open``), how many are ``lost`` and how many of them lately and
        perhaps in progress there for ever (``left_open``), and what it waits for (``trouble``); empty: it is off.
    problems
        What needs a person, in sentences; empty: nothing.
    """

    running: bool = False
    since: datetime | None = None
    how: str = ""
    last_received_at: datetime | None = None
    oldest_unread_s: float = 0.0
    disk_free_mb: int = 0
    studies: dict[str, int] = field(default_factory=dict)
    processes: list[Row] = field(default_factory=list)
    destinations: list[Row] = field(default_factory=list)
    priors: Row = field(default_factory=dict)
    worklist: Row = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def code(self) -> Code:
        """What the command ends with."""
        if not self.running:
            return Code.NOT_RUNNING
        return Code.NEEDS_A_PERSON if self.problems else Code.WELL


def find_out(settings: Settings) -> Status:
    """Look everywhere; nothing raises, since what cannot be asked is a finding."""
    found = Status()
    _daemon(settings, found)
    _disk(settings, found)
    try:
        with Ledger.open_to_read(settings.storage.database_url) as ledger:
            _ledger(settings, ledger, found)
    except SpinepacsError as error:
        found.problems.append(f"database: {error}")
    return found


def _daemon(settings: Settings, found: Status) -> None:
    """Whether it lives, by its pages and by its lock, and how its processes go."""
    ready = readiness(settings.health, _TIMEOUT_S)
    holder = None
    try:
        holder = lock.look(settings.storage.folder)
    except SpinepacsError as error:
        if ready is None:
            found.problems.append(str(error))
    found.running = ready is not None or bool(holder and holder.alive)
    if not found.running:
        found.since = holder.last_sign if holder else None
        found.how = "last sign of life" if holder else f"no daemon has ever run on {settings.storage.folder}"
        return
    if holder:
        found.since, found.how = holder.since, f"as user {name_of(holder.uid)}"
    if ready is None and settings.health.enabled:
        found.problems.append("it does not answer on its health port: it is starting, or hangs; see its log")
    found.problems += [f"{name}: {why}" for name, why in (ready or {}).items() if why != "ok"]
    _processes(page(settings.health, "/metrics", _TIMEOUT_S) or "", found)


def _processes(metrics: str, found: Status) -> None:
    values: dict[str, Row] = defaultdict(dict)
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name.startswith("spinepacs_process_"):
                values[sample.labels["process"]][sample.name.removeprefix("spinepacs_process_")] = (
                    sample.value
                )
            elif sample.name == "spinepacs_start_time_seconds":
                found.since = datetime.fromtimestamp(sample.value, UTC)
    for name, each in values.items():
        started_s = each.get("start_time_seconds")
        found.processes.append({
            "process": name,
            "state": "up" if each.get("up") else "down",
            "since": datetime.fromtimestamp(started_s, UTC) if started_s else None,
            "restarts": int(each.get("restarts_total", 0)),
        })  # fmt: skip
        if not each.get("up"):
            found.problems.append(f"process {name} is down: see the daemon's log")


def _disk(settings: Settings, found: Status) -> None:
    found.disk_free_mb = shutil.disk_usage(nearest(settings.storage.folder)).free // _MB
    if found.disk_free_mb <= settings.storage.reserve_mb:
        found.problems.append(
            f"disk: {found.disk_free_mb} MB free, {settings.storage.reserve_mb} MB are kept in reserve: images are "
            "answered with 0xA700"
        )


def _machines(ledger: Ledger, found: Status) -> None:
    """How the processes of every machine go; one machine that lives is enough to run."""
    now = datetime.now(UTC)
    living = ledger.machines.living()
    found.processes = []
    for machine in living:
        silent_s = age_s(machine.beat_at, now)
        if silent_s > SILENT_S:
            found.problems.append(f"machine {machine.name} ({machine.role}) is silent for {_span(silent_s)}")
        own = {"machine": machine.name, "role": machine.role}
        for name, life in machine.processes.items() or {"supervisor": {"is_up": True}}.items():
            found.processes.append({**own, **_process(name, life)})
            if not life["is_up"]:
                found.problems.append(f"process {name} on {machine.name} is down: see its log")
    if living and not found.running:
        found.running, found.since, found.how = True, living[0].started_at, "on other machines"


def _process(name: str, life: Row) -> Row:
    started_s = life.get("started_s")
    return {
        "process": name,
        "state": "up" if life["is_up"] else "down",
        "since": datetime.fromtimestamp(started_s, UTC) if started_s else None,
        "restarts": int(life.get("restarts", 0)),
    }


def _ledger(settings: Settings, ledger: Ledger, found: Status) -> None:
    if settings.cluster.enabled:
        _machines(ledger, found)
    counts, waiting, now = ledger.counts(), ledger.waiting(), datetime.now(UTC)
    found.studies, found.last_received_at = counts.studies, waiting.last_received_at
    found.oldest_unread_s = age_s(waiting.oldest_unread_at, now)
    if not found.running and found.since:
        began, ended = _daemon_events(ledger)
        in_order = ended is not None and (began is None or ended > began)
        found.how = "it was stopped in order" if in_order else "it ended without a word: killed, or a crash"
    if found.oldest_unread_s > UNREAD_LATE_S:
        found.problems.append(f"an image has waited for {_span(found.oldest_unread_s)} to be read")
    if number := counts.studies.get("failed", 0):
        found.problems.append(f"{number} studies have failed: spinepacs queue, then retry or discard")
    _destinations(settings, ledger, counts, waiting, found)
    if settings.priors.enabled:
        _priors(ledger, found)
    if settings.worklist.enabled:
        _worklist(ledger, found)


def _priors(ledger: Ledger, found: Status) -> None:
    counts, trouble = ledger.priors.counts(), ledger.priors.trouble()
    failed = counts.pop(AskState.FAILED, 0)
    found.priors = {"waiting": sum(counts.values()), "failed": failed, "trouble": trouble}
    late_s = age_s(ledger.priors.oldest_at(), datetime.now(UTC))
    if trouble and late_s > LATE_S:
        found.problems.append(f"priors: a patient has waited for {_span(late_s)} to be asked for: {trouble}")


def _worklist(ledger: Ledger, found: Status) -> None:
    counts, now = ledger.workitems.counts(), datetime.now(UTC)
    trouble, left_open = ledger.workitems.trouble(), ledger.workitems.lost_since(now - LOST_TOLD)
    found.worklist = {
        "open": sum(counts.get(state, 0) for state in OPEN),
        "lost": counts.get(WorkitemState.LOST, 0),
        "left_open": left_open,
        "trouble": trouble,
    }
    late_s = age_s(ledger.workitems.oldest_at(), now)
    if trouble and late_s > LATE_S:
        found.problems.append(f"worklist: a workitem has been ours for {_span(late_s)}: {trouble}")
    if left_open:
        found.problems.append(
            f"{left_open} workitems were lost since {now - LOST_TOLD:%Y-%m-%d}: the worklist may have them in progress "
            "until a person ends them there (docs/worklist.md)"
        )


def _destinations(
    settings: Settings, ledger: Ledger, counts: QueueCounts, waiting: Waiting, found: Status
) -> None:
    known = [destination.name for destination in settings.destinations]
    sent, now = _last_sent(ledger), datetime.now(UTC)
    # Nobody is late who waits for the night.
    open_s = {each.name: open_for_s(each.hours, datetime.now()) for each in settings.destinations}
    strays = ledger.strays(known)
    for name in [*known, *strays]:
        late_s = age_s(waiting.oldest_pending_at.get(name), now)
        row = {
            "destination": name,
            "pending": counts.outbox.get((name, "pending"), 0),
            "failed": counts.outbox.get((name, "failed"), 0),
            "uncommitted": counts.uncommitted.get(name, 0),
            "oldest_s": round(late_s),
            "last_sent_at": sent.get(name),
        }
        found.destinations.append(row)
        if row["failed"]:
            found.problems.append(
                f"{row['failed']} results for {name} have failed: spinepacs queue, then retry"
            )
        if min(late_s, open_s.get(name, late_s)) > LATE_S:
            found.problems.append(f"a result has waited for {_span(late_s)} for {name}: spinepacs check")
    found.problems += [f"{name} is not in the settings: spinepacs redirect, or withdraw" for name in strays]


def _last_sent(ledger: Ledger) -> dict[str, datetime]:
    """When each destination took an object last."""
    newest = select(outbox.c.destination, func.max(outbox.c.sent_at).label("at")).group_by(
        outbox.c.destination
    )
    return {row["destination"]: row["at"] for row in ledger.rows(newest) if row["at"]}


def _daemon_events(ledger: Ledger) -> tuple[datetime | None, datetime | None]:
    """When a daemon started last, and when one was stopped in order last."""
    newest = (
        select(events.c.kind, func.max(events.c.happened_at).label("at"))
        .where(events.c.kind.in_(("started", "stopped")))
        .group_by(events.c.kind)
    )
    at = {row["kind"]: row["at"] for row in ledger.rows(newest)}
    return at.get("started"), at.get("stopped")


def as_text(found: Status, settings: Settings) -> str:
    """What was found, for a person."""
    now = datetime.now(UTC)
    state = "running since" if found.running else "not running since"
    since = f"{_time(found.since)}, {_span(age_s(found.since, now))}" if found.since else "an unknown time"
    received = found.last_received_at
    ago = f"{_time(received)}, {_span(age_s(received, now))} ago" if received else "none yet"
    lines = [
        f"spinepacs      {state} {since}{f' ({found.how})' if found.how else ''}",
        f"last film      {ago}",
        f"oldest unread  {_span(found.oldest_unread_s) if found.oldest_unread_s else 'nothing waits'}",
        f"disk           {found.disk_free_mb} MB free, {settings.storage.reserve_mb} MB kept in reserve",
        f"studies        {', '.join(f'{number} {state}' for state, number in found.studies.items()) or 'none'}",
    ]
    if found.priors:
        failed = f", {found.priors['failed']} have failed" if found.priors["failed"] else ""
        waits = f" ({found.priors['trouble']})" if found.priors["trouble"] else ""
        lines.append(f"priors         {found.priors['waiting']} patients wait to be asked for{failed}{waits}")
    if found.worklist:
        waits = f" ({found.worklist['trouble']})" if found.worklist["trouble"] else ""
        lines.append(
            f"worklist       {found.worklist['open']} workitems are ours, {found.worklist['lost']} were lost{waits}"
        )
    processes = [{**row, "since": row["since"] and _time(row["since"])} for row in found.processes]
    destinations = [
        {
            **{name: row[name] for name in ("destination", "pending", "failed", "uncommitted")},
            "oldest waits": _span(row["oldest_s"]) if row["pending"] else "",
            "last sent": row["last_sent_at"] and _time(row["last_sent_at"]),
        }
        for row in found.destinations
    ]
    tables = [table(rows, "table", list(rows[0])) for rows in (processes, destinations) if rows]
    problems = "\n".join(f"look at        {problem}" for problem in found.problems)
    return "\n\n".join(filter(None, ("\n".join(lines), *tables, problems)))


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _span(seconds: float) -> str:
    """A length of time as a person says it."""
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{days} d" * bool(days), f"{hours} h" * bool(hours), f"{minutes} min" * bool(minutes)]
    return " ".join(list(filter(None, parts))[:2]) or f"{rest_s} s"
