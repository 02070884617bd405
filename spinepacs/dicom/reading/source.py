"""The source's header as results need it: who it is, byte for byte; the rest valid or left out.

highdicom raises on a missing type-2 element, on PatientSex ``X``, on a malformed date and on zero spacing; private
elements, comments and pictures have no business in derived objects.
"""

from __future__ import annotations

import re
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pydicom.valuerep import IS, DSfloat

from spinepacs.dicom.identity import TYPE_2, WHERE_KNOWN, WORDS, Carried
from spinepacs.dicom.reading.moments import date_of, time_of
from spinepacs.dicom.reading.parse import (
    character_sets,
    definition,
    items,
    numbers,
    quiet,
    stored,
    tag_of,
    text,
    texts,
)
from spinepacs.dicom.reading.spacing import SPACING_KEYWORDS, stated_mm

# fmt: off
_TYPE_2_OF_IMAGES = ("Manufacturer", "SeriesNumber", "InstanceNumber")
_KEPT = (
    *_TYPE_2_OF_IMAGES,
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
    "ImagePositionPatient", "ImageOrientationPatient",
    "EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector", "DistanceSourceToPatient",
    # SOP common
    "SOPClassUID", "SOPInstanceUID",
)
# fmt: on
_CODE_SEQUENCES = ("AnatomicRegionSequence", "ViewCodeSequence")
_CODE = ("CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion", "CodeMeaning")
_LENGTHS = {"AE": 16, "SH": 16, "LO": 64, "PN": 64, "ST": 1024}
_INTEGERS = {"US": (0, 0xFFFF), "SS": (-0x8000, 0x7FFF), "IS": (-(2**31), 2**31 - 1)}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_CARRIED = WORDS | {"AS", "CS", "DA", "DS", "DT", "IS", "SQ", "TM", "UI"}
"""Value representations that are carried within sequences of patient and study."""
_DEEPEST = 4
"""Sequences within one another in patient and study: issuers are two deep."""


def source_header(dataset: Dataset) -> Dataset:
    """Copy what encoders need of a source image.

    Parameters
    ----------
    dataset : Dataset
        As read, with file meta; it stays as it is.

    Returns
    -------
    Dataset
        With ``file_meta``; without pixels, private elements and large sequences.  Texts of patient and study are bytes
        as they stand, beside the SpecificCharacterSet that they are in.  Type-2 elements of patient and study are
        present, empty where missing or not valid; PatientSex is ``M``, ``F``, ``O`` or empty; dates and times are in
        today's form or empty; spacings are two positive lengths or absent.
    """
    with quiet():
        header = Dataset()
        header.file_meta = _file_meta(dataset)
        if terms := character_sets(dataset):
            header.SpecificCharacterSet = list(terms)
        for keyword in (*TYPE_2, *WHERE_KNOWN):
            _carry(dataset, header, keyword)
        for keyword in _KEPT:
            _copy(dataset, header, keyword)
        for keyword in (*TYPE_2, *_TYPE_2_OF_IMAGES):
            if tag_of(keyword) not in header:
                header.add_new(tag_of(keyword), definition(keyword)[0], None)
        if header.PatientSex not in ("M", "F", "O"):
            header.PatientSex = ""
        for keyword in SPACING_KEYWORDS:
            if spacing := stated_mm(dataset, keyword):
                header.add_new(keyword, "DS", [DSfloat(value, auto_format=True) for value in spacing])
        for keyword in _CODE_SEQUENCES:
            if coded := [item for item in map(_code, items(dataset, keyword)) if len(item) >= 3]:
                header.add_new(keyword, "SQ", coded)
    return header


def _carry(source: Dataset, target: Dataset, keyword: str, depth: int = 0) -> None:
    """Copy an element of patient or study, where it is there: texts byte for byte."""
    if tag_of(keyword) not in source:
        return
    representation, _ = definition(keyword)
    if representation == "SQ":
        carried = [_carried(item, depth + 1) for item in items(source, keyword)] if depth < _DEEPEST else []
        if carried:
            target.add_new(tag_of(keyword), "SQ", carried)
    elif representation in WORDS:
        raw = stored(source, keyword)
        if raw.strip(b"\0 "):
            target[tag_of(keyword)] = Carried(keyword, raw)
    else:
        _copy(source, target, keyword)


def _carried(item: Dataset, depth: int) -> Dataset:
    """An item with all its elements that the Standard knows, and its own character set."""
    carried = Dataset()
    for tag in list(item.keys()):  # iterating over the item itself would convert its values
        if (keyword := keyword_for_tag(tag)) and dictionary_VR(tag) in _CARRIED:
            _carry(item, carried, keyword, depth)
    return carried


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(text(dataset, "SOPClassUID"))
    meta.MediaStorageSOPInstanceUID = UID(text(dataset, "SOPInstanceUID"))
    meta.TransferSyntaxUID = UID(text(dataset.file_meta, "TransferSyntaxUID"))
    return meta


def _copy(source: Dataset, target: Dataset, keyword: str) -> None:
    """Copy an element, where it is there, with the VR of the dictionary, without the values that are not valid."""
    if tag_of(keyword) not in source:
        return
    representation, is_many = definition(keyword)
    clean = _cleaned(source, keyword, representation)
    if all(value == "" for value in clean):
        return
    target.add_new(tag_of(keyword), representation, clean if is_many and len(clean) > 1 else clean[0])


def _cleaned(source: Dataset, keyword: str, representation: str) -> list[Any]:
    if representation in _INTEGERS:
        least, most = _INTEGERS[representation]
        whole = [int(value) for value in numbers(source, keyword) if least <= value <= most]
        return [IS(value) for value in whole] if representation == "IS" else whole
    if representation == "DS":
        return [DSfloat(value, auto_format=True) for value in numbers(source, keyword)]
    if representation == "DA":
        return [date_of(value, is_birth=keyword == "PatientBirthDate") for value in texts(source, keyword)]
    if representation == "TM":
        return [time_of(value) for value in texts(source, keyword)]
    return [_clean_text(value, representation) for value in texts(source, keyword)]


def _clean_text(value: str, representation: str) -> str:
    """Shorten or drop a text that its value representation does not allow (PS3.5 6.2)."""
    if representation == "UI":
        return value
    if representation == "AS":
        match = re.fullmatch(r"0*(\d{1,3})([DWMY])", value.upper())
        return f"{int(match[1]):03d}{match[2]}" if match else ""
    if representation == "CS":
        return value.upper() if re.fullmatch(r"[A-Z0-9 _]{1,16}", value.upper()) else ""
    clean = _CONTROL.sub(" ", value).strip()
    return clean[: _LENGTHS.get(representation, 64)]


def _code(item: Dataset) -> Dataset:
    """The code of an item, without what is nested in it."""
    copied = Dataset()
    for keyword in _CODE:
        _copy(item, copied, keyword)
    return copied
