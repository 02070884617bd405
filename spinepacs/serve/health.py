"""Liveness, readiness and metrics over HTTP: read-only, and of the kind that holds no patient identity.

``/healthz``: the daemon's own process answers. ``/readyz``: it can take and read images now (200), or why not (503).
``/metrics``: Prometheus. The parts of the daemon are separate processes, so the figures are taken from the ledger
when they are asked for.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from spinepacs.delivery.pace import open_for_s
from spinepacs.domain.worklist import WorkitemState
from spinepacs.errors import Permanent, SpinepacsError
from spinepacs.intake.port import PatientServer
from spinepacs.seldom import Seldom
from spinepacs.serve.processes import Life
from spinepacs.settings.destinations import Destination
from spinepacs.settings.sections import HealthSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import QueueCounts, Waiting, age_s
from spinepacs.store.spool import Spool
from spinepacs.store.tables import readings

Check = Callable[[], str]
"""Returns why something is not ready, or an empty string."""

_Values = Mapping[tuple[str, ...], float]
_READINGS_A_SCRAPE = 10_000
_REQUEST_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Traffic:
    """What the listeners have counted: connections now, associations accepted, and turned away by reason."""

    connections: int
    accepted: int
    turned_away: Mapping[str, int]


class Figures(Collector):
    """Everything that ``/metrics`` shows.

    Parameters
    ----------
    ledger, spool
        Opened by this process.
    reserve_bytes
        Free disk below which nothing is received.
    processes
        Gives for each part of the daemon how it goes.
    traffic
        Gives what the listeners have counted; None: there are none.
    destinations
        Whose hours tell when a result is late.
    channels
        Names of those who are told when something breaks.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        reserve_bytes: int,
        processes: Callable[[], Mapping[str, Life]],
        traffic: Callable[[], Traffic] | None = None,
        destinations: Sequence[Destination] = (),
        channels: Sequence[str] = (),
    ) -> None:
        self._channels = channels
        self._hours = {each.name: each.hours for each in destinations}
        self._traffic = traffic
        self._ledger = ledger
        self._spool = spool
        self._reserve_bytes = reserve_bytes
        self._processes = processes
        self._started_s = time.time()
        self._steps = _StepSeconds(ledger)
        self._counted = Seldom(self._count)

    def _count(self) -> QueueCounts:
        return self._ledger.counts()

    def collect(self) -> Iterable[Metric]:
        """Take the figures now; the ledger's are left out, and said to be, while it is away."""
        yield _gauge("disk_free_bytes", "Free disk of the spool", {(): self._spool.free_bytes()})
        yield _gauge("disk_reserve_bytes", "Free disk that is kept", {(): self._reserve_bytes})
        yield _gauge("start_time_seconds", "When the daemon started (Unix time)", {(): self._started_s})
        yield from _lives(self._processes())
        if self._traffic:
            yield from _network(self._traffic())
        try:
            metrics = [*self._counts(), self._steps.metric()]
        except SpinepacsError:
            metrics = []
        yield _gauge("ledger_up", "1 while the database answers", {(): float(bool(metrics))})
        yield from metrics

    def _counts(self) -> Iterable[Metric]:
        counts = self._counted()
        arrivals = _labelled(counts.arrivals)
        yield _counter("received", "Images received and kept", {(): sum(arrivals.values())})
        yield _gauge("arrivals", "Images by state", arrivals, "state")
        yield _gauge("studies", "Studies by state", _labelled(counts.studies), "state")
        yield _counter("refused", "Images not read, by reason", _labelled(counts.refused), "reason_code")
        outbox: _Values = {key: float(number) for key, number in counts.outbox.items()}
        yield _gauge("outbox", "Objects by destination and state", outbox, "destination", "state")
        awaited = _labelled(counts.uncommitted)
        yield _gauge("uncommitted", "Objects accepted whose commitment is awaited", awaited, "destination")
        folder = _labelled(counts.folder_failed)
        yield _gauge(
            "folder_failed", "Files in failed/ of the watched folder, by reason", folder, "reason_code"
        )
        deleted = _labelled(counts.files_deleted)
        yield _gauge("files_deleted", "Originals and results that were deleted", deleted, "what")
        unseen = counts.unseen
        yield _gauge("refused_films", "Films refused by the reading, not seen to", {(): unseen["films"]})
        yield _gauge("mixed_studies", "Studies of several patients, not seen to", {(): unseen["studies"]})
        yield from self._machines()
        yield from self._notifications()
        yield from self._worklist()
        yield from _waiting(
            self._ledger.waiting(), {destination for destination, _ in counts.outbox}, self._open_s
        )

    def _notifications(self) -> Iterable[Metric]:
        """What is still to be told, and what was given up."""
        standing = self._ledger.notices.standing(self._channels)
        values: _Values = {
            (name, state): float(number)
            for name, stands in standing.items()
            for state, number in (("pending", stands.waiting), ("failed", stands.failed))
        }
        text = "What is to be told by a notification, and what was given up"
        yield _gauge("notifications", text, values, "notification", "state")
        failing: _Values = {(name,): float(bool(stands.message)) for name, stands in standing.items()}
        yield _gauge(
            "notification_failing", "1 while the last try to tell did not succeed", failing, "notification"
        )

    def _worklist(self) -> Iterable[Metric]:
        """Workitems by state, and since when the oldest open one is known."""
        workitems = self._ledger.workitems
        counts = dict.fromkeys(WorkitemState, 0) | workitems.counts()
        yield _gauge("workitems", "Workitems of the worklist by state", _labelled(counts), "state")
        oldest_s = age_s(workitems.oldest_at(), datetime.now(UTC))
        yield _gauge("oldest_workitem_seconds", "How long the oldest open workitem is known", {(): oldest_s})

    def _machines(self) -> Iterable[Metric]:
        """Silence of each machine that has not ended, seen by the clock here; none where there is one only."""
        now = datetime.now(UTC)
        silent: _Values = {
            (each.name, each.role): age_s(each.beat_at, now) for each in self._ledger.machines.living()
        }
        yield _gauge(
            "machine_silent_seconds", "Since a machine said that it lives", silent, "machine", "role"
        )

    def _open_s(self, destination: str) -> float:
        """Seconds since the hours of a destination began: nobody is late who waits for them."""
        return open_for_s(self._hours.get(destination, ()), datetime.now())


