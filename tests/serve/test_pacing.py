"""When a campaign may ask, and when it will be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from spinepacs.domain.campaign import Campaign, Kind, Query
from spinepacs.domain.findings import Versions
from spinepacs.serve.pacing import expected_end, may_ask, open_share

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
NIGHT, NOON = datetime(2026, 11, 23, 23, 30), datetime(2026, 11, 23, 12, 0)


def campaign(per_hour: float | None = None, *hours: str) -> Campaign:
    versions = Versions("m", "1", "p", "1")
    return Campaign("c", Kind.FOLDER, "/f", Query(), "/m", "/p", versions, per_hour=per_hour, hours=hours)


@pytest.mark.parametrize(
    ("per_hour", "seconds_ago", "may"),
    [
        (None, 0, True),
        (60, 59, False),
        (60, 60, True),
        (0.5, 7199, False),
        (0.5, 7200, True),
        (60, -500, True),
    ],
)
def test_studies_are_spread_over_the_hour(per_hour: float | None, seconds_ago: float, may: bool) -> None:
    last = NOW - timedelta(seconds=seconds_ago)
    assert may_ask(campaign(per_hour), last, NOW, NOON) is may


def test_the_first_one_waits_for_nothing_but_its_hours() -> None:
    assert may_ask(campaign(1), None, NOW, NOON)
    assert not may_ask(campaign(1, "22:00-06:00"), None, NOW, NOON)
    assert may_ask(campaign(1, "22:00-06:00"), None, NOW, NIGHT)


def test_the_share_of_the_day_counts_overlapping_hours_once() -> None:
    assert open_share(()) == 1
    assert open_share(("22:00-06:00",)) == pytest.approx(1 / 3)
    assert open_share(("22:00-06:00", "05:00-07:00")) == pytest.approx(9 / 24)


def test_the_end_is_later_where_only_the_night_is_worked() -> None:
    assert expected_end(600, 60, (), NOW) == NOW + timedelta(hours=10)
    end = expected_end(600, 60, ("22:00-06:00",), NOW)
    assert end is not None
    assert (end - NOW).total_seconds() == pytest.approx(30 * 3600)
    assert expected_end(0, 0, (), NOW) == NOW
    assert expected_end(600, 0, (), NOW) is None
    assert expected_end(10**9, 0.1, (), NOW) is None
