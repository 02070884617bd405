"""``spinepacs process`` with a pipeline that does what the film asks for: ``python -m tests.batch.scripted process …``.

Everything is the product's but for the pipeline, which answers at once: crash, spin, eat memory or sleep where
ImageComments say so, else a made-up reading. Each film that it reads is a line in the file ``reads`` beside the folder
of the films, if there is one. What only workers need is imported there: the commands start faster.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spinepacs.batch import run
from spinepacs.batch.task import Task
from spinepacs.cli import main as cli
from spinepacs.domain.findings import EncodedObject, ImageResult, ObjectKind, Refusal, Versions

READS = "reads"
SPIN, CRASH, EAT, SLOW, LEAVE, NO_SPINE = "spin", "crash", "eat", "slow", "leave", "no spine"
SLOW_S = 0.3


class Scripted:
    """A pipeline without model."""

    versions = Versions("scripted", "1", "policy", "1")
    character_set = ""

    def __init__(self) -> None:
        from tests.dicom import readings

        self._reading = readings.reading(readings.header())

    @classmethod
    def open(cls, *settings: Any) -> Scripted:
        return cls()

    def read_or_refuse(self, film: Path) -> ImageResult:
        from pydicom import dcmread

        header = dcmread(film, stop_before_pixels=True)
        uid = str(header.SOPInstanceUID)
        reads = film.resolve().parent.with_name(READS)
        if reads.exists():
            with reads.open("a", encoding="utf-8") as log:
                log.write(f"{uid}\n")
        wish = header.get("ImageComments", "")
        _ACTS.get(wish, lambda: None)()
        reading = replace(self._reading, study_uid=str(header.StudyInstanceUID), sop_uid=uid)
        if wish == NO_SPINE:
            nothing = dict.fromkeys(("discs", "measures", "findings", "conclusions"), ())
            refusal = Refusal("NO_VERTEBRA", "none found")
            return ImageResult(replace(reading, spine=None, refusal=refusal, **nothing), ())
        seg = EncodedObject(ObjectKind.SEG, uid, "1.2.3", "1.2.4", "1.2.5", "1.2.6", f"SEG of {uid}".encode())
        return ImageResult(reading, (seg,))


def _eat() -> None:
    """Take 64 MB at a time until there is no more: without a limit, 25 GB."""
    import numpy as np

    _eaten = [np.empty(64 << 20, np.uint8) for _ in range(400)]


_ACTS = {
    SPIN: lambda: re.match("(a+)+$", "a" * 64 + "b"),
    CRASH: lambda: ctypes.string_at(0),
    EAT: _eat,
    SLOW: lambda: time.sleep(SLOW_S),
    LEAVE: lambda: os._exit(0),
}


def work(channel: Connection, task: Task) -> None:
    """Be a worker process with that pipeline."""
    from spinepacs.batch import worker

    worker.Pipeline = Scripted  # type: ignore[misc, assignment]
    worker.work(channel, task)


if __name__ == "__main__":
    run.work = work
    sys.exit(cli.main())
