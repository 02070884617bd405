"""FHIR: what fhir.resources takes, coded as the report is, without what is withheld, the same whenever it is made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from spinepacs.dicom.report.measure_codes import MEASURES
from spinepacs.domain.findings import Reading
from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.measures import Quantity, Reason, Unit
from spinepacs.domain.signs import Statement
from spinepacs.domain.study import FilmOwner, View
from spinepacs.exchange.fhir.bundle import bundle
from spinepacs.exchange.fhir.coding import SYSTEMS
from spinepacs.exchange.fhir.validation import STATUSES, validated
from tests.dicom import readings

OWNER = FilmOwner("PID|1", "ACC-7", "20261120")
LEFT_OUT = "no such thing"


def reading_of(**changes: Any) -> Reading:
    return readings.reading(readings.header(), **changes)


def resources(found: dict[str, Any], kind: str = "Observation") -> list[dict[str, Any]]:
    return [entry["resource"] for entry in found["entry"] if entry["resource"]["resourceType"] == kind]


@pytest.mark.parametrize("version", ["R5", "R4B"])
@pytest.mark.parametrize("owner", [OWNER, FilmOwner(), FilmOwner("Ж 漢 \U0001f9b4", "", "")])
@pytest.mark.parametrize("changes", [{}, {"spacing": None}, {"view": View.AP}], ids=["mm", "px", "AP"])
def test_fhir_resources_takes_it(version: Any, owner: FilmOwner, changes: dict[str, Any]) -> None:
    pytest.importorskip("fhir.resources")
    found = bundle(owner, [reading_of(**changes)], version)
    assert validated(found, version) is found
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_bundle_that_is_none_is_told_without_a_value() -> None:
    pytest.importorskip("fhir.resources")
    found = bundle(OWNER, [reading_of()])
    found["entry"][1]["resource"]["valueQuantity"]["value"] = "Geheim"
    with pytest.raises(ValueError, match="no Bundle of FHIR R5") as caught:
        validated(found, "R5")
    assert "Geheim" not in str(caught.value)
    found = bundle(OWNER, [reading_of()])
    found["entry"][0]["resource"]["status"] = "done"
    with pytest.raises(ValueError, match="no status"):
        validated(found, "R5")


def test_every_published_measure_sign_and_conclusion_has_one_observation() -> None:
    reading = reading_of()
    found = resources(bundle(OWNER, [reading]))
    signs = [finding for finding in reading.findings if finding.published_grade is not None]
    said = [each for each in reading.conclusions if each.statement is not Statement.WITHHELD]
    assert len(found) == len(reading.published_measures) + len(signs) + len(said)
    assert len({json.dumps(each["identifier"]) for each in found}) == len(found)
    assert {each["status"] for each in found} <= STATUSES["Observation"]
    (report,) = resources(bundle(OWNER, [reading]), "DiagnosticReport")
    assert len(report["result"]) == len(found)
    assert "Not for diagnostic use" in report["conclusion"]


def test_values_and_codes_are_those_of_the_report() -> None:
    reading = reading_of()
    found = resources(bundle(OWNER, [reading]))
    for measure, told in zip(reading.published_measures, found, strict=False):
        coded = MEASURES[measure.quantity]
        (code,) = told["code"]["coding"]
        assert (code["code"], code["system"]) == (
            coded.concept.value,
            SYSTEMS[coded.concept.scheme_designator],
        )
        assert told["valueQuantity"]["value"] == pytest.approx(measure.value, abs=0.051)
        components = {each["code"]["coding"][0]["code"]: each for each in told.get("component", [])}
        assert ("106233006" in components) == (coded.where is not None)
        assert ("371884006" in components) == (measure.margin is not None)
        if measure.unit is Unit.MM:
            basis = components["370129005"]["valueCodeableConcept"]["coding"][0]["code"]
            assert basis == "MM_DETECTOR"
            assert measure.basis is SpacingBasis.DETECTOR_PLANE


def test_what_is_withheld_is_not_in_it() -> None:
    reading = reading_of()
    kept = reading.measures[0]
    withheld = (kept, *(replace(each, reason=Reason.LOW_CONFIDENCE) for each in reading.measures[1:]))
    hidden = tuple(replace(each, published_grade=None, reason=Reason.IMPLANT) for each in reading.findings)
    concluded = tuple(replace(each, statement=Statement.WITHHELD) for each in reading.conclusions)
    reading = replace(reading, measures=withheld, findings=hidden, conclusions=concluded)
    found = resources(bundle(OWNER, [reading]))
    assert [each["valueQuantity"]["value"] for each in found] == [round(kept.value, 2)]
    assert kept.quantity is Quantity.DISC_HEIGHT_ANTERIOR


def test_the_same_films_give_the_same_bundle_and_another_model_others() -> None:
    reading = reading_of()
    first, again = bundle(OWNER, [reading]), bundle(OWNER, [reading])
    assert first == again
    newer = replace(reading, versions=replace(reading.versions, model_version="0.2"))
    urls = {entry["request"]["url"] for entry in first["entry"]}
    assert urls.isdisjoint(entry["request"]["url"] for entry in bundle(OWNER, [newer])["entry"])
    assert all(entry["request"]["method"] == "PUT" for entry in first["entry"])


def test_nothing_is_said_of_the_patient_but_two_identifiers() -> None:
    text = json.dumps(bundle(OWNER, [reading_of()]))
    assert "PID|1" in text
    assert "ACC-7" in text
    for secret in ("Geheim", "Erika", "19561103", "birthDate", "HumanName", '"name"'):
        assert secret not in text
