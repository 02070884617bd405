"""The readings of one study as an HL7 v2.5.1 message ORU^R01: an OBR for each film, OBX for all that is published.

After a person's correction the OBRs are those of earlier messages, and what is gone is said once more, as gone.
Written by hand, since python-hl7's and hl7apy's escapes do not come back right (docs/exchange.md).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code

import spinepacs
from spinepacs.dicom import codes
from spinepacs.dicom.identity import derived_uid, films_uid
from spinepacs.dicom.report import measure_codes as by_measure
from spinepacs.dicom.report import sign_codes as by_sign
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Measure
from spinepacs.domain.signs import Conclusion, Finding, Sign, Statement
from spinepacs.domain.study import FilmOwner
from spinepacs.domain.told import NOTHING, Told
from spinepacs.exchange.author import closing, parts_of

CHARACTER_SET = "UNICODE UTF-8"
"""MSH-18 (HL7 table 0211)."""

_ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
_LONGEST_SUB_ID = 20
_SIDES = {
    code.meaning.lower(): side for side, code in (("left", codes.IMAGE_LEFT), ("right", codes.IMAGE_RIGHT))
}
"""What is too long for a sub-ID."""
_PRELIMINARY, _FINAL, _CORRECTED = "P", "F", "C"
"""HL7 tables 0085 (OBX-11) and 0123 (OBR-25)."""
_DELETED, _WRONG = "D", "W"
"""Of what is gone (table 0085): not there in the corrected reading; posted wrongly, of a reading that was rejected."""
_NOTHING = '""'
"""HL7's null, which deletes a value, also where a receiver does not look at the status."""


@dataclass(frozen=True)
class _Obx:
    """One OBX without its number and status.

    Parameters
    ----------
    kind, what, sub_id, value, unit, method
        OBX-2 to 6, all but the sub-ID escaped, and OBX-17.
    """

    kind: str
    what: str
    sub_id: str
    value: str
    unit: str = ""
    method: Code | None = None

    @property
    def key(self) -> tuple[str, str]:
        """By what a receiver knows it within its OBR."""
        return self.what.partition("^")[0], self.sub_id

    def said(self, status: str) -> str:
        """The segment from its second field on: status in OBX-11, method in OBX-17."""
        sub_id = escaped(self.sub_id)[:_LONGEST_SUB_ID]
        head = [self.kind, self.what, sub_id, self.value, self.unit, "", "", "", "", status]
        return "|".join([*head, "", "", "", "", "", _coded(self.method)] if self.method else head)

    def unsaid(self, status: str) -> str:
        """The same as gone, without a value."""
        return _Obx(self.kind, self.what, self.sub_id, _NOTHING).said(status)


def escaped(text: str) -> str:
    """A text within a component (HL7 v2.5.1 2.7): delimiters and line ends escaped, other controls left out."""
    found = "".join(_ESCAPES.get(each, each) for each in text)
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", "", re.sub(r"\r\n|\r|\n", r"\\.br\\", found))


def document_uid(readings: Sequence[Reading]) -> str:
    """UID by which the outbox knows the message; its control ID comes from it."""
    return films_uid(readings, "ORU")


def control_id(readings: Sequence[Reading]) -> str:
    """MSH-10, 20 characters: the same for the same films, model, policy and corrections: a receiver knows a retry."""
    digest = hashlib.sha256(document_uid(readings).encode()).digest()
    return base64.b32encode(digest).decode()[:20]


