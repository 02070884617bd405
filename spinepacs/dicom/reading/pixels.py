"""Decode the stored pixels of one frame, after everything that can be checked beforehand has been checked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import config
from pydicom import uid as uids
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from spinepacs.dicom.reading.codestream import MAXIMUM_TILES, drawn_out, is_jpeg_ls, size_of
from spinepacs.dicom.reading.parse import number, quiet, uid
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

_JPEG = (
    uids.JPEGLosslessSV1,
    uids.JPEGLossless,
    uids.JPEGBaseline8Bit,
    uids.JPEGExtended12Bit,
    uids.JPEGLSLossless,
    uids.JPEGLSNearLossless,
)
_OFFSET_TABLES = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_REMEDY = "send the image again, uncompressed if need be"


def decode(dataset: Dataset) -> NDArray[Any]:
    """Decode the pixels as they are stored.

    Parameters
    ----------
    dataset : Dataset
        Single frame, one sample per pixel, with PixelData; loses its extended offset table.

    Returns
    -------
    (rows, columns) uint8, int8, uint16 or int16, native byte order; may be read-only and share the dataset's memory.

    Raises
    ------
    BadInput
        ``NO_PIXEL_DATA``, ``INVALID_IMAGE_SIZE``, ``IMAGE_TOO_LARGE``, ``UNSUPPORTED_BITS``,
        ``UNSUPPORTED_TRANSFER_SYNTAX``, ``WRONG_TRANSFER_SYNTAX``, ``PIXEL_DATA_LENGTH``, ``UNDECODABLE_PIXELS``.
    """
    syntax = uids.UID(uid(dataset.file_meta, "TransferSyntaxUID"), config.IGNORE)
    for keyword in _OFFSET_TABLES:  # one frame needs none, and what is checked is to be what is decoded
        dataset.pop(keyword, None)
    frame = _checked(dataset, syntax)
    try:
        with quiet():
            stored = _jpeg(frame, dataset) if syntax in _JPEG else _decoded(dataset, frame)
    except (MemoryError, KeyboardInterrupt, SystemExit, BadInput):
        raise
    # Every plugin has errors of its own; a panic of pylibjpeg-rle, which is Rust, is no Exception.
    except BaseException as error:
        raise BadInput(
            "UNDECODABLE_PIXELS",
            f"PixelData cannot be decoded as {syntax.name} ({type(error).__name__}): {_REMEDY}",
        ) from None
    if stored.ndim != 2 or stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2:
        raise BadInput("UNDECODABLE_PIXELS", f"PixelData does not hold one greyscale frame: {_REMEDY}")
    return np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("="))


def _jpeg(frame: bytes, dataset: Dataset) -> NDArray[Any]:
    """Decode with libjpeg-turbo or CharLS, by what the frame is and not by what the header says.

    Of pydicom's plugins for JPEG, one takes five times as long and reads images without their low bits wrongly.
    """
    import imagecodecs  # 20 MB, which workers of other films need not hold

    if is_jpeg_ls(frame):
        pixels: NDArray[Any] = imagecodecs.jpegls_decode(frame)
    else:
        pixels = imagecodecs.jpeg8_decode(frame)
        if lacks_data(frame, pixels):
            raise BadInput("UNDECODABLE_PIXELS", f"data of the compressed image are missing: {_REMEDY}")
    is_signed = number(dataset, "PixelRepresentation", 0) == 1
    return pixels.view(f"i{pixels.itemsize}") if is_signed else pixels


def lacks_data(frame: bytes, pixels: NDArray[Any] | None = None) -> bool:
    """Whether a JPEG, other than JPEG-LS, has no data for some of the pixels that libjpeg-turbo gives.

    A film whose lower half is missing, or some kilobytes of its middle, comes back in full size without a word: the
    library counts a warning, which nobody shows us. What follows the data of a whole image does not matter; some
    senders forget its end. ``pixels``: the image, where it has been decoded.

    Raises
    ------
    RuntimeError
        If it cannot be decoded.
    """
    import imagecodecs

    if pixels is None:
        pixels = imagecodecs.jpeg8_decode(frame)
    return not np.array_equal(pixels, imagecodecs.jpeg8_decode(drawn_out(frame)))


def _decoded(dataset: Dataset, frame: bytes) -> NDArray[Any]:
    """Decode with pydicom; a frame that is not empty goes into the dataset as the only one."""
    if frame:
        dataset["PixelData"].value = encapsulate([frame])
    # The windowing takes the stored bits itself: pydicom's correction costs a copy and knows no HighBit.
    return pixel_array(dataset, view_only=not frame, correct_unused_bits=False)


def _checked(dataset: Dataset, syntax: uids.UID) -> bytes:
    """The compressed frame; empty where the pixels are not compressed."""
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
    if syntax not in DECODABLE_TRANSFER_SYNTAXES or not (syntax in _JPEG or get_decoder(syntax).is_available):
        raise BadInput(
            "UNSUPPORTED_TRANSFER_SYNTAX", f"no decoder for TransferSyntaxUID {syntax.name}: {_REMEDY}"
        )
    element = _pixel_data(dataset)
    if syntax.is_encapsulated != element.is_undefined_length:
        raise BadInput(
            "WRONG_TRANSFER_SYNTAX", f"PixelData is not stored as TransferSyntaxUID says: {_REMEDY}"
        )
    if syntax.is_encapsulated:
        frame = _only_frame(element.value)
        _check_codestream(frame, syntax, rows, columns)
        return frame
    _check_length(element.value, dataset, rows, columns)
    return b""


def _pixel_data(dataset: Dataset) -> DataElement:
    try:
        with quiet():
            element = dataset["PixelData"]
    except MemoryError:
        raise
    except Exception:  # pydicom raises whatever its converters raise on damaged bytes
        element = None
    if element is None or not isinstance(element.value, bytes):
        raise BadInput("UNDECODABLE_PIXELS", f"PixelData does not hold pixels: {_REMEDY}")
    return element


def _check_bits(dataset: Dataset) -> None:
    allocated, stored = int(number(dataset, "BitsAllocated", 0)), int(number(dataset, "BitsStored", 0))
    high = int(number(dataset, "HighBit", stored - 1))
    if allocated not in (8, 16) or not 2 <= stored <= high + 1 <= allocated:
        raise BadInput(
            "UNSUPPORTED_BITS",
            "BitsAllocated must be 8 or 16, with BitsStored and HighBit within: correct the sender",
        )


def _check_length(pixels: bytes, dataset: Dataset, rows: int, columns: int) -> None:
    expected = rows * columns * int(number(dataset, "BitsAllocated", 0)) // 8
    if len(pixels) < expected:
        raise BadInput(
            "PIXEL_DATA_LENGTH",
            f"PixelData has {len(pixels)} bytes where Rows × Columns × BitsAllocated asks for {expected}: "
            "send the image again",
        )


def _only_frame(pixels: bytes) -> bytes:
    """Join all fragments behind the offset table, whatever that says: one frame needs none (PS3.5 A.4)."""
    try:
        table, *fragments = generate_fragments(pixels)
    except ValueError:
        raise BadInput("UNDECODABLE_PIXELS", f"the fragments of PixelData are damaged: {_REMEDY}") from None
    # A sender that forgets the table begins with the frame.
    return b"".join(fragments) or table


def _check_codestream(frame: bytes, syntax: uids.UID, rows: int, columns: int) -> None:
    """Compare the size in the compressed stream before a decoder allocates what a hostile stream asks for."""
    try:
        stated = None if syntax == uids.RLELossless else size_of(frame)
    except Exception:  # a broken header has many faces
        raise BadInput(
            "UNDECODABLE_PIXELS", f"the header of the compressed image is damaged: {_REMEDY}"
        ) from None
    if stated is not None and (stated.rows, stated.columns, stated.components) != (rows, columns, 1):
        raise BadInput(
            "UNDECODABLE_PIXELS",
            f"Rows, Columns or SamplesPerPixel differ from the compressed image's: {_REMEDY}",
        )
    if stated is not None and stated.tiles > MAXIMUM_TILES:
        raise BadInput("UNDECODABLE_PIXELS", f"the image has more than {MAXIMUM_TILES} tiles: {_REMEDY}")
