"""Who gets what after a correction: documents wherever the study's went, key objects where there is something."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from spinepacs.domain.corrections import Accept, Operation, Reject, Shift
from spinepacs.domain.findings import REPLACED, EncodedObject, ImageResult, ObjectKind, StudyResult
from spinepacs.exchange.documents import Wanted, with_documents
from spinepacs.settings.destinations import Destination, DicomDestination, FhirDestination, Hl7Destination
from spinepacs.store.corrections import Asked, CurrentReading
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim
from spinepacs.store.results import owners_of, so_far
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    SOP,
    STUDY,
    VERSIONS,
    claimed,
    digest,
    result_of,
    take_in,
    with_signs,
)
from tests.store.test_corrections import asked, corrected, draft, send_all

OTHER = "1.2.3.1.0"
"""A film that came before :data:`SOP`; documents of both are its."""
EHR = FhirDestination(kind="fhir", name="ehr", url="http://127.0.0.1:1/r5")
RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1)
PACS = DicomDestination(
    name="pacs", ae_title="PACS", host="127.0.0.1", port=104, send=("SEG", "SR", "OVERLAY", "GSPS", "PDF")
)
ALL = (PACS, EHR, RIS)


def documented(ledger: Ledger, result: StudyResult, *destinations: Destination) -> StudyResult:
    """What the worker adds to a result."""
    kinds = {kind for one in destinations for kind in one.send}
    wanted = Wanted(kinds, owners_of(ledger, result.study_uid), "R5")
    return with_documents(result, wanted, so_far(ledger, result.study_uid))


def files_of(result: StudyResult) -> dict[str, str]:
    made = [one for one in (*result.images, *result.corrections) if isinstance(one, ImageResult)]
    return {item.sop_uid: digest(item.sop_uid) for one in made for item in one.objects}


def record(ledger: Ledger, claim: Claim, *destinations: Destination) -> StudyResult:
    """A worker records what it has claimed."""
    films = result_of(claim)
    images = tuple(replace(item, reading=with_signs(item.reading)) for item in films.images)
    made = tuple(corrected(claim, job) for job in claim.corrections)
    result = documented(ledger, StudyResult(claim.study_uid, images, made), *destinations)
    assert ledger.record(claim, result, files_of(result), destinations)
    return result


def read_both(ledger: Ledger, *destinations: Destination) -> StudyResult:
    return record(ledger, claimed(ledger, OTHER, SOP), *destinations)


def correct(ledger: Ledger, *operations: Operation, to: tuple[Destination, ...] = ALL) -> StudyResult:
    """A person corrects one of the films; a worker does it."""
    asked(ledger, *operations)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    return record(ledger, claim, *to)


def due(ledger: Ledger, destination: str) -> list[str]:
    return [item.kind.value for item in ledger.due(destination)]


def document(result: StudyResult, kind: ObjectKind = ObjectKind.FHIR) -> EncodedObject:
    """The one document of its kind."""
    made = [one for one in (*result.images, *result.corrections) if isinstance(one, ImageResult)]
    (found,) = [item for one in made for item in one.objects if item.kind is kind]
    return found


def entries(result: StudyResult) -> dict[str, dict[str, Any]]:
    """Resources of a Bundle by what they replace."""
    return {
        entry["request"]["url"]: entry["resource"]
        for entry in json.loads(bytes(document(result).part10))["entry"]
    }


def test_documents_of_the_whole_study_follow_whichever_film_was_corrected(ledger: Ledger, ask: Ask) -> None:
    first = read_both(ledger, *ALL)
    for name in ("pacs", "ehr", "ris"):
        send_all(ledger, name)
    result = correct(ledger, Shift(-1))
    assert (due(ledger, "ehr"), due(ledger, "ris")) == (["FHIR"], ["HL7"])
    assert due(ledger, "pacs") == ["SEG", "SR", "OVERLAY", "KO"], "and its film's objects"
    before, now = entries(first), entries(result)
    assert set(before) <= set(now), "the same identifiers: nothing is left as it was"
    assert document(first).sop_uid != document(result).sop_uid
    films = {each["derivedFrom"][0]["display"] for each in now.values() if "derivedFrom" in each}
    assert films == {f"Image {OTHER}", f"Image {SOP}"}
    assert len(ask("objects", "kind", kind="FHIR")) == 2


def test_a_document_that_waits_is_not_sent_after_all(ledger: Ledger) -> None:
    read_both(ledger, *ALL)
    send_all(ledger, "ris")
    result = correct(ledger, Shift(-1))
    (waits,) = ledger.due("ehr")
    assert waits.sop_uid == document(result).sop_uid
    assert ledger.counts().outbox["ehr", "withdrawn"] == 1
    assert ("ris", "withdrawn") not in ledger.counts().outbox
    again = correct(ledger, Shift(1))
    assert [item.sop_uid for item in ledger.due("ehr")] == [document(again).sop_uid]
    assert ledger.counts().outbox["ris", "withdrawn"] == 1


def test_a_destination_of_documents_gets_no_key_object(ledger: Ledger) -> None:
    result = record(ledger, claimed(ledger), *ALL)
    assert document(result).source_sop_uid == SOP
    send_all(ledger, "ehr")
    correct(ledger, Reject("blurred"))
    assert due(ledger, "ehr") == ["FHIR"]


def test_acceptance_sends_the_documents_anew(ledger: Ledger) -> None:
    read_both(ledger, *ALL)
    for name in ("pacs", "ehr", "ris"):
        send_all(ledger, name)
    correct(ledger, Accept())
    assert [due(ledger, name) for name in ("pacs", "ehr", "ris")] == [["SR"], ["FHIR"], ["HL7"]]


def test_what_a_person_has_withdrawn_from_a_destination_stays_so(ledger: Ledger) -> None:
    read_both(ledger, *ALL)
    ledger.withdraw("ehr")
    correct(ledger, Shift(-1))
    assert due(ledger, "ehr") == []
    assert due(ledger, "ris") == ["HL7"]


def test_another_patients_document_in_the_study_is_left_alone(ledger: Ledger) -> None:
    take_in(ledger, OTHER, patient_id="PAT-0002", accession_number="ACC-2")
    record(ledger, claimed(ledger), *ALL)
    assert due(ledger, "ehr") == ["FHIR", "FHIR"]
    result = correct(ledger, Shift(-1))
    assert len(ledger.due("ehr")) == 2, "the other's, and the corrected one"
    assert ledger.counts().outbox["ehr", "withdrawn"] == 1
    told = bytes(document(result).part10).decode()
    assert "PAT-0001" in told
    assert "PAT-0002" not in told
    assert OTHER not in told.replace(SOP, "")


def test_a_film_that_comes_later_and_a_newer_model_contradict_nobody(ledger: Ledger) -> None:
    record(ledger, claimed(ledger), *ALL)
    correct(ledger, Shift(-1))
    take_in(ledger, OTHER)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(NEWER, 3)
    assert claim is not None
    assert {arrival.sop_uid for arrival in claim.arrivals} == {OTHER, SOP}
    result = record(ledger, claim, *ALL)
    told = bytes(document(result).part10).decode()
    assert f"Image {OTHER}" in told
    assert f"Image {SOP}" not in told, "that film's reading is a person's"
    final = entries(correct(ledger, Shift(1)))
    reports = [each for each in final.values() if each["resourceType"] == "DiagnosticReport"]
    assert [each["status"] for each in reports] == ["preliminary", "entered-in-error"]


def test_corrections_of_two_films_at_once_have_one_document(ledger: Ledger) -> None:
    read_both(ledger, *ALL)
    asked(ledger, Shift(-1))
    _ask_other(ledger)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    assert len(claim.corrections) == 2
    films = tuple(
        replace(one, objects=tuple(_own(item, job.correction_id) for item in one.objects))
        for job in claim.corrections
        for one in [corrected(claim, job)]
    )
    result = documented(ledger, StudyResult(STUDY, (), films), *ALL)
    assert ledger.record(claim, result, files_of(result), ALL)
    (waits,) = ledger.due("ehr")
    assert waits.sop_uid == document(result).sop_uid
    statuses = {each["status"] for each in entries(result).values()}
    assert statuses == {"final", "entered-in-error"}


def _ask_other(ledger: Ledger) -> None:
    found = ledger.corrections.current(OTHER)
    assert isinstance(found, CurrentReading)
    assert isinstance(ledger.corrections.ask(OTHER, found.reading_id, draft()), Asked)


def _own(item: EncodedObject, number: int) -> EncodedObject:
    return replace(item, sop_uid=f"{item.sop_uid}.{number}")


def test_a_page_and_a_presentation_state_are_replaced_like_the_rest(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    (image,) = result_of(claim).images
    more = tuple(
        replace(image.objects[0], kind=kind, sop_uid=f"2.25.9.{n}")
        for n, kind in enumerate((ObjectKind.GSPS, ObjectKind.PDF))
    )
    result = StudyResult(STUDY, (replace(image, objects=(*image.objects, *more)),))
    assert ledger.record(claim, result, files_of(result), [PACS])
    sent, *_ = [item for item in ledger.due("pacs") if item.kind is ObjectKind.PDF]
    ledger.begin_delivery([sent.outbox_id])
    asked(ledger, Shift(-1))
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    (job,) = claim.corrections
    assert {item.kind for item in job.earlier} == set(REPLACED)
    record(ledger, claim, PACS)
    assert due(ledger, "pacs") == ["SEG", "SR", "OVERLAY", "KO"], "a page may have arrived"
    assert ask("outbox", "state").count("withdrawn") == 5


def test_a_study_that_only_a_campaign_has_read_sends_nothing(ledger: Ledger) -> None:
    claim = claimed(ledger)
    (image,) = result_of(claim).images
    assert ledger.record(claim, StudyResult(STUDY, (replace(image, objects=()),)), {}, ALL)
    correct(ledger, Shift(-1))
    assert [due(ledger, name) for name in ("pacs", "ehr", "ris")] == [[], [], []]
