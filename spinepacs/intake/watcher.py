"""The watched folder: the periodic scan is the truth, file-system events only make it sooner.

Network drives lose events, and a file may be there long before it is whole: so a file is taken when its size and
mtime have been still for a while, judged by our own monotonic clock and not by the drive's. One that ends too early
then may be a copy that pauses: it gets more time, and the longer it has taken so far the more.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from spinepacs.errors import Transient
from spinepacs.intake.archive import SUFFIX
from spinepacs.intake.beside import TablesBeside, is_table
from spinepacs.intake.folder import DONE, FAILED, WatchedFolder
from spinepacs.intake.pulse import pulse
from spinepacs.intake.taking import NotYet, Taker
from spinepacs.intake.wake import PENDING_S, events, wait_any
from spinepacs.outages import Outage
from spinepacs.settings.sections import WatchSettings
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import FailedFile
from spinepacs.store.spool import Spool

_STUCK_S = 60.0
_log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """What a file looked like; since when (s, monotonic) it has been there, been so, and when it is looked at next."""

    size_bytes: int
    mtime_ns: int
    first_s: float
    since_s: float
    due_s: float

    def same(self, status: os.stat_result) -> bool:
        return (self.size_bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


class Watcher:
    """Takes files out of a folder into the spool, then moves them to ``done/`` or, with a reason, ``failed/``.

    DICOM files go as they are, but for their meta group; PNG and JPEG are wrapped as DICOM with what a CSV table
    beside them says; zip archives are unpacked; a DICOMDIR is skipped. A crash between the ledger's commit and the
    move costs nothing: the next scan finds the file again, the ledger knows it, and it is moved then.

    Parameters
    ----------
    settings
        The folder (which must be set) and the times.
    spool, ledger
        Opened by this process.
    clock
        Monotonic seconds.
    turn
        One machine takes files out of a folder at a time.
    """

    def __init__(
        self,
        settings: WatchSettings,
        spool: Spool,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn or Unrivalled()
        if settings.folder is None:
            raise ValueError("a watcher needs a folder")
        self._folder = WatchedFolder(settings.folder)
        self._tables = TablesBeside(settings.folder)
        self._settings = settings
        self._taker = Taker(settings, self._folder, self._tables, spool, ledger)
        self._ledger = ledger
        self._clock = clock
        self._outage = Outage(_log, "the watched folder")
        self._looks: dict[Path, _Look] = {}
        self._noted: tuple[object, Collection[FailedFile]] = (None, ())
        """What of ``failed/`` the ledger knows, and of which folder that is."""

    # -- the loop ------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event, on_state: Callable[[bool], None] = lambda is_there: None) -> None:
        """Scan until told to stop; a defect is logged and does not end it.

        ``on_state`` is told when the folder is there, and when it is not or does not answer: a share may go and come
        back. It is called from several threads.
        """
        with pulse(self._folder.identity, on_state):
            self._run(stop, on_state)

    def _run(self, stop: threading.Event, on_state: Callable[[bool], None]) -> None:
        before = None
        while not stop.is_set():
            identity = self._wait_for_folder(stop, on_state)
            if before and identity and identity != before:
                _log.warning("another file system than before lies at watch.folder %s", self._folder.root)
            before = identity or before
            wake = threading.Event()
            with events(self._folder.root, wake):
                while not stop.is_set() and identity and self._folder.identity() == identity:
                    wake.clear()
                    self._scan_safely()
                    self._pause(stop, wake)
            self._looks.clear()

    def _wait_for_folder(
        self, stop: threading.Event, on_state: Callable[[bool], None]
    ) -> tuple[int, int] | None:
        """Wait until the folder is there; None: stopped meanwhile."""
        identity = self._look_for_folder()
        if identity is None:
            self._turn.release()  # another machine may have it mounted
            on_state(False)
            _log.error(
                "watch.folder %s is not there: mount its share, correct the setting, or set watch.create = true; "
                "it is waited for",
                self._folder.root,
            )
        while identity is None and not stop.wait(min(self._settings.scan_interval_s, _STUCK_S)):
            identity = self._look_for_folder()
            if identity is not None:
                _log.warning("watch.folder %s is there again", self._folder.root)
        if identity is not None:
            on_state(True)
        return identity

    def _look_for_folder(self) -> tuple[int, int] | None:
        if self._settings.create:
            with suppress(OSError):  # then it is not there, which is said
                self._folder.root.mkdir(parents=True, exist_ok=True)
        return self._folder.identity()

    def _scan_safely(self) -> None:
        try:
            if self._turn.take():
                self.scan()
        except Transient as error:
            _log.warning("the watched folder waits: %s", error)
        except Exception:
            _log.exception("defect in the scan of the watched folder")

    def _pause(self, stop: threading.Event, wake: threading.Event) -> None:
        """Until the next file is due; while none is, until something happens in the folder."""
        longest_s = self._settings.scan_interval_s
        soonest_s = min((look.due_s for look in self._looks.values()), default=float("inf")) - self._clock()
        if soonest_s >= longest_s:
            wait_any(stop, wake, longest_s)
        else:
            step_s = self._settings.settle_s / 2
            stop.wait(max(PENDING_S, min(soonest_s if soonest_s > 0 else step_s, step_s)))

    # -- one scan ------------------------------------------------------------------------------------------

    def scan(self) -> int:
        """Look at every file once, take those that are due, and return how many left the folder."""
        if self._folder.identity() is None:
            return 0
        found = dict(self._folder.files())
        self._looks = {path: look for path, look in self._looks.items() if path in found}
        self._taker.keep_only(found)
        taken = 0
        for path in sorted(
            found, key=lambda path: not is_table(path)
        ):  # tables first: they speak of the others
            if self._is_due(path, found[path]):
                taken += self._take_safely(path, found)
        self._note_failed()
        return taken

    def _is_due(self, path: Path, status: os.stat_result) -> bool:
        now_s = self._clock()
        look = self._looks.get(path)
        if look is None or not look.same(status):
            first_s = look.first_s if look else now_s
            due_s = now_s + self._settings.settle_s
            self._looks[path] = _Look(status.st_size, status.st_mtime_ns, first_s, now_s, due_s)
            self._tables.drop(path)
            return False
        return now_s >= look.due_s

    def _take_safely(self, path: Path, found: Collection[Path]) -> bool:
        """Take one file; False if it stays where it is, to be looked at again."""
        try:
            reason = self._take(path, found)
            if reason is not None:
                self._leave(path, reason)
            self._outage.over()
            return reason is not None
        except Transient as error:
            self._outage.lasts(error)
        except FileNotFoundError:
            self._looks.pop(path, None)
        except OSError as error:
            _log.warning("a file of the watched folder cannot be taken: %s", error.strerror)
            self._wait(path, _STUCK_S)
        return False

    def _take(self, path: Path, found: Collection[Path]) -> str | None:
        """Take one file in; empty: done, None: it stays, else the reason why it has failed."""
        look, now_s = self._looks[path], self._clock()
        still_s, patience_s = (
            now_s - look.since_s,
            max(self._settings.patience_s, look.since_s - look.first_s),
        )
        try:
            return self._taker.take(
                path, found, now_s, lambda: look.same(path.stat()), is_final=still_s >= patience_s
            )
        except NotYet as wait:
            if wait.after_s is None:
                _log.info("a file of the watched folder is not whole yet: it gets more time")
            longer_s = min(max(self._settings.settle_s, still_s), max(patience_s - still_s, PENDING_S))
            self._wait(path, longer_s if wait.after_s is None else wait.after_s)
            return None

    def _wait(self, path: Path, seconds: float) -> None:
        """Look at a file again after so long, or when it has changed."""
        self._looks[path] = self._looks[path]._replace(due_s=self._clock() + seconds)

    def _leave(self, path: Path, reason: str) -> None:
        self._folder.move(path, FAILED if reason else DONE, reason)
        self._tables.used(path, self._clock())
        self._tables.drop(path)
        self._looks.pop(path, None)
        _remove_emptied(path.parent)

    def _note_failed(self) -> None:
        """Let the ledger know what lies in ``failed/``: the queue, metrics and the audit trail show it."""
        identity, listed = self._folder.identity(), self._folder.failed()
        if listed is None and self._noted[0] != identity:
            return  # an empty mount point says nothing of the share that belongs there
        now = (identity, frozenset(listed or ()))
        if now != self._noted:
            self._ledger.note_failed_files(now[1])
            self._noted = now


def _remove_emptied(folder: Path) -> None:
    """Remove the folder of an archive's files, and those in it, when the last file has left it."""
    chain = [folder, *folder.parents]
    last = max((n for n, each in enumerate(chain) if each.name.endswith(SUFFIX)), default=-1)
    try:
        for each in chain[: last + 1]:
            each.rmdir()
    except OSError:
        return  # something is left in it
