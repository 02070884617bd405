"""Says in the log that something is away: once when it begins, then seldom, and once when it is back."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from spinepacs.errors import DatabaseAway

SELDOM_S = 600.0
"""What lasts is said again after so long (s)."""


class Outage:
    """One for each thing that is tried again and again; any thread may use it.

    That the database is away every part of the daemon finds out for itself. Only one of them says it, the dispatcher in
    the supervisor; the others do so at DEBUG.

    Parameters
    ----------
    log
        Of the module that waits.
    what
        What waits meanwhile: subject of the sentences, for instance ``delivery``.
    speaks_for_database
        Whether it is the one that says that the database is away.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        speaks_for_database: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._what = what
        self._speaks_for_database = speaks_for_database
        self._clock = clock
        self._lock = threading.Lock()
        self._since_s: float | None = None
        self._said_s: float | None = None

    def lasts(self, why: object, **context: str) -> None:
        """It is away, now or still; ``why`` is an error, or words that hold no patient's identity."""
        with self._lock:
            now_s = self._clock()
            if self._since_s is None:
                self._since_s = now_s
            is_told_elsewhere = isinstance(why, DatabaseAway) and not self._speaks_for_database
            is_due = self._said_s is None or now_s - self._said_s >= SELDOM_S
            is_said = is_due and not is_told_elsewhere
            if is_said:
                self._said_s = now_s
            after_s = now_s - self._since_s
        level = logging.WARNING if is_said else logging.DEBUG
        lasting = f", since {after_s:.0f} s" if after_s >= 1 else ""
        self._log.log(level, "%s waits%s: %s", self._what, lasting, why, extra=context)

    def over(self, **context: str) -> None:
        """It is there; to be called whenever that shows."""
        if self._since_s is None:
            return
        with self._lock:
            since_s, said_s, self._since_s, self._said_s = self._since_s, self._said_s, None, None
        if since_s is not None and said_s is not None:
            lasted_s = self._clock() - since_s
            self._log.warning("%s goes on after %.0f s", self._what, lasted_s, extra=context)
