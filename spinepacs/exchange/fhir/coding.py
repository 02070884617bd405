"""Codes, quantities and identifiers as FHIR has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

from spinepacs.dicom import codes
from spinepacs.dicom.report.groups import site_of
from spinepacs.domain.measures import Place

Resource = dict[str, Any]
"""A resource, or a part of one, as JSON has it."""

UID_SYSTEM = "urn:dicom:uid"
"""System of identifiers that are DICOM UIDs (``urn:oid:…``)."""
PRIVATE_SYSTEM = (
    f"urn:oid:2.25.{uuid5(UUID('6f0d4a52-9d0b-5c8e-8a57-3b1f0d5c7e21'), codes.PRIVATE_SCHEME).int}"
)
"""System of the codes of 99SPINEPACS; listed in docs/output.md."""
SYSTEMS = {
    "SCT": "http://snomed.info/sct",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "UCUM": "http://unitsofmeasure.org",
    codes.PRIVATE_SCHEME: PRIVATE_SYSTEM,
}
"""Systems by coding scheme designator (PS3.16 Table 8-1)."""

ENTERED_IN_ERROR = "entered-in-error"
"""Status of what is no longer to be used: it stays on the server, and says so."""
TOPOGRAPHICAL_MODIFIER = standard.SCT.TopographicalModifier
MEASUREMENT_METHOD = standard.SCT.MeasurementMethod


def concept(code: Code, text: str = "") -> Resource:
    """A CodeableConcept of one code."""
    coding = {"system": SYSTEMS[code.scheme_designator], "code": code.value, "display": code.meaning}
    return {"coding": [coding], "text": text or code.meaning}


def quantity(value: float, unit: Code, decimals: int) -> Resource:
    """A Quantity in a unit of UCUM; what rounds to nothing has no sign."""
    shown = round(float(value), decimals) + 0.0
    return {
        "value": shown,
        "unit": unit.meaning,
        "system": SYSTEMS[unit.scheme_designator],
        "code": unit.value,
    }


def uid_identifier(uid: str) -> Resource:
    """An Identifier that is a DICOM UID."""
    return {"system": UID_SYSTEM, "value": f"urn:oid:{uid}"}


def body_site(place: Place) -> Resource:
    """A vertebra or disc by its code; a span by its name, with the code of the spine."""
    return concept(site_of(place), place.name)


def component(code: Code, value: Resource | Code) -> Resource:
    """A component of an Observation: a code, or a quantity."""
    told = {"valueCodeableConcept": concept(value)} if isinstance(value, Code) else {"valueQuantity": value}
    return {"code": concept(code), **told}


def without_empty(resource: Resource) -> Resource:
    """Leave out what is empty: FHIR forbids empty texts, lists and objects."""
    return {key: value for key, value in resource.items() if value not in (None, "", [], {}, ())}


def reference(kind: str, identifier: Resource, display: str = "") -> Resource:
    """A logical reference: the server, or whoever reads it, knows the resource by its identifier."""
    return without_empty({"type": kind, "identifier": identifier, "display": display})


def joined(texts: Sequence[str]) -> str:
    """Sentences one after the other."""
    return " ".join(text for text in texts if text)
