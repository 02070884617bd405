"""Size of a pixel of a projection radiograph, with the ground on which it is believed (PS3.3 10.7.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from spinepacs.dicom.reading.parse import number, numbers, text
from spinepacs.domain.geometry import Spacing, SpacingBasis

_PLAUSIBLE_MM = (0.01, 5.0)
_PLAUSIBLE_MAGNIFICATION = (1.0, 3.0)
SPACING_KEYWORDS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Elements that state a spacing: row spacing \\ column spacing, mm."""


def spacing_of(header: Dataset) -> Spacing | None:
    """Choose the best stated spacing; zero, negative, single-valued and impossible ones count as missing.

    1. PixelSpacing calibrated by a fiducial.  2. PixelSpacing corrected for the geometry.
    3. ImagerPixelSpacing ÷ the magnification (EstimatedRadiographicMagnificationFactor, else
    DistanceSourceToDetector ÷ DistanceSourceToPatient).  4. ImagerPixelSpacing, or the film plane of a scanned
    film (NominalScannedPixelSpacing): detector plane.  5. PixelSpacing without calibration type: uncalibrated.

    PixelSpacing without a calibration type stands behind ImagerPixelSpacing, whose plane is known.
    """
    pixel = stated_mm(header, "PixelSpacing")
    kind = text(header, "PixelSpacingCalibrationType").upper()
    if pixel and kind == "FIDUCIAL":
        return Spacing(*pixel, SpacingBasis.CALIBRATED)
    if pixel and kind == "GEOMETRY":
        return Spacing(*pixel, SpacingBasis.MAGNIFICATION_CORRECTED)
    if imager := stated_mm(header, "ImagerPixelSpacing"):
        return _at_the_detector(imager, _magnification(header))
    if scanned := stated_mm(header, "NominalScannedPixelSpacing"):
        return Spacing(*scanned, SpacingBasis.DETECTOR_PLANE)
    return Spacing(*pixel, SpacingBasis.UNCALIBRATED) if pixel else None


def stated_mm(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """Row and column spacing in mm, or None where the element does not hold two plausible lengths."""
    values = numbers(header, keyword)
    least, most = _PLAUSIBLE_MM
    if len(values) != 2 or not all(least <= value <= most for value in values):
        return None
    return values[0], values[1]


def aspect_ratio_of(header: Dataset) -> float:
    """PixelAspectRatio as height ÷ width of a pixel; 1.0 where it is missing or not valid (PS3.3 C.7.6.3.1.7)."""
    values = numbers(header, "PixelAspectRatio")
    return values[0] / values[1] if len(values) == 2 and min(values) > 0 else 1.0


def _at_the_detector(imager: tuple[float, float], magnification: float) -> Spacing:
    if magnification == 1.0:
        return Spacing(*imager, SpacingBasis.DETECTOR_PLANE)
    row_mm, column_mm = (value / magnification for value in imager)
    return Spacing(row_mm, column_mm, SpacingBasis.MAGNIFICATION_CORRECTED, magnification)


def _magnification(header: Dataset) -> float:
    """Factor by which the detector shows the patient enlarged; 1.0 where nothing plausible is stated."""
    patient_mm = number(header, "DistanceSourceToPatient", 0.0)
    stated = number(header, "EstimatedRadiographicMagnificationFactor", 0.0)
    derived = number(header, "DistanceSourceToDetector", 0.0) / patient_mm if patient_mm > 0 else 0.0
    least, most = _PLAUSIBLE_MAGNIFICATION
    return next((factor for factor in (stated, derived) if least < factor <= most), 1.0)
