"""The children of ``serve``: what each of them is, and how it begins.

What only one of them needs is imported there and not above: the listener need not hold the libraries of the workers in
memory.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from spinepacs import logs
from spinepacs.errors import Permanent, Transient
from spinepacs.intake.visitors import VisitorsBook
from spinepacs.serve.processes import READY, WAITING, Part, stop_event
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool

if TYPE_CHECKING:
    from spinepacs.intake.listener import OnReport

_MB = 1_000_000
_log = logging.getLogger(__name__)


def listeners(settings: Settings) -> int:
    """Number of listener processes."""
    return settings.listener.processes or min(4, os.cpu_count() or 1)


def parts(settings: Settings, door: socket.socket | None, book: VisitorsBook) -> list[Part]:
    """The parts that these settings ask for, not yet started."""
    found = []
    if door is not None:
        for number in range(listeners(settings)):
            found.append(Part(f"listener-{number + 1}", listen, settings, door, book, number))
    if settings.watch.folder is not None:
        found.append(Part("watcher", watch, settings))
    if settings.destinations:
        found.append(Part("delivery", send, settings))
    if settings.audit.syslog:
        found.append(Part("audit", report, settings))
    return found


def listen(
    channel: Connection, settings: Settings, door: socket.socket, book: VisitorsBook, number: int
) -> None:
    """Be listener process ``number`` (from 0)."""
    from spinepacs.intake.listener import Listener

    with _stores(settings, settings.storage.reserve_mb * _MB) as (spool, ledger):
        stop = stop_event(channel)
        on_report = _report_taker(settings, ledger)
        listener = Listener(
            settings.listener, spool, ledger, door, listeners(settings), book.page(number), on_report
        )
        listener.start()
        gc.freeze()  # what is there now stays: collections need not look through it for ever
        channel.send_bytes(READY)
        stop.wait()
        listener.stop()


def _report_taker(settings: Settings, ledger: Ledger) -> OnReport | None:
    """What the listener does with commitment reports, where a destination is asked for them."""
    if not any(destination.commitment for destination in settings.destinations):
        return None
    from spinepacs.delivery.commitment import take_report

    return lambda event: take_report(event, ledger)


def watch(channel: Connection, settings: Settings) -> None:
    """Be the watcher process."""
    from spinepacs.intake.watcher import Watcher

    with _stores(settings, settings.storage.reserve_mb * _MB) as (spool, ledger):
        # A word is one small write, as the beat's is: the two never mix.
        Watcher(settings.watch, spool, ledger).run(
            stop_event(channel), lambda is_there: channel.send_bytes(READY if is_there else WAITING)
        )


def send(channel: Connection, settings: Settings) -> None:
    """Be the delivery process."""
    from spinepacs.delivery.courier import deliver

    with _stores(settings, 0) as (spool, ledger):
        channel.send_bytes(READY)
        stop, poll_s = stop_event(channel), settings.work.poll_s
        deliver(settings.destinations, settings.listener.ae_title, spool, ledger, stop=stop, poll_s=poll_s)


def report(channel: Connection, settings: Settings) -> None:
    """Be the process that sends the audit trail to a syslog server."""
    from spinepacs.audit.syslog import export

    with _stores(settings, 0) as (_, ledger):
        channel.send_bytes(READY)
        export(settings, ledger, stop_event(channel), settings.work.poll_s)


def read(channel: Connection, settings: Settings) -> None:
    """Be a worker process."""
    from spinepacs.serve.worker import work

    work(channel, settings)


@contextmanager
def _stores(settings: Settings, reserve_bytes: int) -> Iterator[tuple[Spool, Ledger]]:
    """Open spool and ledger in a child; what is wrong is logged in one line and ends the child."""
    logs.configure(settings.log.level, settings.log.format)
    try:
        spool = Spool(settings.storage.spool, reserve_bytes)
        with Ledger.open(settings.storage.database_url, migrate=False) as ledger:
            yield spool, ledger
    except (Transient, Permanent) as error:
        _log.error("%s", error)
        sys.exit(1)
