"""When a study is complete: a pure function of its arrivals and the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from spinepacs.store.records import StudyClock


def ready(studies: Sequence[StudyClock], now: datetime, quiet_period_s: float) -> list[str]:
    """Name the studies to which nothing was added during the quiet period, longest quiet first.

    A last arrival that lies further ahead than one quiet period means that the clock was set back: waiting for it
    to come round again could take hours, so that study counts as quiet.

    Parameters
    ----------
    studies
        The arriving ones.
    now
        Zone-aware.
    quiet_period_s
        Seconds.

    Returns
    -------
    list of str
        Study Instance UIDs.
    """
    waited_s = {study.study_uid: (now - study.last_arrival_at).total_seconds() for study in studies}
    quiet = [study_uid for study_uid, seconds in waited_s.items() if abs(seconds) >= quiet_period_s]
    return sorted(quiet, key=lambda study_uid: waited_s[study_uid], reverse=True)
