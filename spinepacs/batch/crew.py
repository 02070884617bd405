"""The worker processes of a batch: each has one film in hand, with limits, and is replaced when it dies of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

from spinepacs.batch.records import Head, Record
from spinepacs.children import Child
from spinepacs.domain.findings import Versions
from spinepacs.errors import MEMORY_LIMIT, Permanent, Transient

WORKER_DIED, TIME_LIMIT = "WORKER_DIED", "TIME_LIMIT"
_START_LIMIT_S = 300.0
_SLICE_S, _FAREWELL_S = 0.2, 2.0
_LONGEST_LOOK_S = 1.0
_STARTS_IN_VAIN = 3
_LONGEST_ANSWER = 1 << 28


class Bench:
    """One worker process and what it has in hand.

    Parameters
    ----------
    hire
        Starts a worker process.
    """

    def __init__(self, hire: Callable[[], Child]) -> None:
        self._hire = hire
        self.child = hire()
        self.is_ready = False
        self.job: Any = None
        self._limit_s, self._taken_s = _START_LIMIT_S, 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it can be given a film."""
        return self.is_ready and self.job is None

    @property
    def is_overdue(self) -> bool:
        """Whether it has taken longer than it may."""
        return not self.is_idle and self._taken_s > self._limit_s

    @property
    def why_overdue(self) -> Head:
        """What that makes of the film."""
        return Head("failed", TIME_LIMIT, f"stopped after {self._limit_s:g} s")

    def pass_time(self, seconds: float) -> None:
        """Let it have worked for so long."""
        self._taken_s += seconds

    def give(self, job: Any, message: bytes, limit_s: float) -> None:
        """Hand a film over."""
        self.job, self._limit_s, self._taken_s = job, limit_s, 0.0
        with suppress(OSError):  # a worker that has just died is found out when it is heard
            self.child.channel.send_bytes(message)

    def replace(self) -> int | None:
        """End the worker and start another one; returns the exit code of the old one."""
        self.child.end(_FAREWELL_S if not self.is_overdue else 0.0)
        code = self.child.exit_code
        self.is_ready, self.job = False, None
        self.child = self._hire()
        self._limit_s, self._taken_s = _START_LIMIT_S, 0.0
        return code


class Crew:
    """Some workers.

    Parameters
    ----------
    hire
        Starts one: a process that says ``{"versions": …}`` or ``{"failed": why}``, and then answers each job with a
        record. number How many. time_limit_s For one film (s).
    """

    def __init__(self, hire: Callable[[], Child], number: int, time_limit_s: float) -> None:
        self._hire, self._number, self._time_limit_s = hire, number, time_limit_s
        self._benches: list[Bench] = []
        self._in_vain = 0
        self._looked_s = time.monotonic()
        self.versions: Versions | None = None
        """What they read with; None until the first one has said so."""

    def __enter__(self) -> Self:
        """Start them."""
        self._benches = [Bench(self._started) for _ in range(self._number)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them."""
        self.end()

    def end(self) -> None:
        """End them, whatever they do."""
        for bench in self._benches:
            bench.child.kill()
        for bench in self._benches:
            bench.child.end()
        self._benches = []

    def await_versions(self, stopping: threading.Event) -> Versions | None:
        """Wait until one of them has loaded the model; None if one is to stop before."""
        while self.versions is None and not stopping.is_set():
            for _ in self.answers():
                pass
        return self.versions

    @property
    def is_busy(self) -> bool:
        """Whether any of them has something in hand."""
        return any(bench.job is not None for bench in self._benches)

    def idle(self) -> Iterator[Bench]:
        """Those that can be given a film."""
        return (bench for bench in self._benches if bench.is_idle)

    def give(self, bench: Bench, job: Any, message: bytes) -> None:
        """Have a film read."""
        bench.give(job, message, self._time_limit_s)

    def answers(self) -> Iterator[tuple[Any, Record | Head]]:
        """Wait for a moment; gives what has been answered, or why there will be no answer, with the job.

        Raises
        ------
        Permanent
            If the model cannot be used, or no worker can begin.
        """
        # All may have been suspended (Ctrl-Z) between two looks: that is no time that a film took.
        now_s = time.monotonic()
        passed_s, self._looked_s = min(now_s - self._looked_s, _LONGEST_LOOK_S), now_s
        spoken = wait([bench.child.channel for bench in self._benches], _SLICE_S)
        for bench in self._benches:
            bench.pass_time(passed_s)
            if bench.child.channel in spoken:
                yield from self._hear(bench)
            elif bench.is_overdue:
                yield from self._lost(bench, bench.why_overdue)

    def _hear(self, bench: Bench) -> Iterator[tuple[Any, Record | Head]]:
        try:
            word = bench.child.channel.recv_bytes(_LONGEST_ANSWER)
            if not bench.is_ready:
                self._welcome(bench, json.loads(word))
                return
            answer = Record.unpack(word)
        except (EOFError, OSError, ValueError):
            yield from self._lost(bench, None)
            return
        job, bench.job = bench.job, None
        if answer.head.code == MEMORY_LIMIT:  # its successor begins with a heap that is whole
            bench.replace()
        yield job, answer

    def _welcome(self, bench: Bench, said: dict[str, Any]) -> None:
        if "failed" in said:
            raise Permanent(said["failed"])
        self.versions = Versions(**said["versions"])
        bench.is_ready, self._in_vain = True, 0

    def _lost(self, bench: Bench, why: Head | None) -> Iterator[tuple[Any, Head]]:
        """Replace a worker that is dead, or will be now; its film, if it had one, fails."""
        job, had_begun = bench.job, bench.is_ready
        self._in_vain += not had_begun
        if self._in_vain >= _STARTS_IN_VAIN:
            raise Permanent(
                "no worker process comes to reading: is there memory enough? --workers 1 needs least"
            )
        code = bench.replace()
        if job is not None:
            yield job, why or Head("failed", WORKER_DIED, f"the worker process died, exit code {code}")

    def _started(self) -> Child:
        try:
            return self._hire()
        except OSError as error:
            raise Transient(f"no worker process can be started: {error.strerror}") from error
