from datetime import UTC, datetime, timedelta

import pytest

from spinepacs.intake.assembly import ready
from spinepacs.store.records import StudyClock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def last_image(seconds_ago: float, study_uid: str = "1.2") -> StudyClock:
    return StudyClock(study_uid, NOW - timedelta(seconds=seconds_ago))


@pytest.mark.parametrize(("seconds_ago", "expected"), [(0, []), (29.9, []), (30, ["1.2"]), (86400, ["1.2"])])
def test_a_study_is_ready_after_the_quiet_period(seconds_ago, expected):
    assert ready([last_image(seconds_ago)], NOW, 30) == expected


def test_the_study_that_has_been_quiet_longest_comes_first():
    studies = [last_image(31, "1.1"), last_image(300, "1.2"), last_image(5, "1.3")]
    assert ready(studies, NOW, 30) == ["1.2", "1.1"]


def test_a_clock_set_back_does_not_hold_a_study():
    assert ready([last_image(-10)], NOW, 30) == []
    assert ready([last_image(-3600)], NOW, 30) == ["1.2"]


def test_no_studies_none_ready():
    assert ready([], NOW, 30) == []
