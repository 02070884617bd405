"""Child processes: begun clean, spoken to through a pipe, never outliving their parent."""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from spinepacs import logs

READY = b"ready"
"""What a part says when it works."""

WAITING = b"waiting"
"""What a part says when it lives and cannot work for now: something outside is away, as its log says."""

BEAT_S = 2.0
"""How often a part says that it still lives (s)."""

SILENCE_S = 60.0
"""A part that has said nothing for so long (s) hangs, and is killed and started again: thirty beats, since a machine
that swaps is slow and not dead."""

_BEAT = b"beat"
_LONGEST_WORD = 64
_START_LIMIT_S = 300.0
_LONGEST_LOOK_S = 1.0
_FAREWELL_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _HEALTHY_S = 0.5, 30.0, 60.0
_PR_SET_PDEATHSIG = 1
_DIES_FIRST = "500"
_CONTEXT = multiprocessing.get_context("forkserver")
_log = logging.getLogger(__name__)


def warm_up() -> None:
    """Start the server that children are forked from, unless it runs; it goes on importing when this returns.

    Should it die, so do they, and the next child begins with a new one.
    """
    _CONTEXT.set_forkserver_preload(["spinepacs.serve.preload"])
    forkserver.ensure_running()


class Life(NamedTuple):
    """Whether a process of the daemon is up, how often it was started again, and since when this one runs (Unix s)."""

    is_up: bool
    restarts: int
    started_s: float = 0.0


