"""Child processes: spawned clean, spoken to through a pipe, never outliving their parent."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from spinepacs import logs

_FAREWELL_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _HEALTHY_S = 0.5, 30.0, 60.0
_log = logging.getLogger(__name__)


class Child:
    """One child process and this side of its pipe.

    It is spawned, not forked, so that it inherits no thread, lock or database connection. It ignores SIGINT and
    SIGTERM, which a terminal or systemd may send to the whole group: only its parent decides, by closing the pipe
    or by killing it. Nothing is shared but the pipe, so a child may be killed at any moment and harms nobody.

    Parameters
    ----------
    name
        For logs and process lists.
    target
        Called in the child with its side of the pipe and then ``arguments``; everything must pickle.
    """

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.channel, theirs = context.Pipe()
        self._process = context.Process(
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

    def has_spoken(self) -> bool:
        """Whether it has sent anything, or ended; never waits."""
        try:
            return self.channel.poll()
        except OSError:
            return False

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
    """One supervised child process: started, and started again when it dies, less and less often.

    Parameters
    ----------
    name, target, arguments
        As for :class:`Child`. Whatever the child sends first means that it is ready.
    """

    def __init__(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        self.name = name
        self.restarts = -1
        self._target = target
        self._arguments = arguments
        self._child: Child | None = None
        self._is_ready = False
        self._started_s = self._due_s = 0.0
        self._pause_s = _FIRST_PAUSE_S

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return self._child is not None and self._child.is_alive

    def why_not_ready(self) -> str:
        """Empty when it works."""
        return "" if self.is_alive and self._is_ready else f"the {self.name} process is not up"

    def keep_alive(self) -> None:
        """Look after it once: never waits."""
        now_s = time.monotonic()
        if self._child is None:
            if now_s >= self._due_s:
                self._child = Child(self.name, self._target, *self._arguments)
                self._started_s = now_s
                self.restarts += 1
        elif not self._child.is_alive:
            self._bury(self._child, now_s)
        elif not self._is_ready:
            self._is_ready = self._child.has_spoken()
            if self._is_ready:
                _log.info("%s is ready, pid %d", self.name, self._child.pid)

    def _bury(self, child: Child, now_s: float) -> None:
        if now_s - self._started_s > _HEALTHY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._due_s = now_s + self._pause_s
        _log.error("%s died, exit code %s; again in %g s", self.name, child.exit_code, self._pause_s)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        child.end()
        self._child, self._is_ready = None, False

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


def stop_event(channel: Connection) -> threading.Event:
    """Give a child the event that is set when its parent closes the pipe."""
    event = threading.Event()

    def wait() -> None:
        with suppress(EOFError, OSError):
            channel.recv()
        event.set()

    threading.Thread(target=wait, name="stop-watch", daemon=True).start()
    return event
