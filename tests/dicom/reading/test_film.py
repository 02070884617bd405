"""Whole files to radiographs: every transfer syntax, every refusal, and the header for the encoders."""

from __future__ import annotations

import base64
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom import uid as uids
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder

from spinepacs.dicom.reading.film import DECODABLE_TRANSFER_SYNTAXES, LEAST_SIDE_PX, LoadedFilm, read_film
from spinepacs.dicom.reading.pixels import _JPEG
from spinepacs.domain.findings import Refusal
from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.study import View
from tests.films import make_cr, make_dx, spine_like, write
from tests.peers import require

LOSSLESS = [
    uids.ImplicitVRLittleEndian,
    uids.ExplicitVRLittleEndian,
    uids.DeflatedExplicitVRLittleEndian,
    uids.ExplicitVRBigEndian,
    uids.RLELossless,
    uids.JPEGLSLossless,
    uids.JPEG2000Lossless,
]
DCMTK_JPEG = [
    ("+e1", uids.JPEGLosslessSV1, 16),
    ("+el", uids.JPEGLossless, 16),
    ("+ee", uids.JPEGExtended12Bit, 16),
    ("+eb", uids.JPEGBaseline8Bit, 8),
]

HTJ2K = base64.b64decode(
    "/0//UQApQAAAAABAAAAASAAAAAAAAAAAAAAAQAAAAEgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAQwAAf+TwAAtEP9/P/8R6aPnef4L8wOagbUA"
    "wAAVUAAEYLbZZtsAojKCdgAAEwDAABWwAASA2rRp06btsII6cgJ3AMfstADAABacAAFabGxsbGxsbGxs5+BiOnp6cYJ6AFprrbXW"
    "/vJv38m+uADAABb0AAFqgDKZTCaTyWQymUwmk8lkMtn5/wp6enp6enp6cQJ+AEySJEmSJP95YSe/ZJ79knv2Sey/AMAALs4AAXQA"
    "juM4juM4juM4juM4juM4juM4juM4juM4juM4/r/+Cnp6enp6enp6enp6enp6enpwgngBBAAAAAAAAAD+/3/thXv3Xv3Xv3Xv3Xv3"
    "Xv3Xv3XstwH/2Q=="
)
"""(72, 64) uint16, x * 40 + y * 3, lossless, made with imagecodecs 2026.3.6: nothing installed here writes it."""


def load(path: Path) -> LoadedFilm:
    loaded = read_film(path)
    assert isinstance(loaded, LoadedFilm), loaded
    return loaded


def test_a_film_with_all_that_the_analysis_needs(tmp_path: Path) -> None:
    film = make_dx()
    radiograph = load(write(film, tmp_path / "film")).radiograph
    assert (radiograph.rows, radiograph.columns) == (300, 200)
    assert (radiograph.study_uid, radiograph.series_uid) == (film.StudyInstanceUID, film.SeriesInstanceUID)
    assert radiograph.sop_uid == film.SOPInstanceUID
    assert radiograph.spacing is not None
    assert radiograph.spacing.basis is SpacingBasis.DETECTOR_PLANE
    assert (radiograph.view, radiograph.anterior_left) == (View.LATERAL, True)
    assert (radiograph.body_part, radiograph.notes) == ("CSPINE", ())
    assert np.array_equal(radiograph.values, spine_like())


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kind", ["12 bits", "8 bits, odd", "signed"])
def test_lossless_transfer_syntaxes_give_the_same_values(tmp_path: Path, syntax: uids.UID, kind: str) -> None:
    pixels: dict[str, NDArray[Any]] = {
        "12 bits": spine_like(),
        "8 bits, odd": (spine_like(151, 101) >> 4).astype(np.uint8),
        "signed": (spine_like().astype(np.int32) - 2048).astype(np.int16),
    }
    loaded = load(write(make_cr(pixels[kind]), tmp_path / "film", syntax))
    assert np.array_equal(loaded.radiograph.values, pixels[kind])
    assert np.array_equal(
        loaded.radiograph.display, load(write(make_cr(pixels[kind]), tmp_path / "n")).radiograph.display
    )