def _lives(processes: Mapping[str, Life]) -> Iterable[Metric]:
    """How the daemon's processes go."""
    up: _Values = {(name,): float(life.is_up) for name, life in processes.items()}
    yield _gauge("process_up", "1 while this part of the daemon lives and can work", up, "process")
    restarts: _Values = {(name,): float(life.restarts) for name, life in processes.items()}
    yield _counter("process_restarts", "Restarts of a part since the start", restarts, "process")
    started: _Values = {(name,): life.started_s for name, life in processes.items() if life.is_up}
    yield _gauge("process_start_time_seconds", "When this part was started (Unix time)", started, "process")


def _waiting(
    waiting: Waiting, destinations: Collection[str], open_s: Callable[[str], float]
) -> Iterable[Metric]:
    """How long what is late has waited, and when something came last."""
    received: _Values = {(): waiting.last_received_at.timestamp()} if waiting.last_received_at else {}
    yield _gauge("last_received_timestamp_seconds", "When the newest image came (Unix time)", received)
    now = datetime.now(UTC)
    unread = age_s(waiting.oldest_unread_at, now)
    yield _gauge("oldest_unread_seconds", "How long the oldest image or study waits to be read", {(): unread})
    ages = {
        "oldest_pending": (
            "waits to be sent within its destination's hours, attempts and outages included",
            waiting.oldest_pending_at,
        ),
        "oldest_uncommitted": ("waits for its commitment", waiting.oldest_uncommitted_at),
    }
    for name, (what, oldest_at) in ages.items():
        values: _Values = {
            (each,): min(age_s(oldest_at.get(each), now), open_s(each)) for each in destinations
        }
        yield _gauge(f"{name}_seconds", f"How long the oldest result {what}", values, "destination")


