"""The DICOM SEG of one radiograph: a segment for each vertebra, in native rows × columns.

``compat`` (default) invents plane geometry, since 3D Slicer, dcmqi and OHIF open no segmentation without it;
``strict`` and ``labelmap`` leave it out or encode it otherwise (docs/output.md).
"""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import lru_cache

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import spinepacs
from spinepacs.dicom import codes, identity
from spinepacs.dicom.form import Form, keep_encoded
from spinepacs.dicom.raster import PackedFrames, label_map, masks
from spinepacs.dicom.reading.parse import numbers, quiet, text
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, Versions
from spinepacs.settings.sections import OutputSettings

_FORMS = 128
"""Kept in memory, 50 kB each: films of one clinic show a few dozen runs of levels."""
_READ = (
    "SpecificCharacterSet", "SOPClassUID", "Modality", "NumberOfFrames", "LossyImageCompression", "FrameOfReferenceUID",
    "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "InstitutionName", "StationName",
)  # fmt: skip
"""What highdicom reads of a source image, beside its UIDs, its size, patient and study; the tests hold that it is all
that matters."""
_SERIES, _IMAGE, _FRAME_OF_REFERENCE, _DIMENSIONS = (f"2.25.{n}" for n in range(1, 5))
_TRACKING = tuple(f"2.25.{n}" for n in range(100, 100 + len(Level)))
_MADE_AT = "19000101000000"
_SPACING = ("0.1234567891", "0.9876543219")
_MARKS = frozenset((
    _SERIES, _IMAGE, _FRAME_OF_REFERENCE, _DIMENSIONS, *_TRACKING, _MADE_AT, "\\".join(_SPACING),
))  # fmt: skip
"""What stands in a form where each film has a value of its own."""


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_segmentation(header: Dataset, reading: Reading, output: OutputSettings) -> EncodedObject | None:
    """Encode the outlines of a reading as a SEG (PS3.3 A.51), or A.98 Label Map for ``labelmap``.

    Segments are numbered 1..N from head to foot. BINARY is written in Explicit VR Little Endian, LABELMAP in RLE.

    Parameters
    ----------
    header
        Sanitised header of the source image, without pixels (``read_film``).
    reading
        What was found on that image.
    output
        ``segmentation`` picks the encoding.

    Returns
    -------
    The object, or None for a reading without vertebrae (or without one that covers a pixel).
    """
    if reading.spine is None or not reading.spine.vertebrae:
        return None
    filled = masks([vertebra.outline for vertebra in reading.spine.vertebrae], reading.rows, reading.columns)
    present = tuple(number for number, mask in enumerate(filled, start=1) if mask.inside.any())
    if not present:
        return None
    dataset = _dataset(header, reading, output, present)
    if output.segmentation == "labelmap":
        dataset.add_new("PixelData", "OB", _run_lengths(label_map(filled, reading.rows, reading.columns)))
        dataset["PixelData"].is_undefined_length = True
        return identity.encoded(ObjectKind.SEG, reading.sop_uid, dataset, RLELossless)
    shown = [filled[number - 1] for number in present]
    frames = PackedFrames(shown, reading.rows, reading.columns)
    return identity.encoded(ObjectKind.SEG, reading.sop_uid, dataset, ExplicitVRLittleEndian, frames)


@dataclass(frozen=True)
class _Kind:
    """All that a film's dataset depends on, but for the values that fill its gaps.

    Parameters
    ----------
    present
        Numbers of the segments that have a pixel.
    read
        Keywords and values of ``source``: what highdicom reads of the image, with marks.
    by_person
        Whether a person had a hand in it.
    """

    segmentation: str
    levels: tuple[Level, ...]
    present: tuple[int, ...]
    versions: Versions
    read: tuple[tuple[str, str], ...]
    by_person: bool
    source: Dataset = field(compare=False)


def _dataset(header: Dataset, reading: Reading, output: OutputSettings, present: tuple[int, ...]) -> Dataset:
    """Everything but the pixels: what highdicom makes of such a film, with the values of this one."""
    vertebrae = reading.spine.vertebrae if reading.spine else ()
    source = _source(header, output)
    kind = _Kind(
        output.segmentation,
        tuple(vertebra.level for vertebra in vertebrae),
        present,
        reading.versions,
        tuple((element.keyword, str(element.value)) for element in source),
        reading.correction is not None,
        source,
    )
    dataset = _form(kind).filled(_values(header, reading, output))
    identity.stamp(dataset, header, reading, ObjectKind.SEG, output)
    if reading.correction:
        dataset.ContentCreatorName = reading.correction.draft.author
    dataset.Rows, dataset.Columns = reading.rows, reading.columns
    if "PatientOrientation" not in dataset:
        dataset.PatientOrientation = identity.patient_orientation(header)
    keep_encoded(dataset)
    return dataset


