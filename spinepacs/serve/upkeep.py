"""Keeps spool and ledger together: what nobody wants goes, what nobody knows is taken in, what is missing is said.

A crash between spool and ledger leaves a file without a row; retention leaves rows that no longer want their file. Both
are found by looking at the 256 folders of the spool one after the other, over and over. A file is touched only when two
looks, one grace time apart by the monotonic clock, have seen it unwanted and unchanged: a receive or a study that is
just between spool and ledger is never disturbed, whatever the time of day does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from spinepacs.errors import SpinepacsError, Transient
from spinepacs.outages import Outage
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.files import GivenUp, Want
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import EventKind
from spinepacs.store.spool import Spool

_SHELVES = [f"{number:02x}" for number in range(256)]
_LARGEST_JUMP_S = 3600.0
_MB = 1e6
_log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """A file that nobody wants: when it came, and since when (s, monotonic) it has been seen so."""

    mtime_ns: int
    since_s: float


class Upkeep:
    """See the module. One of it for each spool, in one thread.

    Parameters
    ----------
    settings
        What may be deleted, and the grace time.
    spool, ledger
        Opened by this process.
    adopt
        Takes the digest of a file that no row knows: adds a row for an image, or says that it is a result of ours,
        which its study makes again (False). Raises what :class:`~spinepacs.errors.SpinepacsError` it likes.
    reserve_bytes
        Free disk below which nothing is received: it is logged when that begins and when it ends.
    clock, wall
        Seconds: monotonic, and of the day.
    turn
        One machine looks after a spool at a time.
    """

    def __init__(
        self,
        settings: RetentionSettings,
        spool: Spool,
        ledger: Ledger,
        adopt: Callable[[str], bool],
        reserve_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn or Unrivalled()
        self._settings = settings
        self._spool = spool
        self._ledger = ledger
        self._adopt = adopt
        self._reserve_bytes = reserve_bytes
        self._is_short = False
        self._clock = clock
        self._wall = wall
        self._offset_s = wall() - clock()
        self._strays: dict[str, _Look] = {}
        self._outage = Outage(_log, "upkeep")
        self._said: set[str] = set()
        """What has been logged and need not be again: digests, and the clock."""

    def run(self, stop: threading.Event) -> None:
        """Go round until told to stop; a defect is logged and does not end it."""
        while not stop.is_set():
            self._safely(self._ledger.refresh_statistics)
            for shelf in _SHELVES:
                self._safely(self._look_in_turn, shelf)
                self._safely(self.watch_disk)
                if stop.wait(self._settings.grace_s / len(_SHELVES)):
                    return
            # Not before the first round is over: by then a clock that was wrong when the machine came up has been set.
            self._safely(self._expire_in_turn)

    def _look_in_turn(self, shelf: str) -> None:
        if self._turn.take():
            self.look(shelf)
        else:
            self._strays.clear()  # what another machine did meanwhile we have not seen

    def _expire_in_turn(self) -> None:
        if self._turn.take():
            self._spool.sweep()
            self.expire()

    def _safely(self, work: Callable[..., object], *arguments: str) -> None:
        try:
            work(*arguments)
            self._outage.over()
        except Transient as error:
            self._outage.lasts(error)
        except Exception:
            _log.exception("defect in the upkeep of the spool")

    def watch_disk(self) -> None:
        """Say once when the disk falls below its reserve, before anybody sends, and once when it has room again."""
        free_bytes = self._spool.free_bytes()
        was_short, self._is_short = self._is_short, free_bytes < self._reserve_bytes
        if self._is_short and not was_short:
            _log.warning(
                "the spool's disk has %.0f MB free, below its reserve of %.0f MB: images are answered with 0xA700",
                free_bytes / _MB, self._reserve_bytes / _MB,
            )  # fmt: skip
        elif was_short and not self._is_short:
            _log.info("the spool's disk has room again: %.0f MB free", free_bytes / _MB)

    # -- retention -----------------------------------------------------------------------------------------

    def expire(self) -> GivenUp:
        """Give up what the settings allow; the files go when they are looked at next, after the grace time."""
        total = GivenUp()
        if not (self._settings.days or self._settings.maximum_gb) or self._clock_has_jumped():
            return total
        while (given_up := self._ledger.files.expire(self._settings)).size_bytes:
            total += given_up
        if total.size_bytes:
            _log.info(
                "retention: %d originals and %d results given up, %.1f MB",
                total.originals, total.results, total.size_bytes / _MB,
            )  # fmt: skip
        if self._settings.maximum_gb:
            excess = self._ledger.files.total_bytes() - self._settings.maximum_gb * 1e9
            if excess > 0:
                _log.warning(
                    "the spool is %.1f MB above retention.maximum_gb, and nothing more may be deleted: see "
                    "`spinepacs queue`",
                    excess / _MB,
                )
        return total

    def _clock_has_jumped(self) -> bool:
        """A clock that is a year ahead would make everything old: then nothing is deleted until somebody has looked."""
        jump_s = self._wall() - self._clock() - self._offset_s
        has_jumped = abs(jump_s) > _LARGEST_JUMP_S
        if has_jumped:
            self._say_once(
                "clock",
                f"the clock has jumped by {jump_s:.0f} s since the start: retention waits until the daemon is "
                "started again",
            )
        return has_jumped

    # -- what lies there -----------------------------------------------------------------------------------

    def look(self, shelf: str) -> None:
        """Look at one folder of the spool.

        Raises
        ------
        Transient
            If the disk or the database fails.
        """
        wanted = self._ledger.files.wanted(shelf)  # before the files: a row always comes after its file
        there = self._spool.shelf(shelf)
        for sha256 in wanted.keys() - there.keys():
            self._miss(sha256, wanted[sha256])
        before = {digest: look for digest, look in self._strays.items() if digest.startswith(shelf)}
        for digest in before:
            del self._strays[digest]
        for sha256 in there.keys() - wanted.keys():
            look = before.get(sha256)
            if look is None or look.mtime_ns != there[sha256]:
                look = _Look(there[sha256], self._clock())
            if self._clock() - look.since_s < self._settings.grace_s or not self._settle(sha256, look):
                self._strays[sha256] = look

    def _miss(self, sha256: str, sop_uid: str) -> None:
        if sha256 not in self._said:
            _log.error("the file of an image or a result is missing in the spool", extra={"sop_uid": sop_uid})
            self._ledger.add_event(EventKind.FILE_MISSING, sop_uid=sop_uid, detail=sha256)
            self._said.add(sha256)

    def _settle(self, sha256: str, look: _Look) -> bool:
        """Remove or take in a file that no row has wanted for long enough; False if it stays as it is."""
        want = self._ledger.files.want(sha256)
        if want is Want.WANTED:
            return True
        try:
            if want is Want.UNKNOWN and self._adopt(sha256):
                _log.warning("a file of the spool that the database did not know was taken in: %s", sha256)
                return True
        except Transient:
            raise
        except SpinepacsError as error:
            self._say_once(
                sha256, f"a file that the database does not know is kept in the spool: {sha256}, {error}"
            )
            return False
        if self._spool.remove(sha256, look.mtime_ns):
            _log.debug("deleted from the spool: %s", sha256)
        return True

    def _say_once(self, what: str, message: str) -> None:
        if what not in self._said:
            _log.warning("%s", message)
        self._said.add(what)
