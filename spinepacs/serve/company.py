"""What the supervisor has to do with other machines: nothing, where there are none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from spinepacs.cluster.engine import Engine
from spinepacs.cluster.membership import Membership
from spinepacs.cluster.roles import Role, machine_name
from spinepacs.errors import Transient
from spinepacs.intake.visitors import VisitorsBook
from spinepacs.serve.processes import Life
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.machines import Traffic

_FAREWELL_S = 10.0
_NOBODY = "-"
"""Identity of a machine that has not joined: it gets no claim."""


class Company:
    """This machine's place among the others.

    Parameters
    ----------
    settings
        All of them: it needs ``cluster``.
    role
        What this machine does.
    ledger
        Opened by this process.
    book
        Who visits here; it hears who visits elsewhere.
    processes
        Gives for each part of the daemon how it goes.
    """

    def __init__(
        self,
        settings: Settings,
        role: Role,
        ledger: Ledger,
        book: VisitorsBook,
        processes: Callable[[], Mapping[str, Life]],
    ) -> None:
        self._settings = settings
        self._role = role
        self._ledger = ledger
        self._book = book
        self._lives = processes
        self._membership: Membership | None = None
        self._stop = threading.Event()
        self._engine: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)

    @property
    def machine_id(self) -> str:
        """Whose claims are ours; empty: there is one machine only."""
        if not self._settings.cluster.enabled:
            return ""
        return self._membership.machine_id if self._membership else _NOBODY

    @property
    def place(self) -> str:
        """Where and as what, for the daemon's events; empty: there is one machine only."""
        return f" on {machine_name()} ({self._role.value})" if self._settings.cluster.enabled else ""

    def join(self) -> None:
        """Say that this machine is there, before it does anything.

        Raises
        ------
        Transient
            If the database is away.
        """
        if self._settings.cluster.enabled:
            self._membership = Membership(self._ledger, self._settings.cluster, machine_name(), self._role)

    def start(self, wake: Callable[[], None]) -> None:
        """Beat from now on; ``wake`` is called when there may be a study to read."""
        if not self._membership:
            return
        self._thread.start()
        if self._settings.cluster.engine and self._role.reads:
            engine = Engine(self._settings.storage.database_url, wake)
            self._engine = threading.Thread(target=engine.run, args=(self._stop,), name="engine", daemon=True)
            self._engine.start()

    def leave(self) -> None:
        """Beat no more, and let others take over at once; where the database is away they find out."""
        self._stop.set()
        if self._engine:
            self._engine.join(_FAREWELL_S)
        if self._membership:
            if self._thread.ident:  # else it was stopped before it began
                self._thread.join()
            with suppress(Transient):
                self._membership.leave()

    def _run(self) -> None:
        if self._membership:
            self._membership.run(self, self._stop)

    def processes(self) -> Mapping[str, Any]:
        """See Report."""
        return {name: life._asdict() for name, life in self._lives().items()}

    def traffic(self) -> Traffic:
        """See Report."""
        return self._book.traffic()

    def elsewhere(self, traffic: list[Traffic]) -> None:
        """See Report."""
        self._book.hear(traffic)