@pytest.mark.peer
@pytest.mark.parametrize(("option", "syntax", "bits"), DCMTK_JPEG)
def test_jpeg_made_by_dcmtk(tmp_path: Path, option: str, syntax: str, bits: int) -> None:
    program = require("dcmcjpeg")
    pixels = spine_like() if bits == 16 else (spine_like() >> 4).astype(np.uint8)
    native = write(make_cr(pixels), tmp_path / "native")
    subprocess.run([program, option, native, tmp_path / "jpeg"], check=True)
    loaded = load(tmp_path / "jpeg")
    assert loaded.header.file_meta.TransferSyntaxUID == syntax
    # For its lossy modes dcmcjpeg stretches the grey levels: then only the picture is compared.
    assert np.corrcoef(np.asarray(loaded.radiograph.values).ravel(), pixels.ravel())[0, 1] > 0.98
    assert option in ("+ee", "+eb") or np.array_equal(loaded.radiograph.values, pixels)


@pytest.mark.peer
@pytest.mark.parametrize("program", ["dcmcjpeg", "dcmcjpls", "dcmcrle", None])
def test_8_bits_in_words_of_16(tmp_path: Path, program: str | None) -> None:
    pixels = spine_like() >> 4
    film = write(
        make_cr(pixels, BitsStored=8, HighBit=7, WindowCenter=128, WindowWidth=256), tmp_path / "film"
    )
    if program:
        subprocess.run([require(program), film, film], check=True)
    assert np.array_equal(load(film).radiograph.values, pixels)


def test_a_lossy_jpeg_ls(tmp_path: Path) -> None:
    film = make_cr()
    film.compress(uids.JPEGLSNearLossless, jls_error=2, generate_instance_uid=False)
    film.save_as(tmp_path / "film", enforce_file_format=True)
    assert np.abs(np.asarray(load(tmp_path / "film").radiograph.values) - spine_like()).max() <= 2


@pytest.mark.parametrize("syntax", [uids.HTJ2KLossless, uids.HTJ2KLosslessRPCL, uids.HTJ2K])
def test_high_throughput_jpeg_2000(tmp_path: Path, syntax: uids.UID) -> None:
    y, x = np.mgrid[0:72, 0:64]
    film = make_cr((x * 40 + y * 3).astype(np.uint16))
    film["PixelData"].value = encapsulate([HTJ2K])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = syntax
    film.save_as(tmp_path / "film", enforce_file_format=True)
    assert np.array_equal(load(tmp_path / "film").radiograph.values, x * 40 + y * 3)


@pytest.mark.parametrize("syntax", DECODABLE_TRANSFER_SYNTAXES)
def test_every_syntax_that_the_listener_accepts_has_a_decoder(syntax: str) -> None:
    assert syntax in _JPEG or get_decoder(uids.UID(syntax)).is_available


@pytest.mark.parametrize(
    ("pixels", "elements", "code"),
    [
        (spine_like(), {"NumberOfFrames": 2}, "MULTI_FRAME"),
        (spine_like(16, 16), {}, "TOO_SMALL"),
        (spine_like(500, LEAST_SIDE_PX - 1), {}, "TOO_SMALL"),
        (
            spine_like(),
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0},
            "COLOUR",
        ),
        (spine_like(), {"PhotometricInterpretation": "PALETTE COLOR"}, "COLOUR"),
        (spine_like(), {"PixelAspectRatio": [2, 1]}, "NON_SQUARE_PIXELS"),
        (spine_like(), {"SOPClassUID": "1.2.392.200036.9125.1.1.2"}, "UNKNOWN_SOP_CLASS"),  # Fuji's own CR
        (spine_like(), {"SOPClassUID": uids.BasicTextSRStorage}, "UNKNOWN_SOP_CLASS"),
        (spine_like() * 0, {}, "EMPTY_IMAGE"),
        (np.where(spine_like() > 2000, 4095, 0).astype(np.uint16), {}, "BURNT_OUT"),
    ],
)
def test_refusals_say_why(tmp_path: Path, pixels: NDArray[Any], elements: dict[str, Any], code: str) -> None:
    refusal = read_film(write(make_cr(pixels, **elements), tmp_path / "film"))
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    assert refusal.reason


