"""What a header says about study, patient and projection, whatever state it is in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from spinepacs.dicom.identity import MANUFACTURER
from spinepacs.dicom.reading.moments import date_of
from spinepacs.dicom.reading.parse import identifier, items, parse, text, texts, uid
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
_MEANINGS = ("AnatomicRegionSequence", "ProcedureCodeSequence")
_LAST_OF_HEADER = 0x00409FFF
"""Behind what :class:`StudyHeader` asks for, before the content of a report (0040,A730)."""
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_LATERAL = re.compile(
    r"\b([LR]L|[LR]?LAT\w*|LTL|SEITL\w*|PROFIL\w*|SAGITTAL|SWIMMER\w*)\b|\b(FLEX|EXTENSION)"
)
_AP = re.compile(r"\b(A\.?P|P\.?A|FRONTAL\w*|ANTERO-?POSTERIOR|POSTERO-?ANTERIOR)\b")
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
    """Projection: ViewPosition, ViewCodeSequence, PatientOrientation, and descriptions as a last resort."""
    stated = _view_in([text(dataset, "ViewPosition")])
    if stated is not View.UNKNOWN:
        return stated
    views = items(dataset, "ViewCodeSequence")
    coded = _coded(views, _VIEW_CODES) or _view_in(text(item, "CodeMeaning", dataset) for item in views)
    if coded is not View.UNKNOWN:
        return coded
    along_row = _along_row(dataset)
    if along_row:
        return View.LATERAL if along_row in "AP" else View.AP
    return _view_in(
        [text(dataset, "SeriesDescription"), text(dataset, "ProtocolName"), *_descriptions(dataset)]
    )


def anterior_left(dataset: Dataset, view: View) -> bool | None:
    """True where the rows of a lateral film run from anterior (left) to posterior; None where not stated.

    PatientOrientation names the direction in which rows and columns run (PS3.3 C.7.6.1.1.1): ``P`` first means
    that posterior is at the right.
    """
    along_row = _along_row(dataset)
    if view is not View.LATERAL or along_row not in ("A", "P"):
        return None
    return along_row == "P"


def _along_row(dataset: Dataset) -> str:
    """First letter of PatientOrientation's first value where it is one of A, P, L, R; else empty."""
    first = text(dataset, "PatientOrientation").upper()[:1]
    return first if first in ("A", "P", "L", "R") else ""


def _view_in(words: Iterable[str]) -> View:
    """View that one of the texts names, the first text first."""
    for word in words:
        clean = word.upper().replace("_", " ")
        for pattern, view in ((_OBLIQUE, View.OBLIQUE), (_LATERAL, View.LATERAL), (_AP, View.AP)):
            if pattern.search(clean):
                return view
    return View.UNKNOWN


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
