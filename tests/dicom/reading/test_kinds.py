"""Files that are no DICOM files are called what they are, and a text that begins like one is not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from spinepacs.dicom.reading.kinds import START_BYTES, no_dicom

PIXELS = np.arange(4096, dtype=np.uint8).reshape(64, 64)


def picture(suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, PIXELS)
    assert done
    return data.tobytes()


def saved(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


def archived(kind: str) -> bytes:
    file = io.BytesIO()
    if kind == "zip":
        zipfile.ZipFile(file, "w").close()
    else:
        with tarfile.open(fileobj=file, mode="w") as packed:
            packed.addfile(tarfile.TarInfo("film.dcm"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (picture(".tiff"), "PICTURE_FORMAT", "a TIFF picture"),
        (saved("TIFF"), "PICTURE_FORMAT", "a TIFF picture"),
        (picture(".bmp"), "PICTURE_FORMAT", "a BMP picture"),
        (saved("GIF"), "PICTURE_FORMAT", "a GIF picture"),
        (picture(".webp"), "PICTURE_FORMAT", "a WebP picture"),
        (picture(".jp2"), "PICTURE_FORMAT", "a JPEG 2000 picture"),
        (picture(".png"), "NOT_DICOM", "a picture"),
        (archived("zip"), "ARCHIVE", "a zip archive"),
        (archived("tar"), "ARCHIVE", "a tar archive"),
        (gzip.compress(b"x", mtime=0), "ARCHIVE", "a gzip archive"),
        (bz2.compress(b"x"), "ARCHIVE", "a bzip2 archive"),
        (lzma.compress(b"x"), "ARCHIVE", "an xz archive"),
        (b"%PDF-1.7", "NOT_DICOM", "a PDF document"),
        (b"", "NOT_DICOM", "the file is empty"),
        (b"BMI and height of 30 patients", "NOT_DICOM", "no DICOM file"),
        (b"MZ: a district of Mainz", "NOT_DICOM", "no DICOM file"),
        (b"II. Befund", "NOT_DICOM", "no DICOM file"),
    ],
)
def test_the_word(content: bytes, code: str, word: str) -> None:
    refusal = no_dicom(content[:START_BYTES])
    assert refusal.reason_code == code
    assert str(refusal).startswith(word)
