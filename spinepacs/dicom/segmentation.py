"""The DICOM SEG of one radiograph: a segment for each vertebra, in native rows × columns.

``compat`` (default) invents plane geometry, since 3D Slicer, dcmqi and OHIF open no segmentation without it;
``strict`` and ``labelmap`` leave it out or encode it otherwise (docs/output.md).
"""

from __future__ import annotations

from copy import deepcopy

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import spinepacs
from spinepacs.dicom import codes, identity
from spinepacs.dicom.raster import label_map, packed_frames
from spinepacs.dicom.reading.parse import numbers, quiet, text
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, Vertebra
from spinepacs.settings.sections import OutputSettings


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
    outlines = [vertebra.outline for vertebra in reading.spine.vertebrae]
    labels = label_map(outlines, reading.rows, reading.columns)
    if not labels.any():
        return None
    if output.segmentation == "labelmap":
        dataset, syntax = _build(header, reading, output, labels), RLELossless
    else:
        dataset, syntax = _binary(header, reading, output, labels), ExplicitVRLittleEndian
    _make_reproducible(dataset, header, reading, output)
    return identity.encoded(ObjectKind.SEG, reading.sop_uid, dataset, syntax)


def _binary(header: Dataset, reading: Reading, output: OutputSettings, labels: NDArray[np.uint8]) -> Dataset:
    """Have highdicom build a BINARY SEG of one pixel a segment, then put the real frames in.

    Nothing but Rows, Columns and PixelData depends on the size of a frame, and highdicom goes over every frame
    several times: 24 segments of 3000 × 2500 take it twice as long as all of this.
    """
    outlines = [vertebra.outline for vertebra in reading.spine.vertebrae] if reading.spine else []
    present, bits = packed_frames(labels, outlines)
    tiny = deepcopy(header)
    tiny.Rows, tiny.Columns = 1, len(present)
    dataset = _build(tiny, reading, output, np.array([present], np.uint8))
    dataset.Rows, dataset.Columns, dataset.PixelData = reading.rows, reading.columns, bits
    return dataset


def _build(header: Dataset, reading: Reading, output: OutputSettings, labels: NDArray[np.uint8]) -> Dataset:
    """Let highdicom encode a label map of the header's size."""
    labelled = output.segmentation == "labelmap"
    moment = identity.made_at(header)
    vertebrae = reading.spine.vertebrae if reading.spine else ()
    return hd.seg.Segmentation(
        source_images=[_source(header, reading, output)],
        pixel_array=labels,
        segmentation_type="LABELMAP" if labelled else "BINARY",
        segment_descriptions=[_describe(n, v, reading) for n, v in enumerate(vertebrae, start=1)],
        series_instance_uid=identity.object_uid(reading, ObjectKind.SEG, output, "series"),
        series_number=identity.series_number(header, ObjectKind.SEG),
        sop_instance_uid=identity.object_uid(reading, ObjectKind.SEG, output),
        instance_number=1,
        manufacturer=identity.MANUFACTURER,
        manufacturer_model_name=identity.MANUFACTURER,
        software_versions=spinepacs.__version__,
        device_serial_number=output.device_serial_number,
        content_label="VERTEBRAE",
        content_description=identity.DISCLAIMER,
        content_creator_name=f"{identity.MANUFACTURER}^",
        content_date=moment.date(),
        content_time=moment.time(),
        transfer_syntax_uid=RLELossless if labelled else ExplicitVRLittleEndian,
    )


def _source(header: Dataset, reading: Reading, output: OutputSettings) -> Dataset:
    """Copy the header; unless ``strict``, with plane geometry made up: pixel grid, not patient.

    Texts of patient and study stay out: highdicom refuses many character sets, and writes odd names into the log.
    """
    source = deepcopy(header)
    for keyword in ("SpecificCharacterSet", *identity.TYPE_2, *identity.WHERE_KNOWN):
        if keyword not in ("StudyInstanceUID", "StudyDate", "StudyTime"):
            source.pop(keyword, None)
    for keyword in identity.TYPE_2:
        source.setdefault(keyword, None)
    if output.segmentation == "strict":
        for keyword in ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"):
            source.pop(keyword, None)
        return source
    if not _has_plane(source):
        source.FrameOfReferenceUID = identity.derived_uid(
            reading.sop_uid, "FRAME_OF_REFERENCE", reading.versions
        )
        source.ImagePositionPatient = [0, 0, 0]
        source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        spacing = reading.spacing
        source.PixelSpacing = [_ds(spacing.row_mm), _ds(spacing.column_mm)] if spacing else [1, 1]
    source.PositionReferenceIndicator = ""
    source.SliceThickness = 1
    return source


def _has_plane(source: Dataset) -> bool:
    """Whether the film states the whole geometry of a plane: then viewers lay only what shares it upon the film."""
    sizes = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    return bool(text(source, "FrameOfReferenceUID")) and all(
        len(numbers(source, keyword)) == size for keyword, size in sizes.items()
    )


def _describe(number: int, vertebra: Vertebra, reading: Reading) -> hd.seg.SegmentDescription:
    level, versions = vertebra.level, reading.versions
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=level.name,
        segmented_property_category=codes.ANATOMICAL_STRUCTURE,
        segmented_property_type=codes.VERTEBRAE[level],
        algorithm_type="AUTOMATIC",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=versions.model_name,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=versions.model_version,
            source=identity.MANUFACTURER,
        ),
        tracking_id=level.name,
        tracking_uid=identity.derived_uid(reading.sop_uid, "TRACKING", versions, level.name),
        display_color=hd.color.CIELabColor.from_rgb(*codes.colour_of(level)),
    )


def _make_reproducible(dataset: Dataset, header: Dataset, reading: Reading, output: OutputSettings) -> None:
    """Replace what highdicom takes from the clock and from chance; complete patient and study."""
    identity.stamp(dataset, header, reading, ObjectKind.SEG, output)
    dimensions = identity.derived_uid(reading.sop_uid, "DIMENSIONS", reading.versions, output.segmentation)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = dimensions
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = dimensions
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = f"{identity.made_at(header):%Y%m%d%H%M%S}"
    if "PatientOrientation" not in dataset:
        dataset.PatientOrientation = identity.patient_orientation(header)


def _ds(value: float) -> str:
    """Return a decimal string of at most 16 characters (VR DS)."""
    return np.format_float_positional(value, precision=10, trim="-")
