"""When a campaign may ask for its next study, and when it will be done: pure functions of a clock that is given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from spinepacs.delivery.pace import open_for_s
from spinepacs.domain.campaign import Campaign

_DAY_MINUTES = 24 * 60


def may_ask(campaign: Campaign, last_asked_at: datetime | None, now: datetime, wall: datetime) -> bool:
    """Whether the next study may be asked for.

    They are spread over the hour, so nothing need be remembered but when the last one was asked for.

    Parameters
    ----------
    last_asked_at, now
        Zone-aware.
    wall
        The time of day here, as for ``hours`` of a destination.
    """
    if not open_for_s(campaign.hours, wall):
        return False
    if not campaign.per_hour or last_asked_at is None or last_asked_at > now:  # the clock was set back
        return True
    return now - last_asked_at >= timedelta(hours=1 / campaign.per_hour)


def expected_end(left: int, per_hour: float, hours: Sequence[str], now: datetime) -> datetime | None:
    """When ``left`` studies will be done at a rate measured while hours were open; None: nobody knows."""
    if not left:
        return now
    share = open_share(hours)
    if per_hour <= 0 or share <= 0 or left / per_hour / share > 100 * 365 * 24:
        return None
    return now + timedelta(hours=left / per_hour / share)


def open_share(hours: Sequence[str]) -> float:
    """Share of the day that is open, 0 to 1."""
    midnight = datetime(2000, 1, 1)  # any day
    minutes = (midnight + timedelta(minutes=minute, seconds=30) for minute in range(_DAY_MINUTES))
    return sum(bool(open_for_s(hours, at)) for at in minutes) / _DAY_MINUTES
