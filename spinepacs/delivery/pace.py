"""When a destination is sent to, and how fast: its hours of the day, and its limit of objects a minute.

Hours are those of this machine's clock on the wall (a PACS is busy by day, not by UTC). One courier goes to a
destination at a time, on whatever machine, so its count is the only one; a courier that takes over begins it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

from spinepacs.settings.destinations import Destination

_DAY_S = 24 * 3600.0
_AHEAD_S = 10.0
"""So much of a minute's number may be sent at once (s): associations are for more than one object."""


class Pace:
    """See the module.

    Parameters
    ----------
    destination
        With its hours and its limit.
    wall
        The time of day here.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        destination: Destination,
        wall: Callable[[], datetime] = datetime.now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hours = destination.hours
        self._per_s = destination.objects_per_minute / 60
        self._most = max(1.0, self._per_s * _AHEAD_S)
        self._wall = wall
        self._clock = clock
        self._left = self._most
        self._counted_s = clock()

    @property
    def is_open(self) -> bool:
        """Whether it is one of its hours."""
        return bool(open_for_s(self._hours, self._wall()))

    def allowance(self, wanted: int) -> int:
        """How many of the objects that wait may be sent now."""
        if not self.is_open:
            return 0
        if not self._per_s:
            return wanted
        now_s = self._clock()
        self._left = min(self._most, self._left + (now_s - self._counted_s) * self._per_s)
        self._counted_s = now_s
        return min(wanted, int(self._left))

    def sent(self) -> None:
        """One object has gone."""
        self._left -= 1


def open_for_s(hours: Sequence[str], now: datetime) -> float:
    """Seconds since the hours began in which we are; 0: we are in none. Without any hours the day has always begun."""
    if not hours:
        return float("inf")
    now_s = _seconds(f"{now:%H:%M}") + now.second + 1
    found = []
    for begin, end in (each.split("-") for each in hours):
        since_s = (now_s - _seconds(begin)) % _DAY_S
        if since_s <= (_seconds(end) - _seconds(begin)) % _DAY_S:
            found.append(since_s)
    return max(found, default=0.0)


def _seconds(time_of_day: str) -> float:
    hours, minutes = time_of_day.split(":")
    return int(hours) * 3600.0 + int(minutes) * 60
