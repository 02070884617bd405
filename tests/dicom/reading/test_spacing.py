"""The ladder of spacings: which one is believed, and what is not believed at all."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.spacing import aspect_ratio_of, spacing_of
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
            Spacing(0.15, 0.15, SpacingBasis.DETECTOR_PLANE),
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
    "broken", [[0, 0], [0.15, 0], [-0.15, -0.15], [0.15], [0.1, 0.1, 0.1], [500, 500], b"x\\y ", b"nan\\1 "]
)
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
