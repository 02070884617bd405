"""The picture of a reading for people and for viewers that show no SEG, and its Secondary Capture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, SecondaryCaptureImageStorage

from spinepacs.dicom import identity
from spinepacs.dicom.overlay import draw as pen
from spinepacs.dicom.overlay.letters import Picture
from spinepacs.dicom.overlay.marks import Marks
from spinepacs.dicom.overlay.text import rows_of
from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.findings import EncodedObject, ObjectKind, Reading, Spine
from spinepacs.domain.geometry import Turn
from spinepacs.domain.words import unit
from spinepacs.settings.sections import OutputSettings

LARGE_PX = 1300
"""A film whose shorter side has more pixels is drawn at half size: enough to read, a quarter of the bytes."""
SMALL_PX = 1000
"""A film whose longer side has fewer is drawn at double size: the text would be too small."""
TINY_PX = 320
"""What is smaller than this is no film, and left as it is."""

_QUALITY = 90
_TALL = 1.25
"""Height over width from which the words stand beside the film."""


def draw_overlay(display: NDArray[np.uint8], reading: Reading) -> NDArray[np.uint8]:
    """Draw a reading over its film, with what belongs to it in words beside (a tall film) or below (a wide one).

    Parameters
    ----------
    display
        (rows, columns) uint8, the windowed film.
    reading
        Its reading; without a spine the film and the words alone are drawn.

    Returns
    -------
    (height, width, 3) uint8, RGB; the film at its top left, at the scale of :func:`scale_of`, as it was filmed. One
    that lies on its side is marked with its head up and laid back, letters and all: a lying spine leaves them no room.
    """
    scale = scale_of(display.shape[0], display.shape[1])
    height, width = (round(side * scale) for side in display.shape)
    words, beside = _words(rows_of(reading), height, width)
    shape = (max(height, len(words)), width + words.shape[1]) if beside else (height + len(words), width)
    picture = pen.canvas_with(display, scale, *shape)
    picture[(slice(0, len(words)), slice(width, None)) if beside else slice(height, None)] = words
    _draw_film(picture[:height, :width], reading, scale)
    return picture


def _draw_film(film: Picture, reading: Reading, scale: float) -> None:
    """Mark the film's part of the picture, which is changed."""
    turn = reading.turn if reading.turn.is_sideways else Turn.NONE
    marked = turn.upright(film)
    if turn:
        reading = reading.moved(turn.to_upright(reading.rows, reading.columns))
    size = text_px(marked.shape, reading.spine, scale)
    if reading.spine and reading.spine.vertebrae:
        _draw_spine(marked, reading, reading.spine, scale, size)
    if reading.spacing:
        across_mm = reading.spacing.row_mm if turn else reading.spacing.column_mm
        _draw_scale(marked, across_mm / scale, size)
    if turn:
        film[:] = turn.as_filmed(marked)


def scale_of(rows: int, columns: int) -> float:
    """Size of the picture over that of the film: large films are halved, small ones doubled to be readable."""
    if min(rows, columns) > LARGE_PX:
        return 0.5
    return 2.0 if TINY_PX < max(rows, columns) < SMALL_PX else 1.0


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
    if reading.correction:
        dataset.OperatorsName = reading.correction.draft.author
    dataset.DerivationDescription = (
        f"Outlines, measures and grades drawn by spinepacs. {identity.DISCLAIMER}."
    )
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


def _draw_spine(picture: Picture, reading: Reading, spine: Spine, scale: float, size: int) -> None:
    marks = Marks(reading, spine, size)
    areas, strokes = marks.areas(), [*marks.lines(), *marks.outlines(), *marks.legs()]
    pen.areas(picture, areas, scale)
    pen.strokes(picture, strokes, scale)
    obstacles = np.concatenate([*map(pen.beads, strokes), *(area.points for area in areas)]) * scale
    pen.labels(picture, [marks.names() + marks.values(), marks.angle_labels()], obstacles, scale)


def _draw_scale(picture: Picture, px_mm: float, size: int) -> None:
    """A bar of a round length, at most a quarter of the film's width; none where not even 10 mm fit."""
    fitting = [mm for mm in (10, 20, 50, 100) if mm / px_mm <= picture.shape[1] / 4]
    if fitting:
        pen.scale_bar(
            picture, fitting[-1] / px_mm, f"{fitting[-1]} {unit('mm')}", max(11, round(size * 0.85))
        )


def _words(rows: list[pen.Row], height: int, width: int) -> tuple[Picture, bool]:
    """The panel, and whether it stands beside the film (a tall one) or below (a wide one)."""
    if height < _TALL * width or height < SMALL_PX:
        return pen.panel(rows, width, max(11, min(width // 42, 30))), False
    beside = round(min(max(width * 0.5, height * 0.3), width))
    return pen.panel(rows, beside, max(11, min(beside // 22, 32))), True


def text_px(shape: tuple[int, ...], spine: Spine | None, scale: float) -> int:
    """Size of the level names: less than half of the distance between vertebrae, within what is readable, px."""
    most: int = max(13, round(np.sqrt(shape[0] * shape[1]) / 40))
    if spine is None or len(spine.vertebrae) < 2:
        return most
    first, last = (spine.vertebrae[n].outline.centroid for n in (0, -1))
    pitch = float(np.hypot(*np.subtract(last, first))) * scale / (len(spine.vertebrae) - 1)
    return round(min(max(pitch / 2.3, 13), most))
