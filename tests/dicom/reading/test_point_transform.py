"""JPEG lossless without the low bits, by dcmcjpeg; dcmdjpeg is the witness, since the values are its to say."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import encapsulate, get_frame

from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.errors import BadInput
from tests.films import make_cr, spine_like, write
from tests.peers import require

PIXELS: dict[str, NDArray[Any]] = {
    "8 bits": (spine_like() >> 4).astype(np.uint8),
    "12 bits": spine_like(),
    "16 bits": spine_like(bits=16),
    "signed": (spine_like().astype(np.int32) - 2048).astype(np.int16),
}

pytestmark = pytest.mark.peer


def lossless(tmp_path: Path, pixels: NDArray[Any], *options: str) -> Path:
    write(make_cr(pixels), tmp_path / "native")
    subprocess.run([require("dcmcjpeg"), *options, tmp_path / "native", tmp_path / "jpeg"], check=True)
    return tmp_path / "jpeg"


def loaded(path: Path) -> NDArray[Any]:
    film = read_film(path)
    assert isinstance(film, LoadedFilm)
    return np.asarray(film.radiograph.values)


@pytest.mark.parametrize("shift", [1, 2, 4])
@pytest.mark.parametrize("kind", PIXELS)
def test_what_is_left_is_read_at_its_place(tmp_path: Path, kind: str, shift: int) -> None:
    path = lossless(tmp_path, PIXELS[kind], "+e1", "+pt", str(shift))
    subprocess.run([require("dcmdjpeg"), path, tmp_path / "witness"], check=True)
    assert np.array_equal(loaded(path), dcmread(tmp_path / "witness").pixel_array)
    assert np.abs(loaded(path).astype(int) - PIXELS[kind]).max() < 2**shift


@pytest.mark.parametrize("predictor", range(1, 8))
def test_every_predictor_hands_the_difference_on(tmp_path: Path, predictor: int) -> None:
    path = lossless(tmp_path, spine_like(bits=16), "+el", "+sv", str(predictor), "+pt", "2")
    assert np.array_equal(loaded(path), spine_like(bits=16) >> 2 << 2)


@pytest.mark.parametrize("kept", [4, 9])
def test_a_scan_that_is_cut_off_is_undecodable(tmp_path: Path, kept: int) -> None:
    film = dcmread(lossless(tmp_path, spine_like(), "+e1", "+pt", "2"))
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    film.PixelData = encapsulate([frame[: frame.index(b"\xff\xda") + kept]])
    film.save_as(tmp_path / "cut")
    with pytest.raises(BadInput, match="cannot be decoded"):
        read_film(tmp_path / "cut")
