"""Waiting for the disk: what is written is there after a power cut only when it has been asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_AT_ONCE = 8


def sync_file(path: Path) -> None:
    """Make a file's bytes durable; its name is not."""
    _sync(path, os.O_RDONLY)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable (fsync(2): a file's own fsync does not)."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, how: int) -> None:
    descriptor = os.open(path, how | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AtOnce:
    """Asks the disk for several things at the same time; its threads begin when they are needed, and stay."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="disk")

    def ask(self, what: Callable[[T], None], of: Iterable[T]) -> None:
        """Ask ``what`` of each; an error is raised when all have been answered."""
        asked = [self._threads.submit(what, each) for each in of]
        wait(asked)
        for each in asked:
            each.result()

    def close(self) -> None:
        """End the threads; there is nothing to ask any more."""
        self._threads.shutdown()
