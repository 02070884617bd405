"""When a study is complete: nothing has come to it for a while, seen by our own monotonic clock.

Wall clocks jump, forward and back, and would end the wait too soon or an hour late; no time of day is looked at here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spinepacs.store.records import StudyClock


class _Look(NamedTuple):
    """How many images a study had, and since when (s, monotonic)."""

    images: int
    since_s: float


class Assembly:
    """Remembers what each arriving study looked like when it changed last.

    After a start of the daemon every study waits for a whole quiet period: its sender could not go on meanwhile.

    Parameters
    ----------
    quiet_period_s
        Seconds without a new image after which a study is complete.
    clock
        Monotonic seconds.
    """

    def __init__(self, quiet_period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet_period_s = quiet_period_s
        self._clock = clock
        self._looks: dict[str, _Look] = {}

    def ready(self, studies: Sequence[StudyClock]) -> list[str]:
        """Name the complete ones of the arriving studies, longest quiet first; to be called again and again.

        Returns
        -------
        list of str
            Study Instance UIDs.
        """
        now_s = self._clock()
        before, self._looks = self._looks, {}
        for study in studies:
            look = before.get(study.study_uid)
            is_same = look is not None and look.images == study.images
            self._looks[study.study_uid] = look if look and is_same else _Look(study.images, now_s)
        quiet = [uid for uid, look in self._looks.items() if now_s - look.since_s >= self._quiet_period_s]
        return sorted(quiet, key=lambda uid: self._looks[uid].since_s)
