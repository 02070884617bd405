"""Stored pixels to modality values and to the 8-bit picture that a viewer would show.

Everything that acts on single values (modality LUT, window, VOI LUT, polarity, padding; PS3.3 C.11 and PS3.4 N.2) is
worked out once for each of the at most 65 536 stored codes and then looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.bits import Table, codes_of, is_padding, pixel_values
from spinepacs.dicom.reading.luts import apply_lut, lut_of
from spinepacs.dicom.reading.parse import items, number, numbers, text
from spinepacs.dicom.reading.shown import Shown, is_stated, stated, tabulated
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import PixelValues

_CV2_LOOKS_UP_16_BIT = int(cv2.__version__.split(".", maxsplit=1)[0]) >= 5
_SAMPLES = 400_000
_LEAST_SPAN_CODES = 4
_LEAST_GREY_SHARE = 0.05
_LEAST_CONTRAST = 0.05


@dataclass(frozen=True)
class Picture:
    """Windowed pixels: see :class:`spinepacs.domain.study.Radiograph` for ``values``, ``display`` and ``notes``.

    ``shown`` says how the display was made.
    """

    values: PixelValues
    display: NDArray[np.uint8]
    notes: tuple[str, ...]
    shown: Shown


def window(stored: NDArray[Any], header: Dataset) -> Picture | Refusal:
    """Apply modality LUT, VOI and polarity.

    Parameters
    ----------
    stored : NDArray
        (rows, columns) uint8, int8, uint16 or int16 as decoded.
    header : Dataset
        Its image pixel, modality LUT, VOI LUT, shutter and DX image attributes.

    Returns
    -------
    Picture or Refusal
        Refusal ``EMPTY_IMAGE`` (nothing but one grey level) or ``BURNT_OUT`` (nearly nothing between black and white).
    """
    taken = codes_of(stored, header)
    codes, pixel = taken.codes, pixel_values(taken.bits, header)
    counts, padding, padding_notes = _without_padding(_histogram(codes, 2**taken.bits, header), pixel, header)
    counts, refusal = _between_black_and_white(pixel, counts)
    if refusal:
        return refusal
    modality, notes = _modality(pixel, header)
    shade, voi_notes = _shade(modality, counts, header)
    inverted, polarity_notes = _is_inverted(header)
    is_plain = is_stated(header) and not (notes or voi_notes or padding.any())
    shown = stated(header, inverted) if is_plain else tabulated(pixel, shade, padding, inverted)
    shade = np.where(padding, 0.0, 1.0 - shade if inverted else shade)
    display = _look_up(np.rint(shade * 255).astype(np.uint8), codes)
    notes = [*taken.notes, *padding_notes, *notes, *voi_notes, *polarity_notes]
    return Picture(PixelValues(codes, modality.astype(np.float32)), display, tuple(notes), shown)


def _without_padding(
    counts: NDArray[np.int64], pixel: Table, header: Dataset
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[str]]:
    """Leave out the codes that mean no pixel, and say which; padding that would leave nothing is none."""
    padding = is_padding(pixel, header)
    if padding.any() and not counts[~padding].any():
        return counts, np.zeros_like(padding), ["PADDING_ABSURD"]
    return np.where(padding, 0, counts), padding, []


def _histogram(codes: NDArray[Any], length: int, header: Dataset) -> NDArray[np.int64]:
    """Count a regular sample of the codes inside the shutter or collimator."""
    inside = codes[_opening(codes.shape, header)]
    step = max(1, int((inside.size / _SAMPLES) ** 0.5))
    sample = np.ascontiguousarray(inside[::step, ::step])  # few enough for OpenCV, which counts in float32
    return np.asarray(cv2.calcHist([sample], [0], None, [length], [0, length]).ravel(), np.int64)


def _opening(shape: tuple[int, ...], header: Dataset) -> tuple[slice, slice]:
    """Rectangle left open by the shutter, else by the collimator (PS3.3 C.7.6.11, C.8.7.3); all of it by default."""
    for kind in ("Shutter", "Collimator"):
        left, right = (int(number(header, f"{kind}{side}VerticalEdge", -1)) for side in ("Left", "Right"))
        upper, lower = (int(number(header, f"{kind}{side}HorizontalEdge", -1)) for side in ("Upper", "Lower"))
        if (
            0 <= left < right - 8
            and 0 <= upper < lower - 8
            and right <= shape[1] + 1
            and lower <= shape[0] + 1
        ):
            return slice(upper, lower - 1), slice(left, right - 1)
    return slice(None), slice(None)


def _between_black_and_white(
    pixel: Table, counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Refusal | None]:
    """Leave out the lowest and the highest value that occur, which collimation and saturation fill."""
    occurring = pixel[counts > 0]
    if occurring.size == 0 or np.ptp(occurring) < _LEAST_SPAN_CODES:
        return counts, Refusal("EMPTY_IMAGE", "the image holds a single grey level: nothing was exposed")
    grey = np.where((pixel > occurring.min()) & (pixel < occurring.max()), counts, 0)
    if grey.sum() < _LEAST_GREY_SHARE * counts.sum():
        return grey, Refusal(
            "BURNT_OUT", "nearly all pixels are fully black or white: exposed or exported wrongly"
        )
    return grey, None


def _modality(pixel: Table, header: Dataset) -> tuple[Table, list[str]]:
    """Modality LUT Sequence, else RescaleSlope and RescaleIntercept (PS3.3 C.11.1).

    The LUT of an XA or RF image is not meant for display unless the pixels are linear (PS3.3 C.8.7.1.1.2).
    """
    is_angiography = text(header, "Modality").upper() in ("XA", "RF")
    for_display = not is_angiography or text(header, "PixelIntensityRelationship").upper() not in (
        "LOG",
        "DISP",
    )
    sequence = items(header, "ModalityLUTSequence")
    if sequence and for_display:
        lut = lut_of(sequence[0], signed_input=bool(pixel.min() < 0))
        return (apply_lut(lut, pixel), []) if lut else (pixel, ["MODALITY_LUT_DAMAGED"])
    slope, intercept = number(header, "RescaleSlope", 1.0), number(header, "RescaleIntercept", 0.0)
    if not slope:
        return pixel, ["RESCALE_SLOPE_ZERO"]
    with np.errstate(over="ignore", invalid="ignore"):
        modality = pixel * slope + intercept
        kept = modality.astype(np.float32)
    # As 32-bit numbers all values must be there, and not all the same.
    is_sound = np.isfinite(kept).all() and np.ptp(kept) > 0
    return (modality, []) if is_sound else (pixel, ["RESCALE_ABSURD"])


def _shade(modality: Table, counts: NDArray[np.int64], header: Dataset) -> tuple[Table, list[str]]:
    """VOI transformation to 0 … 1; robust percentiles where the header gives none that shows anything."""
    shade = _stated_shade(modality, header)
    if shade is None:
        return _robust_shade(modality, counts, header), ["WINDOW_MISSING"]
    if _shows_nothing(shade, counts):
        return _robust_shade(modality, counts, header), ["WINDOW_ABSURD"]
    return shade, []


@np.errstate(over="ignore")  # of an absurdly narrow window, which is black and white
def _stated_shade(modality: Table, header: Dataset) -> Table | None:
    """First VOI LUT, else first window (PS3.3 C.11.2), as 0 … 1."""
    for item in items(header, "VOILUTSequence")[:1]:
        if lut := lut_of(item, signed_input=bool(modality.min() < 0)):
            return apply_lut(lut, modality) / lut.top
    centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    if not centres or not widths or widths[0] <= 0:
        return None
    centre, width, function = centres[0], widths[0], text(header, "VOILUTFunction").upper()
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (modality - centre) / width, -500, 500))))
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return np.clip((modality - centre) / width + 0.5, 0, 1)


def _shows_nothing(shade: Table, counts: NDArray[np.int64]) -> bool:
    """Tell a window that misses the image, flattens it or makes it black and white."""
    darkest, brightest = _percentiles(shade, counts, 1, 99)
    grey = counts[(shade > 0.002) & (shade < 0.998)].sum()
    return bool(brightest - darkest < _LEAST_CONTRAST or grey < 2 * _LEAST_GREY_SHARE * counts.sum())


def _robust_shade(modality: Table, counts: NDArray[np.int64], header: Dataset) -> Table:
    """Stretch the 0.5th to the 99.5th percentile; the logarithm first where pixels are linear to the dose."""
    scale = modality
    if text(header, "PixelIntensityRelationship").upper() == "LIN":
        scale = np.log1p(modality - modality.min())
    low, high = _percentiles(scale, counts, 0.5, 99.5)
    return np.clip((scale - low) / max(high - low, 1e-9), 0, 1)


def _percentiles(values: Table, counts: NDArray[np.int64], *percents: float) -> list[float]:
    """Percentiles of values that occur ``counts`` times."""
    occurring = np.flatnonzero(counts)
    order = occurring[np.argsort(values[occurring], kind="stable")]
    reached = np.cumsum(counts[order])
    places = np.searchsorted(reached, np.array(percents) / 100 * reached[-1])
    return [float(value) for value in values[order[np.minimum(places, len(order) - 1)]]]


def _is_inverted(header: Dataset) -> tuple[bool, list[str]]:
    """Tell whether high values are to be dark; decided once.

    PresentationLUTShape, and PhotometricInterpretation only where it is absent.  Images for processing have neither
    meaning: there PixelIntensityRelationshipSign says whether higher values mean more dose (PS3.3 C.8.11.3.1.2).
    """
    if text(header, "PresentationIntentType").upper() == "FOR PROCESSING":
        sign = number(header, "PixelIntensityRelationshipSign", 0)
        if sign in (1, -1):
            return sign == 1, ["FOR_PROCESSING"]
    is_monochrome1 = text(header, "PhotometricInterpretation").upper() == "MONOCHROME1"
    shape = text(header, "PresentationLUTShape").upper()
    if shape not in ("INVERSE", "IDENTITY"):
        return is_monochrome1, []
    return shape == "INVERSE", ["POLARITY_INCONSISTENT"] if is_monochrome1 != (shape == "INVERSE") else []


def _look_up(table: NDArray[np.uint8], codes: NDArray[Any]) -> NDArray[np.uint8]:
    """Index a table by each pixel; OpenCV 5 does it four times as fast as numpy."""
    if _CV2_LOOKS_UP_16_BIT and codes.itemsize == 2:
        whole = np.zeros(65536, table.dtype)
        whole[: len(table)] = table
        return np.asarray(cv2.LUT(codes, whole))
    return np.asarray(table[codes])
