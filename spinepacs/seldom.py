"""A question that costs the more the more there is, asked no oftener than it can be afforded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE = 0.01
"""Of the time at most: a question that took 0.5 s is asked again after 50 s, and answered from memory meanwhile."""

QUICK_S = 0.25
"""What takes less (s) is asked each time."""


class Seldom(Generic[T]):
    """Asks, or gives the last answer while asking again would take more than its share of the time.

    Parameters
    ----------
    ask
        The question; what it raises passes through, and is not kept.
    clock
        Seconds, monotonic.
    share
        Of the time that the question may take.
    """

    def __init__(
        self, ask: Callable[[], T], clock: Callable[[], float] = time.monotonic, share: float = SHARE
    ) -> None:
        self._ask = ask
        self._share = share
        self._clock = clock
        self._lock = threading.Lock()
        self._answers: list[T] = []
        self._until_s = 0.0

    def __call__(self) -> T:
        """The answer of now, or of a while ago."""
        with self._lock:
            start_s = self._clock()
            if not self._answers or start_s >= self._until_s:
                self._answers = [self._ask()]
                took_s = self._clock() - start_s
                self._until_s = start_s + (took_s / self._share if took_s > QUICK_S else 0.0)
            return self._answers[0]

    def forget(self) -> None:
        """Ask anew the next time: something was changed, and whoever did it wants to see that."""
        with self._lock:
            self._until_s = 0.0
