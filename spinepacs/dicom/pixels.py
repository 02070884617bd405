"""Decode the stored pixels of one frame, after everything that can be checked beforehand has been checked."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from spinepacs.dicom.parse import number, quiet, uid
from spinepacs.errors import BadInput

DECODABLE_TRANSFER_SYNTAXES: tuple[str, ...] = (
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.JPEGLosslessSV1,
    uids.JPEGLossless,
    uids.JPEGLSLossless,
    uids.JPEGLSNearLossless,
    uids.JPEG2000Lossless,
    uids.JPEG2000,
    uids.HTJ2KLossless,
    uids.HTJ2KLosslessRPCL,
    uids.HTJ2K,
    uids.RLELossless,
    uids.JPEGBaseline8Bit,
    uids.JPEGExtended12Bit,
)
"""What the listener may accept: :func:`decode` reads every one of them."""

MAXIMUM_PIXELS = 100_000_000
"""Rows × columns beyond which an image is not decoded; the largest stitched spine films have about 40 million."""

_REMEDY = "send the image again, uncompressed if need be"


def decode(dataset: Dataset) -> NDArray[Any]:
    """Decode the pixels as they are stored.

    Parameters
    ----------
    dataset : Dataset
        Single frame, one sample per pixel, with PixelData.

    Returns
    -------
    (rows, columns) uint8, int8, uint16 or int16, native byte order; may be read-only and share the dataset's memory.

    Raises
    ------
    BadInput
        ``NO_PIXEL_DATA``, ``INVALID_IMAGE_SIZE``, ``IMAGE_TOO_LARGE``, ``UNSUPPORTED_BITS``,
        ``UNSUPPORTED_TRANSFER_SYNTAX``, ``WRONG_TRANSFER_SYNTAX``, ``PIXEL_DATA_LENGTH``, ``UNDECODABLE_PIXELS``.
    """
    syntax = uids.UID(uid(dataset.file_meta, "TransferSyntaxUID"))
    _check(dataset, syntax)
    try:
        with quiet():
            # The windowing takes the stored bits itself: pydicom's correction costs a copy and knows no HighBit.
            stored = pixel_array(dataset, view_only=not syntax.is_encapsulated, correct_unused_bits=False)
    except Exception as error:  # every plugin has errors of its own
        raise BadInput(
            "UNDECODABLE_PIXELS",
            f"PixelData cannot be decoded as {syntax.name} ({type(error).__name__}): {_REMEDY}",
        ) from None
    if stored.ndim != 2 or stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        raise BadInput("UNDECODABLE_PIXELS", f"PixelData does not hold one greyscale frame: {_REMEDY}")
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))


def _check(dataset: Dataset, syntax: uids.UID) -> None:
    if "PixelData" not in dataset:
        raise BadInput("NO_PIXEL_DATA", "PixelData is missing: not an image, or cut off before its pixels")
    rows, columns = int(number(dataset, "Rows", 0)), int(number(dataset, "Columns", 0))
    if rows < 1 or columns < 1:
        raise BadInput("INVALID_IMAGE_SIZE", "Rows or Columns is missing or zero: correct the sender")
    if rows * columns > MAXIMUM_PIXELS:
        raise BadInput(
            "IMAGE_TOO_LARGE", f"Rows × Columns is more than {MAXIMUM_PIXELS}: send a smaller image"
        )
    _check_bits(dataset)
    if syntax not in DECODABLE_TRANSFER_SYNTAXES or not get_decoder(syntax).is_available:
        raise BadInput(
            "UNSUPPORTED_TRANSFER_SYNTAX", f"no decoder for TransferSyntaxUID {syntax.name}: {_REMEDY}"
        )
    if syntax.is_encapsulated != dataset["PixelData"].is_undefined_length:
        raise BadInput(
            "WRONG_TRANSFER_SYNTAX", f"PixelData is not stored as TransferSyntaxUID says: {_REMEDY}"
        )
    if syntax.is_encapsulated:
        _check_codestream(dataset, rows, columns)
    else:
        _check_length(dataset, rows, columns)


def _check_bits(dataset: Dataset) -> None:
    allocated, stored = int(number(dataset, "BitsAllocated", 0)), int(number(dataset, "BitsStored", 0))
    high = int(number(dataset, "HighBit", stored - 1))
    if allocated not in (8, 16) or not 2 <= stored <= high + 1 <= allocated:
        raise BadInput(
            "UNSUPPORTED_BITS",
            "BitsAllocated must be 8 or 16, with BitsStored and HighBit within: correct the sender",
        )


def _check_length(dataset: Dataset, rows: int, columns: int) -> None:
    expected = rows * columns * int(number(dataset, "BitsAllocated", 0)) // 8
    if len(dataset.PixelData) < expected:
        raise BadInput(
            "PIXEL_DATA_LENGTH",
            f"PixelData has {len(dataset.PixelData)} bytes where Rows × Columns × BitsAllocated asks for {expected}: "
            "send the image again",
        )


def _check_codestream(dataset: Dataset, rows: int, columns: int) -> None:
    """Compare the size in the compressed stream before a decoder allocates what a hostile stream asks for."""
    try:
        size = _codestream_size(get_frame(dataset.PixelData, 0, number_of_frames=1))
    except Exception:  # a broken fragment structure has many faces
        raise BadInput("UNDECODABLE_PIXELS", f"the fragments of PixelData are damaged: {_REMEDY}") from None
    if size is not None and size != (rows, columns):
        raise BadInput(
            "UNDECODABLE_PIXELS", f"Rows and Columns differ from the compressed image's: {_REMEDY}"
        )


def _codestream_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns of a JPEG, JPEG-LS or JPEG 2000 stream; None for others.

    JPEG 2000: SIZ follows SOC (ISO 15444-1 A.5.1).  JPEG: the first SOF marker (ISO 10918-1 B.2.2).
    """
    if frame[:4] == b"\xff\x4f\xff\x51":
        width, height, left, top = struct.unpack_from(">4I", frame, 8)
        return height - top, width - left
    at = 2
    while frame[:2] == b"\xff\xd8" and at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4])
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            height, width = struct.unpack_from(">2H", frame, at + 5)
            return height, width
        at += 1 if marker == 0xFF else 2 + length
    return None