def _source(header: Dataset, output: OutputSettings) -> Dataset:
    """Copy what highdicom reads of the header; unless ``strict``, with plane geometry made up: pixel grid, not patient.

    Texts of patient and study stay out: highdicom refuses many character sets, and writes odd names into the log.
    """
    source = Dataset()
    for keyword in _READ:
        if keyword in header:
            source[keyword] = copy(header[keyword])
    if output.segmentation == "strict":
        for keyword in ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"):
            source.pop(keyword, None)
        return source
    if not _has_plane(source):
        source.ImagePositionPatient = [0, 0, 0]
        source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        source.PixelSpacing = list(_SPACING)
    source.FrameOfReferenceUID = _FRAME_OF_REFERENCE
    source.PositionReferenceIndicator = ""
    source.SliceThickness = 1
    return source


def _has_plane(source: Dataset) -> bool:
    """Whether the film states the whole geometry of a plane: then viewers lay only what shares it upon the film."""
    sizes = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    return bool(text(source, "FrameOfReferenceUID")) and all(
        len(numbers(source, keyword)) == size for keyword, size in sizes.items()
    )


def _values(header: Dataset, reading: Reading, output: OutputSettings) -> dict[str, str]:
    """What this film has where its form has gaps."""
    sop_uid, versions, spacing = reading.sop_uid, reading.versions, reading.spacing
    levels = [vertebra.level.name for vertebra in reading.spine.vertebrae] if reading.spine else []
    frame_of_reference = (
        header.FrameOfReferenceUID
        if _has_plane(header)
        else identity.derived_uid(sop_uid, "FRAME_OF_REFERENCE", versions)
    )
    pixel_mm = (_ds(spacing.row_mm), _ds(spacing.column_mm)) if spacing else ("1", "1")
    return {
        _SERIES: header.SeriesInstanceUID,
        _IMAGE: header.SOPInstanceUID,
        _FRAME_OF_REFERENCE: frame_of_reference,
        _DIMENSIONS: identity.derived_uid(sop_uid, "DIMENSIONS", versions, output.segmentation),
        _MADE_AT: f"{identity.made_at(header):%Y%m%d%H%M%S}",
        "\\".join(_SPACING): "\\".join(pixel_mm),
        **{mark: identity.tracking_uid(reading, name) for mark, name in zip(_TRACKING, levels, strict=False)},
    }


def _ds(value: float) -> str:
    """Return a decimal string of at most 16 characters (VR DS)."""
    return np.format_float_positional(value, precision=10, trim="-")


@lru_cache(maxsize=_FORMS)
def _form(kind: _Kind) -> Form:
    """Let highdicom make a segmentation of one pixel a segment, with marks for what each film has of its own.

    Nothing but Rows, Columns and PixelData depends on the size of a frame. What it takes from the clock and from chance
    becomes a mark too.
    """
    source = deepcopy(kind.source)
    source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID = _IMAGE, _SERIES, _IMAGE
    source.Rows, source.Columns = 1, len(kind.present)
    source.pop("SpecificCharacterSet", None)
    for keyword in identity.TYPE_2:
        source.setdefault(keyword, None)
    dataset = _segmentation(source, kind)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = _DIMENSIONS
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = _DIMENSIONS
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = _MADE_AT
    del dataset.PixelData
    if "SpecificCharacterSet" in kind.source:
        dataset.SpecificCharacterSet = kind.source.SpecificCharacterSet
    return Form(dataset, _MARKS)


def _segmentation(source: Dataset, kind: _Kind) -> hd.seg.Segmentation:
    is_labelled = kind.segmentation == "labelmap"
    return hd.seg.Segmentation(
        source_images=[source],
        pixel_array=np.array([kind.present], np.uint8),
        segmentation_type="LABELMAP" if is_labelled else "BINARY",
        segment_descriptions=[_describe(n, level, kind) for n, level in enumerate(kind.levels, start=1)],
        series_instance_uid=_SERIES,
        series_number=1,
        sop_instance_uid=_IMAGE,
        instance_number=1,
        manufacturer=identity.MANUFACTURER,
        manufacturer_model_name=identity.MANUFACTURER,
        software_versions=spinepacs.__version__,
        device_serial_number="0",
        content_label="VERTEBRAE",
        content_description=identity.DISCLAIMER,
        content_creator_name=f"{identity.MANUFACTURER}^",
        transfer_syntax_uid=RLELossless if is_labelled else ExplicitVRLittleEndian,
    )


def _describe(number: int, level: Level, kind: _Kind) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=level.name,
        segmented_property_category=codes.ANATOMICAL_STRUCTURE,
        segmented_property_type=codes.VERTEBRAE[level],
        algorithm_type="SEMIAUTOMATIC" if kind.by_person else "AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=kind.versions.model_name,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=kind.versions.model_version,
            source=identity.MANUFACTURER,
        ),
        tracking_id=level.name,
        tracking_uid=_TRACKING[number - 1],
        display_color=hd.color.CIELabColor.from_rgb(*codes.colour_of(level)),
    )


def _run_lengths(labels: NDArray[np.uint8]) -> bytes:
    """A label map as one frame in RLE."""
    frame = hd.frame.encode_frame(
        labels, RLELossless, bits_allocated=8, bits_stored=8, photometric_interpretation="MONOCHROME2"
    )
    return encapsulate([frame])