def message(owner: FilmOwner, readings: Sequence[Reading], made_at: datetime, told: Told = NOTHING) -> str:
    """Make the message, its segments ended by CR; who receives it (MSH-3 to MSH-6) is filled in when it is sent.

    Parameters
    ----------
    owner
        Patient ID and accession number stand in it, and nothing else of the patient.
    readings
        At least one; none of them refused, but by a person.
    made_at
        MSH-7 and OBR-22, with its zone.
    told
        What earlier messages have said of these films; it counts once a person has corrected one of them.
    """
    told = told if any(reading.correction for reading in readings) else NOTHING
    stamp = f"{made_at:%Y%m%d%H%M%S%z}"
    segments = [_header(stamp, control_id(readings)), _patient(owner)]
    requests = [found for reading in readings for found in _requests(reading, told.of(reading))]
    for number, (filler, reading, status, rows) in enumerate(requests, start=1):
        segments.append(_request(number, filler, owner, reading, status, stamp))
        segments.append(f"NTE|1|L|{escaped(closing(reading.correction, _made_by(reading)))}")
        segments += [f"OBX|{n}|{rest}" for n, rest in enumerate(rows, start=1)]
    return "".join(f"{segment}\r" for segment in segments)


def _requests(reading: Reading, before: Sequence[Reading]) -> Iterator[tuple[str, Reading, str, list[str]]]:
    """Of a film: filler number, reading, status, and OBX of each OBR; two where another model or policy has read it."""
    gone = _WRONG if reading.refusal else _DELETED
    earlier: dict[str, list[_Obx]] = {}
    for each in before:
        earlier.setdefault(_filler(each), []).extend(_observations(each))
    own, status = _filler(reading), _status(reading, before)
    if reading.refusal is None:
        now = [*_identity(reading), *_observations(reading)]
        rows = [row.said(status) for row in now]
        yield own, reading, status, [*rows, *_missing(earlier.pop(own, ()), now, gone)]
    for filler, rows_before in earlier.items():
        now = list(_identity(reading))
        rows = [row.said(_CORRECTED) for row in now]
        yield filler, reading, _CORRECTED, [*rows, *_missing(rows_before, now, gone)]


def _missing(before: Iterable[_Obx], now: Iterable[_Obx], gone: str) -> list[str]:
    """What was said and no longer is, each once."""
    there = {row.key for row in now}
    by_key = {row.key: row for row in before if row.key not in there}
    return [row.unsaid(gone) for row in by_key.values()]


def _status(reading: Reading, before: Sequence[Reading]) -> str:
    """Preliminary, or what a person has made of it: final where it was accepted as it was."""
    if reading.correction is None:
        return _PRELIMINARY
    changes = (each.correction for each in (*before, reading) if each.correction)
    return _FINAL if all(each.draft.is_acceptance for each in changes) else _CORRECTED


def _filler(reading: Reading) -> str:
    """OBR-3: of the film, the model and the policy."""
    return derived_uid(reading.sop_uid, "OBR", reading.versions)


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


def _request(number: int, filler: str, owner: FilmOwner, reading: Reading, status: str, stamp: str) -> str:
    """OBR: filler order number of ours, accession number in OBR-18 (IHE RAD TF-2), a person in OBR-32."""
    fields = [""] * 33
    fields[1] = str(number)
    fields[3] = f"{filler}^SPINEPACS^{filler}^ISO"
    fields[4] = _coded(codes.PLAIN_RADIOGRAPHY)
    fields[7] = owner.study_date
    fields[18] = escaped(owner.accession_number)
    fields[22], fields[24], fields[25] = stamp, "RAD", status
    fields[32] = _interpreter(reading)
    return "OBR|" + "|".join(fields[1:]).rstrip("|")


def _interpreter(reading: Reading) -> str:
    """OBR-32 (NDL, whose first component is a CNN): family and given names, without an identifier."""
    if reading.correction is None:
        return ""
    family, given, middle, prefix, suffix = map(escaped, parts_of(reading.correction.draft.author))
    return "&".join(["", family, given, middle, suffix, prefix]).rstrip("&")


def _made_by(reading: Reading) -> str:
    versions = reading.versions
    return (
        f"Made by spinepacs {spinepacs.__version__}, model {versions.model_name} {versions.model_version}, "
        f"policy {versions.policy_name} {versions.policy_version}"
    )


