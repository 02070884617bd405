"""Child processes: spawned clean, spoken to through a pipe, never outliving their parent."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

_FAREWELL_S = 1.0


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


def _run(target: Callable[..., None], channel: Connection, *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, name="parent-watch", daemon=True).start()
    target(channel, *arguments)


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
