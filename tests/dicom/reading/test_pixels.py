"""A JPEG that lacks data is told from a whole one, though its decoder fills up what is missing without a word."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom import uid as uids
from pydicom.encaps import encapsulate, generate_frames
from pydicom.errors import InvalidDicomError

from spinepacs.dicom.reading.pixels import decode, lacks_data
from spinepacs.errors import BadInput
from tests.daemons import PHANTOM
from tests.films import make_dx, pydicom_data

_NOISE = np.random.default_rng(0).normal(0, 0.004, (300, 400))
_SHARES = np.clip(PHANTOM.picture()[300:600, 200:600] / 255 + _NOISE, 0, 1)
PIXELS = {
    bits: (_SHARES * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16) for bits in (8, 12, 16)
}


def pillow(pixels: NDArray[Any] = PIXELS[8], **how: Any) -> bytes:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "JPEG", quality=90, **how)
    return made.getvalue()


def lossless(bits: int, predictor: int = 1) -> bytes:
    made: bytes = imagecodecs.jpeg8_encode(
        PIXELS[bits], lossless=True, bitspersample=bits, predictor=predictor
    )
    return made


JPEGS = {
    "baseline": (uids.JPEGBaseline8Bit, 8, pillow()),
    "a restart each row": (uids.JPEGBaseline8Bit, 8, pillow(restart_marker_rows=1)),
    "extended": (
        uids.JPEGExtended12Bit,
        12,
        imagecodecs.jpeg8_encode(PIXELS[12], level=90, bitspersample=12),
    ),
    "lossless, 12 bit": (uids.JPEGLosslessSV1, 12, lossless(12)),
    "lossless, 16 bit": (uids.JPEGLossless, 16, lossless(16, predictor=4)),
    "JPEG-LS": (uids.JPEGLSLossless, 12, imagecodecs.jpegls_encode(PIXELS[12])),
    "JPEG-LS, near": (uids.JPEGLSNearLossless, 12, imagecodecs.jpegls_encode(PIXELS[12], level=2)),
}


def decoded(name: str, frame: bytes) -> NDArray[Any]:
    syntax, bits, _ = JPEGS[name]
    film = make_dx(PIXELS[bits])
    film.BitsStored, film.BitsAllocated, film.HighBit = bits, 8 * PIXELS[bits].itemsize, bits - 1
    film.file_meta.TransferSyntaxUID = syntax
    film.PixelData = encapsulate([frame])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    return decode(film)


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("lost", [512, 4096])
def test_what_has_lost_bytes_of_its_middle_is_no_film(name: str, lost: int) -> None:
    frame = JPEGS[name][2]
    assert decoded(name, frame).shape == PIXELS[8].shape
    for place in range(len(frame) // 4, len(frame) * 3 // 4 - lost, len(frame) // 16):
        with pytest.raises(BadInput) as caught:
            decoded(name, frame[:place] + frame[place + lost :])
        assert caught.value.reason_code == "UNDECODABLE_PIXELS"


@pytest.mark.parametrize("rows", [1, 5, 8, 16])
def test_restarts_that_are_missing_are_missed(rows: int) -> None:
    """They count to eight, so that eight of them may go and the rest fits: then one is missing at the end."""
    frame = pillow(restart_marker_rows=1)
    at = [place for place in range(len(frame)) if frame[place] == 0xFF and 0xD0 <= frame[place + 1] <= 0xD7]
    assert len(at) == 37
    cut = frame[: at[10]] + frame[at[10 + rows] :]
    assert imagecodecs.jpeg8_decode(cut).shape == PIXELS[8].shape
    assert lacks_data(cut)


def whole_ones() -> Iterator[bytes]:
    """Whatever is allowed, or seen."""
    yield from (frame for name, (_, _, frame) in JPEGS.items() if "JPEG-LS" not in name)
    yield from (lossless(16, predictor) for predictor in range(1, 8))
    yield from (
        pillow(**how) for how in ({"progressive": True}, {"optimize": True}, {"restart_marker_blocks": 3})
    )
    colour = np.stack([PIXELS[8], PIXELS[8].T[:300, :400].repeat(2, 1)[:, :400], 255 - PIXELS[8]], axis=2)
    for subsampling in (0, 1, 2):
        for how in ({}, {"progressive": True, "restart_marker_blocks": 7}):
            yield pillow(colour, subsampling=subsampling, **how)
    yield from (
        pillow(np.full(shape, grey, np.uint8)) for shape in ((1, 1), (17, 9)) for grey in (0, 128, 255)
    )
    frame = pillow(restart_marker_rows=2)
    yield frame[:-2]
    yield frame[:-2] + b"\xff\xff\xff\xd9"
    yield frame + b"what follows\xff\xd9"
    yield frame[:2] + b"\xff\xe1\0\x06\xff\xd8\xff\xd9" + frame[2:]


def test_nothing_is_missing_from_what_is_whole() -> None:
    assert [number for number, frame in enumerate(whole_ones()) if lacks_data(frame)] == []


def frames_of_others() -> Iterator[tuple[str, bytes]]:
    """Every frame of the files of pydicom and pydicom-data whose syntax is one of libjpeg's, with the file's name."""
    mine = {uids.JPEGBaseline8Bit, uids.JPEGExtended12Bit, uids.JPEGLossless, uids.JPEGLosslessSV1}
    for path in sorted(
        [*pydicom_data().rglob("*.dcm"), *Path(pydicom.__file__).parent.rglob("test_files/*.dcm")]
    ):
        try:
            dataset = dcmread(path)
        except InvalidDicomError:
            continue
        if dataset.file_meta.get("TransferSyntaxUID") in mine and "PixelData" in dataset:
            number = int(dataset.get("NumberOfFrames") or 1)
            yield from (
                (path.name, frame) for frame in generate_frames(dataset.PixelData, number_of_frames=number)
            )


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_missing_from_what_others_have_written() -> None:
    found = list(frames_of_others())
    assert len(found) > 20
    assert [name for name, frame in found if lacks_data(frame)] == []
