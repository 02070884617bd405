"""The daemon with poison in its decoder: ``python -m tests.system.poisoned serve …``.

Everything is the product's but for one thing: in the workers, reading a film whose ImageComments name a poison does
what a decoder with a fault would do.
"""

from __future__ import annotations

import ctypes
import re
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread

from spinepacs.cli import main as cli
from spinepacs.serve import daemon
from spinepacs.settings.settings import Settings

SPIN, CRASH, EAT, HEADER = "spin", "crash", "eat", "header"


def read(channel: Connection, settings: Settings) -> None:
    """Be a worker process with a faulty decoder."""
    from spinepacs import pipeline
    from spinepacs.serve import worker

    _poison(pipeline, "read_film", (SPIN, CRASH, EAT))
    _poison(worker, "read_header", (HEADER,))
    worker.work(channel, settings)


def _poison(module: Any, name: str, poisons: tuple[str, ...]) -> None:
    good = getattr(module, name)

    def bad(path: Path, *more: Any) -> Any:
        comments = dcmread(path, specific_tags=["ImageComments"]).get("ImageComments", "")
        if comments in poisons:
            _ACTS[comments]()
        return good(path, *more)

    setattr(module, name, bad)


def _spin() -> None:
    """Work for years without letting any other thread of this process run."""
    re.match("(a+)+$", "a" * 64 + "b")


def _crash() -> None:
    ctypes.string_at(0)


def _eat() -> None:
    """Take 64 MB at a time until there is no more: without a limit, 25 GB."""
    _eaten = [np.empty(64 << 20, np.uint8) for _ in range(400)]


_ACTS = {SPIN: _spin, CRASH: _crash, EAT: _eat, HEADER: _crash}

if __name__ == "__main__":
    daemon.read = read
    sys.exit(cli.main())
