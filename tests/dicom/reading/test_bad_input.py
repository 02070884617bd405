"""Damaged files: each ends in a value, a Refusal or BadInput that names the element and no patient, never otherwise."""

from __future__ import annotations

import logging
import random
import traceback
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom import config
from pydicom import uid as uids
from pydicom.encaps import encapsulate

from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.pixels import MAXIMUM_PIXELS
from spinepacs.domain.findings import Refusal
from spinepacs.errors import BadInput
from tests.films import SECRETS, claim_transfer_syntax, make_cr, make_dx, pydicom_data, truncate, write


def fault(path: Path) -> BadInput:
    """Read a film that must fail, and see that nothing of the patient gets out."""
    with pytest.raises(BadInput) as caught:
        read_film(path)
    error = caught.value
    shown = "".join(traceback.format_exception(error))
    assert not any(secret in shown for secret in SECRETS)
    assert error.reason_code.isupper()
    assert ":" in str(error) or ";" in str(error) or "," in str(error), "says what to do"
    return error


def outcome(path: Path) -> str:
    """One word for what reading gives; anything but a value, a Refusal or BadInput escapes and fails the test."""
    try:
        read_header(path)
        film = read_film(path)
    except BadInput as error:
        return error.reason_code
    return film.code if isinstance(film, Refusal) else "READ"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 400, b"%PDF-1.4 " * 100, b"\x89PNG\r\n\x1a\n" * 100])
def test_what_is_not_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film").write_bytes(content)
    assert fault(tmp_path / "film").reason_code == "NOT_DICOM"


@pytest.mark.parametrize(
    "syntax", [uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian, uids.RLELossless]
)
@pytest.mark.parametrize("share", [0.003, 0.005, 0.008, 0.3, 0.7, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float, syntax: str) -> None:
    path = truncate(write(make_dx(), tmp_path / "film", syntax), share)
    expected = {
        "TRUNCATED",
        "NO_PIXEL_DATA",
        "MISSING_UID",
        "NOT_DICOM",
        "DAMAGED_DATASET",
        "UNDECODABLE_PIXELS",
    }
    assert fault(path).reason_code in (expected if share < 0.1 else {"TRUNCATED"})


def test_a_truncated_deflated_file(tmp_path: Path) -> None:
    path = truncate(write(make_dx(), tmp_path / "film", uids.DeflatedExplicitVRLittleEndian), 0.5)
    assert fault(path).reason_code in ("DAMAGED_DATASET", "TRUNCATED")


@pytest.mark.parametrize(
    ("stored", "claimed", "codes"),
    [
        (uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian, {"READ"}),
        (uids.ImplicitVRLittleEndian, uids.ExplicitVRLittleEndian, {"READ"}),
        (
            uids.ExplicitVRLittleEndian,
            uids.ExplicitVRBigEndian,
            {"MISSING_UID", "DAMAGED_DATASET", "TRUNCATED"},
        ),
        (
            uids.ExplicitVRBigEndian,
            uids.ExplicitVRLittleEndian,
            {"MISSING_UID", "DAMAGED_DATASET", "TRUNCATED"},
        ),
        (uids.ExplicitVRLittleEndian, uids.JPEGLosslessSV1, {"WRONG_TRANSFER_SYNTAX"}),
        (uids.ExplicitVRLittleEndian, uids.DeflatedExplicitVRLittleEndian, {"DAMAGED_DATASET"}),
        (uids.RLELossless, uids.ExplicitVRLittleEndian, {"WRONG_TRANSFER_SYNTAX"}),
        (uids.RLELossless, uids.JPEG2000, {"UNDECODABLE_PIXELS"}),
        (uids.JPEG2000Lossless, uids.JPEGLSLossless, {"UNDECODABLE_PIXELS"}),
        (uids.JPEGLSLossless, uids.JPEGBaseline8Bit, {"READ"}),  # one decoder for both, and the right pixels
        (uids.JPEGLSLossless, uids.RLELossless, {"UNDECODABLE_PIXELS"}),
        (uids.RLELossless, uids.MPEG2MPML, {"UNSUPPORTED_TRANSFER_SYNTAX"}),
        (uids.ExplicitVRLittleEndian, "1.2.3.4", {"UNSUPPORTED_TRANSFER_SYNTAX"}),
    ],
)
def test_a_wrong_transfer_syntax(tmp_path: Path, stored: str, claimed: str, codes: set[str]) -> None:
    path = claim_transfer_syntax(write(make_dx(), tmp_path / "film", stored), claimed)
    assert outcome(path) in codes


@pytest.mark.parametrize(
    ("elements", "code"),
    [
        ({"PixelData": b"\0\0" * 100}, "PIXEL_DATA_LENGTH"),
        ({"PixelData": None}, "NO_PIXEL_DATA"),
        ({"Rows": None}, "INVALID_IMAGE_SIZE"),
        ({"Columns": 0}, "INVALID_IMAGE_SIZE"),
        ({"Rows": 60000, "Columns": 60000}, "IMAGE_TOO_LARGE"),
        ({"BitsAllocated": 32}, "UNSUPPORTED_BITS"),
        ({"BitsAllocated": None}, "UNSUPPORTED_BITS"),
        ({"BitsStored": 0}, "UNSUPPORTED_BITS"),
        ({"HighBit": 20}, "UNSUPPORTED_BITS"),
        ({"BitsStored": 16, "HighBit": 11}, "UNSUPPORTED_BITS"),
        ({"PixelRepresentation": None}, "UNDECODABLE_PIXELS"),
        ({"NumberOfFrames": b"no"}, "UNDECODABLE_PIXELS"),
    ],
)
def test_pixels_that_do_not_fit_their_description(
    tmp_path: Path, elements: dict[str, Any], code: str
) -> None:
    assert fault(write(make_cr(**elements), tmp_path / "film")).reason_code == code


def test_a_stream_that_is_larger_than_it_says_is_not_decoded(tmp_path: Path) -> None:
    film = make_cr(np.zeros((100, 100), np.uint16))
    siz = b"\xff\x4f\xff\x51\0\x29\0\0" + (2**31 - 1).to_bytes(4) * 2 + b"\0" * 30
    film.file_meta.TransferSyntaxUID = uids.JPEG2000
    film["PixelData"].value = encapsulate([siz])
    film["PixelData"].is_undefined_length = True
    film.save_as(tmp_path / "film", enforce_file_format=True)
    assert fault(tmp_path / "film").reason_code == "UNDECODABLE_PIXELS"
    assert MAXIMUM_PIXELS < 60000 * 60000


@pytest.mark.parametrize(
    "keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"]
)
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "MISSING_UID"),
        ("", "MISSING_UID"),
        (b"../etc/passwd ", "INVALID_UID"),
        (b"1.2." + b"3" * 62, "INVALID_UID"),
    ],
)
def test_a_missing_or_impossible_uid(tmp_path: Path, keyword: str, value: Any, code: str) -> None:
    film = make_dx()
    path = write(film, tmp_path / "film")
    film = make_dx(**{keyword: value})
    path = write(film, tmp_path / "film")
    for read in (read_header, read_film):
        with pytest.raises(BadInput, match=keyword) as caught:
            read(path)
        assert caught.value.reason_code == code


