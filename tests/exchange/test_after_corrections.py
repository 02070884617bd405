"""Documents after a person's correction: what both worlds call corrected, withdrawn and final."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import Accept, Correction, Draft, Operation, Reject, Shift
from spinepacs.domain.findings import ObjectKind, Reading, Refusal
from spinepacs.domain.study import FilmOwner
from spinepacs.domain.told import Told
from spinepacs.exchange import hl7
from spinepacs.exchange.documents import document
from spinepacs.exchange.fhir.bundle import bundle
from spinepacs.exchange.fhir.validation import validated
from tests.dicom import readings

AT = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
OWNER = FilmOwner("P1", "A1", "20261120")
PLAIN = readings.reading(readings.header(), first=Level.L1, count=5)
SECOND = replace(PLAIN, sop_uid="1.2.3.4")
FIRST_REPORT = "2.25.1"


def by_person(
    reading: Reading, *operations: Operation, day: int = 1, author: str = "Doe^Jane^^Dr"
) -> Reading:
    """The same reading as a person has made it on a day."""
    draft = Draft(operations or (Shift(1),), author, "Ward 3")
    made = replace(reading, correction=Correction(f"c{day}", draft, AT + timedelta(days=day), ""))
    if not draft.is_rejection:
        return made
    return replace(
        made, refusal=Refusal("REJECTED", ""), spine=None, measures=(), findings=(), conclusions=()
    )


def shifted(day: int = 1) -> Reading:
    """:data:`PLAIN` with all names a level further up."""
    return by_person(replace(readings.reading(readings.header(), first=Level.T12, count=5)), day=day)


def told(*before: Reading) -> Told:
    found: dict[str, tuple[Reading, ...]] = {}
    for each in before:
        found[each.sop_uid] = (*found.get(each.sop_uid, ()), each)
    return Told(found, (FIRST_REPORT,))


def entries(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["request"]["url"]: entry["resource"] for entry in found["entry"]}


def report_of(found: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = found["entry"][0]["resource"]
    assert first["resourceType"] == "DiagnosticReport"
    return first


def segments(text: str, name: str) -> list[list[str]]:
    return [line.split("|") for line in text.split("\r") if line.startswith(f"{name}|")]


@pytest.mark.parametrize("version", ["R5", "R4B"])
@pytest.mark.parametrize(
    "now", [shifted(), by_person(PLAIN, Accept()), by_person(PLAIN, Reject("no"))], ids=["C", "A", "R"]
)
def test_fhir_resources_takes_it(version: Any, now: Reading) -> None:
    pytest.importorskip("fhir.resources")
    for films in ([now], [SECOND, now]):
        found = bundle(OWNER, films, version, told(PLAIN))
        assert validated(found, version) is found


def test_what_was_said_is_replaced_and_what_is_gone_is_marked_and_has_no_value() -> None:
    first = bundle(OWNER, [PLAIN])
    now = bundle(OWNER, [shifted()], told=told(PLAIN))
    assert {url for url in entries(first) if url.startswith("Observation")} <= set(entries(now))
    assert report_of(now)["identifier"][0]["value"] == f"urn:oid:{FIRST_REPORT}"
    found = [each for each in entries(now).values() if each["resourceType"] == "Observation"]
    gone = [each for each in found if each["status"] == "entered-in-error"]
    lost = {each["bodySite"]["text"] for each in gone}
    assert "L5" in lost, "nothing is called so any more"
    assert not [key for each in gone for key in each if key.startswith(("value", "component", "note"))]
    assert {each["status"] for each in found} == {"final", "entered-in-error"}
    assert len(report_of(now)["result"]) == len(found) - len(gone)
    assert {each["performer"][0]["display"] for each in found if each not in gone} == {"Dr Jane Doe"}


def test_the_report_says_who_has_done_what() -> None:
    report = report_of(bundle(OWNER, [shifted()], told=told(PLAIN)))
    assert report["resultsInterpreter"] == [{"display": "Dr Jane Doe"}]
    assert report["performer"][1] == {"type": "Organization", "display": "Ward 3"}
    assert report["conclusion"].endswith("Not for diagnostic use. Corrected by Dr Jane Doe, Ward 3.")
    accepted = report_of(bundle(OWNER, [by_person(PLAIN, Accept())], told=told(PLAIN)))
    assert accepted["conclusion"].endswith("Accepted by Dr Jane Doe, Ward 3.")
    half = report_of(bundle(OWNER, [SECOND, shifted()], told=told(PLAIN)))
    assert "not verified by a physician" in half["conclusion"], "of the other film that stays true"


CASES = {
    "one film": ([shifted(1)], told(PLAIN), "final"),
    "accepted": ([by_person(PLAIN, Accept())], told(PLAIN), "final"),
    "one of two": ([SECOND, shifted(1)], told(PLAIN), "preliminary"),
    "both": ([by_person(SECOND, day=2), shifted(1)], told(PLAIN, SECOND), "final"),
    "the first one twice": ([by_person(SECOND, day=3), shifted(2)], told(PLAIN, shifted(1), SECOND), "final"),
    "once more": ([by_person(SECOND, day=2), shifted(3)], told(PLAIN, shifted(1), SECOND), "amended"),
    "rejected": ([by_person(PLAIN, Reject("no"))], told(PLAIN), "entered-in-error"),
    "one rejected": ([SECOND, by_person(PLAIN, Reject("no"))], told(PLAIN), "preliminary"),
    "taken back": ([shifted(2)], told(PLAIN, by_person(PLAIN, Reject("no"))), "amended"),
}


@pytest.mark.parametrize(("films", "before", "status"), CASES.values(), ids=CASES)
def test_the_status_of_a_report_is_that_of_all_its_films(
    films: list[Reading], before: Told, status: str
) -> None:
    found = bundle(OWNER, films, told=before)
    assert report_of(found)["status"] == status
    if status == "entered-in-error":
        assert set(report_of(found)) & {"result", "conclusionCode"} == set()
        told_by = "Not for diagnostic use. Rejected by Dr Jane Doe, Ward 3."
        assert report_of(found)["conclusion"] == told_by
        assert {each["status"] for each in entries(found).values()} == {status}


def test_reports_that_were_apart_are_one_afterwards() -> None:
    before = replace(told(PLAIN), reports=(FIRST_REPORT, "2.25.2"))
    found = bundle(OWNER, [SECOND, shifted()], told=before)
    reports = [each for each in entries(found).values() if each["resourceType"] == "DiagnosticReport"]
    assert [each["status"] for each in reports] == ["preliminary", "entered-in-error"]
    assert reports[1]["identifier"][0]["value"] == "urn:oid:2.25.2"


def test_a_report_that_nobody_had_has_an_identifier_that_stays() -> None:
    once = bundle(OWNER, [shifted(1)], told=Told({PLAIN.sop_uid: (PLAIN,)}))
    twice = bundle(OWNER, [SECOND, shifted(2)], told=Told({PLAIN.sop_uid: (PLAIN, shifted(1))}, ("",)))
    assert report_of(once)["identifier"] == report_of(twice)["identifier"]


def test_without_a_correction_what_was_said_before_counts_for_nothing() -> None:
    assert bundle(OWNER, [PLAIN], told=told(SECOND, PLAIN)) == bundle(OWNER, [PLAIN])
    assert hl7.message(OWNER, [PLAIN], AT, told(PLAIN)) == hl7.message(OWNER, [PLAIN], AT)


def test_hl7_says_corrected_and_deletes_what_is_gone() -> None:
    library = pytest.importorskip("hl7")
    first = hl7.message(OWNER, [PLAIN, SECOND], AT)
    text = hl7.message(OWNER, [shifted(), SECOND], AT, told(PLAIN))
    assert str(library.parse(text)) == text
    assert [each[3] for each in segments(text, "OBR")] == [each[3] for each in segments(first, "OBR")]
    assert [each[25] for each in segments(text, "OBR")] == ["C", "P"]
    assert segments(text, "OBR")[0][32] == "&Doe&Jane&&&Dr"
    assert segments(text, "MSH")[0][9] != segments(first, "MSH")[0][9]
    statuses = Counter(each[11] for each in segments(text, "OBX"))
    assert set(statuses) == {"C", "D", "P"}
    deleted = [each for each in segments(text, "OBX") if each[11] == "D"]
    assert {each[5] for each in deleted} == {'""'}
    assert {each[4].split()[0] for each in deleted} >= {"L5"}
    said = {(each[3].split("^")[0], each[4]) for each in segments(text, "OBX") if each[11] == "C"}
    assert not said & {(each[3].split("^")[0], each[4]) for each in deleted}
    notes = [each[3] for each in segments(text, "NTE")]
    assert notes[0].endswith("Corrected by Dr Jane Doe, Ward 3.")
    assert notes[1].endswith("not verified by a physician.")


def test_hl7_calls_what_is_accepted_final_and_what_is_rejected_wrong() -> None:
    accepted = hl7.message(OWNER, [by_person(PLAIN, Accept())], AT, told(PLAIN))
    assert {each[25] for each in segments(accepted, "OBR")} == {"F"}
    assert {each[11] for each in segments(accepted, "OBX")} == {"F"}
    rejected = hl7.message(OWNER, [by_person(PLAIN, Reject("no"))], AT, told(PLAIN))
    assert [each[25] for each in segments(rejected, "OBR")] == ["C"]
    identity, wrong = segments(rejected, "OBX")[:2], segments(rejected, "OBX")[2:]
    assert [each[11] for each in identity] == ["C", "C"]
    assert {(each[5], each[11]) for each in wrong} == {('""', "W")}
    assert len(wrong) == len(segments(hl7.message(OWNER, [PLAIN], AT), "OBX")) - 2
    later = hl7.message(OWNER, [by_person(PLAIN, Accept(), day=3)], AT, told(PLAIN, shifted(2)))
    assert {each[25] for each in segments(later, "OBR")} == {"C"}, "it was corrected before it was accepted"


def test_what_another_policy_has_graded_is_deleted_under_its_own_filler_number() -> None:
    versions = replace(PLAIN.versions, policy_version="9")
    now = replace(by_person(PLAIN), versions=versions)
    text = hl7.message(OWNER, [now], AT, told(PLAIN))
    before, after = segments(hl7.message(OWNER, [PLAIN], AT), "OBR")[0][3], segments(text, "OBR")
    assert [each[25] for each in after] == ["C", "C"]
    assert after[1][3] == before != after[0][3]
    assert Counter(each[11] for each in segments(text, "OBX"))["D"] > 50


@pytest.mark.parametrize("kind", [ObjectKind.FHIR, ObjectKind.HL7])
def test_objects_of_the_outbox_are_each_corrections_own(kind: ObjectKind) -> None:
    films = ([PLAIN], [shifted(1)], [shifted(1)], [shifted(2)])
    uids = [document(kind, OWNER, each, "R5", told(PLAIN)).sop_uid for each in films]
    assert uids[1] == uids[2], "a retry is the same"
    assert len(set(uids)) == 3


@pytest.mark.parametrize(
    ("author", "shown", "interpreter"),
    [
        ("Doe^Jane", "Jane Doe", "&Doe&Jane"),
        ("Jane Doe", "Jane Doe", "&Jane Doe"),
        ("王^小東=Wang^Xiaodong", "小東 王", "&王&小東"),
        ("A&B^C|D", "C|D A&B", "&A\\T\\B&C\\F\\D"),
    ],
)
def test_names_are_spoken_and_escaped(author: str, shown: str, interpreter: str) -> None:
    now = by_person(PLAIN, author=author)
    assert report_of(bundle(OWNER, [now]))["resultsInterpreter"] == [{"display": shown}]
    assert segments(hl7.message(OWNER, [now], AT), "OBR")[0][32] == interpreter
