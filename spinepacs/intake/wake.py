"""What makes the scan of the watched folder begin sooner: the system's events, where it has any."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from watchdog.events import (
    EVENT_TYPE_CLOSED,
    EVENT_TYPE_CREATED,
    EVENT_TYPE_MODIFIED,
    EVENT_TYPE_MOVED,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

PENDING_S = 0.1
"""Nothing is looked at more often than so (s)."""
_CHANGES = frozenset({EVENT_TYPE_CREATED, EVENT_TYPE_MODIFIED, EVENT_TYPE_MOVED, EVENT_TYPE_CLOSED})
_log = logging.getLogger(__name__)


def wait_any(stop: threading.Event, wake: threading.Event, timeout_s: float) -> None:
    """Wait for either event."""
    until = time.monotonic() + timeout_s
    while not (stop.is_set() or wake.is_set()) and time.monotonic() < until:
        wake.wait(min(PENDING_S, timeout_s))


class _Wake(FileSystemEventHandler):
    """Something happened in the folder: look sooner."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake the scan, but not for what the scan itself does: open and list."""
        if event.event_type in _CHANGES:
            self._wake.set()


@contextmanager
def events(folder: Path, wake: threading.Event) -> Iterator[None]:
    """Watch with the system's events where it has any; without them the scan alone does the work."""
    observer = Observer()
    try:
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
