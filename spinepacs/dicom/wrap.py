"""A PNG or JPEG film as a DICOM file that any PACS takes."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from spinepacs.dicom.pictures import PictureFacts
from spinepacs.dicom.reading.bounded import MAXIMUM_BYTES
from spinepacs.dicom.reading.codestream import ends, size_of
from spinepacs.dicom.reading.kinds import PICTURE, START_BYTES
from spinepacs.dicom.reading.pixels import MAXIMUM_PIXELS, lacks_data
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
        return PICTURE.match(opened.read(START_BYTES)) is not None


def wrap(image: Path, out: Path, said: PictureFacts) -> None:
    """Write a PNG or JPEG film as a Computed Radiography object (PS3.10 file).

    CR and not DX, since a DX object must state ImagerPixelSpacing, the size of a pixel at the detector, and nobody
    knows it of a picture.  A spacing given here becomes PixelSpacing without a calibration type: its plane is not
    stated either, and what is measured with it is called uncalibrated.

    Parameters
    ----------
    image : Path
        Grey 8 or 16 bits, or colour, which becomes luminance; turned as its EXIF orientation says.  Bone is bright.
        Its file name is kept in DerivationDescription.
    out : Path
        File to write; an existing one is replaced.
    said : PictureFacts
        What its header is to say.

    Raises
    ------
    BadInput
        ``NOT_AN_IMAGE``, ``TRUNCATED``, ``IMAGE_TOO_LARGE``.
    Transient
        A file cannot be read or written.

    Notes
    -----
    UIDs come from the picture's SHA-256, its file name and what is said of it: the same call writes the same bytes
    again, and another patient or day never comes into the same study.
    """
    try:
        data = _read(image)
        film = _dataset(_grey(data))
        _identify(film, hashlib.sha256(data).hexdigest(), image.name, said)
        _describe(film, said)
        _derive(film, image.name)
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


def _grey(data: bytes) -> NDArray[Any]:
    """Decode to (rows, columns) uint8 or uint16; what is neither PNG nor JPEG never gets to OpenCV's decoders."""
    try:
        rows, columns = _size_of_png(data) if data[:8] == _PNG else _size_of_jpeg(data)
        if rows * columns > MAXIMUM_PIXELS:
            raise BadInput(
                "IMAGE_TOO_LARGE", f"the picture has more than {MAXIMUM_PIXELS} pixels: scale it down"
            )
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if grey is not None and data.startswith(_JPEG) and _lacks_data(data):
            raise BadInput("TRUNCATED", "data of the picture are missing: send it again")
    except (struct.error, ValueError, cv2.error):
        grey = None
    if grey is None or grey.dtype not in (np.uint8, np.uint16):
        raise BadInput("NOT_AN_IMAGE", "no picture that can be decoded: give a PNG or JPEG of 8 or 16 bits")
    return np.asarray(grey)


def _size_of_png(data: bytes) -> tuple[int, int]:
    """Rows and columns of a PNG whose chunks are all there: OpenCV makes room for as long a chunk as is stated."""
    if len(data) >= 16 and data[12:16] != b"IHDR":
        raise ValueError("no PNG after all")
    at, kind = len(_PNG), b""
    while kind != b"IEND":
        if at + 8 > len(data):
            raise _cut_off()
        length, kind = struct.unpack_from(">L4s", data, at)
        at += length + 12  # length, kind and checksum (ISO 15948 5.3)
    if at > len(data):
        raise _cut_off()
    columns, rows = struct.unpack_from(">LL", data, 16)
    return rows, columns


def _size_of_jpeg(data: bytes) -> tuple[int, int]:
    """Rows and columns of a JPEG that has its end (EOI, ISO 10918-1 B.2.1): decoders fill up with grey without it."""
    if not data.startswith(_JPEG):
        raise ValueError("no JPEG after all")
    try:
        size = size_of(data)
    except struct.error:
        raise _cut_off() from None
    if not ends(data):
        raise _cut_off()
    return size.rows, size.columns


def _lacks_data(data: bytes) -> bool:
    try:
        return lacks_data(data)
    except RuntimeError:  # what OpenCV takes and another decoder does not: nobody can tell
        return False


def _cut_off() -> BadInput:
    return BadInput("TRUNCATED", "the picture ends before its end: send it again")


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


def _identify(film: Dataset, digest: str, name: str, said: PictureFacts) -> None:
    """Derive all UIDs; what is said belongs to the object, since other words make another object."""
    who = "|".join((said.patient_id, said.study_date)).strip("|")
    group = (digest if said.study is None else said.study) + (f"|{who}" if who else "")
    name = name.encode(errors="backslashreplace").decode()  # bytes that are no text
    words = (said.spacing_mm, said.body_part, said.view)
    film.SOPClassUID = ComputedRadiographyImageStorage
    film.StudyInstanceUID = generate_uid(entropy_srcs=[f"spinepacs|wrap|study|{group}"])
    film.SeriesInstanceUID = generate_uid(entropy_srcs=[f"spinepacs|wrap|series|{group}"])
    film.SOPInstanceUID = generate_uid(
        entropy_srcs=[f"spinepacs|wrap|image|{group}|{digest}|{name}|{words!r}"]
    )


def _describe(film: Dataset, said: PictureFacts) -> None:
    for keyword in _EMPTY.split():
        setattr(film, keyword, None)
    film.SpecificCharacterSet = "ISO_IR 192"
    film.ImageType = ["DERIVED", "SECONDARY"]
    film.Modality = "CR"
    film.Manufacturer, film.ManufacturerModelName = "spinepacs", "spinepacs wrap"
    film.SeriesNumber = film.InstanceNumber = 1
    film.PatientID, film.StudyDate = said.patient_id or None, said.study_date or None
    film.BodyPartExamined, film.ViewPosition = said.body_part, said.view
    film.SeriesDescription = "Film wrapped from a picture file"
    if said.spacing_mm is not None:
        film.PixelSpacing = [said.spacing_mm, said.spacing_mm]


def _derive(film: Dataset, name: str) -> None:
    """Keep the name of the file where a text says how an image came about (PS3.3 C.7.6.1.1.3).

    Nothing reads it back: a description would decide on selection and view, and results would inherit it.
    """
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    film.DerivationDescription = f"wrapped from the picture file {clean}"


def _admit_loss(film: Dataset, size_bytes: int) -> None:
    """Say that the picture came from a JPEG (PS3.3 C.7.6.1.1.5)."""
    film.LossyImageCompression = "01"
    film.LossyImageCompressionMethod = "ISO_10918_1"
    film.LossyImageCompressionRatio = round(len(film.PixelData) / size_bytes, 2)
