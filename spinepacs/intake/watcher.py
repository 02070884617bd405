"""The watched folder: the periodic scan is the truth, file-system events only make it sooner.

Network drives lose events, and a file may be there long before it is whole: so a file is taken when its size and
mtime have been still for a while, judged by our own monotonic clock and not by the drive's.
"""

from __future__ import annotations

import logging
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from watchdog.events import (
    EVENT_TYPE_CLOSED,
    EVENT_TYPE_CREATED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.parse import parse
from spinepacs.dicom.wrap import is_picture, wrap
from spinepacs.domain.study import Source, StudyHeader
from spinepacs.errors import BadInput, Permanent, Transient
from spinepacs.intake.part10 import dataset_offset, head
from spinepacs.outages import Outage
from spinepacs.settings.sections import WatchSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, NewArrival
from spinepacs.store.spool import Spool

DONE, FAILED = "done", "failed"
_CHUNK_BYTES = 1 << 20
_PENDING_S = 0.1
_STUCK_S = 60.0
_CHANGES = frozenset({EVENT_TYPE_CREATED, EVENT_TYPE_MODIFIED, EVENT_TYPE_MOVED, EVENT_TYPE_CLOSED})
_log = logging.getLogger(__name__)


class _Look(NamedTuple):
    """What a file looked like, and since when (s, monotonic) it has looked so."""

    size_bytes: int
    mtime_ns: int
    since_s: float

    def same(self, status: os.stat_result) -> bool:
        return (self.size_bytes, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


class Watcher:
    """Takes files out of a folder into the spool, then moves them to ``done/`` or, with a reason, ``failed/``.

    DICOM files go as they are, but for their meta group; PNG and JPEG are wrapped as DICOM without spacing. Hidden
    files, links, ``done/`` and ``failed/`` are left alone. A crash between the ledger's commit and the move costs
    nothing: the next scan finds the file again, the ledger knows it, and it is moved then.

    Parameters
    ----------
    settings
        The folder (which must be set) and the times.
    spool, ledger
        Opened by this process.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        settings: WatchSettings,
        spool: Spool,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings.folder is None:
            raise ValueError("a watcher needs a folder")
        self._folder = settings.folder
        self._settings = settings
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._outage = Outage(_log, "the watched folder")
        self._looks: dict[Path, _Look] = {}
        self._stuck: dict[Path, _Look] = {}
        """Files that could be neither taken nor moved, and since when: left alone for a while unless they change."""

    def run(self, stop: threading.Event) -> None:
        """Scan until told to stop; a defect is logged and does not end it."""
        wake = threading.Event()
        with _events(self._folder, wake):
            while not stop.is_set():
                wake.clear()
                try:
                    self.scan()
                except Exception:
                    _log.exception("defect in the scan of the watched folder")
                if self._looks:
                    stop.wait(max(_PENDING_S, self._settings.settle_s / 2))
                else:
                    _wait_any(stop, wake, self._settings.scan_interval_s)

    def scan(self) -> int:
        """Look at every file once, take those that are still, and return how many left the folder."""
        found = dict(self._files())
        self._looks = {path: look for path, look in self._looks.items() if path in found}
        self._stuck = {path: look for path, look in self._stuck.items() if path in found}
        taken = 0
        for path, status in found.items():
            if self._is_still(path, status):
                taken += self._take_safely(path)
        return taken

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder, folders, names in os.walk(self._folder, onerror=_log_unreadable):
            at_top = Path(folder) == self._folder
            folders[:] = [n for n in folders if not (n.startswith(".") or (at_top and n in (DONE, FAILED)))]
            for name in sorted(names):
                path = Path(folder, name)
                if not name.startswith(".") and (status := _regular(path)) is not None:
                    yield path, status

    def _is_still(self, path: Path, status: os.stat_result) -> bool:
        now_s = self._clock()
        stuck = self._stuck.get(path)
        if stuck is not None and stuck.same(status) and now_s - stuck.since_s < _STUCK_S:
            return False
        look = self._looks.get(path)
        if look is None or not look.same(status):
            self._looks[path] = _Look(status.st_size, status.st_mtime_ns, now_s)
            return False
        return now_s - look.since_s >= self._settings.settle_s

    def _take_safely(self, path: Path) -> bool:
        """Take one file; False if it stays where it is, to be looked at again."""
        try:
            self._take(path)
        except Transient as error:
            self._outage.lasts(error)
            return False
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _log.warning("a file of the watched folder cannot be taken: %s", error.strerror)
                self._stuck[path] = self._looks[path]._replace(since_s=self._clock())
            self._looks.pop(path, None)
            return False
        self._outage.over()
        return True

    def _take(self, path: Path) -> None:
        look = self._looks[path]
        try:
            outcome = self._keep(path, look)
        except Permanent as error:
            code = error.reason_code if isinstance(error, BadInput) else type(error).__name__
            self._move(path, FAILED, f"{code}: {error}")
            return
        except (Transient, OSError, MemoryError):
            raise
        except Exception as error:
            # A defect of ours must not end at this file again and again, and keep all others waiting.
            _log.exception("defect while a file of the watched folder was taken")
            self._move(path, FAILED, f"DEFECT: {type(error).__name__}; the log says where")
            return
        if outcome is ArrivalOutcome.CONFLICT:
            reason = "an image with the same SOP Instance UID and other content came before; this one is kept unread"
            self._move(path, FAILED, f"CONFLICT: {reason}")
        else:
            self._move(path, DONE)

    def _keep(self, path: Path, look: _Look) -> ArrivalOutcome:
        if not is_picture(path):
            return self._keep_dicom(path, lambda: look.same(path.stat()))
        with tempfile.TemporaryDirectory(prefix="spinepacs-") as folder:
            wrapped = Path(folder, "wrapped.dcm")
            # Whoever puts a picture without header into this folder means it to be read.
            wrap(path, wrapped, spacing_mm=None, body_part="SPINE", view="")
            return self._keep_dicom(wrapped, lambda: look.same(path.stat()))

    def _keep_dicom(self, path: Path, is_unchanged: Callable[[], bool]) -> ArrivalOutcome:
        # With its pixels, though none are decoded: a file that was cut off shows it there.
        header = header_of(parse(path, with_pixels=True))
        stored = self._spool.add(_chunks(path, header))
        if not is_unchanged():
            raise Transient("it changed while it was read")
        uids = (header.sop_uid, header.sop_class_uid, header.transfer_syntax_uid)
        outcome = self._ledger.add_arrival(NewArrival(*uids, stored.sha256, stored.size_bytes, Source.FOLDER))
        _log.info("taken from the folder", extra={"sop_uid": header.sop_uid, "state": outcome.value})
        return outcome

    def _move(self, path: Path, to: str, reason: str = "") -> None:
        """Move a file to ``done`` or ``failed``, keeping its relative path, never over another file."""
        target = _free_name(self._folder / to / path.relative_to(self._folder))
        target.parent.mkdir(parents=True, exist_ok=True)
        if reason:
            # Written first: a file in failed/ always has its reason.
            target.with_name(f"{target.name}.reason.txt").write_text(f"{reason}\n", encoding="utf-8")
            _log.warning("a file of the watched folder went to failed/: %s", reason)
        path.rename(target)
        self._looks.pop(path, None)


def _chunks(path: Path, header: StudyHeader) -> Iterator[bytes]:
    """The file, with the meta group that the same image would get had it come over the network."""
    with path.open("rb") as file:
        offset = dataset_offset(file)
        if offset is not None:
            yield head(header.sop_class_uid, header.sop_uid, header.transfer_syntax_uid)
        file.seek(offset or 0)
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _regular(path: Path) -> os.stat_result | None:
    """Status of a plain file, None for links, sockets, pipes and what is gone by now."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _free_name(target: Path) -> Path:
    """The path itself, or with ``-2``, ``-3`` … before its suffix where something has that name already."""
    candidate, number = target, 2
    while candidate.exists() or candidate.with_name(f"{candidate.name}.reason.txt").exists():
        candidate = target.with_name(f"{target.stem}-{number}{target.suffix}")
        number += 1
    return candidate


def _log_unreadable(error: OSError) -> None:
    _log.warning("a watched folder cannot be listed: %s", error.strerror)


def _wait_any(stop: threading.Event, wake: threading.Event, timeout_s: float) -> None:
    """Wait for either event."""
    until = time.monotonic() + timeout_s
    while not (stop.is_set() or wake.is_set()) and time.monotonic() < until:
        wake.wait(min(_PENDING_S, timeout_s))


class _Wake(FileSystemEventHandler):
    """Something happened in the folder: look sooner."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the scan, but not for what the scan itself does: open and list."""
        if event.event_type in _CHANGES:
            self._wake.set()


@contextmanager
def _events(folder: Path, wake: threading.Event) -> Iterator[None]:
    """Watch with the system's events where it has any; without them the scan alone does the work."""
    observer = Observer()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        observer.schedule(_Wake(wake), str(folder), recursive=True)
        observer.start()
    except OSError as error:
        _log.warning("no file-system events from the watched folder (%s): periodic scan only", error.strerror)
        yield
        return
    try:
        yield
    finally:
        observer.stop()
        observer.join()
