"""Which bits of a word are the pixel: more than BitsStored says, overlays beside it, and padding with either sign."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom import uid as uids
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.bits import codes_of, is_padding, pixel_values
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from tests.films import make_cr, spine_like, write
from tests.peers import require

SYNTAXES = [
    uids.ExplicitVRLittleEndian,
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.RLELossless,
    uids.JPEGLosslessSV1,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
]


def film_of(words: NDArray[Any], folder: Path, syntax: str, **header: Any) -> LoadedFilm:
    """Write these words of 16 bits, whatever the header then says of them, and read them."""
    film = make_cr(words, BitsStored=16, HighBit=15, WindowCenter=None, WindowWidth=None)
    native = write(film, folder / "native")
    if syntax == uids.JPEGLosslessSV1:
        subprocess.run([require("dcmcjpeg"), "+e1", native, folder / "film"], check=True)
    else:
        write(film, folder / "film", syntax)
    film = dcmread(folder / "film")
    for keyword, value in header.items():
        setattr(film, keyword, value)
    film.save_as(folder / "film")
    loaded = read_film(folder / "film")
    assert isinstance(loaded, LoadedFilm), loaded
    return loaded


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_pixels_wider_than_the_header_says_are_read_as_they_are(tmp_path: Path, syntax: uids.UID) -> None:
    words = spine_like()
    assert words.max() > 1023
    radiograph = film_of(words, tmp_path, syntax, BitsStored=10, HighBit=9).radiograph
    assert np.array_equal(radiograph.values, words)
    assert "BITS_ABOVE_USED" in radiograph.notes


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_values_beyond_white_do_not_become_black(tmp_path: Path, syntax: uids.UID) -> None:
    """Lossy compression overshoots at bright edges."""
    words = spine_like()
    words[100:140, 80:120] = 4090
    words[110:112, 90:93] = 4099
    radiograph = film_of(words, tmp_path, syntax, BitsStored=12, HighBit=11).radiograph
    assert np.array_equal(radiograph.values, words)
    assert radiograph.display[111, 91] >= radiograph.display[130, 100] > 200


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_overlays_in_the_words_are_no_part_of_the_pixels(tmp_path: Path, syntax: uids.UID) -> None:
    words = spine_like()
    words[20:40, 30:150:2] |= 0x1000
    radiograph = film_of(words, tmp_path, syntax, BitsStored=12, HighBit=11).radiograph
    assert np.array_equal(radiograph.values, words & 0xFFF)
    assert "BITS_ABOVE_LEFT_OUT" in radiograph.notes


def with_overlay(bit: int, **elements: Any) -> Dataset:
    header = make_cr(**elements)
    header.add_new((0x6000, 0x0100), "US", 16)
    header.add_new((0x6000, 0x0102), "US", bit)
    return header


def test_a_declared_overlay_is_left_out_without_a_note() -> None:
    words = spine_like()
    words[20:40, 30:150:2] |= 0x1000
    taken = codes_of(words, with_overlay(12, BitsStored=12, HighBit=11))
    assert (taken.bits, taken.notes) == (12, ())
    assert np.array_equal(taken.codes, words & 0xFFF)


def test_an_overlay_stays_out_where_the_pixels_are_wider_than_stated() -> None:
    words = spine_like()
    drawn = words.copy()
    drawn[20:40, 30:150:2] |= 0x8000
    taken = codes_of(drawn, with_overlay(15, BitsStored=10, HighBit=9))
    assert taken.notes == ("BITS_ABOVE_USED",)
    assert np.array_equal(taken.codes, words)


def test_an_overlay_that_has_its_own_data_lies_in_no_bit() -> None:
    words = spine_like()
    header = with_overlay(0, BitsStored=10, HighBit=9)
    header.add_new((0x6000, 0x3000), "OW", b"\0" * 7500)
    assert np.array_equal(codes_of(words, header).codes, words)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_the_sign_repeated_in_the_bits_above_is_nothing_new(bits: int) -> None:
    words = (spine_like(bits=bits).astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)
    header = make_cr(words, BitsStored=bits, HighBit=bits - 1)
    taken = codes_of(words, header)
    assert (taken.bits, taken.notes) == (bits, ())
    assert np.array_equal(pixel_values(bits, header)[taken.codes], words)


def test_signed_pixels_wider_than_stated_keep_their_sign() -> None:
    words = (spine_like().astype(np.int32) - 2048).astype(np.int16)
    header = make_cr(words, BitsStored=10, HighBit=9)
    taken = codes_of(words, header)
    assert taken.notes == ("BITS_ABOVE_USED",)
    assert np.array_equal(pixel_values(taken.bits, header)[taken.codes], words)


def test_one_bit_that_is_set_everywhere_is_left_out() -> None:
    taken = codes_of(spine_like() | np.uint16(0xF000), make_cr(BitsStored=12, HighBit=11))
    assert np.array_equal(taken.codes, spine_like())
    assert taken.notes == ("BITS_ABOVE_LEFT_OUT",)


@pytest.mark.parametrize("representation", ["US", "SS"])
@pytest.mark.parametrize(
    ("signed", "bits", "padding", "limit", "expected"),
    [
        (True, 16, -2000, -1900, range(-2000, -1899)),
        (True, 16, -1900, -2000, range(-2000, -1899)),
        (True, 12, -2048, -2000, range(-2048, -1999)),
        (True, 16, -32768, None, range(-32768, -32767)),
        (True, 12, 0, 5, range(6)),
        (False, 16, 65535, 65000, range(65000, 65536)),
        (False, 16, 40000, None, range(40000, 40001)),
        (False, 12, 0, 10, range(11)),
    ],
)
def test_padding_has_the_sign_of_the_pixels(
    signed: bool, bits: int, padding: int, limit: int | None, expected: range, representation: str
) -> None:
    header = Dataset()
    header.PixelRepresentation = int(signed)
    for keyword, value in (("PixelPaddingValue", padding), ("PixelPaddingRangeLimit", limit)):
        if value is not None:
            written = value % 65536 if representation == "US" else (value + 32768) % 65536 - 32768
            header.add_new(keyword, representation, written)
    pixel = pixel_values(bits, header)
    assert set(pixel[is_padding(pixel, header)]) == set(map(float, expected))


def test_padding_in_the_bits_of_a_pixel_alone() -> None:
    """2048 in 12 bits is −2048."""
    header = Dataset()
    header.PixelRepresentation = 1
    header.add_new("PixelPaddingValue", "US", 2048)
    pixel = pixel_values(12, header)
    assert pixel[is_padding(pixel, header)].tolist() == [-2048]


@pytest.mark.parametrize("syntax", [uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian])
def test_a_signed_film_with_unsigned_padding_is_read(tmp_path: Path, syntax: str) -> None:
    words = (spine_like().astype(np.int32) - 2000).astype(np.int16)
    words[:, :60] = -2048
    film = make_cr(words, WindowCenter=None, WindowWidth=None)
    film.add_new("PixelPaddingValue", "US", 65536 - 2048)
    film.add_new("PixelPaddingRangeLimit", "US", 65536 - 2040)
    loaded = read_film(write(film, tmp_path / "film", syntax))
    assert isinstance(loaded, LoadedFilm)
    assert not loaded.radiograph.display[:, :60].any()
    assert loaded.radiograph.display[:, 60:].mean() > 60


def test_padding_that_covers_everything_is_noted_and_not_used(tmp_path: Path) -> None:
    film = make_cr(PixelPaddingValue=0, PixelPaddingRangeLimit=4095)
    loaded = read_film(write(film, tmp_path / "film"))
    assert isinstance(loaded, LoadedFilm)
    assert "PADDING_ABSURD" in loaded.radiograph.notes
    assert np.array_equal(loaded.radiograph.display, read_display(tmp_path))


def read_display(folder: Path) -> NDArray[np.uint8]:
    loaded = read_film(write(make_cr(), folder / "plain"))
    assert isinstance(loaded, LoadedFilm)
    return loaded.radiograph.display
