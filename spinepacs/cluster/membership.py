"""This machine among others: it beats, and takes over from those that no longer do.

Clocks of machines differ, so no time of day is compared: each machine watches whether the others' counts of beats go
on, by its own monotonic clock. One that could not look for a while, since the database or itself stood still, begins to
watch anew: after an outage of the database nobody is dead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from spinepacs.cluster.roles import Role
from spinepacs.errors import Transient
from spinepacs.outages import Outage
from spinepacs.settings.sections import ClusterSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.machines import Machine, Traffic

_log = logging.getLogger(__name__)


class Report(Protocol):
    """What a machine says of itself, and hears of the others, with each beat."""

    def processes(self) -> Mapping[str, Any]:
        """How its processes go, as JSON has it."""

    def traffic(self) -> Traffic:
        """Who is in here, and came lately."""

    def elsewhere(self, traffic: list[Traffic]) -> None:
        """Who is in on the other machines, and came lately."""


class _Look(NamedTuple):
    """How often a machine had beaten, and since when (s, monotonic)."""

    beats: int
    since_s: float


class Membership:
    """See the module; made by :meth:`join`.

    Parameters
    ----------
    ledger
        Opened by this process.
    settings
        How often, how long.
    name, role
        What people are told.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: ClusterSettings,
        name: str,
        role: Role,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._name = name
        self._role = role
        self._clock = clock
        self._outage = Outage(_log, "the heartbeat of this machine")
        self._looks: dict[str, _Look] = {}
        self._looked_s = clock()
        self.machine_id = ledger.machines.join(name, role.value)
        """Whose claims are ours; another one after we were taken for dead."""

    def run(self, report: Report, stop: threading.Event) -> None:
        """Beat until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            try:
                self.turn(report)
                self._outage.over()
            except Transient as error:
                self._looks.clear()
                self._outage.lasts(error)
            except Exception:
                self._looks.clear()
                _log.exception("defect in the heartbeat")
            stop.wait(self._settings.heartbeat_s)

    def turn(self, report: Report) -> None:
        """Beat once, and look after the others.

        Raises
        ------
        Transient
            If the database is away.
        """
        if not self._ledger.machines.beat(self.machine_id, report.processes(), report.traffic()):
            _log.warning("this machine was silent for too long: others have taken over what it had in hand")
            self.machine_id = self._ledger.machines.join(self._name, self._role.value)
        others = [each for each in self._ledger.machines.living() if each.machine_id != self.machine_id]
        report.elsewhere([each.traffic for each in others])
        for machine in self._silent(others):
            returned = self._ledger.machines.bury(machine)
            if returned is not None:
                _log.warning(
                    "machine %s (%s) is silent: taken for dead, %d studies taken over",
                    machine.name, machine.role, returned,
                )  # fmt: skip

    def leave(self) -> None:
        """End in order: what is still in hand is returned at once."""
        self._ledger.machines.leave(self.machine_id)

    def _silent(self, others: list[Machine]) -> list[Machine]:
        """Those that have not beaten for too long while we looked."""
        now_s, before = self._clock(), self._looks
        if now_s - self._looked_s > self._settings.dead_after_s / 2:
            before = {}  # it was we who stood still
        self._looked_s = now_s
        self._looks = {}
        for machine in others:
            look = before.get(machine.machine_id)
            is_same = look is not None and look.beats == machine.beats
            self._looks[machine.machine_id] = look if look and is_same else _Look(machine.beats, now_s)
        patience_s = self._settings.dead_after_s
        return [each for each in others if now_s - self._looks[each.machine_id].since_s > patience_s]
