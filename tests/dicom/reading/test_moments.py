"""Dates and times in every form that senders have given them, and those that could be two."""

from __future__ import annotations

import pytest

from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.moments import date_of, time_of
from tests.films import make_cr


@pytest.mark.parametrize(
    "value",
    [
        "19930406", "1993.04.06", "1993-04-06", "1993/04/06", "1993:04:06", "1993 04 06", "1993.4.6", " 1993.04.06 ",
        "1993-04-06T10:20:30", "1993.04.06 10:20:30", "19930406102030", "19930406102030.123456+0100",
        "06.04.1993", "6.4.1993", "93.04.06", "06.04.93", "930406",
    ],
)  # fmt: skip
def test_one_day(value: str) -> None:
    assert date_of(value) == "19930406"


@pytest.mark.parametrize(
    "value",
    [
        "", "today", "20261301", "20260230", "00000000", "20260102-20260103", "1993.04.06 25:00", "1993.13.06",
        "04/06/1993", "06-04-1993", "03.04.06", "201012", "060403", "1993.04", "1993-04-06Z", "19930406x",
    ],
)  # fmt: skip
def test_no_day_or_not_one(value: str) -> None:
    assert date_of(value) == ""


@pytest.mark.parametrize(("value", "expected"), [("25/12/1993", "19931225"), ("12/25/1993", "19931225")])
def test_the_order_is_that_which_gives_a_date(value: str, expected: str) -> None:
    assert date_of(value) == expected


def test_valid_values_stay_as_they_are() -> None:
    assert (date_of("99991231"), date_of("17000101")) == ("99991231", "17000101")
    assert (time_of("10"), time_of("1020"), time_of("102030.5")) == ("10", "1020", "102030.5")


def test_a_birth_in_a_year_of_two_digits_may_be_of_either_century() -> None:
    assert date_of("93.04.06") == date_of("930406") == "19930406"
    assert date_of("93.04.06", is_birth=True) == date_of("930406", is_birth=True) == ""
    assert date_of("1926.04.30", is_birth=True) == "19260430"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("10:20:30", "102030"), ("10:20", "1020"), ("9:05:00", "090500"), ("10.20.30", "102030"),
        ("102030.1234567", "102030.123456"), ("10:20:30.1234567", "102030.123456"), ("102030,25", "102030.25"),
        ("102030.", "102030"), ("102030+0100", "102030"), ("10:20:30Z", "102030"), ("1:20:30 PM", "132030"),
        ("12:05 am", "0005"), ("1993.04.06 10:20:30", "102030"), ("19930406102030", "102030"), ("235960", "235960"),
        ("", ""), ("24:00:00", ""), ("2599", ""), ("106160", ""), ("1", ""), ("13:00 PM", ""), ("noon", ""),
    ],
)  # fmt: skip
def test_times(value: str, expected: str) -> None:
    assert time_of(value) == expected


def test_the_study_date_and_the_age_come_of_old_forms_too() -> None:
    film = make_cr(StudyDate=b"1993.04.06", PatientBirthDate=b"1953-04-06", PatientAge=None)
    header = header_of(film)
    assert header.study_date == "19930406"
    assert header.patient_age_years == pytest.approx(40, abs=0.01)
