"""The readings of one study as a transaction Bundle: a second POST of it changes nothing (conditional updates).

After a person's correction it replaces what earlier Bundles have left on the server, and marks what is gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Literal
from urllib.parse import quote
from uuid import UUID, uuid5

from pydicom.sr.codedict import codes as standard

import spinepacs
from spinepacs.dicom.identity import MANUFACTURER, derived_uid, films_uid
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.domain.corrections import Correction
from spinepacs.domain.findings import Reading, Versions
from spinepacs.domain.study import FilmOwner
from spinepacs.domain.told import NOTHING, Told
from spinepacs.exchange.author import closing, spoken
from spinepacs.exchange.fhir.coding import (
    ENTERED_IN_ERROR,
    UID_SYSTEM,
    Resource,
    concept,
    joined,
    reference,
    uid_identifier,
    without_empty,
)
from spinepacs.exchange.fhir.observations import Observed, film_status, observations, stated, withdrawn

Version = Literal["R5", "R4B"]
_URN = UUID("0c5b7f0e-7d3f-5f0e-9a3d-51c64f0c3d57")
_V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
_STUDY = {"R5": "study", "R4B": "imagingStudy"}
"""How a DiagnosticReport calls the imaging study."""


def bundle(
    owner: FilmOwner, readings: Sequence[Reading], version: Version = "R5", told: Told = NOTHING
) -> Resource:
    """Make the Bundle of films of one study.

    Parameters
    ----------
    owner
        Whose films they are; patient ID and accession number stand in it as identifiers, and nothing else of them.
    readings
        At least one; none of them refused, but by a person.
    told
        What earlier Bundles have said of these films; it counts once a person has corrected one of them.
    """
    told = told if is_corrected(readings) else NOTHING
    found: list[Resource] = []
    gone: dict[str, Resource] = {}
    for reading in readings:
        observed = _observed(owner, reading)
        now = list(observations(reading, observed, film_status(reading, told)))
        found += now
        gone |= {_uid(each): each for each in withdrawn(told.of(reading), now, observed)}
    entries = [_entry(resource) for resource in found]
    first, *others = report_uids(owner, readings, told)
    results = [entry["fullUrl"] for entry in entries]
    reports = [_report(first, owner, readings, report_status(readings, told), results, version)]
    reports += [_report(uid, owner, readings, ENTERED_IN_ERROR, [], version) for uid in others]
    everything = [*map(_entry, reports), *entries, *map(_entry, gone.values())]
    return {"resourceType": "Bundle", "type": "transaction", "entry": everything}


def is_corrected(readings: Sequence[Reading]) -> bool:
    """Whether a person has made one of the readings."""
    return any(reading.correction for reading in readings)


def document_uid(readings: Sequence[Reading]) -> str:
    """UID by which the outbox knows a Bundle: that of its report, unless a person has made a reading in it."""
    return films_uid(readings, "FHIR" if is_corrected(readings) else "DIAGNOSTIC_REPORT")


def report_uids(owner: FilmOwner, readings: Sequence[Reading], told: Told) -> list[str]:
    """UID of the report, and those of earlier ones of the same films: what they had apart is in one from then on.

    It is the same for the same films, model and policy; after a correction that of the earliest report.
    """
    if not is_corrected(readings):
        return [document_uid(readings)]
    whose = json.dumps([owner.patient_id, owner.accession_number, owner.study_date])
    own = derived_uid(readings[0].study_uid, "DIAGNOSTIC_REPORT", Versions("", "", "", ""), whose)
    return [uid or own for uid in told.reports] or [own]


def report_status(readings: Sequence[Reading], told: Told) -> str:
    """Preliminary until persons have seen to all films; final then; amended when one of them has once more.

    Nothing is left of a report whose films are all rejected.
    """
    if all(reading.refusal for reading in readings):
        return ENTERED_IN_ERROR
    if not all(reading.correction for reading in readings):
        return "preliminary"
    times = [
        [one.correction.made_at for one in (*told.of(reading), reading) if one.correction]
        for reading in readings
    ]
    final_at = max(min(each) for each in times)
    return "amended" if any(at > final_at for each in times for at in each) else "final"


def _report(
    uid: str,
    owner: FilmOwner,
    readings: Sequence[Reading],
    status: str,
    results: list[str],
    version: Version,
) -> Resource:
    """A report; one that is no longer to be used says of what it was and whose word that is, and nothing else."""
    observed, is_used = _observed(owner, readings[0]), status != ENTERED_IN_ERROR
    conclusions = [each for reading in readings for each in stated(reading) if is_used]
    sentences = [each.sentence for each in conclusions]
    statements = dict.fromkeys(each.statement for each in conclusions)
    accession = {"type": {"coding": [{"system": _V2_0203, "code": "ACSN"}]}, "value": owner.accession_number}
    corrections = [reading.correction for reading in readings if reading.correction]
    closings = dict.fromkeys(closing(reading.correction) for reading in readings)
    return without_empty(
        {
            "resourceType": "DiagnosticReport",
            "identifier": [uid_identifier(uid)],
            "basedOn": [reference("ServiceRequest", accession)] if owner.accession_number else [],
            "status": status,
            "category": [
                {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "RAD"}]}
            ],
            "code": concept(standard.DCM.ImagingMeasurementReport),
            "subject": observed.subject,
            "effectiveDateTime": observed.effective,
            "performer": [{"display": observed.device["display"]}, *_organisations(corrections)],
            "resultsInterpreter": [{"display": name} for name in _authors(corrections)],
            _STUDY[version]: [observed.study],
            "result": [{"reference": url} for url in results],
            "conclusion": joined([*dict.fromkeys(sentences), *closings]),
            "conclusionCode": [concept(by_sign.STATEMENTS[each]) for each in statements],
        }
    )


def _observed(owner: FilmOwner, reading: Reading) -> Observed:
    study = reference("ImagingStudy", uid_identifier(reading.study_uid))
    performers = [{"display": name} for name in _authors([reading.correction])]
    return Observed(_subject(owner), study, _device(reading), _day(owner.study_date), performers)


def _authors(corrections: Sequence[Correction | None]) -> Iterator[str]:
    """Names of persons, each once."""
    yield from dict.fromkeys(spoken(each.draft.author) for each in corrections if each)


def _organisations(corrections: Sequence[Correction]) -> Iterator[Resource]:
    names = dict.fromkeys(each.draft.organisation for each in corrections)
    yield from ({"type": "Organization", "display": name} for name in names if name)


def _uid(resource: Resource) -> str:
    (identifier, *_) = resource["identifier"]
    return str(identifier["value"])


def _entry(resource: Resource) -> Resource:
    """Create it, or replace the one of the same identifier."""
    kind, value = resource["resourceType"], _uid(resource)
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
