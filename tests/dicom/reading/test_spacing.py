"""The ladder of spacings: which one is believed, and what is not believed at all."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.film import header_notes, refusal_of
from spinepacs.dicom.reading.spacing import aspect_ratio_of, contradicts_itself, spacing_of, stated_mm
from spinepacs.domain.geometry import Spacing, SpacingBasis
from tests.films import make_cr

PIXEL, IMAGER, SCANNED = [0.12, 0.12], [0.15, 0.15], [0.1, 0.1]
ERMF, SID, SOD = (
    "EstimatedRadiographicMagnificationFactor",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
)


def film(**elements: Any) -> Dataset:
    return make_cr(**elements)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (
            {
                "PixelSpacing": PIXEL,
                "PixelSpacingCalibrationType": "FIDUCIAL",
                "ImagerPixelSpacing": IMAGER,
                ERMF: 1.2,
            },
            Spacing(0.12, 0.12, SpacingBasis.CALIBRATED),
        ),
        (
            {"PixelSpacing": PIXEL, "PixelSpacingCalibrationType": "GEOMETRY", "ImagerPixelSpacing": IMAGER},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, ERMF: 1.25, SID: 1800, SOD: 1700},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED, 1.25),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, SID: 1500, SOD: 1200},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED, 1.25),
        ),
        ({"ImagerPixelSpacing": IMAGER}, Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE)),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": IMAGER},
            Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": PIXEL},
            Spacing(0.12, 0.12, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (
            {
                "ImagerPixelSpacing": [0.2556, 0.2556],
                "PixelSpacing": [0.2, 0.2],
                "PixelSpacingCalibrationType": "",
            },
            Spacing(0.2, 0.2, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": PIXEL, "PixelSpacingCalibrationType": "NONE"},
            Spacing(0.12, 0.12, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (  # larger than at the detector: the image was made smaller afterwards
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": [0.3, 0.3]},
            Spacing(0.3, 0.3, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": PIXEL, ERMF: 1.25},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": PIXEL, SID: 1500, SOD: 1200},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": [0.13, 0.13], ERMF: 1.25},
            Spacing(0.13, 0.13, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": IMAGER, ERMF: 1.25},
            Spacing(0.12, 0.12, SpacingBasis.MAGNIFICATION_CORRECTED, 1.25),
        ),
        (  # equal but for rounding
            {"ImagerPixelSpacing": [0.1436, 0.1436], "PixelSpacing": [0.144, 0.144]},
            Spacing(0.1436, 0.1436, SpacingBasis.DETECTOR_PLANE),
        ),
        (  # a placeholder
            {"ImagerPixelSpacing": IMAGER, "PixelSpacing": [1, 1]},
            Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE),
        ),
        (
            {"NominalScannedPixelSpacing": SCANNED, "PixelSpacing": SCANNED},
            Spacing(0.1, 0.1, SpacingBasis.DETECTOR_PLANE),
        ),
        (
            {"NominalScannedPixelSpacing": SCANNED, "PixelSpacing": [0.08, 0.08]},
            Spacing(0.08, 0.08, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        (
            {"NominalScannedPixelSpacing": SCANNED, ERMF: 1.25},
            Spacing(0.08, 0.08, SpacingBasis.MAGNIFICATION_CORRECTED, 1.25),
        ),
        (
            {"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.16, 0.08]},
            Spacing(0.16, 0.08, SpacingBasis.CALIBRATED_UNKNOWN),
        ),
        ({"NominalScannedPixelSpacing": SCANNED}, Spacing(0.1, 0.1, SpacingBasis.DETECTOR_PLANE)),
        ({"PixelSpacing": PIXEL}, Spacing(0.12, 0.12, SpacingBasis.UNCALIBRATED)),
        ({}, None),
    ],
)
def test_the_best_ground_wins(elements: dict[str, Any], expected: Spacing | None) -> None:
    found = spacing_of(film(**elements))
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.row_mm, found.column_mm) == pytest.approx((expected.row_mm, expected.column_mm))
    assert (found.basis, found.magnification) == (expected.basis, expected.magnification)


@pytest.mark.parametrize(
    "broken",
    [
        [0, 0], [0.15, 0], [-0.15, -0.15], [0.15], [0.1, 0.1, 0.1], [500, 500], b"x\\y ", b"nan\\1 ", b"inf\\inf ",
        [0.0143, 0.0143], [0.02556, 0.02556], [0.000143, 0.000143], [143, 143], b"1.500,0\\1.500,0 ",
    ],
)  # fmt: skip
def test_an_impossible_spacing_counts_as_missing(broken: Any) -> None:
    assert spacing_of(film(ImagerPixelSpacing=broken)) is None
    fallen_back = spacing_of(film(ImagerPixelSpacing=broken, PixelSpacing=PIXEL))
    assert fallen_back == Spacing(0.12, 0.12, SpacingBasis.UNCALIBRATED)
    calibrated = film(PixelSpacing=broken, PixelSpacingCalibrationType="FIDUCIAL", ImagerPixelSpacing=IMAGER)
    assert spacing_of(calibrated) == Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE)


@pytest.mark.parametrize(
    "elements",
    [
        {ERMF: 0},
        {ERMF: 0.8},
        {ERMF: 40},
        {ERMF: 1},
        {SID: 1000, SOD: 1000},
        {SID: 1000, SOD: 0},
        {SID: 0, SOD: 900},
        {SID: 1000, SOD: 1200},
        {SID: 1000, SOD: 10},
        {ERMF: b"x "},
    ],
)
def test_an_impossible_magnification_is_left_out(elements: dict[str, Any]) -> None:
    assert spacing_of(film(ImagerPixelSpacing=IMAGER, **elements)) == Spacing(
        0.15, 0.15, SpacingBasis.DETECTOR_PLANE
    )


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"])
def test_a_decimal_comma_is_read_as_a_point_and_noted(keyword: str) -> None:
    stated = film(**{keyword: b"0,2556\\0,25 "})
    assert stated_mm(stated, keyword) == (0.2556, 0.25)
    assert header_notes(stated) == ("DECIMAL_COMMA",)
    assert header_notes(film(ImagerPixelSpacing=IMAGER, **{ERMF: b"1,2 "})) == ("DECIMAL_COMMA",)
    magnified = spacing_of(film(ImagerPixelSpacing=IMAGER, **{ERMF: b"1,2 "}))
    assert magnified is not None
    assert magnified.magnification == 1.2


def test_what_no_radiograph_has_is_noted() -> None:
    for broken in ([0, 0], [0.02556, 0.02556], b"x\\y "):
        assert header_notes(film(ImagerPixelSpacing=broken, PixelSpacing=PIXEL)) == ("SPACING_IMPLAUSIBLE",)
    assert header_notes(film(ImagerPixelSpacing=IMAGER, PixelSpacing=PIXEL)) == ()
    assert header_notes(film(ImagerPixelSpacing=None, PixelSpacing="")) == ()


def test_a_fine_scan_of_a_large_film_is_believed() -> None:
    """1200 dots per inch: 18 cm are 8504 pixels."""
    scan = film(NominalScannedPixelSpacing=[0.021167, 0.021167], Rows=8504, Columns=6000)
    assert spacing_of(scan) == Spacing(0.021167, 0.021167, SpacingBasis.DETECTOR_PLANE)


@pytest.mark.parametrize("group", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_the_spacing_of_an_enhanced_image_lies_in_its_functional_groups(group: str) -> None:
    measures, frame, macros = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, frame.ImagerPixelSpacing = PIXEL, IMAGER
    macros.PixelMeasuresSequence, macros.FramePixelDataPropertiesSequence = [measures], [frame]
    assert spacing_of(film(**{group: [macros]})) == Spacing(0.12, 0.12, SpacingBasis.CALIBRATED_UNKNOWN)


def test_spacings_that_disagree_on_the_shape_of_a_pixel_contradict_each_other() -> None:
    swapped = {"ImagerPixelSpacing": [0.2, 0.1], "PixelSpacing": [0.1, 0.2]}
    assert contradicts_itself(film(**swapped))
    assert contradicts_itself(film(ImagerPixelSpacing=IMAGER, PixelSpacing=[0.12, 0.1]))
    assert not contradicts_itself(film(**swapped, PixelSpacingCalibrationType="FIDUCIAL"))
    assert not contradicts_itself(film(ImagerPixelSpacing=[0.2, 0.1], PixelSpacing=[0.16, 0.08]))
    refusal = refusal_of(film(**swapped))
    assert refusal is not None
    assert refusal.code == "NON_SQUARE_PIXELS"


def test_rows_come_before_columns() -> None:
    spacing = spacing_of(film(ImagerPixelSpacing=[0.2, 0.1]))
    assert spacing is not None
    assert (spacing.row_mm, spacing.column_mm) == (0.2, 0.1)
    assert spacing.xy_mm.tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [([2, 1], 2.0), ([1, 1], 1.0), ([0, 1], 1.0), ([4], 1.0), (None, 1.0), (b"a\\b ", 1.0)],
)
def test_aspect_ratio(ratio: Any, expected: float) -> None:
    assert aspect_ratio_of(film(PixelAspectRatio=ratio)) == expected
