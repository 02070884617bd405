"""Milliseconds of processor time to decode one 3000 × 2500 film of 12 bits, by transfer syntax and decoder.

The film is a demo film with noise: what is smooth compresses too well. ``product`` is what ``pixels.decode`` takes;
beside it stand the plugins of pydicom that are installed, and the codecs of imagecodecs.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid as uids
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder

from spinepacs.dicom.reading.pixels import decode
from tests.benchmarks.pipeline import large_film
from tests.peers import require

ROUNDS = 5
_NOISE = 6.0
_DCMTK = {"+e1": uids.JPEGLosslessSV1, "+el": uids.JPEGLossless, "+ee": uids.JPEGExtended12Bit}
_CODECS: dict[str, tuple[str, ...]] = {
    uids.JPEGLosslessSV1: ("jpeg8", "ljpeg", "jpegsof3"),
    uids.JPEGLossless: ("jpeg8", "ljpeg", "jpegsof3"),
    uids.JPEGExtended12Bit: ("jpeg8",),
    uids.JPEGLSLossless: ("jpegls",),
    uids.JPEG2000Lossless: ("jpeg2k",),
    uids.HTJ2KLossless: ("jpeg2k", "htj2k"),
}
"""Codecs of imagecodecs; htj2k (OpenJPH) swallows errors of damaged streams, so the product does not take it."""


def films(folder: Path) -> Iterator[tuple[uids.UID, Path]]:
    """The same film in each transfer syntax."""
    film = pydicom.dcmread(large_film(folder))
    noise = np.random.default_rng(0).normal(0, _NOISE, film.pixel_array.shape)
    pixels = np.clip(film.pixel_array + noise, 0, 4095).astype(np.uint16)
    film.PixelData = pixels.tobytes()
    film.save_as(folder / "native.dcm")
    yield uids.ExplicitVRLittleEndian, folder / "native.dcm"
    for option, syntax in _DCMTK.items():
        path = folder / f"{syntax.keyword}.dcm"
        subprocess.run([require("dcmcjpeg"), option, folder / "native.dcm", path], check=True)
        yield syntax, path
    encoded = {
        uids.JPEGLSLossless: imagecodecs.jpegls_encode(pixels),
        uids.JPEG2000Lossless: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="J2K", reversible=True),
        uids.HTJ2KLossless: imagecodecs.htj2k_encode(pixels, level=0),
    }
    for syntax, frame in encoded.items():
        film.PixelData, path = encapsulate([frame]), folder / f"{syntax.keyword}.dcm"
        film["PixelData"].is_undefined_length = True
        film.file_meta.TransferSyntaxUID = syntax
        film.save_as(path)
        yield syntax, path
    film.PixelData = pixels.tobytes()
    film["PixelData"].is_undefined_length = False
    film.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
    film.compress(uids.RLELossless, generate_instance_uid=False)
    film.save_as(folder / "rle.dcm")
    yield uids.RLELossless, folder / "rle.dcm"


def decoders(film: Dataset, syntax: uids.UID) -> Iterator[tuple[str, Callable[[], NDArray[Any]]]]:
    """Each way to decode the film."""
    yield "product", lambda: decode(pydicom.dcmread(film.filename))
    if not syntax.is_encapsulated:
        return
    decoder = get_decoder(syntax)
    for name in decoder.available_plugins:
        yield name, lambda name=name: decoder.as_array(film, decoding_plugin=name, raw=True)[0]
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    for codec in _CODECS.get(syntax, ()):
        function = getattr(imagecodecs, f"{codec}_decode")
        yield f"imagecodecs {codec}", lambda function=function: function(frame)


def main() -> None:
    """Print the median of each, the product's with reading the file, and whether the pixels are the product's."""
    print(f"\ndecode: one 3000 × 2500 film of 12 bits with noise, {ROUNDS} rounds; ms of processor time")
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        for syntax, path in films(Path(name)):
            expected = decode(pydicom.dcmread(path))
            for decoder, run in decoders(pydicom.dcmread(path), syntax):
                print(f"{syntax.keyword:>24}  {decoder:<22}{_described(run, expected)}", flush=True)


def _described(run: Callable[[], NDArray[Any]], expected: NDArray[Any]) -> str:
    try:
        most = int(np.abs(run().astype(int) - expected).max())
    except RuntimeError:  # pydicom's, where a plugin does not know this kind of it: Pillow and 12 bits
        return "  cannot"
    spent = statistics.median(_spent_ms(run) for _ in range(ROUNDS))
    return f"{spent:>8.1f}   off by at most {most}"


def _spent_ms(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1000 * (time.process_time() - start)
