"""The source's header as encoders can use it: only the modules that they need, every value valid or left out.

highdicom raises on a missing type-2 element, on PatientSex ``X``, on a malformed date and on zero spacing; private
elements, comments and pictures have no business in derived objects.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.charset import convert_encodings, encode_string, python_encoding
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pydicom.valuerep import DA, IS, TM, DSfloat

from spinepacs.dicom.reading.parse import items, numbers, quiet, text, texts
from spinepacs.dicom.reading.spacing import SPACING_KEYWORDS, stated_mm

# fmt: off
_TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName", "Manufacturer", "SeriesNumber", "InstanceNumber",
)
_KEPT = (
    *_TYPE_2,
    # Patient and general study
    "PatientAge", "PatientSize", "PatientWeight", "IssuerOfPatientID", "StudyInstanceUID", "StudyDescription",
    # General series, frame of reference, equipment
    "Modality", "SeriesInstanceUID", "SeriesDate", "SeriesTime", "SeriesDescription", "ProtocolName",
    "BodyPartExamined", "Laterality", "FrameOfReferenceUID", "PositionReferenceIndicator", "InstitutionName",
    "StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions",
    # General image and image pixel
    "ImageType", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime", "AcquisitionNumber",
    "PatientOrientation", "ImageLaterality", "LossyImageCompression", "BurnedInAnnotation", "SamplesPerPixel",
    "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames", "PresentationLUTShape",
    # DX image, positioning and geometry
    "PresentationIntentType", "PixelIntensityRelationship", "PixelIntensityRelationshipSign", "ViewPosition",
    "PixelSpacingCalibrationType", "PixelSpacingCalibrationDescription", "PixelAspectRatio",
    "EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector", "DistanceSourceToPatient",
    # SOP common
    "SOPClassUID", "SOPInstanceUID", "TimezoneOffsetFromUTC",
)
# fmt: on
_CODE_SEQUENCES = ("AnatomicRegionSequence", "ViewCodeSequence", "ProcedureCodeSequence")
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")
_LENGTHS = {"AE": 16, "SH": 16, "LO": 64, "PN": 64, "ST": 1024}
_INTEGERS = {"US": (0, 0xFFFF), "SS": (-0x8000, 0x7FFF), "IS": (-(2**31), 2**31 - 1)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def source_header(dataset: Dataset) -> Dataset:
    """Copy what encoders need of a source image.

    Parameters
    ----------
    dataset : Dataset
        As read, with file meta; it stays as it is.

    Returns
    -------
    Dataset
        With ``file_meta``; without pixels, private elements and large sequences.  Type-2 elements of patient and
        study are present, empty where missing or not valid; PatientSex is ``M``, ``F``, ``O`` or empty; dates and
        times are valid or empty;
        spacings are two positive lengths or absent.  SpecificCharacterSet is the source's, or ``ISO_IR 192`` where its
        own is unknown, has code extensions or cannot hold the texts.
    """
    with quiet():
        header = Dataset()
        header.file_meta = _file_meta(dataset)
        for keyword in _KEPT:
            _copy(dataset, header, keyword)
        for keyword in _TYPE_2:
            if keyword not in header:
                header.add_new(keyword, dictionary_VR(keyword), None)
        if header.PatientSex not in ("M", "F", "O"):
            header.PatientSex = ""
        for keyword in SPACING_KEYWORDS:
            if spacing := stated_mm(dataset, keyword):
                header.add_new(keyword, "DS", [DSfloat(value, auto_format=True) for value in spacing])
        for keyword in _CODE_SEQUENCES:
            if coded := [item for item in map(_code, items(dataset, keyword)) if len(item) >= 3]:
                header.add_new(keyword, "SQ", coded)
        if charset := _character_set(dataset, header):
            header.SpecificCharacterSet = charset
    return header


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(text(dataset, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(dataset, "SOPInstanceUID"))
    meta.TransferSyntaxUID = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    return meta


def _copy(source: Dataset, target: Dataset, keyword: str) -> None:
    """Copy an element with the VR of the dictionary, without the values that are not valid."""
    representation = dictionary_VR(keyword)
    clean = _cleaned(source, keyword, representation)
    if all(value == "" for value in clean):
        return
    is_multiple = dictionary_VM(keyword) != "1"
    target.add_new(keyword, representation, clean if is_multiple and len(clean) > 1 else clean[0])


def _cleaned(source: Dataset, keyword: str, representation: str) -> list[Any]:
    if representation in _INTEGERS:
        least, most = _INTEGERS[representation]
        whole = [int(value) for value in numbers(source, keyword) if least <= value <= most]
        return [IS(value) for value in whole] if representation == "IS" else whole
    if representation == "DS":
        return [DSfloat(value, auto_format=True) for value in numbers(source, keyword)]
    return [_clean_text(value, representation) for value in texts(source, keyword)]


def _clean_text(value: str, representation: str) -> str:
    """Shorten or drop a text that its value representation does not allow (PS3.5 6.2)."""
    if representation == "UI":
        return value
    if representation in ("DA", "TM"):
        return value if _is_moment(value, representation) else ""
    if representation == "AS":
        return value if re.fullmatch(r"\d{3}[DWMY]", value) else ""
    if representation == "CS":
        return value.upper() if re.fullmatch(r"[A-Z0-9 _]{1,16}", value.upper()) else ""
    clean = _CONTROL.sub(" ", value).strip()
    return clean[: _LENGTHS.get(representation, 64)]


def _is_moment(value: str, representation: str) -> bool:
    pattern = r"\d{8}" if representation == "DA" else r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"
    try:
        return (
            bool(re.fullmatch(pattern, value)) and (DA if representation == "DA" else TM)(value) is not None
        )
    except ValueError:
        return False


def _code(item: Dataset) -> Dataset:
    """The code of an item, without what is nested in it."""
    copied = Dataset()
    for keyword in _CODE:
        _copy(item, copied, keyword)
    return copied


def _character_set(dataset: Dataset, header: Dataset) -> str | None:
    """Character set of the source where it is known and holds every text of the header, else UTF-8.

    Code extensions (ISO 2022) become UTF-8 too, since highdicom refuses Korean and an empty first value.
    """
    stated = texts(dataset, "SpecificCharacterSet")
    words = [str(element.value) for element in header.iterall() if element.VR in _LENGTHS and element.value]
    if stated in ((), ("ISO_IR 6",)) and all(word.isascii() for word in words):
        return None
    if len(stated) != 1 or stated[0] not in python_encoding or not stated[0].startswith(("ISO_IR 1", "GB")):
        return "ISO_IR 192"
    with quiet() as complaints:
        for word in words:
            encode_string(word, convert_encodings([stated[0]]))
    return "ISO_IR 192" if complaints else stated[0]
