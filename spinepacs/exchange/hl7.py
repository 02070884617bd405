"""The readings of one study as an HL7 v2.5.1 message ORU^R01: an OBR for each film, OBX for all that is published.

Written by hand, since python-hl7's and hl7apy's escapes do not come back right (docs/exchange.md).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

import spinepacs
from spinepacs.dicom import codes
from spinepacs.dicom.identity import DISCLAIMER, derived_uid
from spinepacs.dicom.report import measure_codes as by_measure
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Measure
from spinepacs.domain.signs import Conclusion, Finding, Sign, Statement
from spinepacs.domain.study import FilmOwner

CHARACTER_SET = "UNICODE UTF-8"
"""MSH-18 (HL7 table 0211)."""

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_LONGEST_SUB_ID = 20
_PRELIMINARY = "P"
_SIDES = {
    code.meaning.lower(): side for side, code in (("left", codes.IMAGE_LEFT), ("right", codes.IMAGE_RIGHT))
}
"""What is too long for a sub-ID."""


def escaped(text: str) -> str:
    """A text within a component (HL7 v2.5.1 2.7): delimiters and line ends escaped, other controls left out."""
    found = "".join(_ESCAPES.get(each, each) for each in text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", re.sub(r"\r\n|\r|\n", r"\\.br\\", found))


def document_uid(readings: Sequence[Reading]) -> str:
    """UID by which the outbox knows the message; its control ID comes from it."""
    films = "|".join(sorted(reading.sop_uid for reading in readings))
    return derived_uid(films, "ORU", readings[0].versions)


def control_id(readings: Sequence[Reading]) -> str:
    """MSH-10, 20 characters: the same for the same films, model and policy, so that a receiver knows a retry."""
    digest = hashlib.sha256(document_uid(readings).encode()).digest()
    return base64.b32encode(digest).decode()[:20]


def message(owner: FilmOwner, readings: Sequence[Reading], made_at: datetime) -> str:
    """Make the message, its segments ended by CR; who receives it (MSH-3 to MSH-6) is filled in when it is sent.

    Parameters
    ----------
    owner
        Patient ID and accession number stand in it, and nothing else of the patient.
    readings
        None of them refused, and at least one.
    made_at
        MSH-7 and OBR-22, with its zone.
    """
    stamp = f"{made_at:%Y%m%d%H%M%S%z}"
    segments = [_header(stamp, control_id(readings)), _patient(owner)]
    for number, reading in enumerate(readings, start=1):
        segments.append(_request(number, owner, reading, stamp))
        segments.append(
            f"NTE|1|L|{escaped(DISCLAIMER)}. {escaped(_made_by(reading))}, not verified by a physician."
        )
        segments += [f"OBX|{n}|{rest}" for n, rest in enumerate(_observations(reading), start=1)]
    return "".join(f"{segment}\r" for segment in segments)


def _header(stamp: str, control: str) -> str:
    fields = [
        "",
        "",
        "",
        "",
        stamp,
        "",
        "ORU^R01^ORU_R01",
        control,
        "P",
        "2.5.1",
        "",
        "",
        "",
        "",
        "",
        CHARACTER_SET,
    ]
    return "MSH|^~\\&|" + "|".join(fields)


def _patient(owner: FilmOwner) -> str:
    """PID-5 is required: a name of type U, not specified."""
    identifier = f"{escaped(owner.patient_id)}^^^^MR" if owner.patient_id else '""'
    return f"PID|1||{identifier}||^^^^^^U"


def _request(number: int, owner: FilmOwner, reading: Reading, stamp: str) -> str:
    """OBR: filler order number of ours, accession number in OBR-18 (IHE RAD TF-2), preliminary."""
    uid = derived_uid(reading.sop_uid, "OBR", reading.versions)
    fields = [""] * 26
    fields[1] = str(number)
    fields[3] = f"{uid}^SPINEPACS^{uid}^ISO"
    fields[4] = _coded(codes.PLAIN_RADIOGRAPHY)
    fields[7] = owner.study_date
    fields[18] = escaped(owner.accession_number)
    fields[22], fields[24], fields[25] = stamp, "RAD", _PRELIMINARY
    return "OBR|" + "|".join(fields[1:])


def _made_by(reading: Reading) -> str:
    versions = reading.versions
    return (
        f"Made by spinepacs {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, "
        f"policy {versions.policy_name} {versions.policy_version}"
    )


def _observations(reading: Reading) -> Iterator[str]:
    """OBX from its second field on."""
    yield _obx("ST", _coded(standard.DCM.StudyInstanceUID), "", escaped(reading.study_uid))
    image = codes.private("IMAGE_UID", "SOP Instance UID of the film")
    yield _obx("ST", _coded(image), "", escaped(reading.sop_uid))
    basis = codes.SPACING[reading.spacing.basis if reading.spacing else None]
    yield _obx("CWE", _coded(standard.SCT.MeasurementMethod), "", _coded(basis))
    for measure in reading.published_measures:
        yield from _measure(measure)
    for finding in reading.findings:
        if finding.published_grade is not None:
            yield _sign(finding, finding.published_grade)
    for conclusion in reading.conclusions:
        if conclusion.statement is not Statement.WITHHELD:
            yield from _conclusion(conclusion)


def _measure(measure: Measure) -> Iterator[str]:
    """The value, and its ± (half-width of the 95 % interval) where it is known.

    OBX-3 and OBX-4 together are said once in a film; the second code of OBX-3 is ours, and says all of it.
    """
    coded, unit = by_measure.MEASURES[measure.quantity], by_measure.UNITS[measure.unit]
    decimals, name = by_measure.DECIMALS[measure.unit], measure.quantity.value
    where = coded.where.meaning.lower() if coded.where else ""
    words = f"{coded.concept.meaning}{where and f', {where}'}, {measure.place.name}"
    sub_id = f"{measure.place.name} {_SIDES.get(where, where)}".strip()
    what = f"{_coded(coded.concept)}^{_coded(codes.private(name, words))}"
    yield _obx("NM", what, sub_id, _shown(measure.value, decimals), _coded(unit), coded.method)
    if measure.margin is not None:
        margin = codes.private(f"{name}_margin", f"+/- of {words}")
        what = f"{_coded(margin)}^{_coded(by_measure.UNCERTAINTY)}"
        yield _obx("NM", what, sub_id, _shown(measure.margin, decimals), _coded(unit))


def _shown(value: float, decimals: int) -> str:
    """A rounded value; what rounds to nothing has no sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _sign(finding: Finding, grade: int) -> str:
    sign = by_sign.SIGNS[finding.sign]
    side = f", {by_sign.SIDES[finding.side].meaning.lower()}" if finding.side else ""
    local = codes.private(finding.sign.value, f"{sign.meaning}{side}, {finding.place.name}")
    place = f"{finding.place.name} {finding.side or ''}".strip()
    value = _coded(by_sign.grade_code(finding.sign, grade))
    return _obx("CWE", f"{_coded(sign)}^{_coded(local)}", place, value, "", by_sign.SCHEMES[finding.scheme])


