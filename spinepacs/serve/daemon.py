"""The composition root of ``serve``: one supervisor, and a child process for each part that the network can reach.

::

    supervisor ┬─ listener-1…n (processes) C-STORE → spool, ledger; they share the listening socket
               ├─ watcher      (process)   folder  → spool, ledger, where a folder is set
               ├─ delivery     (process)   outbox  → PACS, a thread for each destination
               ├─ notifications (process)  ledger → mail, webhooks, where there are `[[notifications]]`
               ├─ web          (process)   pages for people, where `[web]` is on
               ├─ dicomweb     (process)   STOW-RS → spool, ledger → QIDO-RS and WADO-RS, where it is on
               ├─ worker-1…n   (processes) headers and studies, handed out by the dispatcher's threads
               └─ health       (threads)   /healthz /readyz /metrics

They share nothing but spool and ledger, so each may die at any moment; the supervisor starts it again. What only one
of them needs is imported there and not above: the listener need not hold the libraries of the workers in memory.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TypeVar

from spinepacs import __version__, logs
from spinepacs.children import Child, warm_up
from spinepacs.cluster.engine import announce, install
from spinepacs.cluster.roles import Role, check_role, check_spool
from spinepacs.errors import Permanent, ToMend, Transient
from spinepacs.intake.assembly import Assembly
from spinepacs.intake.gate import why_open
from spinepacs.intake.port import open_port
from spinepacs.intake.visitors import VisitorsBook
from spinepacs.outages import Outage
from spinepacs.serve import sampling
from spinepacs.serve.company import Company
from spinepacs.serve.dispatch import Dispatcher
from spinepacs.serve.health import Check, Figures, HealthServer, Traffic
from spinepacs.serve.parts import listeners, parts, read, turns_of
from spinepacs.serve.processes import Life
from spinepacs.serve.systemd import ServiceManager
from spinepacs.serve.upkeep import Upkeep
from spinepacs.settings.sections import ListenerSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.lock import Held, only_daemon
from spinepacs.store.spool import Spool
from spinepacs.store.spools import identity, open_spool
from spinepacs.tls import server_context

PATIENCE_S = 300.0
"""With no part up for so long (s) the watchdog is fed no more: a new start is the last thing that may help."""

_LOOK_S, _CALM_LOOK_S = 0.2, 1.0
"""How often the parts are looked at (s): while one of them is not up, and when all are."""

_PORT_WAIT_S = 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_MB = 1_000_000
T = TypeVar("T")
_log = logging.getLogger(__name__)


def serve(settings: Settings, role: Role = Role.ALL, is_new_spool: bool = False) -> int:
    """Run the daemon until SIGTERM or SIGINT.

    Parameters
    ----------
    role
        What this machine does.
    is_new_spool
        Whether the spool takes the place of the one that the database knows.

    Returns
    -------
    int
        Exit code: 0 after a stop in order.

    Raises
    ------
    Permanent
        If another daemon works on the same spool, or a port of ours is taken, or the database does not fit, or belongs
        to another spool.
    ToMend
        If the spool or the database do not let us in: no patience would help.
    """
    logs.configure(settings.log.level, settings.log.format)
    os.umask(0o077)
    check_role(settings, role)
    warm_up("spinepacs.serve.preload")
    stop, machines = threading.Event(), settings.cluster.enabled
    with _signals(stop), ExitStack() as stack:
        spool = _when_it_answers(lambda: open_spool(settings.storage, machines=machines), stop)
        if spool is None:
            return 0
        held = stack.enter_context(only_daemon(settings.storage.folder, shared=machines))
        ledger = _when_it_answers(lambda: _open_ledger(settings, spool, is_new_spool), stop)
        if ledger is not None:
            stack.callback(ledger.close)
            Daemon(settings, role, spool, ledger, held).run(stop)
    return 0


def _open_ledger(settings: Settings, spool: Spool, is_new_spool: bool) -> Ledger:
    """Open the database, if it is the one of this spool."""
    url, has_engine = settings.storage.database_url, settings.cluster.enabled and settings.cluster.engine
    ledger = Ledger.open(url, announce=announce if has_engine else None)
    try:
        if has_engine:
            install(url)
        found = identity(spool, settings.storage, ledger.machines.spool())
        check_spool(ledger, found, settings, is_new_spool)
    except BaseException:
        ledger.close()
        raise
    return ledger


class Daemon:
    """The supervisor's own parts: children, dispatcher, health.

    Parameters
    ----------
    settings
        All of them.
    role
        What this machine does.
    spool, ledger
        Opened by this process.
    held
        The lock of the spool.
    """

    def __init__(self, settings: Settings, role: Role, spool: Spool, ledger: Ledger, held: Held) -> None:
        self._settings = settings
        self._role = role
        self._turns = turns_of(settings)
        self._held = held
        self._spool = spool
        self._ledger = ledger
        receives = settings.listener.enabled and role.receives
        if receives and settings.listener.tls:
            server_context(settings.listener)  # else its processes would fail one after the other
        if settings.dicomweb.enabled and settings.dicomweb.tls and role.receives:
            server_context(settings.dicomweb)
        self._door = _door(settings.listener) if receives else None
        self._book = VisitorsBook(listeners(settings))
        self._parts = parts(settings, role, self._door, self._book)
        if self._door and (warning := why_open(settings.listener)):
            _log.warning("%s", warning)
        self._dispatcher = Dispatcher(
            settings.work,
            ledger,
            hire=lambda: Child("worker", read, settings),
            assemble=Assembly(settings.assembly.quiet_period_s).ready,
            workers=None if role.reads else 0,
            turn=self._turns("intake"),
            machine_id=lambda: self._company.machine_id,
        )
        self._company = Company(settings, role, ledger, self._book, self._processes)

    def run(self, stop: threading.Event) -> None:
        """Run everything until ``stop`` is set, then stop everything in order."""
        health = self._health()
        self._warn_of_strays()
        detail = f"spinepacs {__version__}{self._company.place}"
        _when_it_answers(lambda: self._ledger.add_event("started", detail=detail), stop)
        _when_it_answers(self._company.join, stop)
        returned = _when_it_answers(lambda: self._ledger.return_orphans((), self._company.machine_id), stop)
        _log.info("started; %d studies were in work when the last daemon ended", returned or 0)
        if health:
            health.start()
        manager = ServiceManager(os.environ)
        try:
            self._company.start(self._dispatcher.wakeup.set)
            self._dispatcher.start()
            threading.Thread(target=self._upkeep().run, args=(stop,), name="upkeep", daemon=True).start()
            self._begin_sampling(stop)
            self._tend(stop, manager)
        finally:  # whatever happens: no process may be left behind that nobody looks after
            manager.stopping()
            self._stop()
            self._company.leave()
            if self._door:
                self._door.close()
            if health:
                health.stop()
        with suppress(Transient):
            self._ledger.add_event("stopped", detail=self._company.place.strip())
        _log.info("stopped")

    def _tend(self, stop: threading.Event, manager: ServiceManager) -> None:
        """Keep the parts alive until told to stop, and tell the service manager how it goes."""
        is_started, well_s, pause_s = False, time.monotonic(), 0.0
        while not stop.wait(pause_s):
            self._held.beat()
            for part in self._parts:
                part.keep_alive()
            if not is_started and self._is_receiving():
                manager.ready()
                is_started = True
            needed = [part for part in self._parts if part.is_needed]
            if not needed or any(part.is_up for part in needed):
                well_s = time.monotonic()
            if self._dispatcher.is_alive and time.monotonic() - well_s < PATIENCE_S:
                manager.alive()
            pause_s = _CALM_LOOK_S if all(part.is_up for part in self._parts) else _LOOK_S

    def _begin_sampling(self, stop: threading.Event) -> None:
        names = [destination.name for destination in self._settings.destinations]
        arguments = (self._ledger, names, stop, self._turns("the samples for the plots"))
        threading.Thread(target=sampling.run, args=arguments, name="sampling", daemon=True).start()

    def _upkeep(self) -> Upkeep:
        def adopt(sha256: str) -> bool:
            from spinepacs.intake.adopt import adopt as take_in

            return take_in(sha256, self._spool, self._ledger)

        reserve_bytes = self._settings.storage.reserve_mb * _MB
        turn = self._turns("the upkeep of the spool")
        return Upkeep(self._settings.retention, self._spool, self._ledger, adopt, reserve_bytes, turn=turn)

    def _is_receiving(self) -> bool:
        """Whether a listener is up, or there is to be none."""
        listeners = [part for part in self._parts if part.name.startswith("listener")]
        return not listeners or not all(part.why_not_ready() for part in listeners)

    def _warn_of_strays(self) -> None:
        for name, count in self._ledger.strays([item.name for item in self._settings.destinations]).items():
            _log.warning(
                "%d objects wait for destination %r, which is not in the settings: put it back, or "
                "`spinepacs redirect %s NEW`, or `spinepacs withdraw %s`", count, name, name, name
            )  # fmt: skip

    def _stop(self) -> None:
        grace_s = self._settings.work.stop_grace_s
        _log.info("stopping; work in hand has %g s to finish", grace_s)
        until = time.monotonic() + grace_s
        for part in self._parts:
            part.ask_to_stop()
        self._dispatcher.stop(grace_s)
        for part in self._parts:
            part.end(max(1.0, until - time.monotonic()))

    def _health(self) -> HealthServer | None:
        settings = self._settings.health
        if not settings.enabled:
            return None
        reserve_bytes = self._settings.storage.reserve_mb * _MB
        figures = Figures(
            self._ledger,
            self._spool,
            reserve_bytes,
            self._processes,
            self._traffic,
            self._settings.destinations,
            [channel.name for channel in self._settings.notifications],
        )
        return HealthServer(settings, self._checks(reserve_bytes), figures)

    def _processes(self) -> Mapping[str, Life]:
        return {**{part.name: part.life() for part in self._parts}, **self._dispatcher.workers()}

    def _traffic(self) -> Traffic:
        return Traffic(self._book.inside(), self._book.let_in(), self._book.turned_away())

    def _checks(self, reserve_bytes: int) -> dict[str, Check]:
        def database() -> str:
            self._ledger.check_writable()
            return ""

        def disk() -> str:
            self._spool.check()
            free_bytes = self._spool.free_bytes()
            return "" if free_bytes > reserve_bytes else f"{free_bytes // _MB} MB free, below the reserve"

        def model() -> str:
            return self._dispatcher.why_no_model

        def listener() -> str:
            """One of them is enough to receive."""
            return "" if self._is_receiving() else "no listener process is up"

        checks: dict[str, Check] = {"database": database, "disk": disk}
        if self._role.reads:
            checks["model"] = model
        if self._door:
            checks["listener"] = listener
        others = [part for part in self._parts if part.is_needed and not part.name.startswith("listener")]
        return {**checks, **{part.name: part.why_not_ready for part in others}}


def _door(settings: ListenerSettings) -> socket.socket:
    """Open the listener's port; a child of a supervisor that was killed may hold it until it has started."""
    until = time.monotonic() + _PORT_WAIT_S
    while True:
        try:
            return open_port(settings.bind, settings.port)
        except Permanent:
            if time.monotonic() > until:
                raise
        time.sleep(_LOOK_S)


def _when_it_answers(call: Callable[[], T], stop: threading.Event) -> T | None:
    """Call spool or database, waiting while they are away, locked or full; None: stopped meanwhile."""
    pause_s, outage = _FIRST_PAUSE_S, Outage(_log, "the start", speaks_for_database=True)
    while not stop.is_set():
        try:
            result = call()
            outage.over()
            return result
        except ToMend:
            raise
        except Transient as error:
            outage.lasts(error)
        stop.wait(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
    return None


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` on SIGTERM and SIGINT."""

    def on_signal(number: int, _frame: object) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
