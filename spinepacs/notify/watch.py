"""Looks what there is to tell, and writes it into the ledger; that the database itself is away it tells directly.

What the ledger shows (studies that failed, signs, machines that were taken for dead, destinations that take nothing)
is found there by whichever machine's turn it is. Storage and certificates are those of that machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from spinepacs.cluster.roles import machine_name
from spinepacs.delivery.pace import open_for_s
from spinepacs.errors import BadSettings, DatabaseAway, SpinepacsError, Transient
from spinepacs.notify.herald import Herald, directly, send
from spinepacs.outages import Outage
from spinepacs.settings.notifications import Channel
from spinepacs.settings.settings import Settings
from spinepacs.store.exclusive import Turn, Turns, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.occasions import Wanted
from spinepacs.store.spool import Spool
from spinepacs.tls import certificates

LOOK_S = 5.0
"""How often the ledger is looked through (s)."""
_SELDOM_S = 600.0
"""And how often certificates are, and old rows deleted."""
_GRACE_S = 120.0
"""A destination must be seen stuck for so long (s) too: after a stop of the daemon everything has waited."""
_REMEMBERED = timedelta(days=90)
_MB = 1_000_000
_log = logging.getLogger(__name__)


class Watch:
    """See the module.

    Parameters
    ----------
    settings
        All of them.
    spool, ledger
        Opened by this process.
    turn
        One machine looks through the ledger at a time.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        ledger: Ledger,
        turn: Turn | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._ledger = ledger
        self._turn = turn or Unrivalled()
        self._clock = clock
        self._outage = Outage(_log, "the look for what there is to tell")
        self._since_s: dict[str, float] = {}
        """Since when (s, monotonic) something was seen that may have to be told."""
        self._seldom_s: float | None = None
        self._away_s: float | None = None
        self._said: dict[str, tuple[int, float]] = {}
        """Of channels that are told that the database is away: attempts, and when (s) the next is due."""

    def run(self, stop: threading.Event, look_s: float = LOOK_S) -> None:
        """Look until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            try:
                if self._turn.take():
                    self.look()
                self._away_s = None
                self._said.clear()
                self._outage.over()
            except Transient as error:
                self._outage.lasts(error)
                if isinstance(error, DatabaseAway):
                    self.tell_away(str(error))
            except Exception:
                _log.exception("defect in the look for what there is to tell")
            stop.wait(look_s)
        self._turn.close()

    def look(self) -> None:
        """Look once.

        Raises
        ------
        Transient
            If the database is away, or takes no writes.
        """
        self._ledger.check_writable()
        for channel in self._settings.notifications:
            wanted = Wanted(
                channel.on,
                {str(sign): grade for sign, grade in channel.grades.items()},
                channel.senders,
                channel.body_parts,
            )
            self._ledger.occasions.look(channel.name, wanted)
            if "destination-down" in channel.on:
                self._ledger.notices.lasts(channel.name, "destination-down", self._stuck(channel))
            if "storage-down" in channel.on:
                self._ledger.notices.lasts(channel.name, "storage-down", self._storage(channel))
        now_s = self._clock()
        if self._seldom_s is None or now_s - self._seldom_s >= _SELDOM_S:
            self._seldom_s = now_s
            for channel in self._settings.notifications:
                if "certificate-ends" in channel.on:
                    self._ledger.notices.lasts(channel.name, "certificate-ends", self._certificates(channel))
            self._ledger.notices.forget(datetime.now(UTC) - _REMEMBERED)

    def _stuck(self, channel: Channel) -> Mapping[str, Mapping[str, Any]]:
        """Destinations that have taken nothing for too long within their hours."""
        patience_s, found = channel.down_minutes * 60, {}
        for destination in self._settings.destinations:
            stuck = None
            if open_for_s(destination.hours, datetime.now()) >= patience_s:
                since = datetime.now(UTC) - timedelta(seconds=patience_s)
                stuck = self._ledger.occasions.stuck(destination.name, since)
            key = f"{channel.name} {destination.name}"
            if self._for_s(key, stuck is not None) >= min(_GRACE_S, patience_s) and stuck:
                since_when = stuck.oldest_at.isoformat(timespec="seconds")
                found[destination.name] = {
                    "objects": stuck.objects, "oldest_at": since_when, "message": stuck.message,
                }  # fmt: skip
        return found

    def _storage(self, channel: Channel) -> Mapping[str, Mapping[str, Any]]:
        why = self._why_no_storage()
        lasts_s = self._for_s(f"{channel.name} storage", bool(why))
        return {machine_name(): {"why": why}} if why and lasts_s >= channel.down_minutes * 60 else {}

    def _why_no_storage(self) -> str:
        try:
            self._spool.check()
            free_mb = self._spool.free_bytes() // _MB
        except SpinepacsError as error:
            return str(error)
        reserve_mb = self._settings.storage.reserve_mb
        return "" if free_mb >= reserve_mb else f"{free_mb} MB free, below the reserve: nothing is received"

    def _for_s(self, what: str, is_seen: bool) -> float:
        """For how long something has been seen without a break (s); -1: it is not seen."""
        if not is_seen:
            self._since_s.pop(what, None)
            return -1.0
        return self._clock() - self._since_s.setdefault(what, self._clock())

    def _certificates(self, channel: Channel) -> Mapping[str, Mapping[str, Any]]:
        found = {}
        for certificate in certificates(self._settings):
            try:
                until = certificate.ends_at()
                days = (until - datetime.now(UTC)).days
                ends = (
                    f"ends in {days} days, on {until:%Y-%m-%d}"
                    if days >= 0
                    else f"has ended on {until:%Y-%m-%d}"
                )
            except BadSettings as error:
                days, ends = -1, str(error)
            if days <= channel.certificate_days:
                found[f"{certificate.of}, {certificate.key}"] = {"file": certificate.file.name, "ends": ends}
        return found

    def tell_away(self, why: str) -> None:
        """Tell those who want to know that the database does not answer, once it has lasted; it cannot be written down.

        Every machine that sends does so, since none can know of the others.
        """
        now_s = self._clock()
        self._away_s = self._away_s if self._away_s is not None else now_s
        away_s = now_s - self._away_s
        since = (datetime.now(UTC) - timedelta(seconds=away_s)).isoformat(timespec="seconds")
        for channel in self._settings.notifications:
            attempts, due_s = self._said.get(channel.name, (0, 0.0))
            is_late = away_s >= channel.down_minutes * 60 and now_s >= due_s
            if not is_late or "database-down" not in channel.on:
                continue
            told = send(
                channel, directly(channel, "database-down", machine_name(), {"since": since, "why": why})
            )
            pause_s = float("inf") if told.is_told else channel.wait_s(attempts + 1)
            self._said[channel.name] = (attempts + 1, now_s + pause_s)
            if not told.is_told:
                _log.warning("notification %s: %s", channel.name, told.message)


def notify(
    settings: Settings, spool: Spool, ledger: Ledger, stop: threading.Event, poll_s: float, turns: Turns
) -> None:
    """Watch, and run one herald for each channel, until ``stop`` is set; each then ends its current message."""
    threads = _threads(settings.notifications, ledger, stop, poll_s, turns)
    for thread in threads:
        thread.start()
    turn = turns("the look for what there is to tell")
    Watch(settings, spool, ledger, turn).run(stop, min(LOOK_S, 5 * poll_s))
    for thread in threads:
        thread.join()


def _threads(
    channels: Sequence[Channel], ledger: Ledger, stop: threading.Event, poll_s: float, turns: Turns
) -> list[threading.Thread]:
    made = []
    for channel in channels:
        herald = Herald(channel, ledger, turns(f"notification {channel.name}"))
        made.append(threading.Thread(target=herald.run, args=(stop, poll_s), name=channel.name, daemon=True))
    return made
