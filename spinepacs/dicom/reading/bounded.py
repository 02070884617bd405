"""Files read under limits, so that what a file says of itself never decides how much memory its reader takes.

pydicom reads as many bytes, elements and items as a file states, inflates without end, and builds an object of several
hundred bytes for eight bytes of input. Here each of these has a limit that no radiograph comes near.
"""

from __future__ import annotations

import os
import zlib
from io import BytesIO
from typing import BinaryIO

from spinepacs.errors import BadInput

MAXIMUM_BYTES = 256 << 20
"""Bytes of a file that are read, inflated where it is deflated: the largest image that is decoded has 200 million."""

MAXIMUM_META_BYTES = 1 << 20
"""Bytes of preamble and file meta information; usual are 500."""

MAXIMUM_READS = 100_000
"""Reads of one file, two or three for each element, item and fragment: a film has some hundred elements."""

MAXIMUM_VALUE_BYTES = 1 << 16
"""Bytes of one element that is looked at; longer values do not fit the explicit VRs of text and numbers at all."""

MAXIMUM_LUT_BYTES = 2 << 20
"""Bytes of a sequence of lookup tables: one of 16 bits has 131 072, and some films carry a dozen."""

MAXIMUM_ITEMS = 1000
"""Items of one sequence that is looked at."""

_CHARACTER_SETS = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")
_HEADER_BYTES = 8
_PIECE_BYTES = 1 << 16


class BoundedFile:
    """A binary file that gives no more than it has, and no more than is allowed.

    Parameters
    ----------
    file
        Open for reading; its position is where reading goes on.
    maximum_bytes
        Nothing beyond this position is given.

    Raises
    ------
    BadInput
        ``FILE_TOO_LARGE``, ``TOO_MANY_ELEMENTS``, ``ELEMENT_TOO_LARGE`` by :meth:`read`.
    """

    def __init__(self, file: BinaryIO, maximum_bytes: int | None = None) -> None:
        self._file = file
        self._maximum_bytes = MAXIMUM_BYTES if maximum_bytes is None else maximum_bytes
        self._reads_left = MAXIMUM_READS
        self._header = b""
        self.refusal: BadInput | None = None
        """What was raised last: pydicom puts errors of its own in the place of others."""
        here = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(here)
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move."""
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """Read ``size`` bytes, or what there is."""
        rest = max(self._size - self._file.tell(), 0)
        size = rest if size < 0 else min(size, rest)
        self._reads_left -= 1
        self.refusal = self._objection(size)
        if self.refusal:
            raise self.refusal
        data = self._file.read(size)
        if size == _HEADER_BYTES:
            self._header = data
        return data

    def _objection(self, size: int) -> BadInput | None:
        if self._file.tell() + size > self._maximum_bytes:
            return BadInput(
                "FILE_TOO_LARGE",
                f"more than {self._maximum_bytes} bytes would have to be read: "
                "neither long runs nor large private elements are read",
            )
        if self._reads_left < 0:
            return BadInput(
                "TOO_MANY_ELEMENTS",
                "the dataset has more elements and items than any radiograph: send the original image",
            )
        if size > MAXIMUM_VALUE_BYTES and self._header[:4] in _CHARACTER_SETS:
            # pydicom splits this one value while it still reads, whatever its length.
            return BadInput("ELEMENT_TOO_LARGE", "SpecificCharacterSet is absurdly long: correct the sender")
        return None


def inflate(deflated: bytes) -> BytesIO:
    """Undo the compression of Deflated Explicit VR Little Endian (PS3.5 A.5), up to :data:`MAXIMUM_BYTES`.

    Raises
    ------
    BadInput
        ``FILE_TOO_LARGE``, ``DAMAGED_DATASET``, ``TRUNCATED``.
    """
    stream, inflated = zlib.decompressobj(-zlib.MAX_WBITS), BytesIO()
    for start in range(0, len(deflated), _PIECE_BYTES):
        try:
            piece = deflated[start : start + _PIECE_BYTES]
            inflated.write(stream.decompress(piece, MAXIMUM_BYTES + 1 - inflated.tell()))
        except zlib.error:
            raise BadInput(
                "DAMAGED_DATASET", "the deflated dataset is damaged: send the image again"
            ) from None
        if inflated.tell() > MAXIMUM_BYTES:
            raise BadInput(
                "FILE_TOO_LARGE",
                f"the dataset inflates to more than {MAXIMUM_BYTES} bytes: send it uncompressed",
            )
        if stream.eof:
            inflated.seek(0)
            return inflated
    raise BadInput("TRUNCATED", "the deflated dataset ends too early: send the image again")
