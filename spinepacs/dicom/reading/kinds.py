"""What a file is that is no DICOM file, by its first bytes: so that a person reads the right word and the remedy."""

from __future__ import annotations

import re

from spinepacs.errors import BadInput

START_BYTES = 512
"""So many of a file's first bytes are looked at."""
PICTURE = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff")
"""How a PNG and a JPEG begin."""
ZIP = re.compile(rb"PK(\x03\x04|\x05\x06)")
"""How a zip archive begins: with a file in it, and without any."""

_AS_PNG = "save it as PNG (8 or 16 bits, grey), which loses nothing"
_UNPACK = "unpack it and give the files in it"
_ORIGINAL = "send the original film"

_KINDS = (
    (rb"II[*+]\0|MM\0[*+]", "PICTURE_FORMAT", "a TIFF picture", _AS_PNG),
    (rb"BM.{4}\0\0\0\0", "PICTURE_FORMAT", "a BMP picture", _AS_PNG),
    (rb"GIF8", "PICTURE_FORMAT", "a GIF picture", _AS_PNG),
    (rb"RIFF.{4}WEBP", "PICTURE_FORMAT", "a WebP picture", _AS_PNG),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "PICTURE_FORMAT", "a JPEG 2000 picture", _AS_PNG),
    (rb".{4}ftyp(hei|mif1|msf1|avif)", "PICTURE_FORMAT", "a HEIC or AVIF picture", _AS_PNG),
    (PICTURE.pattern, "NOT_DICOM", "a picture", "wrap it: spinepacs wrap"),
    (ZIP.pattern, "ARCHIVE", "a zip archive", f"{_UNPACK}; the watched folder opens it"),
    (rb"\x1f\x8b", "ARCHIVE", "a gzip archive", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "ARCHIVE", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "ARCHIVE", "a RAR archive", _UNPACK),
    (rb"BZh[1-9]", "ARCHIVE", "a bzip2 archive", _UNPACK),
    (rb"\xfd7zXZ\0", "ARCHIVE", "an xz archive", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "ARCHIVE", "a zstd archive", _UNPACK),
    (rb".{257}ustar", "ARCHIVE", "a tar archive", _UNPACK),
    (rb".{344}n\+1\0", "NOT_DICOM", "a NIfTI volume", _ORIGINAL),
    (rb"%PDF", "NOT_DICOM", "a PDF document", _ORIGINAL),
    (rb"MZ[^ -~]|\x7fELF", "NOT_DICOM", "a program", _ORIGINAL),
)
"""Pattern of the first bytes, reason code, word, remedy; the first that fits holds."""


def no_dicom(start: bytes) -> BadInput:
    """Make the refusal of a file that is no DICOM file (PS3.10), from its first bytes.

    Its reason code is ``PICTURE_FORMAT`` or ``ARCHIVE`` where there may be a film in it, else ``NOT_DICOM``.
    """
    if not start:
        return BadInput("NOT_DICOM", "the file is empty: send it again")
    for pattern, code, word, remedy in _KINDS:
        if re.match(pattern, start, re.DOTALL):
            return BadInput(code, f"{word}, no DICOM file: {remedy}")
    return BadInput("NOT_DICOM", "no DICOM file (PS3.10): the prefix DICM is missing; send the original file")
