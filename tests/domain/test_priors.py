"""Which of an archive's answers are a patient's earlier studies: nobody else's, and no more than are wanted."""

from __future__ import annotations

from datetime import date

import pytest

from spinepacs.domain.campaign import Query
from spinepacs.domain.priors import Ask, PatientStudy, choose

ASK = Ask(1, "P1", "A", "9", date(2026, 2, 28), 0)
DAYS = ASK.days(10, date(2026, 11, 23))
FILMS = Query(modalities=("CR", "DX"))


def study(uid: str, day: date | None = date(2020, 1, 1), **changes: object) -> PatientStudy:
    values = {"study_uid": uid, "day": day, "patient_id": "P1", "issuer": "A", **changes}
    return PatientStudy(**values)  # type: ignore[arg-type]


def chosen(*found: PatientStudy, ask: Ask = ASK, most: int = 10) -> tuple[tuple[str, ...], int]:
    made = choose(ask, found, FILMS, DAYS, most)
    return made.study_uids, made.strangers


def test_days_are_before_the_study_and_so_many_years() -> None:
    assert (date(2016, 2, 28), date(2026, 2, 27)) == DAYS
    leap = Ask(1, "P1", "", "9", date(2024, 2, 29), 0)
    assert leap.days(1, date(2026, 1, 1)) == (date(2023, 2, 28), date(2024, 2, 28))
    undated = Ask(1, "P1", "", "9", None, 0)
    assert undated.days(1, date(2026, 11, 23)) == (date(2025, 11, 23), date(2026, 11, 22))


def test_the_newest_first_and_no_more_than_are_wanted() -> None:
    old, new, newer = (study(uid, date(year, 5, 5)) for uid, year in (("1", 2018), ("2", 2024), ("3", 2025)))
    assert chosen(old, newer, new, newer, most=2) == (("3", "2"), 0)


@pytest.mark.parametrize(
    "other",
    [
        study("9"),
        study("1", None),
        study("1", date(2016, 2, 27)),
        study("1", date(2026, 2, 28)),
        study("1", modalities=("MR", "SR")),
    ],
)
def test_what_is_no_prior(other: PatientStudy) -> None:
    assert chosen(other, study("2", modalities=("SR", "DX"))) == (("2",), 0)


@pytest.mark.parametrize(
    "other",
    [
        study("1", patient_id="P2"),
        study("1", patient_id="p1"),
        study("1", patient_id=""),
        study("1", patient_id="P10"),
        study("1", issuer="B"),
    ],
)
def test_another_patients_are_counted_and_left_out(other: PatientStudy) -> None:
    assert chosen(other, study("2"), study("3", patient_id="P1 ", issuer="")) == (("3", "2"), 1)


def test_an_answer_of_two_issuers_to_a_film_that_names_none() -> None:
    ask = Ask(1, "P1", "", "9", date(2026, 2, 28), 0)
    assert chosen(study("1"), study("2", issuer=""), ask=ask) == (("2", "1"), 0)
    found = (study("1"), study("2", issuer="B"), study("3", issuer=""))
    assert chosen(*found, ask=ask) == (("3",), 2)