def _conclusion(conclusion: Conclusion) -> Iterator[str]:
    area, scheme = conclusion.area.value, by_sign.SCHEMES[conclusion.scheme]
    statement = _coded(by_sign.STATEMENTS[conclusion.statement])
    yield _obx("CWE", _coded(standard.DCM.Conclusion), area, statement, "", scheme)
    if conclusion.published_degree is not None:
        degree = by_sign.grade_code(Sign.DISC_DEGENERATION, conclusion.published_degree)
        sign = by_sign.SIGNS[Sign.DISC_DEGENERATION]
        yield _obx("CWE", _coded(sign), area, _coded(degree), "", scheme)
    yield _obx("TX", _coded(standard.DCM.Comment), area, escaped(conclusion.sentence))


def _obx(kind: str, what: str, sub_id: str, value: str, unit: str = "", method: Code | None = None) -> str:
    """Value type, identifier, sub-ID, value, units, status in OBX-11, method in OBX-17."""
    head = [kind, what, escaped(sub_id)[:_LONGEST_SUB_ID], value, unit, "", "", "", "", _PRELIMINARY]
    return "|".join([*head, "", "", "", "", "", _coded(method)] if method else head)


def _coded(code: Code) -> str:
    """Code, meaning and coding system (HL7 table 0396 has DCM, SCT, UCUM and 99…)."""
    return "^".join(escaped(part) for part in (code.value, code.meaning, code.scheme_designator))
