"""Documents of a study: one for each patient and request, only where somebody wants them."""

from __future__ import annotations

import json
from dataclasses import replace

from spinepacs.domain.findings import ObjectKind, Refusal, StudyResult
from spinepacs.domain.study import FilmOwner
from spinepacs.exchange.documents import Wanted, with_documents
from tests.store import makers

ONE, OTHER = FilmOwner("P1", "A1", "20261120"), FilmOwner("P2", "A2", "20261120")


def result(*sop_uids: str) -> StudyResult:
    return StudyResult(makers.STUDY, tuple(makers.image(uid) for uid in sop_uids))


def made(found: StudyResult) -> list[tuple[str, ObjectKind]]:
    documents = (ObjectKind.FHIR, ObjectKind.HL7)
    return [
        (image.reading.sop_uid, item.kind)
        for image in found.images
        for item in image.objects
        if item.kind in documents
    ]


def test_nothing_is_made_that_nobody_wants() -> None:
    whole = result("1.1", "1.2")
    assert with_documents(whole, Wanted({"SEG", "SR"}, {}, "R5")) == whole


def test_films_of_one_request_share_a_document() -> None:
    found = with_documents(result("1.1", "1.2"), Wanted({"FHIR", "HL7"}, {"1.1": ONE, "1.2": ONE}, "R5"))
    assert made(found) == [("1.1", ObjectKind.FHIR), ("1.1", ObjectKind.HL7)]
    (fhir,) = [item for item in found.images[0].objects if item.kind is ObjectKind.FHIR]
    told = json.loads(bytes(fhir.part10))
    films = {each["resource"].get("derivedFrom", [{}])[0].get("display") for each in told["entry"][1:]}
    assert films == {"Image 1.1", "Image 1.2"}


def test_films_of_two_patients_are_never_in_one() -> None:
    found = with_documents(result("1.1", "1.2"), Wanted({"FHIR"}, {"1.1": ONE, "1.2": OTHER}, "R5"))
    assert made(found) == [("1.1", ObjectKind.FHIR), ("1.2", ObjectKind.FHIR)]
    first, second = (
        bytes(item.part10).decode() for image in found.images for item in image.objects if item.kind == "FHIR"
    )
    assert "P2" not in first
    assert "P1" not in second


def test_a_refused_film_is_in_no_document() -> None:
    refused = makers.image("1.2", refusal=Refusal("NO_VERTEBRA_FOUND", "no vertebra"))
    whole = replace(result("1.1"), images=(refused, makers.image("1.1")))
    assert made(with_documents(whole, Wanted({"HL7"}, {"1.1": ONE, "1.2": ONE}, "R5"))) == [
        ("1.1", ObjectKind.HL7)
    ]
