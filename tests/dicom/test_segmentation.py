"""The SEG, read back by others: highdicom, dcmqi, dciodvfy."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.dicom.raster import label_map, masks
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import EncodedObject, Reading
from spinepacs.domain.geometry import Outline, Spacing, SpacingBasis
from spinepacs.settings.sections import OutputSettings
from tests.dicom import readings
from tests.dicom.plain_segmentation import plainly_encoded
from tests.dicom.tools import dciodvfy_complaints, dcmqi_label_map
from tests.films import make_dx

Setting = Literal["compat", "strict", "labelmap"]


def encode(
    header: Dataset, reading: Reading | None = None, setting: Setting = "compat"
) -> tuple[Reading, EncodedObject]:
    reading = reading or readings.reading(header)
    encoded = encode_segmentation(header, reading, OutputSettings(segmentation=setting))
    assert encoded
    return reading, encoded


def expected_labels(reading: Reading) -> NDArray[np.uint8]:
    assert reading.spine
    filled = masks([v.outline for v in reading.spine.vertebrae], reading.rows, reading.columns)
    return label_map(filled, reading.rows, reading.columns)


def read_back(encoded: EncodedObject) -> Any:
    return hd.seg.segread(BytesIO(encoded.part10))


@pytest.mark.parametrize("setting", ["compat", "strict", "labelmap"])
def test_highdicom_reads_back_the_label_map_pixel_for_pixel(setting: Setting) -> None:
    header = readings.header(600, 403)  # columns not divisible by 8: bits of rows are not aligned to bytes
    reading, encoded = encode(header, setting=setting)
    back = read_back(encoded)
    pixels = back.get_pixels_by_source_instance([header.SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(pixels[0], expected_labels(reading))


_PLANE = {
    "FrameOfReferenceUID": "1.2.3.4", "ImagePositionPatient": [10, -20, 30.5],
    "ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "PixelSpacing": [0.25, 0.25],
}  # fmt: skip
_FILMS: dict[str, tuple[dict[str, Any], Spacing | None]] = {
    "plain": ({}, readings.SPACING),
    "without spacing": ({"ImagerPixelSpacing": None}, None),
    "odd spacing": ({}, Spacing(0.1428571428571, 1 / 3, SpacingBasis.CALIBRATED)),
    "of a plane": (_PLANE, readings.SPACING),
    "half a plane": ({**_PLANE, "ImagePositionPatient": None}, readings.SPACING),
    "turned, negative": ({"PhotometricInterpretation": "MONOCHROME1", "PatientOrientation": ["F", "A"]}, None),
    "lossy": ({"LossyImageCompression": "01", "SoftwareVersions": ["1", "2"]}, readings.SPACING),
    "of an unknown device": ({"Manufacturer": None, "ManufacturerModelName": None}, readings.SPACING),
    "in another script": (
        {
            "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jörg", "InstitutionName": "Universität",
            "StationName": "Röntgen 1", "StudyDescription": "Wirbelsäule",
        },
        readings.SPACING,
    ),
    "computed radiography": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"}, readings.SPACING),
    "that says all it can": (
        {
            "SeriesDescription": "a", "ProtocolName": "b", "BodyPartExamined": "CSPINE", "Laterality": "U",
            "PositionReferenceIndicator": "c", "DeviceSerialNumber": "d", "AcquisitionDate": "20250203",
            "AcquisitionTime": "040506", "AcquisitionNumber": "7", "NumberOfFrames": 1, "BurnedInAnnotation": "YES",
            "PresentationLUTShape": "IDENTITY", "PixelAspectRatio": [1, 2], "DistanceSourceToDetector": "1500",
            "EstimatedRadiographicMagnificationFactor": "1.1", "PatientComments": "e", "PatientAge": "050Y",
            "ReferencedStudySequence": [Dataset()], "ClinicalTrialSiteName": "f", "PatientIdentityRemoved": "NO",
            "PixelSpacing": [0.2, 0.2], "ImagePositionPatient": [1, 2, 3], "OtherPatientIDs": ["g", "h"],
        },
        readings.SPACING,
    ),
    "undated": ({"StudyDate": "", "StudyTime": "", "ContentDate": "", "StudyID": ""}, readings.SPACING),
}  # fmt: skip


@pytest.mark.parametrize("setting", ["compat", "strict", "labelmap"])
@pytest.mark.parametrize("film", _FILMS)
def test_not_a_byte_differs_from_what_highdicom_makes_of_the_whole_film(setting: Setting, film: str) -> None:
    elements, spacing = _FILMS[film]
    output = OutputSettings(segmentation=setting, device_serial_number="77")
    for number, (rows, columns, first, count) in enumerate(
        [(601, 403, Level.C2, 6), (601, 403, Level.C2, 6), (320, 160, Level.L3, 1), (599, 397, Level.C1, 25)]
    ):
        header = readings.header(rows, columns, seed=f"film {number}", study=f"study {number}", **elements)
        reading = readings.reading(header, first, count, spacing)
        encoded = encode_segmentation(header, reading, output)
        assert encoded
        assert encoded.part10 == plainly_encoded(header, reading, output)


@pytest.mark.parametrize("setting", ["compat", "labelmap"])
def test_nor_where_outlines_overlap_leave_the_film_or_cover_no_pixel(setting: Setting) -> None:
    header, output = readings.header(203, 101), OutputSettings(segmentation=setting)
    reading = readings.reading(header, Level.T12, 5)
    assert reading.spine
    shapes: list[list[list[float]]] = [
        [[-20, -9], [60, -9], [60, 31], [-20, 31]], [[20, 11], [160, 11], [160, 90], [20, 90]],
        [[5.6, 5.6], [5.9, 5.6], [5.9, 5.9]], [[0, 80], [40, 80], [40, 203], [0, 203]],
        [[30, 190], [101, 190], [101, 230], [30, 230]],
    ]  # fmt: skip
    vertebrae = tuple(
        replace(vertebra, outline=Outline(np.array(shape)))
        for vertebra, shape in zip(reading.spine.vertebrae, shapes, strict=True)
    )
    reading = replace(reading, spine=replace(reading.spine, vertebrae=vertebrae))
    encoded = encode_segmentation(header, reading, output)
    assert encoded
    assert encoded.part10 == plainly_encoded(header, reading, output)


def test_segments_are_named_coded_and_coloured_from_head_to_foot() -> None:
    header = readings.header(1200, 400)
    _, encoded = encode(header, readings.reading(header, Level.L3, 4))
    back = read_back(encoded)
    segments = [back.get_segment_description(number) for number in back.segment_numbers]
    assert [s.segment_label for s in segments] == ["L3", "L4", "L5", "S1"]
    assert [s.segmented_property_type.value for s in segments] == [
        "36470004", "11994002", "49668003", "54735007",
    ]  # fmt: skip
    assert {s.segmented_property_category.meaning for s in segments} == {"Anatomical Structure"}
    assert {s.SegmentAlgorithmType for s in segments} == {"AUTOMATIC"}
    algorithm = segments[0].algorithm_identification
    assert (algorithm.name, algorithm.version) == ("spine-v0", "0.1")
    colours = [tuple(s.RecommendedDisplayCIELabValue) for s in segments]
    assert all(a != b for a, b in pairwise(colours))
    assert len({s.tracking_uid for s in segments}) == 4


@pytest.mark.peer
@pytest.mark.parametrize("columns", [400, 403])
def test_dcmqi_reads_the_same_label_map(tmp_path: Path, columns: int) -> None:
    reading, encoded = encode(readings.header(600, columns))
    path = tmp_path / "seg.dcm"
    path.write_bytes(encoded.part10)
    np.testing.assert_array_equal(dcmqi_label_map(path, tmp_path / "dcmqi"), expected_labels(reading))


@pytest.mark.peer
@pytest.mark.parametrize("setting", ["compat", "strict"])
def test_dciodvfy_has_nothing_to_say(tmp_path: Path, setting: Setting) -> None:
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(readings.header(), setting=setting)[1].part10)
    assert dciodvfy_complaints(path) == []


def test_the_same_reading_gives_the_same_bytes() -> None:
    assert encode(readings.header())[1].part10 == encode(readings.header())[1].part10


def test_identity_patient_and_study_are_carried_over() -> None:
    header = readings.header()
    _, encoded = encode(header)
    dataset = pydicom.dcmread(BytesIO(encoded.part10))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDescription", "AccessionNumber"):
        assert dataset[keyword].value == make_dx()[keyword].value
    assert dataset.SeriesInstanceUID == encoded.series_uid != header.SeriesInstanceUID
    assert dataset.SOPInstanceUID == encoded.sop_uid == dataset.file_meta.MediaStorageSOPInstanceUID
    assert dataset.Manufacturer == dataset.ManufacturerModelName == "spinepacs"
    assert dataset.SeriesDescription == "Vertebrae C2-C7 (spinepacs, not for diagnostic use)"
    referenced = dataset.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == header.SeriesInstanceUID
    assert referenced.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Šešelj^Žofie"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_in_other_scripts_survive(charset: str | list[str], name: str) -> None:
    header = readings.header(SpecificCharacterSet=charset, PatientName=name)
    back = pydicom.dcmread(BytesIO(encode(header)[1].part10))
    assert str(back.PatientName) == name


def test_a_name_of_one_part_survives_and_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    header = readings.header(PatientName="GEHEIM")  # highdicom would warn of it; warnings are errors here
    back = pydicom.dcmread(BytesIO(encode(header)[1].part10))
    assert str(back.PatientName) == "GEHEIM"
    assert "GEHEIM" not in caplog.text


def test_compat_says_where_pixels_lie_and_strict_says_nothing() -> None:
    header = readings.header()
    spacing = Spacing(0.2, 0.15, SpacingBasis.CALIBRATED)
    compat = read_back(encode(header, readings.reading(header, spacing=spacing))[1])
    shared = compat.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.2, 0.15]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    strict = read_back(encode(header, setting="strict")[1])
    assert "FrameOfReferenceUID" not in strict
    assert "PlaneOrientationSequence" not in strict.SharedFunctionalGroupsSequence[0]


@pytest.mark.parametrize("missing", ["", "FrameOfReferenceUID", "ImagePositionPatient", "PixelSpacing"])
def test_a_film_that_states_its_plane_keeps_it(missing: str) -> None:
    plane = {
        "FrameOfReferenceUID": "1.2.3.4", "ImagePositionPatient": [10, -20, 30],
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1], "PixelSpacing": [0.25, 0.25],
    }  # fmt: skip
    header = readings.header(**{**plane, **({missing: None} if missing else {})})
    spacing = Spacing(0.2, 0.2, SpacingBasis.MAGNIFICATION_CORRECTED)
    compat = read_back(encode(header, readings.reading(header, spacing=spacing))[1])
    shared = compat.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    is_kept = not missing
    assert (compat.FrameOfReferenceUID == "1.2.3.4") is is_kept
    assert orientation == (plane["ImageOrientationPatient"] if is_kept else [1, 0, 0, 0, 1, 0])
    assert shared.PixelMeasuresSequence[0].PixelSpacing == ([0.25, 0.25] if is_kept else [0.2, 0.2])


def test_a_film_without_spacing_gets_pixels_of_one() -> None:
    header = readings.header(ImagerPixelSpacing=None)
    compat = read_back(encode(header, readings.reading(header, spacing=None))[1])
    assert compat.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [1, 1]


def test_a_vertebra_too_small_for_a_pixel_leaves_the_others_in_place() -> None:
    header = readings.header()
    reading = readings.reading(header)
    assert reading.spine
    vertebrae = list(reading.spine.vertebrae)
    vertebrae[2] = replace(vertebrae[2], outline=Outline(np.array([[9.6, 9.6], [9.9, 9.6], [9.9, 9.9]])))
    reading = replace(reading, spine=replace(reading.spine, vertebrae=tuple(vertebrae)))
    back = read_back(encode(header, reading)[1])
    assert [back.get_segment_description(n).segment_label for n in (2, 3, 4)] == ["C3", "C4", "C5"]
    pixels = back.get_pixels_by_source_instance([header.SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(pixels[0], expected_labels(reading))


def test_a_reading_without_a_spine_gets_no_segmentation() -> None:
    header = readings.header()
    nothing = replace(readings.reading(header), spine=None, discs=(), findings=())
    assert encode_segmentation(header, nothing, OutputSettings()) is None