def _identity(reading: Reading) -> Iterator[_Obx]:
    """Which study and film."""
    yield _Obx("ST", _coded(standard.DCM.StudyInstanceUID), "", escaped(reading.study_uid))
    image = codes.private("IMAGE_UID", "SOP Instance UID of the film")
    yield _Obx("ST", _coded(image), "", escaped(reading.sop_uid))


def _observations(reading: Reading) -> Iterator[_Obx]:
    """What is published of a film."""
    basis = codes.SPACING[reading.spacing.basis if reading.spacing else None]
    yield _Obx("CWE", _coded(standard.SCT.MeasurementMethod), "", _coded(basis))
    for measure in reading.published_measures:
        yield from _measure(measure)
    for finding in reading.findings:
        if finding.published_grade is not None:
            yield _sign(finding, finding.published_grade)
    for conclusion in reading.conclusions:
        if conclusion.statement is not Statement.WITHHELD:
            yield from _conclusion(conclusion)


def _measure(measure: Measure) -> Iterator[_Obx]:
    """The value, and its ± (half-width of the 95 % interval) where it is known.

    OBX-3 and OBX-4 together are said once in a film; the second code of OBX-3 is ours, and says all of it.
    """
    coded, unit = by_measure.MEASURES[measure.quantity], by_measure.UNITS[measure.unit]
    decimals, name = by_measure.DECIMALS[measure.unit], measure.quantity.value
    where = coded.where.meaning.lower() if coded.where else ""
    words = f"{coded.concept.meaning}{where and f', {where}'}, {measure.place.name}"
    sub_id = f"{measure.place.name} {_SIDES.get(where, where)}".strip()
    what = f"{_coded(coded.concept)}^{_coded(codes.private(name, words))}"
    yield _Obx("NM", what, sub_id, _shown(measure.value, decimals), _coded(unit), coded.method)
    if measure.margin is not None:
        margin = codes.private(f"{name}_margin", f"+/- of {words}")
        what = f"{_coded(margin)}^{_coded(by_measure.UNCERTAINTY)}"
        yield _Obx("NM", what, sub_id, _shown(measure.margin, decimals), _coded(unit))


def _shown(value: float, decimals: int) -> str:
    """A rounded value; what rounds to nothing has no sign."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def _sign(finding: Finding, grade: int) -> _Obx:
    sign = by_sign.SIGNS[finding.sign]
    side = f", {by_sign.SIDES[finding.side].meaning.lower()}" if finding.side else ""
    local = codes.private(finding.sign.value, f"{sign.meaning}{side}, {finding.place.name}")
    place = f"{finding.place.name} {finding.side or ''}".strip()
    value = _coded(by_sign.grade_code(finding.sign, grade))
    return _Obx("CWE", f"{_coded(sign)}^{_coded(local)}", place, value, "", by_sign.SCHEMES[finding.scheme])


def _conclusion(conclusion: Conclusion) -> Iterator[_Obx]:
    area, scheme = conclusion.area.value, by_sign.SCHEMES[conclusion.scheme]
    statement = _coded(by_sign.STATEMENTS[conclusion.statement])
    yield _Obx("CWE", _coded(standard.DCM.Conclusion), area, statement, "", scheme)
    if conclusion.published_degree is not None:
        degree = by_sign.grade_code(Sign.DISC_DEGENERATION, conclusion.published_degree)
        sign = by_sign.SIGNS[Sign.DISC_DEGENERATION]
        yield _Obx("CWE", _coded(sign), area, _coded(degree), "", scheme)
    yield _Obx("TX", _coded(standard.DCM.Comment), area, escaped(conclusion.sentence))


def _coded(code: Code) -> str:
    """Code, meaning and coding system (HL7 table 0396 has DCM, SCT, UCUM and 99…)."""
    return "^".join(escaped(part) for part in (code.value, code.meaning, code.scheme_designator))
