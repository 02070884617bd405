"""A SEG as highdicom makes it when nobody helps: of the whole header and frames of full size, written by pydicom.

What :mod:`spinepacs.dicom.segmentation` writes must not differ from it in a byte.
"""

from __future__ import annotations

from copy import deepcopy

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

import spinepacs
from spinepacs.dicom import codes, identity
from spinepacs.dicom.raster import label_map, masks
from spinepacs.dicom.reading.parse import numbers, quiet, text
from spinepacs.domain.findings import ObjectKind, Reading, Vertebra
from spinepacs.settings.sections import OutputSettings

_SIZES = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}


@quiet()
def plainly_encoded(header: Dataset, reading: Reading, output: OutputSettings) -> bytes:
    """Return the file."""
    assert reading.spine
    filled = masks([vertebra.outline for vertebra in reading.spine.vertebrae], reading.rows, reading.columns)
    is_labelled = output.segmentation == "labelmap"
    syntax = RLELossless if is_labelled else ExplicitVRLittleEndian
    dataset = hd.seg.Segmentation(
        source_images=[_source(header, reading, output)],
        pixel_array=label_map(filled, reading.rows, reading.columns),
        segmentation_type="LABELMAP" if is_labelled else "BINARY",
        segment_descriptions=[
            _describe(n, v, reading) for n, v in enumerate(reading.spine.vertebrae, start=1)
        ],
        series_instance_uid="1.2.3",
        series_number=1,
        sop_instance_uid="1.2.4",
        instance_number=1,
        manufacturer="spinepacs",
        manufacturer_model_name="spinepacs",
        software_versions=spinepacs.__version__,
        device_serial_number=output.device_serial_number,
        content_label="VERTEBRAE",
        content_description=identity.DISCLAIMER,
        content_creator_name="spinepacs^",
        transfer_syntax_uid=syntax,
    )
    if (int(dataset.NumberOfFrames) * reading.rows * reading.columns + 7) // 8 % 2 and not is_labelled:
        dataset.PixelData = (
            dataset.PixelData[:-1] + b"\0"
        )  # highdicom 0.28 pads with the digit 0 (PS3.5 8.1.1: 00H)
    identity.stamp(dataset, header, reading, ObjectKind.SEG, output)
    uid = identity.derived_uid(reading.sop_uid, "DIMENSIONS", reading.versions, output.segmentation)
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
    for equipment in dataset.ContributingEquipmentSequence:
        equipment.ContributionDateTime = f"{identity.made_at(header):%Y%m%d%H%M%S}"
    if "PatientOrientation" not in dataset:
        dataset.PatientOrientation = identity.patient_orientation(header)
    return identity.encoded(ObjectKind.SEG, reading.sop_uid, dataset, syntax).part10


def _source(header: Dataset, reading: Reading, output: OutputSettings) -> Dataset:
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
    if not text(source, "FrameOfReferenceUID") or any(
        len(numbers(source, keyword)) != size for keyword, size in _SIZES.items()
    ):
        frame = identity.derived_uid(reading.sop_uid, "FRAME_OF_REFERENCE", reading.versions)
        spacing = reading.spacing
        mm = (spacing.row_mm, spacing.column_mm) if spacing else (1, 1)
        source.FrameOfReferenceUID = frame
        source.ImagePositionPatient, source.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
        source.PixelSpacing = [np.format_float_positional(v, precision=10, trim="-") for v in mm]
    source.PositionReferenceIndicator, source.SliceThickness = "", 1
    return source


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
            source="spinepacs",
        ),
        tracking_id=level.name,
        tracking_uid=identity.derived_uid(reading.sop_uid, "TRACKING", versions, level.name),
        display_color=hd.color.CIELabColor.from_rgb(*codes.colour_of(level)),
    )