def _network(traffic: Traffic) -> Iterable[Metric]:
    """What came over the network before it was an image in the ledger."""
    yield _gauge("connections", "Connections to the listeners", {(): float(traffic.connections)})
    yield _counter("associations", "Associations accepted", {(): float(traffic.accepted)})
    refused = _labelled(traffic.turned_away)
    yield _counter(
        "turned_away", "Connections, associations, contexts and objects not taken", refused, "reason"
    )


def _labelled(numbers: Mapping[str, int]) -> _Values:
    return {(str(label),): float(number) for label, number in numbers.items()}


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    metric = GaugeMetricFamily(f"spinepacs_{name}", text, labels=labels)
    for key, value in values.items():
        metric.add_metric(key, value)
    return metric


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    metric = CounterMetricFamily(f"spinepacs_{name}", text, labels=labels)
    for key, value in values.items():
        metric.add_metric(key, value)
    return metric


class _StepSeconds:
    """Seconds by step of the pipeline over the readings since the start, each read from the ledger once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        newest = ledger.rows(select(func.max(readings.c.reading_id).label("newest")))
        self._last_id = int(newest[0]["newest"] or 0)
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)

    def metric(self) -> Metric:
        """Take in new readings and give the sums."""
        with self._lock:
            self._take_new()
            metric = SummaryMetricFamily("spinepacs_step_seconds", "Seconds by step", labels=("step",))
            for step, total in sorted(self._sums.items()):
                metric.add_metric((step,), count_value=self._counts[step], sum_value=total)
            return metric

    def _take_new(self) -> None:
        new = select(readings.c.reading_id, readings.c.seconds).where(readings.c.reading_id > self._last_id)
        for row in self._ledger.rows(new.order_by(readings.c.reading_id).limit(_READINGS_A_SCRAPE)):
            self._last_id = int(row["reading_id"])
            for step, seconds in row["seconds"].items():
                self._sums[step] += float(seconds)
                self._counts[step] += 1


class HealthServer:
    """Serves the three paths in a thread.

    Parameters
    ----------
    settings
        Address and port.
    checks
        What must be well for readiness, by name.
    figures
        The metrics.

    Raises
    ------
    Permanent
        If the address cannot be listened on.
    """

    def __init__(self, settings: HealthSettings, checks: Mapping[str, Check], figures: Figures) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(figures)
        handler = _handler(checks, registry)
        try:
            self._server = _Server((settings.bind, settings.port), handler)
        except OSError as error:
            raise Permanent(
                f"health: cannot listen on {settings.bind} port {settings.port}: {error.strerror}"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(PatientServer, ThreadingHTTPServer):
    daemon_threads = True


def _handler(checks: Mapping[str, Check], registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_TIMEOUT_S
        server_version = "spinepacs"
        sys_version = ""

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/healthz":
                    self._answer(200, "text/plain; charset=utf-8", b"ok\n")
                case "/readyz":
                    status, reasons = _readiness(checks)
                    self._answer(status, "application/json", json.dumps(reasons).encode() + b"\n")
                case "/metrics":
                    self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                case _:
                    self._answer(404, "text/plain; charset=utf-8", b"/healthz /readyz /metrics\n")

        def send_error(self, code: int, *_: object) -> None:
            """Refuse whatever is no GET (405, where the library says 501), and quote nothing of the request."""
            self.close_connection = True  # a body may follow, which nobody reads
            self._answer(405 if code == 501 else code, "text/plain; charset=utf-8", b"only GET\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            if status == 405:
                self.send_header("Allow", "GET")
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: whoever asks could write into our log."""

    return Handler


def _readiness(checks: Mapping[str, Check]) -> tuple[int, dict[str, str]]:
    """Status and, for each check, ``ok`` or why not; a check that fails to answer is not ok."""
    reasons = {}
    for name, check in checks.items():
        try:
            reasons[name] = check() or "ok"
        except SpinepacsError as error:
            reasons[name] = str(error)
    return (200 if set(reasons.values()) <= {"ok"} else 503), reasons