@pytest.mark.parametrize(
    "odd",
    [
        "1.2.040.0.00.7." + "9" * 49,
        "1." + "0" * 62,
        "1.2.840.10008.5.001.4.1.1.1.1.1234567890.1234567890.12345678901",
    ],
)
def test_a_uid_of_64_characters_with_odd_components_is_taken_as_it_is(tmp_path: Path, odd: str) -> None:
    odd = odd[:64]
    path = write(make_dx(StudyInstanceUID=odd, SOPInstanceUID=odd), tmp_path / "film")
    assert (read_header(path).study_uid, read_header(path).sop_uid) == (odd, odd)
    film = read_film(path)
    assert isinstance(film, LoadedFilm)
    assert film.header.SOPInstanceUID == odd


@pytest.mark.parametrize(
    "elements",
    [
        {"PatientSex": "X"},
        {"PatientName": None, "PatientID": None, "PatientBirthDate": None, "PatientSex": None},
        {"StudyDate": None, "StudyTime": None, "StudyID": None, "AccessionNumber": None},
        {"StudyDate": "2026-13-45", "StudyTime": "25:99", "PatientBirthDate": "unknown", "PatientAge": "99"},
        {"ImagerPixelSpacing": [0, 0]},
        {"ImagerPixelSpacing": b"a\\b "},
        {"WindowCenter": b"1,5 "},
        {"WindowCenter": "", "WindowWidth": ""},
        {"RescaleSlope": 0},
        {"RescaleSlope": b"one "},
        {"SpecificCharacterSet": "LATIN-GEHEIM", "PatientName": b"M\xfcller^Geheim"},
        {"SpecificCharacterSet": "ISO_IR 192", "PatientName": b"M\xfcller^Geheim"},
        {"SpecificCharacterSet": None, "StudyDescription": b"Wirbels\xe4ule"},
        {
            "SpecificCharacterSet": ["ISO 2022 IR 6", "ISO 2022 IR 87"],
            "PatientName": b"Geheim^\x1b$B;3ED\x1b(",
        },
        {"StudyDescription": "x" * 200, "PatientID": "SECRET-4711" * 20},
        {"AnatomicRegionSequence": b"\xfe\xff\x00\xe0\x04\x00\x00\x00abcd"},
        {"BodyPartExamined": "whole spine (all of it, standing)"},
        {"InstanceNumber": b"one ", "SeriesNumber": b"1.5 "},
        {"ReferencedImageSequence": b"\xfe\xff\x00\xe0\xff\xff\xff\x7f"},
        {"PixelPaddingValue": b"\x01\x02\x03\x04"},
        {"PatientOrientation": "sideways"},
    ],
    ids="+".join,
)
def test_damage_that_hinders_nobody_ends_in_a_film(
    tmp_path: Path,
    elements: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = write(make_dx(**elements), tmp_path / "film")
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        read_header(path)
        film = read_film(path)
    assert isinstance(film, LoadedFilm)
    assert not caplog.records, "pydicom's log lines quote values"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("good", "odd", "code"),
    [
        (b"1.2.840.10008.5.1.4.1.1.1.1", b"1.2.840..0008.5.1.4.1.1.1.1", "UNKNOWN_SOP_CLASS"),
        (b"1.2.840.10008.1.2.1\0", b"1.2.840..0008.1.2.1\0", "UNSUPPORTED_TRANSFER_SYNTAX"),
    ],
)
def test_odd_components_of_other_uids_are_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, good: bytes, odd: bytes, code: str
) -> None:
    path = write(make_dx(), tmp_path / "film")
    path.write_bytes(path.read_bytes().replace(good, odd))
    caplog.clear()
    assert outcome(path) == code
    assert not caplog.records


