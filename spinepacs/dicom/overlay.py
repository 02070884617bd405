"""The picture of a reading for people and for viewers that show no SEG, and its Secondary Capture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

import spinepacs
from spinepacs.dicom import codes, identity
from spinepacs.dicom import overlay_draw as pen
from spinepacs.dicom.parse import quiet
from spinepacs.findings import DiscHeight, EncodedObject, ObjectKind, Reading, Spine
from spinepacs.geometry import SpacingBasis
from spinepacs.settings import OutputSettings

LARGE_PX = 1300
"""A film whose shorter side has more pixels is drawn at half size: enough to read, a quarter of the bytes."""

_QUALITY = 90
_MEASURE: pen.Colour = (255, 255, 255)
_BASIS = {
    SpacingBasis.CALIBRATED: "mm, calibrated",
    SpacingBasis.MAGNIFICATION_CORRECTED: "mm, corrected for magnification",
    SpacingBasis.DETECTOR_PLANE: "mm in the detector plane (magnified)",
    SpacingBasis.UNCALIBRATED: "mm, not calibrated",
}


def draw_overlay(display: NDArray[np.uint8], reading: Reading) -> NDArray[np.uint8]:
    """Draw outlines, level names and disc heights over the film, with a footer below it.

    Parameters
    ----------
    display
        (rows, columns) uint8, the windowed film.
    reading
        Its reading; without a spine the film and the footer alone are drawn.

    Returns
    -------
    (height, width, 3) uint8, RGB; half size for films above :data:`LARGE_PX`.
    """
    scale = 0.5 if min(display.shape) > LARGE_PX else 1.0
    picture = pen.reduced(display, scale)
    size = _text_px(picture, reading.spine, scale)
    if reading.spine and reading.spine.vertebrae:
        _draw_spine(picture, reading, reading.spine, scale, size)
    band = pen.footer(_footer(reading), picture.shape[1], max(11, min(size, picture.shape[1] // 40)))
    return np.concatenate([picture, band])


@quiet()  # the source was checked when it was read; its UIDs are kept, be they odd
def encode_overlay(
    header: Dataset, reading: Reading, picture: NDArray[np.uint8], output: OutputSettings
) -> EncodedObject:
    """Encode the picture as Secondary Capture (PS3.3 A.8), JPEG baseline: readable everywhere.

    It carries no pixel spacing on purpose: nobody should measure on it.

    Parameters
    ----------
    picture
        (height, width, 3) uint8 RGB from :func:`draw_overlay`.
    """
    dataset = Dataset()
    identity.stamp(dataset, header, reading, ObjectKind.OVERLAY, output)
    dataset.SOPClassUID, dataset.Modality = SecondaryCaptureImageStorage, "OT"
    dataset.ConversionType = "WSD"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.BurnedInAnnotation = "YES"
    dataset.BodyPartExamined = header.get("BodyPartExamined") or "SPINE"
    dataset.PatientOrientation = identity.patient_orientation(header)
    dataset.DerivationDescription = f"Outlines and disc heights drawn by spinepacs. {identity.DISCLAIMER}."
    source = identity.image_reference(header)
    source.PurposeOfReferenceCodeSequence = [
        identity.code_item("121322", "DCM", "Source image for image processing operation")
    ]
    dataset.SourceImageSequence = [source]
    _set_pixels(dataset, picture)
    return identity.encoded(ObjectKind.OVERLAY, reading.sop_uid, dataset, JPEGBaseline8Bit)


def _set_pixels(dataset: Dataset, picture: NDArray[np.uint8]) -> None:
    """JPEG with chroma halved along rows, which is what YBR_FULL_422 means (PS3.5 8.2.1)."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422]
    done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise RuntimeError("OpenCV could not encode the picture as JPEG")
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = (
        3,
        "YBR_FULL_422",
        0,
    )
    dataset.Rows, dataset.Columns = picture.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_10918_1"
    dataset.LossyImageCompressionRatio = f"{picture.size / jpeg.size:.1f}"
    dataset.PixelData = encapsulate([jpeg.tobytes()])


def _draw_spine(picture: pen.Picture, reading: Reading, spine: Spine, scale: float, size: int) -> None:
    width = 1 if size < 16 else 2
    lines = [
        pen.Stroke(line, _MEASURE, 1, False) for disc in reading.discs for line in disc.lines_px.values()
    ]
    outlines = [pen.Stroke(v.outline.points, codes.colour_of(v.level), width, True) for v in spine.vertebrae]
    pen.strokes(picture, lines, scale)
    pen.strokes(picture, outlines, scale)
    obstacles = np.concatenate([pen.beads(stroke) for stroke in lines + outlines]) * scale
    names = [
        pen.Label(v.level.name, v.outline.centroid.y * scale, codes.colour_of(v.level), size, left=True)
        for v in spine.vertebrae
    ]
    smaller = max(11, round(size * 0.85))
    heights = [
        pen.Label(_height(disc), _middle_y(disc) * scale, _MEASURE, smaller, left=False)
        for disc in reading.discs
        if disc.lines_px
    ]
    pen.labels(picture, names + heights, obstacles)


def _text_px(picture: pen.Picture, spine: Spine | None, scale: float) -> int:
    """Size of the level names: a third of the distance between vertebrae, within what is readable, px."""
    most: int = max(13, min(picture.shape[0], picture.shape[1]) // 28)
    if spine is None or len(spine.vertebrae) < 2:
        return most
    first, last = (spine.vertebrae[n].outline.centroid for n in (0, -1))
    pitch = float(np.hypot(*np.subtract(last, first))) * scale / (len(spine.vertebrae) - 1)
    return round(min(max(pitch / 3, 13), most))


def _sides(disc: DiscHeight) -> tuple[str, str, str]:
    """Names of the three heights, in the order in which they are written."""
    return (
        ("anterior", "middle", "posterior") if disc.anterior_px is not None else ("left", "middle", "right")
    )


def _height(disc: DiscHeight) -> str:
    """Write the heights in mm; without a spacing the height index."""
    values = [getattr(disc, f"{side}_mm") for side in _sides(disc)]
    if disc.middle_mm is None:
        return f"{disc.height_index:.2f}"
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values)


def _middle_y(disc: DiscHeight) -> float:
    return float(np.mean([line[:, 1].mean() for line in disc.lines_px.values()]))


def _footer(reading: Reading) -> list[str]:
    versions = reading.versions
    text = [f"{identity.DISCLAIMER}. spinepacs {spinepacs.__version__}, model {versions.model_name} "
            f"{versions.model_version}"]  # fmt: skip
    if reading.discs and reading.spacing:
        text.append(f"Disc heights {' / '.join(_sides(reading.discs[0]))}, {_BASIS[reading.spacing.basis]}")
    elif reading.discs:
        text.append("Disc height index (height / depth): the film states no pixel spacing, hence no mm")
    elif reading.refusal:
        text.append(f"Not read: {reading.refusal.reason}")
    return text
