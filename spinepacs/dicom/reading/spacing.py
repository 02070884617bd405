"""Size of a pixel of a projection radiograph, with the ground on which it is believed (PS3.3 10.7.1)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from spinepacs.dicom.reading.parse import items, number, numbers, text, texts
from spinepacs.domain.geometry import Spacing, SpacingBasis

_LEAST_MM, _MOST_MM = 0.04, 5.0
"""Of a pixel: films are scanned with 600 dots per inch (0.042 mm) at most, and 64 pixels must show a few vertebrae."""
_LEAST_EXTENT_MM = 100.0
"""A scan with finer pixels is believed where it is as large as this; the same figures in cm or inches are not."""
_PLAUSIBLE_MAGNIFICATION = (1.0, 3.0)
_SAME = 0.005
"""Share by which two spacings may differ and still be one, rounded."""
_SAME_SHAPE = 0.01
_PLACEHOLDER = (1.0, 1.0)

_PIXEL, _PLANE = "PixelSpacing", ("ImagerPixelSpacing", "NominalScannedPixelSpacing")
SPACING_KEYWORDS = (_PIXEL, *_PLANE)
"""Elements that state a spacing: row spacing \\ column spacing, mm."""
_MACROS = ("PixelMeasuresSequence", "FramePixelDataPropertiesSequence")

_Pair = tuple[float, float]


def spacing_of(header: Dataset) -> Spacing | None:
    """Choose the best stated spacing; zero, negative, single-valued and impossible ones count as missing.

    1. PixelSpacing calibrated by a fiducial.  2. PixelSpacing corrected for the geometry.  3. PixelSpacing without
    calibration type that differs from the plane of detection's: it was corrected or calibrated, nobody says how
    (PS3.3 10.7.1.1); where it is that plane's ÷ the magnification, it was corrected.  4. The plane of detection's
    ÷ the magnification (EstimatedRadiographicMagnificationFactor, else DistanceSourceToDetector ÷
    DistanceSourceToPatient).  5. The plane of detection's.  6. PixelSpacing alone: uncalibrated.

    The plane of detection is the detector's (ImagerPixelSpacing) or that of a scanned film
    (NominalScannedPixelSpacing).
    """
    return spacing_ground(header)[0]


def spacing_ground(header: Dataset) -> tuple[Spacing | None, str]:
    """Choose as :func:`spacing_of`, and name the element that was believed (its keyword; empty: none)."""
    pixel, plane = stated_mm(header, _PIXEL), _plane_mm(header)
    kind = text(header, "PixelSpacingCalibrationType").upper()
    if pixel and kind == "FIDUCIAL":
        return Spacing(*pixel, SpacingBasis.CALIBRATED), _PIXEL
    if pixel and kind == "GEOMETRY":
        return Spacing(*pixel, SpacingBasis.MAGNIFICATION_CORRECTED), _PIXEL
    if plane is None:
        return (Spacing(*pixel, SpacingBasis.UNCALIBRATED), _PIXEL) if pixel else (None, "")
    magnification = _magnification(header)
    if pixel is None or pixel == _PLACEHOLDER or _is_same(pixel, plane):
        of_plane = next(keyword for keyword in _PLANE if stated_mm(header, keyword))
        return _at_the_detector(plane, magnification), of_plane
    is_corrected = _is_same(pixel, (plane[0] / magnification, plane[1] / magnification))
    basis = SpacingBasis.MAGNIFICATION_CORRECTED if is_corrected else SpacingBasis.CALIBRATED_UNKNOWN
    return Spacing(*pixel, basis), _PIXEL


def is_implausible(header: Dataset) -> bool:
    """Whether a spacing is stated that no radiograph has."""
    return any(any(texts(header, keyword)) and not stated_mm(header, keyword) for keyword in SPACING_KEYWORDS)


def stated_mm(header: Dataset, keyword: str) -> _Pair | None:
    """Row and column spacing in mm, or None where the element does not hold two plausible lengths."""
    values = _values(header, keyword)
    if len(values) != 2 or not all(0 < value <= _MOST_MM for value in values):
        return None
    extents_mm = (
        number(header, side, 0) * value for side, value in zip(("Rows", "Columns"), values, strict=True)
    )
    return (values[0], values[1]) if min(values) >= _LEAST_MM or max(extents_mm) >= _LEAST_EXTENT_MM else None


def contradicts_itself(header: Dataset) -> bool:
    """Whether two spacings disagree on the shape of a pixel, for instance rows and columns swapped in one of them."""
    pixel, plane = stated_mm(header, "PixelSpacing"), _plane_mm(header)
    if (
        not pixel
        or not plane
        or text(header, "PixelSpacingCalibrationType").upper() in ("FIDUCIAL", "GEOMETRY")
    ):
        return False
    return abs(pixel[0] * plane[1] / (pixel[1] * plane[0]) - 1) > _SAME_SHAPE


def aspect_ratio_of(header: Dataset) -> float:
    """PixelAspectRatio as height ÷ width of a pixel; 1.0 where it is missing or not valid (PS3.3 C.7.6.3.1.7)."""
    values = numbers(header, "PixelAspectRatio")
    return values[0] / values[1] if len(values) == 2 and min(values) > 0 else 1.0


def _plane_mm(header: Dataset) -> _Pair | None:
    return next(filter(None, (stated_mm(header, keyword) for keyword in _PLANE)), None)


def _values(header: Dataset, keyword: str) -> tuple[float, ...]:
    """Values of an element, in the functional groups of an enhanced image (PS3.3 C.7.6.16) where it is not outside."""
    groups = (
        group
        for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
        for group in items(header, keyword)[:1]
    )
    inner = (item for group in groups for macro in _MACROS for item in items(group, macro)[:1])
    return next(filter(None, (numbers(holder, keyword) for holder in (header, *inner))), ())


def _is_same(one: _Pair, other: _Pair) -> bool:
    return all(abs(a / b - 1) <= _SAME for a, b in zip(one, other, strict=True))


def _at_the_detector(plane: _Pair, magnification: float) -> Spacing:
    if magnification == 1.0:
        return Spacing(*plane, SpacingBasis.DETECTOR_PLANE)
    row_mm, column_mm = (value / magnification for value in plane)
    return Spacing(row_mm, column_mm, SpacingBasis.MAGNIFICATION_CORRECTED, magnification)


def _magnification(header: Dataset) -> float:
    """Factor by which the detector shows the patient enlarged; 1.0 where nothing plausible is stated."""
    patient_mm = number(header, "DistanceSourceToPatient", 0.0)
    stated = number(header, "EstimatedRadiographicMagnificationFactor", 0.0)
    derived = number(header, "DistanceSourceToDetector", 0.0) / patient_mm if patient_mm > 0 else 0.0
    least, most = _PLAUSIBLE_MAGNIFICATION
    return next((factor for factor in (stated, derived) if least < factor <= most), 1.0)
