"""Child processes: begun clean, spoken to through a pipe, limited in memory, never outliving their parent."""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spinepacs import logs

_LONGEST_WORD = 64
_FAREWELL_S = 1.0
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_FROM_HEAP_BYTES, _KEPT_BYTES = 64 << 20, 128 << 20
"""Blocks up to this size are parts of the heap, and so much that is free at its end stays with us."""
_DIES_FIRST = "500"
_CONTEXT = multiprocessing.get_context("forkserver")
_log = logging.getLogger(__name__)


def warm_up(preload: str = "") -> None:
    """Start the server that children are forked from, unless it runs; it goes on importing when this returns.

    Like them it is deaf to SIGINT and SIGTERM, and ends with this process. Should it die, so do they, and the next
    child begins with a new one.

    Parameters
    ----------
    preload
        Module that imports what the children need: they begin in milliseconds then, and share its pages of memory.
    """
    if preload:
        _CONTEXT.set_forkserver_preload([preload])
    # After a product that it shared out, OpenBLAS's threads look for the next one for a while: on other workers' cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    resource_tracker.ensure_running()  # which else would be begun below, and end with our signals unblocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def preloading() -> Iterator[None]:
    """Where a module to preload imports what the children share; their collectors leave all of it alone.

    To look at an object is to write to its page. Nor is anything looked through on the way: that takes a quarter of the
    time that the imports take.
    """
    gc.disable()
    try:
        yield
    finally:
        return_memory()
        gc.freeze()
        gc.enable()


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
    has_children
        Whether it may start children itself, from a server process of its own; else multiprocessing forbids it.
    """

    def __init__(
        self, name: str, target: Callable[..., None], *arguments: Any, has_children: bool = False
    ) -> None:
        warm_up()
        self.channel, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_run, args=(target, theirs, *arguments), name=name, daemon=not has_children
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


def keep_memory() -> None:
    """Let this process, which makes arrays of the same sizes for film after film, keep what it frees (mallopt(3)).

    Else GNU's allocator gives large arrays back to the kernel, which clears each of their pages when they are made
    again: some thousand page faults a film. Other C libraries have no such switch.
    """
    set_option = _of_allocator("mallopt")
    if set_option:
        set_option(_M_MMAP_THRESHOLD, _FROM_HEAP_BYTES)
        set_option(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def return_memory() -> None:
    """Give back to the kernel what is free by now, as after a network is opened (malloc_trim(3))."""
    trim = _of_allocator("malloc_trim")
    if trim:
        trim(0)


def _of_allocator(function: str) -> Callable[..., int] | None:
    """A function of GNU's allocator; None where there is another one."""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform == "linux" else None


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