class Child:
    """One child process and this side of its pipe.

    It is forked from a server process that holds nothing but imported modules (see :func:`warm_up`), so that it
    inherits no thread, lock or database connection. It ignores SIGINT and SIGTERM, which a terminal or systemd may send
    to the whole group: only its parent decides, by closing the pipe or by killing it. Nothing is shared but the pipe,
    so a child may be killed at any moment and harms nobody.

    Parameters
    ----------
    name
        For logs and process lists.
    target
        Called in the child with its side of the pipe and then ``arguments``; everything must pickle.
    """

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        warm_up()
        self.channel, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_run, args=(target, theirs, *arguments), name=name, daemon=True
        )
        self._process.start()
        # Without our copy of its end, reading fails at once when the child dies.
        theirs.close()

    @property
    def name(self) -> str:
        """As given."""
        return self._process.name

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid or 0

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: killed by that signal."""
        return self._process.exitcode

    def words(self) -> list[bytes]:
        """What it has said since the last call; never waits."""
        said = []
        with suppress(EOFError, OSError):
            while self.channel.poll():
                said.append(self.channel.recv_bytes(_LONGEST_WORD))
        return said

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def ask_to_stop(self) -> None:
        """Close the pipe: the child sees its end and stops when it can."""
        self.channel.close()

    def end(self, limit_s: float = 0.0) -> bool:
        """Wait for it, kill it after ``limit_s``, and clear it away; True if it ended by itself."""
        self._process.join(limit_s)
        ended = not self._process.is_alive()
        if not ended:
            self._process.kill()
            self._process.join(_FAREWELL_S)
        self.channel.close()
        return ended


class Part:
    """One supervised child process: started, and started again when it dies or hangs, less and less often.

    Parameters
    ----------
    name, target, arguments
        As for :class:`Child`; it has to say :data:`READY` and then to beat (:func:`stop_event` does).
    silence_s
        After so long without a word it is taken to hang (s).
    """

    def __init__(
        self, name: str, target: Callable[..., None], *arguments: Any, silence_s: float = SILENCE_S
    ) -> None:
        self.name = name
        self.restarts = -1
        self._target = target
        self._arguments = arguments
        self._silence_s = silence_s
        self._child: Child | None = None
        self._state = b""
        self._started_s = self._due_s = self._looked_s = self._silent_s = self._started_at_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.is_alive

    @property
    def is_up(self) -> bool:
        """Whether its process lives and has begun its work, be it only to wait."""
        return self.is_alive and bool(self._state)

    def life(self) -> Life:
        """How it goes."""
        return Life(not self.why_not_ready(), max(0, self.restarts), self._started_at_s)

    def why_not_ready(self) -> str:
        """Empty when it works."""
        if self.is_up and self._state == WAITING:
            return f"the {self.name} waits for something that is away: see the log"
        return "" if self.is_up else f"the {self.name} process is not up"

    def keep_alive(self) -> None:
        """Look after it once: never waits, never raises."""
        now_s = time.monotonic()
        if self._child is None:
            if now_s >= self._due_s:
                self._start(now_s)
        elif not self._child.is_alive:
            self._bury(self._child, now_s)
        else:
            self._listen(self._child, now_s)

    def _start(self, now_s: float) -> None:
        self._started_s = self._looked_s = now_s
        self._started_at_s = time.time()
        self._silent_s = 0.0
        self.restarts += 1
        try:
            self._child = Child(self.name, self._target, *self._arguments)
        except OSError as error:  # no memory or process left: that may pass
            self._put_off(now_s)
            _log.error("%s cannot be started: %s", self.name, error.strerror)

    def _listen(self, child: Child, now_s: float) -> None:
        words = child.words()
        # A gap between two of our own looks is no silence of the child's: everything may have been suspended.
        passed_s = min(now_s - self._looked_s, _LONGEST_LOOK_S)
        self._silent_s = 0.0 if words else self._silent_s + passed_s
        self._looked_s = now_s
        for word in words:
            if word in (READY, WAITING):
                self._state = word
                _log.info("%s is %s, pid %d", self.name, word.decode(), child.pid)
        if self._silent_s > (self._silence_s if self._state else _START_LIMIT_S):
            _log.error("%s hangs: silent for %g s, killed", self.name, self._silent_s)
            child.kill()

    def _put_off(self, now_s: float) -> None:
        self._due_s = now_s + self._pause_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _bury(self, child: Child, now_s: float) -> None:
        if now_s - self._started_s > _HEALTHY_S:
            self._pause_s = _FIRST_PAUSE_S
        _log.error("%s died, exit code %s; again in %g s", self.name, child.exit_code, self._pause_s)
        self._put_off(now_s)
        child.end()
        self._child, self._state = None, b""

    def ask_to_stop(self) -> None:
        """Tell it, without waiting."""
        if self._child is not None:
            self._child.ask_to_stop()

    def end(self, limit_s: float) -> None:
        """Wait until it has ended, at most so long."""
        child, self._child = self._child, None
        if child is not None and not child.end(limit_s):
            _log.warning("%s did not end in time and was killed", self.name)


def _run(target: Callable[..., None], channel: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _ask_kernel_to_kill_with_parent()
    _leave_fork_server_to_parent()
    threading.Thread(target=_die_with_parent, name="parent-watch", daemon=True).start()
    logs.configure("INFO", "text")
    try:
        target(channel, *arguments)
    except Exception:
        # Else multiprocessing would print the words of the exception, and they may quote a dataset.
        sys.excepthook(*sys.exc_info())
        sys.exit(1)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        # No clean-up: an orphan must not go on working beside the next daemon, and a crash is allowed anywhere.
        os._exit(1)


def _ask_kernel_to_kill_with_parent() -> None:
    """On Linux (prctl(2)): a decoder that never lets go of the interpreter lets no thread of ours run either."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _leave_fork_server_to_parent() -> None:
    """Let go of the pipe that keeps the fork server: it ends, and all with it, when our parent does and not later."""
    held: int | None = getattr(forkserver._forkserver, "_forkserver_alive_fd", None)
    if held is not None:
        os.close(held)


def limit_memory(more_mb: int) -> None:
    """Let this process allocate ``more_mb`` (MB) from now on, and be the first to go when the machine has no more.

    Beyond the limit an allocation fails (MemoryError) instead of driving the machine out of memory. Counted is private
    memory that can be written (RLIMIT_DATA, getrlimit(2)), on top of what there is now, since stacks and buffers of the
    libraries' threads grow with the number of cores. Only Linux counts so; elsewhere there is no limit.
    """
    try:
        status = Path("/proc/self/status").read_text()
        Path("/proc/self/oom_score_adj").write_text(_DIES_FIRST)
    except OSError:
        return
    held_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    _, allowed = resource.getrlimit(resource.RLIMIT_DATA)
    limit_bytes = held_kb * 1024 + more_mb * 1_000_000
    if allowed != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, allowed)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
    except (OSError, ValueError) as error:  # a sandbox may forbid it
        _log.warning("this process has no memory limit: %s", error)


def stop_event(channel: Connection, beat_s: float = BEAT_S) -> threading.Event:
    """Give a child the event that is set when its parent closes the pipe, and let it say until then that it lives."""
    event = threading.Event()

    def beat() -> None:
        with suppress(EOFError, OSError):
            while not channel.poll(beat_s):
                channel.send_bytes(_BEAT)
            channel.recv_bytes()
        event.set()

    threading.Thread(target=beat, name="stop-watch", daemon=True).start()
    return event
