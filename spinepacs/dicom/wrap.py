"""A PNG or JPEG film as a DICOM file that any PACS takes."""

from __future__ import annotations

import hashlib
import re
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from spinepacs.dicom.reading.bounded import MAXIMUM_BYTES
from spinepacs.dicom.reading.codestream import size_of
from spinepacs.dicom.reading.pixels import MAXIMUM_PIXELS
from spinepacs.errors import BadInput, Transient

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber "
    "ReferringPhysicianName PatientOrientation"
)


def is_picture(file: Path) -> bool:
    """Whether a file is a PNG or JPEG, by its first bytes: names lie.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with file.open("rb") as opened:
        return opened.read(len(_PNG)).startswith((_PNG, _JPEG))


def wrap(
    image: Path, out: Path, *, spacing_mm: float | None, body_part: str, view: str, study: str | None = None
) -> None:
    """Write a PNG or JPEG film as a Computed Radiography object (PS3.10 file).

    CR and not DX, since a DX object must state ImagerPixelSpacing, the size of a pixel at the detector, and nobody
    knows it of a picture.  A spacing given here becomes PixelSpacing without a calibration type: its plane is not
    stated either, and what is measured with it is called uncalibrated.

    Parameters
    ----------
    image : Path
        Grey 8 or 16 bits, or colour, which becomes luminance; turned as its EXIF orientation says.  Bone is bright.
    out : Path
        File to write; an existing one is replaced.
    spacing_mm : float or None
        Distance of neighbouring pixels, mm; None where it is not known.
    body_part, view : str
        BodyPartExamined, for instance ``CSPINE``; ViewPosition, for instance ``LATERAL`` or ``AP``, may be empty.
    study : str or None
        Films with the same text come into one study; by default each has its own.

    Raises
    ------
    BadInput
        ``NOT_AN_IMAGE``, ``IMAGE_TOO_LARGE``, ``INVALID_SPACING``, ``INVALID_CODE_STRING``.
    Transient
        A file cannot be read or written.

    Notes
    -----
    UIDs come from the file's SHA-256 and the arguments: the same call writes the same bytes again.
    """
    body_part, view = _code_string(body_part), _code_string(view)
    if spacing_mm is not None and not 0.01 <= spacing_mm <= 5.0:
        raise BadInput(
            "INVALID_SPACING", "the spacing must be between 0.01 and 5 mm: distance of neighbouring pixels"
        )
    try:
        data = _read(image)
        film = _dataset(_grey(data))
        _identify(film, hashlib.sha256(data).hexdigest(), study, (spacing_mm, body_part, view))
        _describe(film, spacing_mm, body_part, view)
        if data[:2] == b"\xff\xd8":
            _admit_loss(film, len(data))
        film.save_as(out, enforce_file_format=True)
    except OSError as error:
        raise Transient(f"cannot read the picture or write the DICOM file: {error.strerror}") from None


def _read(image: Path) -> bytes:
    if image.stat().st_size > MAXIMUM_BYTES:
        raise BadInput(
            "IMAGE_TOO_LARGE", f"the file has more than {MAXIMUM_BYTES} bytes: scale the picture down"
        )
    return image.read_bytes()


def _code_string(value: str) -> str:
    """Spell a value as DICOM's code strings are: C-Spine becomes CSPINE."""
    spelt = value.upper().replace("-", "")
    if not re.fullmatch(r"[A-Z0-9 _]{0,16}", spelt):
        raise BadInput(
            "INVALID_CODE_STRING",
            "body part and view take at most 16 letters, digits, spaces and underscores: for instance LSPINE, LATERAL",
        )
    return spelt


def _grey(data: bytes) -> NDArray[Any]:
    """Decode to (rows, columns) uint8 or uint16; what is neither PNG nor JPEG never gets to OpenCV's decoders."""
    try:
        rows, columns = _size_of_png(data) if data[:8] == _PNG else _size_of_jpeg(data)
        if rows * columns > MAXIMUM_PIXELS:
            raise BadInput(
                "IMAGE_TOO_LARGE", f"the picture has more than {MAXIMUM_PIXELS} pixels: scale it down"
            )
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
    except (struct.error, ValueError, cv2.error):
        grey = None
    if grey is None or grey.dtype not in (np.uint8, np.uint16):
        raise BadInput("NOT_AN_IMAGE", "no picture that can be decoded: give a PNG or JPEG of 8 or 16 bits")
    return np.asarray(grey)


def _size_of_png(data: bytes) -> tuple[int, int]:
    """Rows and columns of a PNG whose chunks are all there: OpenCV makes room for as long a chunk as is stated."""
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">L4s", data, at)
        at += length + 12  # length, kind and checksum (ISO 15948 5.3)
    if at > len(data):
        raise ValueError("cut off")
    columns, rows = struct.unpack_from(">LL", data, 16)
    return rows, columns


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    size = size_of(data)
    return size.rows, size.columns


def _dataset(grey: NDArray[Any]) -> Dataset:
    film = Dataset()
    film.file_meta = FileMetaDataset()
    film.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    film.Rows, film.Columns = grey.shape
    film.BitsAllocated = film.BitsStored = 8 * grey.itemsize
    film.HighBit, film.PixelRepresentation = film.BitsStored - 1, 0
    film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
    if film.BitsStored == 8:  # 16 bits are seldom filled: without a window, viewers find the range themselves
        film.WindowCenter, film.WindowWidth = 128, 256
    pixels = grey.astype(grey.dtype.newbyteorder("<")).tobytes()
    film.add_new("PixelData", "OB" if film.BitsStored == 8 else "OW", pixels + b"\0" * (len(pixels) % 2))
    return film


def _identify(film: Dataset, digest: str, study: str | None, options: tuple[object, ...]) -> None:
    """Derive all UIDs; options belong to the object, since other options make another object."""
    group = digest if study is None else study
    film.SOPClassUID = ComputedRadiographyImageStorage
    film.StudyInstanceUID = generate_uid(entropy_srcs=[f"spinepacs|wrap|study|{group}"])
    film.SeriesInstanceUID = generate_uid(entropy_srcs=[f"spinepacs|wrap|series|{group}"])
    film.SOPInstanceUID = generate_uid(entropy_srcs=[f"spinepacs|wrap|image|{group}|{digest}|{options!r}"])


def _describe(film: Dataset, spacing_mm: float | None, body_part: str, view: str) -> None:
    for keyword in _EMPTY.split():
        setattr(film, keyword, None)
    film.SpecificCharacterSet = "ISO_IR 192"
    film.ImageType = ["DERIVED", "SECONDARY"]
    film.Modality = "CR"
    film.Manufacturer, film.ManufacturerModelName = "spinepacs", "spinepacs wrap"
    film.SeriesNumber = film.InstanceNumber = 1
    film.BodyPartExamined, film.ViewPosition = body_part, view
    film.SeriesDescription = "Film wrapped from a picture file"
    if spacing_mm is not None:
        film.PixelSpacing = [spacing_mm, spacing_mm]


def _admit_loss(film: Dataset, size_bytes: int) -> None:
    """Say that the picture came from a JPEG (PS3.3 C.7.6.1.1.5)."""
    film.LossyImageCompression = "01"
    film.LossyImageCompressionMethod = "ISO_10918_1"
    film.LossyImageCompressionRatio = round(len(film.PixelData) / size_bytes, 2)
