"""What a header says about study, patient and projection, whatever state it is in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from spinepacs.dicom.identity import MANUFACTURER
from spinepacs.dicom.reading.moments import date_of
from spinepacs.dicom.reading.parse import identifier, items, parse, quiet, text, texts, uid
from spinepacs.domain.geometry import Turn
from spinepacs.domain.study import StudyHeader, View
from spinepacs.errors import BadInput

_Meaning = TypeVar("_Meaning")
_DESCRIPTIONS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "RequestedProcedureDescription",
    "AcquisitionDeviceProcessingDescription",
)
_TEXTS_OF_IMAGE = ("SeriesDescription", "ProtocolName")
_OPPOSITE = {"A": "P", "P": "A", "L": "R", "R": "L", "H": "F", "F": "H"}
"""Directions of PatientOrientation (PS3.3 C.7.6.1.1.1)."""
_MEANINGS = ("AnatomicRegionSequence", "ProcedureCodeSequence")
_LAST_OF_HEADER = 0x00409FFF
"""Behind what :class:`StudyHeader` asks for, before the content of a report (0040,A730)."""
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_LATERAL = re.compile(
    r"\b([LR]L|(AP|PA)?[LR]?LAT\w*|(AP|PA)LL|LTL|SEITL\w*|[PB]ROFIL\w*|PERFIL\w*|SAGITTAL|SWIMMER\w*|DWARS\w*|"
    r"ZIJDELINGS\w*|BOCZN\w*|BO[CČ]N\w*|БОК\w*)\b|\b(FLEX|EXTENSION)|[侧側][位面]|측면"
)
_AP = re.compile(
    r"\b(A\.? ?P|P\.? ?A|(AP|PA)(LL|[LR]?LAT\w*)|FRONTAL\w*|FACE|ANTERO-?POST\w*|POSTERO-?ANT\w*|VOORACHTER\w*|"
    r"PRZEDNIO\w*|ПРЯМ\w*)\b|正[位面侧側]|정면|전후"
)
_OBLIQUE = re.compile(r"\b([LR][AP]O|[LR]LO|OBL\w*|SCHR[ÄA]G\w*)\b|OBLIQUE")
_VIEW_CODES: tuple[tuple[Code, View], ...] = (
    (codes.cid4010.AnteroPosterior, View.AP),
    (codes.cid4010.PosteroAnterior, View.AP),
    (codes.cid4010.Frontal, View.AP),
    (codes.cid4010.LateralProjection, View.LATERAL),
    (codes.cid4010.LeftLateral, View.LATERAL),
    (codes.cid4010.RightLateral, View.LATERAL),
    (codes.cid4010.Sagittal, View.LATERAL),
)
_REGION_CODES: tuple[tuple[Code, str], ...] = (
    (codes.cid4009.CervicalSpine, "CSPINE"),
    (codes.cid4009.CervicoThoracicSpine, "CTSPINE"),
    (codes.cid4009.ThoracicSpine, "TSPINE"),
    (codes.cid4009.ThoracoLumbarSpine, "TLSPINE"),
    (codes.cid4009.LumbarSpine, "LSPINE"),
    (codes.cid4009.LumboSacralSpine, "LSSPINE"),
    (codes.cid4009.Spine, "SPINE"),
)


def read_header(path: Path, character_set: str = "") -> StudyHeader:
    """Read what the ledger and the selection need; no pixels.

    Parameters
    ----------
    path : Path
        The file.
    character_set : str
        Of its texts where it declares none, see :func:`spinepacs.dicom.reading.parse.parse`.

    Raises
    ------
    BadInput
        ``NOT_DICOM``, ``DICOMDIR``, ``TRUNCATED``, ``DAMAGED_DATASET``, ``MISSING_UID``, ``INVALID_UID``.
    Transient
        The file cannot be opened or the disk fails.
    """
    return header_of(parse(path, with_pixels=False, character_set=character_set, last_tag=_LAST_OF_HEADER))


@quiet()
def header_of(dataset: Dataset) -> StudyHeader:
    """Take a :class:`StudyHeader` from a dataset with file meta; raises ``BadInput`` as :func:`read_header`."""
    if "DirectoryRecordSequence" in dataset:
        raise BadInput("DICOMDIR", "a DICOMDIR lists files and holds no image: name the folder or its files")
    sex = text(dataset, "PatientSex").upper()
    return StudyHeader(
        study_uid=uid(dataset, "StudyInstanceUID"),
        series_uid=uid(dataset, "SeriesInstanceUID"),
        sop_uid=uid(dataset, "SOPInstanceUID"),
        sop_class_uid=uid(dataset, "SOPClassUID"),
        transfer_syntax_uid=_transfer_syntax(dataset),
        modality=text(dataset, "Modality").upper(),
        body_part=body_part_of(dataset),
        descriptions=_descriptions(dataset),
        patient_id=identifier(dataset, "PatientID"),
        patient_sex=sex if sex in ("M", "F", "O") else "",
        patient_age_years=_age_years(dataset),
        study_date=date_of(text(dataset, "StudyDate")),
        accession_number=identifier(dataset, "AccessionNumber"),
        study_description=text(dataset, "StudyDescription"),
        manufacturer=text(dataset, "Manufacturer"),
        is_ours=text(dataset, "Manufacturer") == text(dataset, "ManufacturerModelName") == MANUFACTURER,
        priority=_priority(dataset),
        issuer_of_patient_id=identifier(dataset, "IssuerOfPatientID"),
    )


def _priority(dataset: Dataset) -> str:
    """Priority of the request, which belongs to the worklist (PS3.4 K.6.1.2.2): some modalities copy it into images."""
    requests = [dataset, *items(dataset, "RequestAttributesSequence")]
    stated = (text(request, "RequestedProcedurePriority").upper() for request in requests)
    return next(filter(None, stated), "")


def body_part_of(dataset: Dataset) -> str:
    """BodyPartExamined in upper case, else the region of the spine that AnatomicRegionSequence codes, else empty."""
    stated = text(dataset, "BodyPartExamined").upper()
    return stated or _coded(items(dataset, "AnatomicRegionSequence"), _REGION_CODES) or ""


def view_of(dataset: Dataset) -> View:
    """Projection: ViewPosition, ViewCodeSequence, PatientOrientation, and descriptions as a last resort.

    A text that names two views says nothing, and one of the image itself goes before one of the study.
    """
    if stated := _stated_views(dataset):
        return stated[0]
    texts_of_image = [text(dataset, keyword) for keyword in _TEXTS_OF_IMAGE]
    return _view_in([*texts_of_image, *_descriptions(dataset)]) or View.UNKNOWN


def view_grounds(dataset: Dataset) -> list[tuple[str, View]]:
    """Keywords of the elements that speak of the view, and what they say, the one that is believed first."""
    stated = [(keyword, view) for keyword, say in _VIEW_ELEMENTS.items() if (view := say(dataset))]
    speaking = [
        (keyword, view)
        for keyword in dict.fromkeys((*_TEXTS_OF_IMAGE, *_DESCRIPTIONS))
        if (view := _view_in(texts(dataset, keyword)))
    ]
    return stated + speaking


def view_is_sure(dataset: Dataset) -> bool:
    """Whether elements of the image state the view and agree; texts mostly speak of studies with several views."""
    stated = set(_stated_views(dataset))
    return bool(stated) and not {View.AP, View.LATERAL} <= stated


def _stated_views(dataset: Dataset) -> list[View]:
    """Views that the elements made for them state, the best first."""
    return [view for say in _VIEW_ELEMENTS.values() if (view := say(dataset))]


def turn_of(dataset: Dataset) -> Turn | None:
    """What brings the head up, by PatientOrientation (PS3.3 C.7.6.1.1.1); None where it does not say.

    The element describes the image as it is stored.  FieldOfViewRotation and FieldOfViewHorizontalFlip do not: they
    relate it to the detector (PS3.3 C.8.11.4), and are not read.
    """
    match _directions(dataset):
        case (_, "F"):
            return Turn.NONE
        case (_, "H"):
            return Turn.HALF
        case ("F", _):
            return Turn.CLOCKWISE
        case ("H", _):
            return Turn.COUNTERCLOCKWISE
    return None


def anterior_left(dataset: Dataset, view: View) -> bool | None:
    """True where a lateral film, turned head up, shows anterior at the left; None where that is not stated.

    PatientOrientation names the direction in which rows and columns run: ``P`` first means that posterior is at the
    right.
    """
    rightwards = _rightwards(dataset)
    if view is not View.LATERAL or rightwards not in ("A", "P"):
        return None
    return rightwards == "P"


def _directions(dataset: Dataset) -> tuple[str, ...]:
    """Main letters of the directions to which rows and columns run; none where they cannot be those of a film.

    One of them is head or foot, the other one a side of the patient; a single value is that of the rows.
    """
    letters = tuple(value.upper()[:1] for value in texts(dataset, "PatientOrientation"))
    if len(letters) == 2 and all(letters):
        along, aside = set(letters) & {"H", "F"}, set(letters) & {"A", "P", "L", "R"}
        return letters if len(along) == len(aside) == 1 else ()
    return letters[:1] if letters and letters[0] in _OPPOSITE else ()


def _rightwards(dataset: Dataset) -> str:
    """Side of the patient at the right of the image with its head up; empty where it is not stated."""
    directions = _directions(dataset)
    match turn_of(dataset):
        case Turn.HALF:
            return _OPPOSITE[directions[0]]
        case Turn.CLOCKWISE if len(directions) == 2:
            return _OPPOSITE[directions[1]]
        case Turn.COUNTERCLOCKWISE if len(directions) == 2:
            return directions[1]
    return directions[0] if directions and directions[0] in "APLR" else ""


def _position(dataset: Dataset) -> View | None:
    return _view_in([text(dataset, "ViewPosition")])


def _view_code(dataset: Dataset) -> View | None:
    """What ViewCodeSequence means; nothing where its items contradict one another."""
    found = set()
    for item in items(dataset, "ViewCodeSequence"):
        if view := _coded([item], _VIEW_CODES) or _view_in([text(item, "CodeMeaning")]):
            found.add(view)
    return found.pop() if len(found) == 1 else None


def _oriented(dataset: Dataset) -> View | None:
    """Rows or columns that run to the front or the back are those of a lateral film."""
    side = _rightwards(dataset)
    return (View.LATERAL if side in "AP" else View.AP) if side else None


def _view_in(words: Iterable[str]) -> View | None:
    """View that one of the texts names, the first text first; a text that names AP and lateral says nothing."""
    for word in words:
        clean = word.upper().replace("_", " ")
        oblique, lateral, frontal = (bool(pattern.search(clean)) for pattern in (_OBLIQUE, _LATERAL, _AP))
        if (lateral and frontal) or not (oblique or lateral or frontal):
            continue
        return View.OBLIQUE if oblique else View.LATERAL if lateral else View.AP
    return None


def _coded(coded: list[Dataset], meanings: Iterable[tuple[Code, _Meaning]]) -> _Meaning | None:
    """Meaning of the first known code; pydicom takes the older SNOMED identifiers for equal."""
    for item in coded:
        code = Code(text(item, "CodeValue"), text(item, "CodingSchemeDesignator"), "")
        for known, meaning in meanings:
            if code == known:
                return meaning
    return None


def _descriptions(dataset: Dataset) -> tuple[str, ...]:
    """Descriptions of study, series and procedure, and the meanings of codes; no element that is meant for names."""
    found = [value for keyword in _DESCRIPTIONS for value in texts(dataset, keyword)]
    found += [text(item, "CodeMeaning", dataset) for keyword in _MEANINGS for item in items(dataset, keyword)]
    for request in items(dataset, "RequestAttributesSequence"):
        found += [
            text(request, keyword, dataset)
            for keyword in ("RequestedProcedureDescription", "ScheduledProcedureStepDescription")
        ]
    return tuple(dict.fromkeys(value for value in found if value))


def _transfer_syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    if meta is None:
        raise BadInput("MISSING_UID", "the file has no file meta information: write it as PS3.10 asks")
    return uid(meta, "TransferSyntaxUID")


def _age_years(dataset: Dataset) -> float | None:
    """PatientAge, else the years from birth to the study; None beyond 0 … 130."""
    match = re.fullmatch(r"(\d{1,3})([YMWD])", text(dataset, "PatientAge").upper())
    if match:
        return int(match[1]) * _YEARS[match[2]]
    born, seen = (
        date_of(text(dataset, "PatientBirthDate"), is_birth=True),
        date_of(text(dataset, "StudyDate")),
    )
    if not born or not seen:
        return None
    years = (datetime.strptime(seen, "%Y%m%d") - datetime.strptime(born, "%Y%m%d")).days / 365.25
    return round(years, 2) if 0 <= years <= 130 else None


_VIEW_ELEMENTS: dict[str, Callable[[Dataset], View | None]] = {
    "ViewPosition": _position,
    "ViewCodeSequence": _view_code,
    "PatientOrientation": _oriented,
}
"""The elements that are made to state the view, the best first."""
