"""What lasts is said once, then seldom, and once when it is over."""

from __future__ import annotations

import logging

import pytest

from spinepacs.errors import DatabaseAway, Transient
from spinepacs.outages import SELDOM_S, Outage

_log = logging.getLogger(__name__)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_it_is_said_when_it_begins_then_seldom_and_when_it_is_over(caplog):
    clock = Clock()
    outage = Outage(_log, "delivery", clock=clock)
    outage.over()
    for second in range(int(SELDOM_S) + 1):
        clock.now_s = float(second)
        outage.lasts(Transient("the disk fails"))
    outage.over()
    outage.over()
    assert warnings(caplog) == [
        "delivery waits: the disk fails",
        f"delivery waits, since {SELDOM_S:.0f} s: the disk fails",
        f"delivery goes on after {SELDOM_S:.0f} s",
    ]


def test_another_outage_is_said_again(caplog):
    outage = Outage(_log, "delivery")
    for _ in range(2):
        outage.lasts("no answer")
        outage.over()
    assert len(warnings(caplog)) == 4


def test_that_the_database_is_away_is_said_by_one_part_only(caplog):
    away = DatabaseAway("the database does not answer")
    others = [Outage(_log, name) for name in ("delivery", "upkeep")]
    for outage in (*others, Outage(_log, "the work on studies", speaks_for_database=True)):
        outage.lasts(away)
        outage.over()
    assert warnings(caplog) == [
        "the work on studies waits: the database does not answer",
        "the work on studies goes on after 0 s",
    ]


def test_the_disk_is_said_even_where_the_database_was_away_before(caplog):
    outage = Outage(_log, "delivery")
    outage.lasts(DatabaseAway("away"))
    outage.lasts(Transient("the disk fails"))
    assert warnings(caplog) == ["delivery waits: the disk fails"]
