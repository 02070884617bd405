"""The readings of one study as a transaction Bundle: a second POST of it changes nothing (conditional updates)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote
from uuid import UUID, uuid5

from pydicom.sr.codedict import codes as standard

import spinepacs
from spinepacs.dicom.identity import DISCLAIMER, MANUFACTURER, derived_uid
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.domain.findings import Reading
from spinepacs.domain.study import FilmOwner
from spinepacs.exchange.fhir.coding import (
    UID_SYSTEM,
    Resource,
    concept,
    joined,
    reference,
    uid_identifier,
    without_empty,
)
from spinepacs.exchange.fhir.observations import Observed, observations, stated

Version = Literal["R5", "R4B"]
_URN = UUID("0c5b7f0e-7d3f-5f0e-9a3d-51c64f0c3d57")
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_STUDY = {"R5": "study", "R4B": "imagingStudy"}
"""How a DiagnosticReport calls the imaging study."""


def bundle(owner: FilmOwner, readings: Sequence[Reading], version: Version = "R5") -> Resource:
    """Make the Bundle of films of one study, read by one model and policy.

    Parameters
    ----------
    owner
        Whose films they are; patient ID and accession number stand in it as identifiers, and nothing else of them.
    readings
        None of them refused, and at least one.
    """
    first = readings[0]
    study = reference("ImagingStudy", uid_identifier(first.study_uid))
    observed = Observed(_subject(owner), study, _device(first), _day(owner.study_date))
    resources = [found for reading in readings for found in observations(reading, observed)]
    entries = [_entry(resource) for resource in resources]
    report = _report(owner, readings, observed, [entry["fullUrl"] for entry in entries], version)
    return {"resourceType": "Bundle", "type": "transaction", "entry": [_entry(report), *entries]}


def report_uid(readings: Sequence[Reading]) -> str:
    """UID of the report: the same for the same films, model and policy."""
    films = "|".join(sorted(reading.sop_uid for reading in readings))
    return derived_uid(films, "DIAGNOSTIC_REPORT", readings[0].versions)


def _report(
    owner: FilmOwner, readings: Sequence[Reading], observed: Observed, results: list[str], version: Version
) -> Resource:
    conclusions = [each for reading in readings for each in stated(reading)]
    sentences = [each.sentence for each in conclusions]
    statements = dict.fromkeys(each.statement for each in conclusions)
    accession = {"type": {"coding": [{"system": _V2_0203, "code": "ACSN"}]}, "value": owner.accession_number}
    identifiers = [uid_identifier(report_uid(readings))]
    return without_empty(
        {
            "resourceType": "DiagnosticReport",
            "identifier": identifiers,
            "basedOn": [reference("ServiceRequest", accession)] if owner.accession_number else [],
            "status": "preliminary",
            "category": [
                {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}
            ],
            "code": concept(standard.DCM.ImagingMeasurementReport),
            "subject": observed.subject,
            "effectiveDateTime": observed.effective,
            "performer": [{"display": observed.device["display"]}],
            _STUDY[version]: [observed.study],
            "result": [{"reference": url} for url in results],
            "conclusion": joined([*dict.fromkeys(sentences), f"{DISCLAIMER}, not verified by a physician."]),
            "conclusionCode": [concept(by_sign.STATEMENTS[each]) for each in statements],
        }
    )


def _entry(resource: Resource) -> Resource:
    """Create it, or replace the one of the same identifier."""
    (identifier, *_) = resource["identifier"]
    kind, value = resource["resourceType"], identifier["value"]
    query = quote(f"{UID_SYSTEM}|{value}", safe="")
    return {
        "fullUrl": f"urn:uuid:{uuid5(_URN, f'{kind} {value}')}",
        "resource": resource,
        "request": {"method": "PUT", "url": f"{kind}?identifier={query}"},
    }


def _subject(owner: FilmOwner) -> Resource:
    """The patient by the ID of the film's header, which the server knows or does not."""
    if not owner.patient_id:
        return {"display": "not identified"}
    kind = {"coding": [{"system": _V2_0203, "code": "MR"}]}
    return reference("Patient", {"type": kind, "value": owner.patient_id})


def _device(reading: Reading) -> Resource:
    versions = reading.versions
    return {
        "type": "Device",
        "display": f"{MANUFACTURER} {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, "
        f"policy {versions.policy_name} {versions.policy_version}",
    }


def _day(study_date: str) -> str:
    return f"{study_date[:4]}-{study_date[4:6]}-{study_date[6:]}" if len(study_date) == 8 else ""
