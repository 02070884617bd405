"""Each film keeps its own patient, also where one study holds films of two."""

from __future__ import annotations

import pytest

from spinepacs.audit import trail
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import NO_RADIOGRAPH
from spinepacs.store import queries, queue
from spinepacs.store.ledger import Ledger
from tests.store.conftest import Ask
from tests.store.makers import PACS, SOP, STUDY, VERSIONS, result_of, stored, take_in, with_signs

SECOND = "1.2.3.1.2"
ANOTHER = {
    "patient_id": "PAT-0002",
    "patient_sex": "M",
    "patient_age_years": 30.0,
    "study_date": "20261121",
    "accession_number": "ACC-2",
    "body_part": "CSPINE",
}
VIEWS = [name for name in queries.VIEWS if name != "follow-up"]


def read_all(ledger: Ledger) -> None:
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    plain = result_of(claim)
    images = tuple(type(item)(with_signs(item.reading), item.objects) for item in plain.images)
    ledger.record(claim, type(plain)(plain.study_uid, images), stored(plain), [PACS])


@pytest.mark.parametrize("what", VIEWS)
@pytest.mark.parametrize("order", [(SOP, SECOND), (SECOND, SOP)])
def test_the_views_give_each_film_its_own_patient(ledger: Ledger, what: str, order: tuple[str, str]) -> None:
    for sop_uid in order:
        take_in(ledger, sop_uid, **(ANOTHER if sop_uid == SECOND else {}))
    read_all(ledger)
    rows = queries.find(ledger, what, patient="PAT-0002")
    assert {row["sop_uid"] for row in rows} == {SECOND}
    stated = {(row["patient_id"], row["patient_sex"], row["patient_age_years"], row["study_date"],
               row["accession_number"], row["body_part"]) for row in rows}  # fmt: skip
    assert stated == {("PAT-0002", "M", 30.0, "2026-11-21", "ACC-2", "CSPINE")}
    assert {row["sop_uid"] for row in queries.find(ledger, what, patient="PAT-0001")} == {SOP}


def test_results_and_their_trail_are_those_of_the_films_patient(ledger: Ledger) -> None:
    take_in(ledger)
    take_in(ledger, SECOND, **ANOTHER)
    read_all(ledger)
    deliveries = queue.queued_objects(ledger)
    whose = {(row["source_sop_uid"], row["patient_id"], row["accession_number"]) for row in deliveries}
    assert whose == {(SOP, "PAT-0001", "ACC-1"), (SECOND, "PAT-0002", "ACC-2")}
    rows = [row for page in trail.pages(ledger) for row in page]
    made = {
        row["patient_id"] for row in rows if row["action"] == "made" and row["sop_uid"].startswith(SECOND)
    }
    assert made == {"PAT-0002"}
    of_first = [row for row in rows if row["sop_uid"] == SOP and row["action"] != "received"]
    assert {row["patient_id"] for row in of_first} == {"PAT-0001"}


def test_the_study_keeps_its_first_patient_and_says_that_there_are_two(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    take_in(ledger, SECOND, **ANOTHER)
    assert ask("studies", "patient_id") == ["PAT-0001"]
    assert ask("studies", "patient_age_years") == [61.5]
    assert ask("study_summary", "patients") == [2]
    assert [row["study_uid"] for row in queries.find_studies(ledger, patient="PAT-0002")] == [STUDY]
    assert ask("events", "sop_uid", kind="patients-differ") == [SECOND]
    assert ask("audit_events", "sop_uid", action="patients-differ") == [SECOND]
    assert ledger.counts().unseen == {"films": 0, "studies": 1}
    (row,) = [row for row in queue.queue(ledger) if row["reason"].startswith("PATIENTS_DIFFER")]
    assert (row["what"], row["uid"]) == ("study", STUDY)
    assert "PAT-0" not in str(row)


def test_what_has_been_seen_to_is_shown_again_only_when_more_comes(ledger: Ledger) -> None:
    take_in(ledger)
    take_in(ledger, SECOND, **ANOTHER)
    assert ledger.see("9.9") == 0
    assert ledger.see(STUDY) == 1
    assert ledger.counts().unseen["studies"] == 0
    take_in(ledger, "1.2.3.1.3", **ANOTHER)
    assert ledger.counts().unseen["studies"] == 1
    assert ledger.see() == 1


@pytest.mark.parametrize(
    "missing", ["patient_id", "patient_sex", "patient_age_years", "study_date", "accession_number"]
)
@pytest.mark.parametrize("first", [SOP, SECOND])
def test_a_film_that_says_nothing_is_its_studys(ledger: Ledger, ask: Ask, missing: str, first: str) -> None:
    nothing = None if missing == "patient_age_years" else ""
    for sop_uid in sorted((SOP, SECOND), key=lambda uid: uid != first):
        take_in(ledger, sop_uid, **({missing: nothing} if sop_uid == SECOND else {}))
    values = ask("arrivals", missing)
    assert values[0] == values[1] != nothing
    assert ask("studies", missing) == values[:1]
    assert ask("events", "kind", kind="patients-differ") == []


def test_where_there_are_two_nobody_is_given_a_patient(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    take_in(ledger, SECOND, **ANOTHER)
    take_in(ledger, "1.2.3.1.3", patient_id="", patient_sex="", patient_age_years=None)
    assert ask("arrivals", "patient_id", sop_uid="1.2.3.1.3") == [""]
    assert ask("arrivals", "patient_age_years", sop_uid="1.2.3.1.3") == [None]


def test_what_is_not_read_names_nobody(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger, SECOND, refusal=Refusal(NO_RADIOGRAPH, "a report"), **ANOTHER)
    take_in(ledger)
    assert ask("studies", "patient_id") == ["PAT-0001"]
    take_in(ledger, "1.2.3.1.3", refusal=Refusal(NO_RADIOGRAPH, "a report"), **ANOTHER)
    assert ledger.counts().unseen["studies"] == 0


def test_an_id_that_the_database_writes_otherwise_is_the_same_patient(ledger: Ledger) -> None:
    take_in(ledger, patient_id="A\0B")
    take_in(ledger, SECOND, patient_id="A\0B")
    assert ledger.counts().unseen["studies"] == 0
