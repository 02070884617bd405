"""The children of ``serve``: what each of them is, and how it begins.

What only one of them needs is imported there and not above: the listener need not hold the libraries of the workers in
memory.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from spinepacs import logs
from spinepacs.cluster.roles import Role
from spinepacs.errors import Permanent, Transient
from spinepacs.intake.visitors import VisitorsBook
from spinepacs.serve.processes import READY, WAITING, Part, stop_event
from spinepacs.settings.settings import Settings
from spinepacs.store.exclusive import Turns, turns
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.spools import open_spool

if TYPE_CHECKING:
    from spinepacs.intake.listener import OnReport

_log = logging.getLogger(__name__)


def listeners(settings: Settings) -> int:
    """Number of listener processes."""
    return settings.listener.processes or min(4, os.cpu_count() or 1)


def parts(settings: Settings, role: Role, door: socket.socket | None, book: VisitorsBook) -> list[Part]:
    """The parts that these settings and this machine's role ask for, not yet started."""
    found = []
    if door is not None:
        for number in range(listeners(settings)):
            found.append(Part(f"listener-{number + 1}", listen, settings, door, book, number))
    if settings.watch.folder is not None and role.receives:
        found.append(Part("watcher", watch, settings))
    if settings.destinations and role.sends:
        found.append(Part("delivery", send, settings))
    if settings.notifications and role.sends:
        found.append(Part("notifications", tell, settings, is_needed=False))
    if settings.audit.syslog and role.sends:
        found.append(Part("audit", report, settings))
    if role.reads:  # a machine whose campaigns stand still is as good for the day's work as any
        found.append(Part("campaign", campaign, settings, is_needed=False))
    # On the machines that face the network: what reads and sends need not be reached by anybody.
    if settings.web.enabled and role.receives:
        found.append(Part("web", show, settings, is_needed=False, has_children=True))
    if settings.dicomweb.enabled and role.receives:
        found.append(Part("dicomweb", take_and_give, settings, has_children=True))
    return found


def listen(
    channel: Connection, settings: Settings, door: socket.socket, book: VisitorsBook, number: int
) -> None:
    """Be listener process ``number`` (from 0)."""
    from pydicom import config

    from spinepacs.intake.listener import Listener

    # A sender asks for some 300 UIDs, and each would be checked several times over, only to warn of it; what pynetdicom
    # itself refuses it still refuses, and nothing else is decoded here.
    config.settings.reading_validation_mode = config.IGNORE
    with _stores(settings, keeps_reserve=True) as (spool, ledger):
        stop = stop_event(channel)
        on_report = _report_taker(settings, ledger)
        listener = Listener(
            settings.listener, spool, ledger, door, listeners(settings), book.page(number), on_report
        )
        listener.start()
        channel.send_bytes(READY)
        stop.wait()
        listener.stop()


def _report_taker(settings: Settings, ledger: Ledger) -> OnReport | None:
    """What the listener does with commitment reports, where a destination is asked for them."""
    if not any(destination.commits for destination in settings.destinations):
        return None
    from spinepacs.delivery.commitment import take_report

    return lambda event: take_report(event, ledger)


def watch(channel: Connection, settings: Settings) -> None:
    """Be the watcher process."""
    from spinepacs.intake.watcher import Watcher

    with _stores(settings, keeps_reserve=True) as (spool, ledger):
        # A word is one small write, as the beat's is: the two never mix.
        Watcher(settings.watch, spool, ledger, turn=turns_of(settings)("the watched folder")).run(
            stop_event(channel), lambda is_there: channel.send_bytes(READY if is_there else WAITING)
        )


def send(channel: Connection, settings: Settings) -> None:
    """Be the delivery process."""
    from spinepacs.delivery.courier import deliver

    with _stores(settings) as (spool, ledger):
        channel.send_bytes(READY)
        stop, poll_s, turns = stop_event(channel), settings.work.poll_s, turns_of(settings)
        ae_title = settings.listener.ae_title
        deliver(settings.destinations, ae_title, spool, ledger, stop=stop, poll_s=poll_s, turns=turns)


def tell(channel: Connection, settings: Settings) -> None:
    """Be the process that tells people what has broken."""
    from spinepacs.notify.watch import notify

    with _stores(settings) as (spool, ledger):
        channel.send_bytes(READY)
        notify(settings, spool, ledger, stop_event(channel), settings.work.poll_s, turns_of(settings))


def report(channel: Connection, settings: Settings) -> None:
    """Be the process that sends the audit trail to a syslog server."""
    from spinepacs.audit.syslog import export

    with _stores(settings) as (_, ledger):
        channel.send_bytes(READY)
        turn = turns_of(settings)("the audit trail")
        export(settings, ledger, stop_event(channel), settings.work.poll_s, turn)


def campaign(channel: Connection, settings: Settings) -> None:
    """Be the process that fetches films for campaigns."""
    from spinepacs.serve.campaign import Runner

    with _stores(settings, keeps_reserve=True) as (spool, ledger):
        channel.send_bytes(READY)
        Runner(settings, spool, ledger, turns_of(settings)).run(stop_event(channel))


def show(channel: Connection, settings: Settings) -> None:
    """Be the console; a port that is taken is waited for, since nobody's film depends on it."""
    from spinepacs.web.server import run

    with _stores(settings) as (spool, ledger):
        run(settings, spool, ledger, stop_event(channel), channel.send_bytes, READY, WAITING)


def take_and_give(channel: Connection, settings: Settings) -> None:
    """Be the DICOMweb server."""
    from spinepacs.dicomweb.server import run

    with _stores(settings, keeps_reserve=True) as (spool, ledger):
        run(settings, spool, ledger, stop_event(channel), channel.send_bytes, READY, WAITING)


def read(channel: Connection, settings: Settings) -> None:
    """Be a worker process."""
    from spinepacs.serve.worker import work

    work(channel, settings)


def turns_of(settings: Settings) -> Turns:
    """What only one machine may do at a time."""
    return turns(settings.storage.database_url, settings.cluster.enabled)


@contextmanager
def _stores(settings: Settings, keeps_reserve: bool = False) -> Iterator[tuple[Spool, Ledger]]:
    """Open spool and ledger in a child; what is wrong is logged in one line and ends the child."""
    logs.configure(settings.log.level, settings.log.format)
    try:
        spool = open_spool(settings.storage, machines=settings.cluster.enabled, keeps_reserve=keeps_reserve)
        with Ledger.open(settings.storage.database_url, migrate=False) as ledger:
            yield spool, ledger
    except (Transient, Permanent) as error:
        _log.error("%s", error)
        sys.exit(1)
