"""The parts of the daemon: supervised child processes, started again when they die or hang."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from spinepacs.children import Child

READY = b"ready"
"""What a part says when it works."""

WAITING = b"waiting"
"""What a part says when it lives and cannot work for now: something outside is away, as its log says."""

BEAT_S = 10.0
"""How often a part says that it still lives (s)."""

SILENCE_S = 60.0
"""A part that has said nothing for so long (s) hangs, and is killed and started again: six beats, since a machine that
swaps is slow and not dead."""

_BEAT = b"beat"
_START_LIMIT_S = 300.0
_LONGEST_LOOK_S = 1.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _HEALTHY_S = 0.5, 30.0, 60.0
_log = logging.getLogger(__name__)


class Life(NamedTuple):
    """Whether a process of the daemon is up, how often it was started again, and since when this one runs (Unix s)."""

    is_up: bool
    restarts: int
    started_s: float = 0.0


class Part:
    """One supervised child process: started, and started again when it dies or hangs, less and less often.

    Parameters
    ----------
    name, target, arguments
        As for :class:`Child`; it has to say :data:`READY` and then to beat (:func:`stop_event` does).
    silence_s
        After so long without a word it is taken to hang (s).
    is_needed
        Whether the daemon is not ready, and not well, without it.
    has_children
        Whether it may start processes of its own.
    """

    def __init__(
        self,
        name: str,
        target: Callable[..., None],
        *arguments: Any,
        silence_s: float = SILENCE_S,
        is_needed: bool = True,
        has_children: bool = False,
    ) -> None:
        self.name = name
        self.restarts = -1
        self.is_needed = is_needed
        self._has_children = has_children
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
            self._child = Child(self.name, self._target, *self._arguments, has_children=self._has_children)
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