def test_one_frame_is_no_multi_frame(tmp_path: Path) -> None:
    assert load(write(make_cr(NumberOfFrames=1), tmp_path / "film"))


def test_non_square_pixels_with_a_spacing_keep_both_directions(tmp_path: Path) -> None:
    film = make_dx(ImagerPixelSpacing=[0.2, 0.1], PixelAspectRatio=[2, 1])
    spacing = load(write(film, tmp_path / "film")).radiograph.spacing
    assert spacing is not None
    assert spacing.xy_mm.tolist() == [0.1, 0.2]


def test_display_does_not_change_with_the_byte_order(tmp_path: Path) -> None:
    little = load(write(make_dx(), tmp_path / "little")).radiograph.display
    big = load(write(make_dx(), tmp_path / "big", uids.ExplicitVRBigEndian)).radiograph.display
    assert np.array_equal(little, big)


def test_a_jpeg_2000_file_where_only_its_codestream_belongs_is_read(tmp_path: Path) -> None:
    """Some senders put the whole JP2 file (ISO 15444-1 I.4) into the pixel data."""
    path = write(make_dx(), tmp_path / "film", uids.JPEG2000Lossless)
    film = dcmread(path)

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", 8 + len(body)) + kind + body

    header = box(b"ihdr", struct.pack(">LLHBBBB", film.Rows, film.Columns, 1, 15, 7, 0, 0))
    header = box(b"jp2h", header + box(b"colr", struct.pack(">BBBL", 1, 0, 0, 17)))
    stream = get_frame(film.PixelData, 0, number_of_frames=1)
    whole = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + header + box(b"jp2c", stream)
    film.PixelData = encapsulate([whole])
    film.save_as(path)
    assert np.array_equal(load(path).radiograph.values, spine_like())


TABLES = {
    "[8]": struct.pack("<L", 8),
    "[3000]": struct.pack("<L", 3000),
    "[0, 0]": struct.pack("<LL", 0, 0),
    "[FFFFFFFF]": b"\xff" * 4,
    "half an entry": b"\0\0",
    "odd": b"\1\2\3\4\5\6",
    "none at all": None,
}
ENCAPSULATED = [uids.RLELossless, uids.JPEGLSLossless, uids.JPEG2000Lossless, uids.JPEGLosslessSV1]


@pytest.mark.parametrize(
    ("table", "pieces"),
    [(table, pieces) for table in TABLES for pieces in (1, 3) if pieces == 1 or TABLES[table] is not None],
)
@pytest.mark.parametrize("syntax", ENCAPSULATED, ids=lambda syntax: syntax.keyword)
def test_the_offset_table_of_one_frame_does_not_matter(
    tmp_path: Path, syntax: uids.UID, pieces: int, table: str
) -> None:
    path = write(make_dx(), tmp_path / "native") if syntax == uids.JPEGLosslessSV1 else tmp_path / "film"
    if syntax == uids.JPEGLosslessSV1:
        subprocess.run([require("dcmcjpeg"), "+e1", path, tmp_path / "film"], check=True)
    else:
        write(make_dx(), path, syntax)
    film = dcmread(tmp_path / "film")
    frame = get_frame(film.PixelData, 0, number_of_frames=1)
    step = -(-len(frame) // pieces // 2) * 2
    items = [frame[at : at + step] for at in range(0, len(frame), step)]
    entries = TABLES[table]
    items = items if entries is None else [entries, *items]
    film.PixelData = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(item)) + item for item in items)
    film.save_as(tmp_path / "odd")
    assert np.array_equal(load(tmp_path / "odd").radiograph.values, spine_like())
