"""A file to a radiograph: parse, refuse what is no single greyscale film, decode, window, take the spacing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.uid import UID

from spinepacs.dicom.reading.classes import UNKNOWN_SOP_CLASS
from spinepacs.dicom.reading.header import anterior_left, header_of, turn_of, view_is_sure, view_of
from spinepacs.dicom.reading.parse import has_comma, number, parse, quiet, text
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES, decode
from spinepacs.dicom.reading.shown import Shown
from spinepacs.dicom.reading.source import source_header
from spinepacs.dicom.reading.spacing import (
    SPACING_KEYWORDS,
    aspect_ratio_of,
    contradicts_itself,
    is_implausible,
    spacing_of,
)
from spinepacs.dicom.reading.windowing import Picture, window
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Radiograph, StudyHeader

__all__ = ["DECODABLE_TRANSFER_SYNTAXES", "LEAST_SIDE_PX", "LoadedFilm", "read_film"]

LEAST_SIDE_PX = 64
"""Rows or columns below which nothing can be measured."""
_NUMBERS_USED = (
    *SPACING_KEYWORDS, "EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector",
    "DistanceSourceToPatient", "WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


@dataclass(frozen=True)
class LoadedFilm:
    """A radiograph with the header that its results are made from.

    Parameters
    ----------
    radiograph
        Pixels and what the analysis needs; no patient identity.
    header
        Sanitised copy of the source's header, see :func:`spinepacs.dicom.reading.source.source_header`.
    shown
        How its pixels become the picture.
    """

    radiograph: Radiograph
    header: Dataset
    shown: Shown


def read_film(path: Path, character_set: str = "") -> LoadedFilm | Refusal:
    """Read one radiograph.

    Parameters
    ----------
    path : Path
        The file.
    character_set : str
        Of its texts where it declares none, see :func:`spinepacs.dicom.reading.parse.parse`.

    Returns
    -------
    LoadedFilm or Refusal
        Refusal ``MULTI_FRAME``, ``COLOUR``, ``TOO_SMALL``, ``NON_SQUARE_PIXELS``, ``UNKNOWN_SOP_CLASS``,
        ``EMPTY_IMAGE`` or ``BURNT_OUT``.

    Raises
    ------
    BadInput
        The codes of ``header.read_header`` and ``pixels.decode``.
    Transient
        The file cannot be opened or the disk fails.
    """
    header = parse(path, with_pixels=False, character_set=character_set)
    stated = header_of(header)
    # Parsed twice (2 ms), so that a long multi-frame run is refused without being read into memory.
    return refusal_of(header) or _load(parse(path, with_pixels=True, character_set=character_set), stated)


@quiet()
def refusal_of(dataset: Dataset) -> Refusal | None:
    """Tell from the header alone why an image is not read; None where it may be."""
    if number(dataset, "NumberOfFrames", 1) > 1:
        return Refusal("MULTI_FRAME", "NumberOfFrames is more than 1: only single radiographs are read")
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if number(dataset, "SamplesPerPixel", 1) > 1 or photometric not in ("", "MONOCHROME1", "MONOCHROME2"):
        return Refusal("COLOUR", "PhotometricInterpretation is not greyscale: send the original radiograph")
    sides = number(dataset, "Rows", 0), number(dataset, "Columns", 0)
    if 0 < min(sides) < LEAST_SIDE_PX:
        return Refusal("TOO_SMALL", f"Rows or Columns is below {LEAST_SIDE_PX}: nothing can be measured")
    if why := _why_not_square(dataset):
        return Refusal("NON_SQUARE_PIXELS", why)
    sop_class = UID(text(dataset, "SOPClassUID"), config.IGNORE).keyword
    if "Image" not in sop_class or "Storage" not in sop_class:
        return UNKNOWN_SOP_CLASS
    return None


def _why_not_square(dataset: Dataset) -> str:
    """Why nobody can tell the shape of a pixel; empty where it is square or stated."""
    if contradicts_itself(dataset):
        return "PixelSpacing and ImagerPixelSpacing disagree on the shape of a pixel: correct them"
    if spacing_of(dataset) is None and abs(aspect_ratio_of(dataset) - 1) > 0.01:
        return "PixelAspectRatio is not 1 and there is no spacing: supply PixelSpacing"
    return ""


def _load(dataset: Dataset, stated: StudyHeader) -> LoadedFilm | Refusal:
    picture = window(decode(dataset), dataset)
    if isinstance(picture, Refusal):
        return picture
    return LoadedFilm(_radiograph(dataset, stated, picture), source_header(dataset), picture.shown)


@quiet()
def _radiograph(dataset: Dataset, stated: StudyHeader, picture: Picture) -> Radiograph:
    view = view_of(dataset)
    return Radiograph(
        study_uid=stated.study_uid,
        series_uid=stated.series_uid,
        sop_uid=stated.sop_uid,
        values=picture.values,
        display=picture.display,
        spacing=spacing_of(dataset),
        view=view,
        anterior_left=anterior_left(dataset, view),
        body_part=stated.body_part,
        notes=(*picture.notes, *header_notes(dataset)),
        age_years=stated.patient_age_years,
        turn=turn_of(dataset),
        view_is_sure=view_is_sure(dataset),
    )


def header_notes(dataset: Dataset) -> tuple[str, ...]:
    """What a reader should know of the numbers in the header."""
    implausible, comma = is_implausible(dataset), has_comma(dataset, *_NUMBERS_USED)
    return ("SPACING_IMPLAUSIBLE",) * implausible + ("DECIMAL_COMMA",) * comma
