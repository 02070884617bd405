"""Reads one file after another as ``spinepacs process`` does, in a process of its own with a time and a memory limit.

    with Reader(tmp_path) as reader:
        report = reader.read(path)  # Report("TRUNCATED", …)

What a report may say besides a reason: ``CRASH`` (the process died), ``HANG`` (it took too long), ``DEFECT`` (an
exception that no rule foresees), ``TRANSIENT`` (a sound disk was blamed).
"""

from __future__ import annotations

import json
import resource
import select
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

MEMORY_LIMIT_BYTES = 6 << 30
"""Address space of the child: what explodes ends here and not the machine."""
FOUND = ("CRASH", "HANG", "DEFECT", "TRANSIENT", "CANNOT_READ_OR_WRITE", "MEMORY")
"""Outcomes that are faults of the product."""


@dataclass(frozen=True)
class Report:
    """What became of one file."""

    outcome: str
    reason: str
    seconds: float
    peak_mb: float
    """Peak resident memory of the child while it read this file, less what it had before."""


class Reader:
    """A child that reads files with the whole pipeline and a made-up model; started again when it dies."""

    def __init__(self, folder: Path, limit_s: float = 30.0) -> None:
        self.folder = folder
        self.limit_s = limit_s
        self._child: subprocess.Popen[str] | None = None
        self.starts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path) -> Report:
        """Read one file; never raises whatever the file does to the child."""
        child = self.start()
        started = time.monotonic()
        answer = self._answer(child, path)
        seconds = time.monotonic() - started
        if answer is not None:
            return Report(answer["outcome"], answer["reason"], seconds, answer["peak_mb"])
        status = child.poll()
        self._end()
        if status is None:
            return Report("HANG", f"no answer in {self.limit_s:g} s", seconds, 0.0)
        return Report("CRASH", f"exit status {status}; see {self.folder / 'child.log'}", seconds, 0.0)

    @property
    def pid(self) -> int | None:
        """Process id of the child, if one runs."""
        return self._child.pid if self._child else None

    def start(self) -> subprocess.Popen[str]:
        """Start the child, if none runs, and wait until it is ready."""
        if self._child is not None:
            return self._child
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "child.log").open("a") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.child", str(self.folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        self._child = child
        self.starts += 1
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n", f"see {self.folder / 'child.log'}"
        return child

    def _answer(self, child: subprocess.Popen[str], path: Path) -> dict[str, Any] | None:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{path}\n")
            child.stdin.flush()
        except BrokenPipeError:
            child.wait(5)
            return None
        readable, _, _ = select.select([child.stdout], [], [], self.limit_s)
        line = child.stdout.readline() if readable else ""
        if readable and not line:
            child.wait(5)
        return json.loads(line) if line else None

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()


def _serve(folder: Path) -> None:
    from spinepacs.batch.task import Task
    from spinepacs.batch.worker import Reader as Worker
    from spinepacs.pipeline import Pipeline
    from spinepacs.settings.sections import ModelSettings, OutputSettings
    from tests import models
    from tests.daemons import PHANTOM

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
    warnings.simplefilter("error")  # what nobody looks at in a daemon is looked at here
    model = models.write_model(folder / "model", PHANTOM)
    pipeline = Pipeline.open(ModelSettings(folder=model), OutputSettings(), threads=1)
    print("ready", flush=True)
    out = folder / "out"
    out.mkdir(exist_ok=True)
    reader = Worker(pipeline, Task(out))
    for line in sys.stdin:
        before_mb = _reset_peak()
        outcome, reason = _outcome(reader, Path(line.rstrip("\n")), out)
        answer = {"outcome": outcome, "reason": reason, "peak_mb": round(_memory_mb("VmHWM") - before_mb, 1)}
        print(json.dumps(answer), flush=True)


def _outcome(reader: Any, path: Path, out: Path) -> tuple[str, str]:
    """As a worker of ``process`` has it."""
    from spinepacs.batch.jobs import Job

    head = reader.do(Job(str(path), named=True, stem="film", part=str(out / "part"), had_results=True)).head
    return (head.code, head.reason) if head.code else ("READ", "")


def _reset_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak begins anew
    return _memory_mb("VmRSS")


def _memory_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
