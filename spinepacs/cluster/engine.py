"""Procrastinate, on the PostgreSQL that holds the ledger: wakes a machine as soon as a study is ready.

A job says "look at this study" and is enqueued in the ledger's own transaction. Whoever takes it looks at the ledger,
whose claim decides: a job that is lost, doubled or late changes nothing, since every machine looks at the ledger from
time to time anyway (``work.poll_s``). So a job never lasts, is counted nowhere, and need not be kept.

What is not in Procrastinate's manual, each seen on the real thing: a job of a worker that was killed stays ``doing``
until somebody asks for stalled ones (:func:`_rescue`); a worker may live on deaf after an outage of the server, so it
is made anew every :data:`RENEWED_S`; a conflict inside our own transaction would fail all of it, so each enqueuing
has a savepoint of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, text

from spinepacs.errors import BadSettings
from spinepacs.outages import Outage
from spinepacs.store.engine import SILENCE_S, Database, parse_url
from spinepacs.store.silence import probes
from spinepacs.store.tables import studies

if TYPE_CHECKING:
    from procrastinate import App

RENEWED_S = 600.0
"""After so long (s) the worker of the engine is made anew."""

QUEUE, RESCUE = "spinepacs-studies", "spinepacs-rescue"
URGENT, USUAL, AGAIN = 10, 0, -10
"""Priorities; the ledger's turns say the same (:mod:`spinepacs.store.turns`)."""

_LOOK = "spinepacs.look"
_RESCUE_S, _BEAT_S, _STALLED_S = 5, 2.0, 8.0
_AT_ONCE = 8
_PAUSE_S, _LOOK_S, _FAREWELL_S = 2.0, 0.2, 5.0
_LOCK = 0x50524F43
_log = logging.getLogger(__name__)


def announce(connection: Connection, study_uids: Collection[str]) -> None:
    """Enqueue a look at studies that have become ready, in the ledger's transaction; never raises.

    What cannot be enqueued is found by the next look at the ledger.
    """
    chosen = select(studies.c.study_uid, studies.c.urgent, studies.c.rereading).where(
        studies.c.study_uid.in_(study_uids)
    )
    rows = connection.execute(chosen).all()
    try:
        with connection.begin_nested():
            for row in rows:
                priority = AGAIN if row.rereading else URGENT if row.urgent else USUAL
                job = _enqueuing().configure_task(
                    _LOOK, queue=QUEUE, priority=priority, connection=connection.connection.driver_connection
                )
                job.defer(study_uid=row.study_uid)
    except Exception as error:  # whatever it is: the ledger's own change must not be lost with it
        _log.warning("a study was not announced (%s); it is found by looking", type(error).__name__)


@functools.cache
def _enqueuing() -> App:
    """An app that has no connection of its own: it enqueues over the ledger's."""
    return _app("")


def _app(url: str) -> App:
    try:
        from procrastinate import App, PsycopgConnector
    except ImportError:
        raise BadSettings(
            "cluster.engine needs its library: pip install 'spinepacs[cluster]', or set cluster.engine = false"
        ) from None
    for name in (
        "procrastinate",
        "psycopg.pool",
    ):  # they would speak of each job, and of each try of an outage
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _, of_ours = probes(SILENCE_S)
    conninfo = (
        parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False) if url else ""
    )
    return App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=3, kwargs={**of_ours}))


def install(url: str) -> None:
    """Make the engine's tables where they are missing.

    Raises
    ------
    BadSettings
        If its library is not installed.
    Transient
        If the database is away.
    """
    schema = _app("").schema_manager.get_schema()
    database = Database(url)
    try:
        with database.transaction() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            if connection.execute(text("SELECT to_regclass('procrastinate_jobs')")).scalar() is None:
                driver: Any = connection.connection.driver_connection
                driver.execute(schema)  # many statements at once, which SQLAlchemy does not pass on
    finally:
        database.close()


class Engine:
    """The engine's worker in a thread of this process; it is made anew when it ends, and from time to time.

    Parameters
    ----------
    url
        Of the ledger.
    wake
        Called when there is a study to look at.
    """

    def __init__(self, url: str, wake: Callable[[], None]) -> None:
        self._url = url
        self._wake = wake
        self._outage = Outage(_log, "the waking by the engine")

    def run(self, stop: threading.Event) -> None:
        """Wake until told to stop; whatever ends the worker, another one begins."""
        while not stop.is_set():
            try:
                asyncio.run(self._work(stop))
                self._outage.over()
            except (
                Exception
            ) as error:  # the database is away, or a defect: studies are found by looking meanwhile
                self._outage.lasts(type(error).__name__)
                stop.wait(_PAUSE_S)

    async def _work(self, stop: threading.Event) -> None:
        app = _app(self._url)
        self._tasks(app)
        async with app.open_async():
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=[QUEUE, RESCUE],
                    concurrency=_AT_ONCE,
                    install_signal_handlers=False,
                    delete_jobs="always",
                    update_heartbeat_interval=_BEAT_S,
                    stalled_worker_timeout=_STALLED_S,
                    shutdown_graceful_timeout=_FAREWELL_S,
                )
            )
            until_s = asyncio.get_running_loop().time() + RENEWED_S
            while not (stop.is_set() or worker.done() or asyncio.get_running_loop().time() > until_s):
                await asyncio.sleep(_LOOK_S)
            worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker

    def _tasks(self, app: App) -> None:
        @app.task(name=_LOOK, queue=QUEUE)
        async def look(study_uid: str) -> None:
            self._wake()

        @app.periodic(cron=f"* * * * * */{_RESCUE_S}")
        @app.task(name="spinepacs.rescue", queue=RESCUE, queueing_lock="spinepacs.rescue")
        async def rescue(timestamp: int) -> None:
            await _rescue(app)


async def _rescue(app: App) -> None:
    """Put back the jobs of workers that are gone: nobody else would."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_S):
        await app.job_manager.retry_job(job)
