"""Contract of the ledger, both databases: what comes in, and how it finds its study."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from spinepacs.dicom.reading.header import header_of
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Source
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, EventKind, Registration, StudyClock
from spinepacs.store.tables import studies
from tests.films import make_cr
from tests.store.conftest import Ask
from tests.store.makers import (
    NOT_A_SPINE,
    NOW,
    SERIES,
    SOP,
    STUDY,
    arrival,
    claimed,
    digest,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)

BROKEN = Refusal("NOT_DICOM", "no preamble")


def test_an_arrival_is_kept_as_it_came(ledger: Ledger) -> None:
    assert ledger.add_arrival(arrival()) is ArrivalOutcome.NEW
    [waiting] = ledger.unregistered(10)
    assert (waiting.sop_uid, waiting.sha256, waiting.size_bytes) == (SOP, digest(SOP), 12_000_000)
    assert waiting.source is Source.NETWORK
    assert waiting.received_at == NOW
    assert waiting.received_at.utcoffset() is not None, "times are zone-aware"
    assert waiting.study_uid is None


def test_unregistered_gives_the_oldest_first_and_no_more_than_asked(ledger: Ledger) -> None:
    for number in (3, 1, 2):
        ledger.add_arrival(arrival(f"1.2.{number}"))
    assert [waiting.sop_uid for waiting in ledger.unregistered(2)] == ["1.2.3", "1.2.1"]


def test_the_same_file_twice_is_one_row_and_an_event(ledger: Ledger, ask: Ask) -> None:
    ledger.add_arrival(arrival())
    assert ledger.add_arrival(arrival(seconds=5)) is ArrivalOutcome.DUPLICATE
    assert ask("arrivals", "state") == ["received"]
    assert ask("events", "kind", sop_uid=SOP) == [EventKind.DUPLICATE]


def test_other_bytes_under_the_same_sop_uid_are_kept_apart_and_never_read(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    assert ledger.add_arrival(arrival(content="corrected")) is ArrivalOutcome.CONFLICT
    assert ledger.add_arrival(arrival(content="corrected")) is ArrivalOutcome.DUPLICATE
    assert ledger.unregistered(10) == []
    assert ask("arrivals", "sha256", state="selected") == [digest(SOP)]
    assert ask("arrivals", "sha256", state="conflict") == [digest("corrected")]
    assert ask("events", "study_uid", kind="conflict") == [STUDY]


def test_a_good_copy_takes_the_place_of_an_unreadable_one_that_came_first(ledger: Ledger, ask: Ask) -> None:
    ledger.add_arrival(arrival(content="truncated"))
    assert ledger.add_arrival(arrival(content="whole")) is ArrivalOutcome.CONFLICT
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, BROKEN)
    [waiting] = ledger.unregistered(10)
    assert waiting.sha256 == digest("whole")
    ledger.register(waiting.arrival_id, header(), None)
    assert ask("arrivals", "state") == ["selected", "unreadable"]
    assert ask("events", "kind") == ["conflict", "conflict-released", "unreadable"]


def test_a_good_copy_that_comes_after_an_unreadable_one_is_new(ledger: Ledger) -> None:
    ledger.add_arrival(arrival(content="truncated"))
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, BROKEN)
    assert ledger.add_arrival(arrival(content="whole")) is ArrivalOutcome.NEW
    assert [waiting.sha256 for waiting in ledger.unregistered(10)] == [digest("whole")]


def test_attempts_to_read_a_header_are_counted_before_they_are_made(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    [waiting] = ledger.unregistered(1)
    assert [ledger.begin_registration(waiting.arrival_id) for _ in range(2)] == [1, 2]


def test_only_first_attempts_are_counted_together(ledger: Ledger) -> None:
    for number in range(3):
        ledger.add_arrival(arrival(f"1.{number}"))
    first, second, third = [waiting.arrival_id for waiting in ledger.unregistered(10)]
    ledger.begin_registration(second)
    assert ledger.begin_first_registrations([first, second, third]) == {first, third}
    assert ledger.begin_first_registrations([first, second, third]) == set()
    assert [ledger.begin_registration(each) for each in (first, second, third)] == [2, 2, 2]


def test_images_registered_together_find_their_studies_as_if_one_by_one(ledger: Ledger, ask: Ask) -> None:
    for number in range(4):
        ledger.add_arrival(arrival(f"1.{number}", seconds=number))
    waiting = ledger.unregistered(10)
    found = [
        Registration(waiting[0].arrival_id, header("1.0", patient_id="")),
        Registration(waiting[1].arrival_id, header("1.1")),
        Registration(waiting[2].arrival_id, header("9.9")),
        Registration(waiting[3].arrival_id, header("1.3", "4.4"), NOT_A_SPINE, drop=True),
    ]
    ledger.register_together(found)
    assert ledger.arriving() == [StudyClock(STUDY, 2), StudyClock("4.4", 1)]
    assert ask("arrivals", "patient_id", study_uid=STUDY) == ["PAT-0001"] * 2, "one tells the other"
    assert ask("arrivals", "reason_code", sop_uid="1.2") == ["SOP_UID_MISMATCH"]
    assert ask("arrivals", "state", sop_uid="1.3") == ["refused"]


def test_of_images_registered_together_all_are_or_none(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    [waiting] = ledger.unregistered(1)
    with pytest.raises(LookupError):
        ledger.register_together(
            [Registration(waiting.arrival_id, header()), Registration(999, header("1.9"))]
        )
    assert ledger.unregistered(1) == [waiting]
    assert ledger.arriving() == []


def test_the_first_image_makes_the_study(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    assert ledger.unregistered(10) == []
    assert ledger.arriving() == [StudyClock(STUDY, 1)]
    assert ledger.rows(select(studies.c.last_arrival_at)) == [{"last_arrival_at": NOW}]
    assert ask("arrivals", "series_uid", study_uid=STUDY) == [SERIES]
    for column, value in [("patient_id", "PAT-0001"), ("patient_age_years", 61.5), ("body_part", "LSPINE")]:
        assert ask("studies", column) == [value]


def test_a_later_image_moves_the_last_arrival_and_an_earlier_one_does_not(ledger: Ledger) -> None:
    for sop_uid, seconds in [("1.1", 7), ("1.2", 20), ("1.3", 3)]:
        ledger.add_arrival(arrival(sop_uid, seconds=seconds))
    for waiting in ledger.unregistered(10):
        ledger.register(waiting.arrival_id, header(waiting.sop_uid), None)
    assert ledger.arriving() == [StudyClock(STUDY, 3)]
    assert ledger.rows(select(studies.c.last_arrival_at)) == [
        {"last_arrival_at": NOW + timedelta(seconds=20)}
    ]


@pytest.mark.parametrize("broken", ["", "20261350", "2026-11-20", "yesterday"])
def test_a_broken_study_date_is_unknown(ledger: Ledger, ask: Ask, broken: str) -> None:
    take_in(ledger, study_date=broken)
    assert ask("studies", "study_date") == [None]


def test_text_that_no_database_takes_is_made_takeable(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger, study_description="L\0WS \udcfc", accession_number="x" * 5000)
    assert ask("studies", "study_description") == ["LWS ?"]
    assert ask("studies", "accession_number") == ["x" * 5000]


def test_a_uid_of_64_odd_characters_is_taken_as_it_is(ledger: Ledger, ask: Ask) -> None:
    odd = "1.02.000." + "9" * 55
    take_in(ledger, odd, odd)
    assert ask("arrivals", "sop_uid") == ask("studies", "study_uid") == [odd]


def test_registering_twice_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    ledger.add_arrival(arrival())
    [waiting] = ledger.unregistered(1)
    ledger.register(waiting.arrival_id, header(), None)
    ledger.register(waiting.arrival_id, header(), NOT_A_SPINE)
    assert ask("arrivals", "state") == ["selected"]


def test_a_header_of_another_image_than_the_sender_stated_is_unreadable(ledger: Ledger, ask: Ask) -> None:
    ledger.add_arrival(arrival())
    ledger.register(ledger.unregistered(1)[0].arrival_id, header("9.9.9"), None)
    assert ask("arrivals", "reason_code", state="unreadable") == ["SOP_UID_MISMATCH"]
    assert ask("studies", "study_uid") == []


def test_a_study_of_refused_images_only_is_refused_with_their_reason(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    assert ask("studies", "state") == ["arriving"]
    ledger.mark_ready(STUDY)
    assert ask("studies", "state") == ["refused"]
    assert ask("studies", "reason_code") == ["NOT_SELECTED"]


def test_a_late_image_reopens_a_study_and_only_it_is_read(ledger: Ledger, ask: Ask) -> None:
    first = recorded(ledger)
    take_in(ledger, "1.2.3.1.2")
    assert ask("studies", "state") == ["arriving"]
    ledger.mark_ready(STUDY)
    claim = ledger.claim(first.versions, 3)
    assert claim is not None
    assert [item.sop_uid for item in claim.arrivals] == ["1.2.3.1.2"]
    assert claim.attempt_number == 1, "new work has all its attempts"
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [])
    assert ask("readings", "sop_uid") == [SOP, "1.2.3.1.2"]
    assert ask("studies", "state") == ["recorded"], "objects of the first image are still to be sent"


def test_a_late_refused_image_reopens_nothing(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    take_in(ledger, "9.9", refusal=Refusal("OWN_RESULT", "our own"), patient_id="OTHER")
    assert ask("studies", "state") == ["recorded"]
    assert ask("studies", "patient_id") == ["PAT-0001"]


def test_an_image_that_comes_while_its_study_is_read_is_not_forgotten(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    take_in(ledger, "1.2.3.1.2")
    assert ask("studies", "state") == ["working"]
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [])
    assert ask("studies", "state") == ["arriving"]
    ledger.mark_ready(STUDY)
    again = ledger.claim(claim.versions, 3)
    assert again is not None
    assert [item.sop_uid for item in again.arrivals] == ["1.2.3.1.2"]


def test_a_late_image_gives_a_failed_study_another_chance(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    ledger.fail(claim, "CRASH", "the worker died", transient=False)
    take_in(ledger, "1.2.3.1.2")
    assert ask("studies", "state") == ["arriving"]
    assert ask("events", "kind", study_uid=STUDY) == ["failed", "reopened"]


def test_a_naive_time_is_refused(ledger: Ledger, ask: Ask) -> None:
    naive = replace(arrival(), received_at=NOW.replace(tzinfo=None))
    with pytest.raises(Exception, match="zone-aware"):
        ledger.add_arrival(naive)
    assert ask("arrivals", "arrival_id") == []


def test_what_old_and_odd_headers_say_of_patient_and_date_comes_into_the_row(
    ledger: Ledger, ask: Ask
) -> None:
    odd = {"PatientID": b"  47\\11\t1 ", "AccessionNumber": b"A" * 24, "StudyDate": b"1993.04.06"}
    film = header_of(
        make_cr(
            **odd, SpecificCharacterSet=["", "ISO 2022 IR 58"], StudyDescription=b"\x1b$)A\xd1\xfc\xd7\xb5"
        )
    )
    ledger.add_arrival(arrival(film.sop_uid))
    [waiting] = ledger.unregistered(1)
    ledger.register(waiting.arrival_id, film, None)
    assert ask("studies", "patient_id") == ["  47\\11\t1"]
    assert ask("studies", "accession_number") == ["A" * 24]
    assert [str(day) for day in ask("studies", "study_date")] == ["1993-04-06"]
    assert ask("studies", "study_description") == ["腰椎"]
