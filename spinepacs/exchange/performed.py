"""What a worklist is told about a workitem: how far it is, what was made of it, or why it was not done.

Here are the attributes that PS3.4 Table CC.2.5-3 asks for before a final state (P in its column: for COMPLETED, X: for
CANCELED) and that are ours to fill; the rest (R) stands in the workitem from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import groupby

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from spinepacs.domain.worklist import CodedTerm, Output
from spinepacs.settings.destinations import DicomDestination, DicomwebDestination

DONE_PERCENT = 100
_LONGEST_TEXT, _LONGEST_MEANING = 1024, 64

_FORMAT, _KIND, _INCOMPLETE, _FAILURE, _OTHER = (
    codes.DCM.ObjectsIncorrectlyFormatted,
    codes.DCM.ObjectTypesNotSupported,
    codes.DCM.ObjectSetIncomplete,
    codes.DCM.EquipmentFailure,
    codes.DCM.DiscontinuedForUnspecifiedReason,
)
_REASONS: dict[str, Code] = {
    **dict.fromkeys(("NOT_DICOM", "DICOMDIR", "TRUNCATED", "DAMAGED_DATASET", "DAMAGED_PIXELS", "MISSING_UID",
                     "INVALID_UID", "SOP_UID_MISMATCH", "UNDECODABLE_PIXELS", "PIXEL_DATA_LENGTH", "NO_PIXEL_DATA",
                     "WRONG_TRANSFER_SYNTAX"), _FORMAT),
    **dict.fromkeys(("NOT_ASKED_FOR", "NO_INPUT", "NOT_SELECTED", "NO_RADIOGRAPH", "NOT_AN_IMAGE", "MULTI_FRAME",
                     "COLOUR", "UNSUPPORTED_TRANSFER_SYNTAX", "UNSUPPORTED_BITS", "TOO_LARGE", "IMAGE_TOO_LARGE"),
                    _KIND),
    **dict.fromkeys(("NOT_SENT", "NOT_FOUND", "GONE", "FILE_MISSING"), _INCOMPLETE),
    **dict.fromkeys(("FETCH_DIED", "ATTEMPTS_USED_UP", "STUDY_FAILED", "WORKER_DIED", "READER_DIED", "MEMORY_LIMIT",
                     "TIME_LIMIT", "HEADER_KILLS_READER"), _FAILURE),
}  # fmt: skip
"""Codes of CID 9300 and 9302 for our own reasons."""

Retrieval = Callable[[Output], Dataset]
"""Gives the item that says where an object is to be had, in its sequence."""


def progress(percent: int, words: str) -> Dataset:
    """How far it is."""
    content, step = Dataset(), Dataset()
    step.ProcedureStepProgress, step.ProcedureStepProgressDescription = percent, words
    content.ProcedureStepProgressInformationSequence = [step]
    return content


def performed(
    station: CodedTerm,
    code: CodedTerm | None,
    began_at: datetime,
    outputs: Sequence[Output],
    where: Retrieval,
) -> Dataset:
    """What was done, when, by whom, and what came of it."""
    content = progress(DONE_PERCENT, "read")
    step = Dataset()
    step.PerformedStationNameCodeSequence = [_item(station)]
    step.PerformedProcedureStepStartDateTime = _moment(began_at)
    step.PerformedProcedureStepEndDateTime = _moment(datetime.now(UTC))
    step.PerformedWorkitemCodeSequence = [_item(code or _READ)]
    step.OutputInformationSequence = [
        _reference(list(of_series), where)
        for _, of_series in groupby(sorted(outputs), lambda output: output[:2])
    ]
    content.UnifiedProcedureStepPerformedProcedureSequence = [step]
    return content


_READ = CodedTerm(codes.DCM.ComputerAidedDiagnosis.value, "DCM", codes.DCM.ComputerAidedDiagnosis.meaning)
"""Of CID 9231, where the workitem names no code."""


def held_by(place: DicomDestination | DicomwebDestination, output: Output) -> Dataset:
    """Where an object is to be had (PS3.3 Table 10-3b): where it was sent."""
    item, access = Dataset(), Dataset()
    if isinstance(place, DicomDestination):
        access.RetrieveAETitle = place.ae_title
        item.DICOMRetrievalSequence = [access]
    else:
        access.RetrieveURL = f"{place.url}/studies/{output.study_uid}/series/{output.series_uid}"
        item.WADORSRetrievalSequence = [access]
    return item


def not_performed(reason_code: str, reason: str) -> Dataset:
    """Why it was not done."""
    content, step = Dataset(), Dataset()
    step.ProcedureStepCancellationDateTime = _moment(datetime.now(UTC))
    step.ReasonForCancellation = f"{reason_code}: {reason}"[:_LONGEST_TEXT]
    code = _REASONS.get(reason_code, _OTHER)
    step.ProcedureStepDiscontinuationReasonCodeSequence = [
        _item(CodedTerm(code.value, code.scheme_designator, code.meaning))
    ]
    content.ProcedureStepProgressInformationSequence = [step]
    return content


def _reference(outputs: Sequence[Output], where: Retrieval) -> Dataset:
    """Objects of one series (PS3.3 Table 10-3b)."""
    item = where(outputs[0])
    item.TypeOfInstances = "DICOM"
    item.StudyInstanceUID, item.SeriesInstanceUID = outputs[0].study_uid, outputs[0].series_uid
    item.ReferencedSOPSequence = []
    for output in outputs:
        referenced = Dataset()
        referenced.ReferencedSOPClassUID, referenced.ReferencedSOPInstanceUID = (
            output.sop_class_uid,
            output.sop_uid,
        )
        item.ReferencedSOPSequence.append(referenced)
    return item


def _item(term: CodedTerm) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator = term.value, term.scheme
    item.CodeMeaning = (term.meaning or term.value)[:_LONGEST_MEANING]
    return item


def _moment(at: datetime) -> str:
    """VR DT in UTC."""
    return f"{at.astimezone(UTC):%Y%m%d%H%M%S.%f}+0000"
