"""Measures, signs and conclusions as Observations, coded as in the structured report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from spinepacs.dicom import codes
from spinepacs.dicom.identity import derived_uid
from spinepacs.dicom.report import measure_codes as by_measure
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.dicom.report.groups import site_of
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Measure, Unit
from spinepacs.domain.signs import Conclusion, Finding, Sign, Statement
from spinepacs.domain.told import Told
from spinepacs.exchange.fhir.coding import (
    ENTERED_IN_ERROR,
    MEASUREMENT_METHOD,
    TOPOGRAPHICAL_MODIFIER,
    Resource,
    body_site,
    component,
    concept,
    quantity,
    uid_identifier,
    without_empty,
)

_LENGTHS = (Unit.MM, Unit.PX)
_IDENTITY = (
    "resourceType", "identifier", "category", "code", "subject", "effectiveDateTime", "derivedFrom", "bodySite",
)  # fmt: skip
"""What stays of an Observation that is withdrawn: of what it was, without a value."""
_CATEGORY = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "imaging"}]
}


@dataclass(frozen=True)
class Observed:
    """What all Observations of one film share.

    Parameters
    ----------
    subject, study, device
        References.
    effective
        Day of the study, ``YYYY-MM-DD``; empty: not known.
    performers
        Persons who have corrected or accepted the reading.
    """

    subject: Resource
    study: Resource
    device: Resource
    effective: str
    performers: Sequence[Resource] = field(default_factory=tuple)


def observations(reading: Reading, observed: Observed, status: str) -> Iterator[Resource]:
    """Everything of a film that is published, from head to foot; what is withheld is left out, not marked."""
    for key, content in _contents(reading):
        yield _observation(reading, observed, key, status, **content)


def withdrawn(before: Sequence[Reading], now: Sequence[Resource], observed: Observed) -> Iterator[Resource]:
    """What earlier readings of a film have said, and the present one does not: marked, and without a value."""
    kept = [each["identifier"] for each in now]
    for reading in before:
        for each in observations(reading, observed, ENTERED_IN_ERROR):
            if each["identifier"] not in kept:
                yield {name: each[name] for name in _IDENTITY if name in each} | {"status": ENTERED_IN_ERROR}


def film_status(reading: Reading, told: Told) -> str:
    """Preliminary as a model reads it; final when a person has looked; amended when one has looked once more."""
    if reading.correction is None:
        return "preliminary"
    return "amended" if any(each.correction for each in told.of(reading)) else "final"


def _contents(reading: Reading) -> Iterator[tuple[str, Resource]]:
    """What tells an Observation from the others of the film, and what is in it."""
    for measure in reading.published_measures:
        yield f"{measure.quantity}|{measure.place.name}", _measure(measure)
    for finding in reading.findings:
        if finding.published_grade is not None:
            key = f"{finding.sign}|{finding.place.name}|{finding.side or ''}"
            yield key, _sign(finding, finding.published_grade)
    for conclusion in stated(reading):
        yield f"conclusion|{conclusion.area}", _conclusion(conclusion)


def stated(reading: Reading) -> list[Conclusion]:
    """Conclusions that are not withheld."""
    return [each for each in reading.conclusions if each.statement is not Statement.WITHHELD]


def _observation(reading: Reading, observed: Observed, key: str, status: str, **content: Any) -> Resource:
    """An Observation whose identifier is the same whenever this film is read by these versions."""
    uid = derived_uid(reading.sop_uid, "OBSERVATION", reading.versions, key)
    film = observed.study | {"display": f"Image {reading.sop_uid}"}
    return without_empty(
        {
            "resourceType": "Observation",
            "identifier": [uid_identifier(uid)],
            "status": status,
            "category": [_CATEGORY],
            "subject": observed.subject,
            "effectiveDateTime": observed.effective,
            "performer": list(observed.performers),
            "derivedFrom": [film],
            "device": observed.device,
            **content,
        }
    )


def _measure(measure: Measure) -> Resource:
    coded = by_measure.MEASURES[measure.quantity]
    unit, decimals = by_measure.UNITS[measure.unit], by_measure.DECIMALS[measure.unit]
    components = []
    if coded.where:
        components.append(component(TOPOGRAPHICAL_MODIFIER, coded.where))
    if measure.margin is not None:
        components.append(component(by_measure.UNCERTAINTY, quantity(measure.margin, unit, decimals)))
    if measure.unit in _LENGTHS:
        components.append(component(MEASUREMENT_METHOD, codes.SPACING[measure.basis]))
    if measure.apex is not None:
        components.append(component(by_measure.APEX, site_of(measure.apex)))
    if measure.convex_left is not None:
        side = codes.IMAGE_LEFT if measure.convex_left else codes.IMAGE_RIGHT
        components.append(component(by_measure.CONVEXITY, side))
    where = f", {coded.where.meaning.lower()}" if coded.where else ""
    return {
        "code": concept(coded.concept, f"{coded.concept.meaning}{where}, {measure.place.name}"),
        "valueQuantity": quantity(measure.value, unit, decimals),
        "bodySite": body_site(measure.place),
        "method": concept(coded.method) if coded.method else None,
        "component": components,
    }


def _sign(finding: Finding, grade: int) -> Resource:
    components = []
    if finding.side:
        components.append(component(TOPOGRAPHICAL_MODIFIER, by_sign.SIDES[finding.side]))
    if finding.form:
        components.append(component(by_sign.FORM, by_sign.FORMS[finding.form]))
    if finding.grade_range and finding.is_borderline:
        ends: tuple[Code, Code] = by_sign.LEAST_GRADE, by_sign.MOST_GRADE
        for end, each in zip(ends, finding.grade_range, strict=True):
            components.append(component(end, by_sign.grade_code(finding.sign, each)))
    side = f", {by_sign.SIDES[finding.side].meaning.lower()}" if finding.side else ""
    sign = by_sign.SIGNS[finding.sign]
    return {
        "code": concept(sign, f"{sign.meaning}{side}, {finding.place.name}"),
        "valueCodeableConcept": concept(by_sign.grade_code(finding.sign, grade)),
        "bodySite": body_site(finding.place),
        "method": concept(by_sign.SCHEMES[finding.scheme]),
        "component": components,
    }


def _conclusion(conclusion: Conclusion) -> Resource:
    components = []
    if conclusion.published_degree is not None:
        degree = by_sign.grade_code(Sign.DISC_DEGENERATION, conclusion.published_degree)
        components.append(component(by_sign.SIGNS[Sign.DISC_DEGENERATION], degree))
    if conclusion.for_age:
        components.append(component(by_sign.FOR_AGE, by_sign.FOR_AGES[conclusion.for_age]))
    return {
        "code": concept(standard.DCM.Conclusion),
        "valueCodeableConcept": concept(by_sign.STATEMENTS[conclusion.statement]),
        "bodySite": concept(by_sign.AREAS[conclusion.area]),
        "method": concept(by_sign.SCHEMES[conclusion.scheme]),
        "component": components,
        "note": [{"text": conclusion.sentence}],
    }