@pytest.mark.parametrize("name", ["pydicom", "pydicom.pixels.decoders.base", "pylibjpeg"])
def test_nothing_that_pydicom_says_is_logged(caplog: pytest.LogCaptureFixture, name: str) -> None:
    logging.getLogger(name).critical("Invalid value for VR PN: 'Doe^Jane'")
    assert not caplog.records


def test_reading_in_many_threads_leaves_warnings_and_logs_as_they_were(tmp_path: Path) -> None:
    path = write(make_dx(PatientSex="X", StudyDate=b"nonsense"), tmp_path / "film")
    before = (list(warnings.filters), warnings.showwarning, logging.getLogger("pydicom").level)
    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(lambda _: read_header(path), range(80)))
    assert (list(warnings.filters), warnings.showwarning, logging.getLogger("pydicom").level) == before
    assert config.settings.reading_validation_mode == config.WARN
    assert len(set(headers)) == 1


def test_bits_turned_over_at_random_never_escape(tmp_path: Path) -> None:
    chance, counts = random.Random(7), Counter[str]()
    for syntax in (uids.ExplicitVRLittleEndian, uids.ImplicitVRLittleEndian, uids.JPEGLSLossless):
        good = write(
            make_dx(np.tile(np.arange(80, dtype=np.uint16) * 50, (80, 1))), tmp_path / "good", syntax
        ).read_bytes()
        for _ in range(60):
            bad = bytearray(good)
            for _ in range(chance.choice((1, 4, 16))):
                bad[chance.randrange(132, min(len(bad), 2200))] = chance.randrange(256)
            (tmp_path / "bad").write_bytes(bad)
            counts[outcome(tmp_path / "bad")] += 1
    assert counts["READ"] < sum(counts.values())


def test_every_file_of_pydicom_and_pydicom_data_ends_in_an_outcome(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    roots = Path(pydicom.data.__file__).parent, pydicom_data()
    files = [
        path for root in roots for path in sorted(root.rglob("*")) if path.is_file() and path.suffix != ".pyc"
    ]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        counts = Counter(outcome(path) for path in files)
    assert not caplog.records
    with capsys.disabled():
        print(f"\n{len(files)} files:", ", ".join(f"{code} {count}" for code, count in counts.most_common()))
    assert counts["READ"] >= 30
    for code in (
        "NOT_DICOM",
        "MISSING_UID",
        "TRUNCATED",
        "MULTI_FRAME",
        "COLOUR",
        "TOO_SMALL",
        "NO_PIXEL_DATA",
    ):
        assert counts[code], code


_JPEG_BITS = {uids.JPEGBaseline8Bit: 8, uids.JPEGExtended12Bit: 12, uids.JPEGLosslessSV1: 12}


def _jpeg_film(path: Path, syntax: str, lost: int) -> Path:
    """Write a film whose JPEG has lost its last bytes, in a file that is whole."""
    import imagecodecs

    film, bits = make_dx(), _JPEG_BITS[uids.UID(syntax)]
    pixels = (film.pixel_array >> (12 - bits)).astype(f"u{(bits + 7) // 8}")
    frame = imagecodecs.jpeg8_encode(pixels, lossless=syntax == uids.JPEGLosslessSV1, bitspersample=bits)
    film.BitsStored, film.BitsAllocated, film.HighBit = bits, 8 * pixels.itemsize, bits - 1
    write(film, path)
    film.file_meta.TransferSyntaxUID = syntax
    film.PixelData = encapsulate([frame[: len(frame) - lost]])
    film["PixelData"].VR, film["PixelData"].is_undefined_length = "OB", True
    film.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("syntax", _JPEG_BITS)
def test_a_jpeg_that_is_cut_off_is_no_film(tmp_path: Path, syntax: str) -> None:
    """libjpeg fills up what is missing, and says so on a channel that nobody hears."""
    whole = read_film(_jpeg_film(tmp_path / "film", syntax, 0))
    for lost in (100, 2000):
        error = fault(_jpeg_film(tmp_path / "film", syntax, lost))
        assert error.reason_code == "UNDECODABLE_PIXELS"
        assert "data of the compressed image are missing" in str(error)
    without_end = read_film(_jpeg_film(tmp_path / "film", syntax, 2))  # some senders forget the end alone
    assert isinstance(whole, LoadedFilm)
    assert isinstance(without_end, LoadedFilm)
    assert np.array_equal(whole.radiograph.display, without_end.radiograph.display)
