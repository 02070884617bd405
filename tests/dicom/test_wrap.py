"""Pictures as DICOM files: valid, honest about their spacing, the same bytes each time, and read by spinepacs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from spinepacs.dicom.pictures import PictureFacts, facts
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.wrap import wrap
from spinepacs.domain.geometry import SpacingBasis
from spinepacs.domain.study import Radiograph, View
from spinepacs.errors import BadInput, Transient
from spinepacs.intake.selection import select
from spinepacs.settings.sections import SelectionSettings
from tests.films import spine_like
from tests.peers import require

GREY_8 = (spine_like() >> 4).astype(np.uint8)
GREY_16 = (spine_like(bits=16)).astype(np.uint16)


def picture(folder: Path, pixels: NDArray[Any] = GREY_8, name: str = "Geheim^Erika.png") -> Path:
    assert cv2.imwrite(str(folder / name), pixels)
    return folder / name


def wrapped(
    image: Path,
    spacing_mm: float | None = None,
    body_part: str = "CSPINE",
    view: str = "LATERAL",
    study: str | None = None,
) -> Path:
    out = image.with_suffix(".dcm")
    wrap(image, out, facts(spacing_mm=spacing_mm, body_part=body_part, view=view, study=study))
    return out


def radiograph(path: Path) -> Radiograph:
    film = read_film(path)
    assert isinstance(film, LoadedFilm), film
    return film.radiograph


@pytest.mark.parametrize(
    "pixels", [GREY_8, GREY_16, GREY_8[:101, :77]], ids=["8 bits", "16 bits", "odd size"]
)
def test_a_grey_png_keeps_its_values(tmp_path: Path, pixels: NDArray[Any]) -> None:
    film = radiograph(wrapped(picture(tmp_path, pixels)))
    assert np.array_equal(film.values, pixels)
    assert (film.view, film.body_part, film.spacing) == (View.LATERAL, "CSPINE", None)


def test_an_8_bit_picture_looks_as_it_looked(tmp_path: Path) -> None:
    assert np.abs(radiograph(wrapped(picture(tmp_path))).display.astype(int) - GREY_8).max() <= 1


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    colour = np.dstack([GREY_8, GREY_8 // 2, GREY_8 // 4])  # blue, green, red
    expected = cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)
    assert np.abs(np.asarray(radiograph(wrapped(picture(tmp_path, colour))).values) - expected).max() <= 1


def test_a_jpeg_says_that_it_lost_something(tmp_path: Path) -> None:
    path = wrapped(picture(tmp_path, name="film.jpg"))
    film = pydicom.dcmread(path)
    assert (film.LossyImageCompression, film.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert film.LossyImageCompressionRatio > 1
    assert np.abs(np.asarray(radiograph(path).values) - GREY_8).mean() < 3


def test_the_exif_orientation_turns_the_film(tmp_path: Path) -> None:
    plain = picture(tmp_path, name="film.jpg").read_bytes()
    turned_by_90 = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(turned_by_90) + 2).to_bytes(2) + turned_by_90
    (tmp_path / "turned.jpg").write_bytes(plain[:2] + segment + plain[2:])
    film = radiograph(wrapped(tmp_path / "turned.jpg"))
    assert (film.rows, film.columns) == (GREY_8.shape[1], GREY_8.shape[0])
    assert np.abs(np.asarray(film.values) - np.rot90(GREY_8, -1)).mean() < 3


def test_a_given_spacing_is_used_but_not_called_calibrated(tmp_path: Path) -> None:
    spacing = radiograph(wrapped(picture(tmp_path), spacing_mm=0.15)).spacing
    assert spacing is not None
    assert (spacing.row_mm, spacing.column_mm, spacing.basis) == (0.15, 0.15, SpacingBasis.UNCALIBRATED)


@pytest.mark.parametrize("body_part", ["CSPINE", "spine", "L-Spine", "SCOLIOSIS"])
@pytest.mark.parametrize(
    ("view", "expected"), [("LATERAL", View.LATERAL), ("AP", View.AP), ("PA", View.AP), ("", View.UNKNOWN)]
)
def test_it_is_selected_and_its_view_understood(
    tmp_path: Path, body_part: str, view: str, expected: View
) -> None:
    path = wrapped(picture(tmp_path), body_part=body_part, view=view)
    header = read_header(path)
    assert select(header, SelectionSettings(), "") is None
    assert not header.is_ours
    assert radiograph(path).view is expected


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    image = picture(tmp_path)
    first = wrapped(image, spacing_mm=0.1).read_bytes()
    assert wrapped(image, spacing_mm=0.1).read_bytes() == first


def test_other_arguments_make_another_object_in_the_same_study(tmp_path: Path) -> None:
    image = picture(tmp_path)
    one, other = (read_header(wrapped(image, spacing_mm=spacing)) for spacing in (0.1, 0.2))
    assert one.study_uid == other.study_uid
    assert one.sop_uid != other.sop_uid


def test_films_share_a_study_only_when_asked_to(tmp_path: Path) -> None:
    images = [picture(tmp_path, GREY_8, "a.png"), picture(tmp_path, GREY_8[:200], "b.png")]
    alone = {read_header(wrapped(image)).study_uid for image in images}
    together = {read_header(wrapped(image, study="folder")).study_uid for image in images}
    assert (len(alone), len(together)) == (2, 1)
    assert len({read_header(wrapped(image, study="folder")).sop_uid for image in images}) == 2


def test_the_name_of_the_file_is_kept_where_no_result_inherits_it(tmp_path: Path) -> None:
    path = wrapped(picture(tmp_path, name="Röntgen^017.png"))
    film = pydicom.dcmread(path)
    assert film.DerivationDescription == "wrapped from the picture file Röntgen^017.png"
    loaded = read_film(path)
    assert isinstance(loaded, LoadedFilm)
    assert "017" not in str(loaded.header)
    assert "017" not in " ".join(read_header(path).descriptions), "a name decides neither selection nor view"


def test_names_that_no_text_holds_are_kept_as_far_as_they_can(tmp_path: Path) -> None:
    bad = tmp_path / os.fsdecode(b"film\xff\n.png")
    bad.write_bytes(picture(tmp_path).read_bytes())
    film = pydicom.dcmread(wrapped(bad))
    assert film.DerivationDescription == "wrapped from the picture file film??.png"


def test_a_patient_and_a_day_make_a_study_of_their_own(tmp_path: Path) -> None:
    """The same picture for another patient, or put right later, never comes into the same study."""
    image = picture(tmp_path)
    said = [
        facts(patient_id=patient, study_date=day, study="both")
        for patient, day in (
            ("PAT-1", "2026-11-20"),
            ("PAT-2", "2026-11-20"),
            ("PAT-1", "20261121"),
            ("", ""),
        )
    ]
    headers = []
    for each in said:
        wrap(image, tmp_path / "film.dcm", each)
        headers.append(read_header(tmp_path / "film.dcm"))
    assert [(header.patient_id, header.study_date) for header in headers] == [
        ("PAT-1", "20261120"), ("PAT-2", "20261120"), ("PAT-1", "20261121"), ("", ""),
    ]  # fmt: skip
    assert len({header.study_uid for header in headers}) == len({header.sop_uid for header in headers}) == 4


@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_picture_that_is_cut_off_is_not_filled_up_with_grey(
    tmp_path: Path, name: str, share: float
) -> None:
    image = picture(tmp_path, name=name)
    data = image.read_bytes()
    image.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadInput) as caught:
        wrapped(image)
    assert caught.value.reason_code == "TRUNCATED"


def test_what_comes_after_the_end_of_a_jpeg_or_in_its_thumbnail_does_not_matter(tmp_path: Path) -> None:
    image = picture(tmp_path, name="film.jpg")
    data = image.read_bytes()
    thumbnail = b"\xff\xe1" + (2 + 4).to_bytes(2) + b"\xff\xd8\xff\xd9"
    image.write_bytes(data[:2] + thumbnail + data[2:] + b"trailer")
    assert radiograph(wrapped(image)).rows == GREY_8.shape[0]
    image.write_bytes((data[:2] + thumbnail + data[2:])[:-500])
    with pytest.raises(BadInput, match="ends before its end"):
        wrapped(image)


@pytest.mark.parametrize("restarts", [0, 4])
def test_a_jpeg_that_has_lost_its_middle_is_told(tmp_path: Path, restarts: int) -> None:
    image = tmp_path / "film.jpg"
    assert cv2.imwrite(str(image), GREY_8, [cv2.IMWRITE_JPEG_RST_INTERVAL, restarts])
    data, middle = image.read_bytes(), len(image.read_bytes()) // 2
    image.write_bytes(data[:middle] + data[middle + 600 :])
    with pytest.raises(BadInput, match="data of the picture are missing") as caught:
        wrapped(image)
    assert caught.value.reason_code == "TRUNCATED"


def test_progressive_jpegs_have_several_scans(tmp_path: Path) -> None:
    image = tmp_path / "film.jpg"
    assert cv2.imwrite(
        str(image), GREY_8, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]
    )
    assert radiograph(wrapped(image)).rows == GREY_8.shape[0]
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadInput, match="ends before its end"):
        wrapped(image)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"\xff\xd8\xff\xe0" + b"\0" * 50]
)
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "film.png").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        wrapped(tmp_path / "film.png")
    assert caught.value.reason_code == "NOT_AN_IMAGE"


@pytest.mark.parametrize("spacing_mm", [0, -1, 50, float("nan")])
def test_an_impossible_spacing(tmp_path: Path, spacing_mm: float) -> None:
    with pytest.raises(BadInput) as caught:
        wrapped(picture(tmp_path), spacing_mm=spacing_mm)
    assert caught.value.reason_code == "INVALID_SPACING"


@pytest.mark.parametrize("body_part", ["C/SPINE", "WHOLE SPINE STANDING", "WIRBELSÄULE"])
def test_what_is_no_code_string(tmp_path: Path, body_part: str) -> None:
    with pytest.raises(BadInput) as caught:
        wrapped(picture(tmp_path), body_part=body_part)
    assert caught.value.reason_code == "INVALID_CODE_STRING"


def test_a_missing_picture_or_folder_is_told_without_its_name(tmp_path: Path) -> None:
    with pytest.raises(Transient) as caught:
        wrapped(tmp_path / "Geheim.png")
    assert "Geheim" not in str(caught.value)
    with pytest.raises(Transient):
        wrap(picture(tmp_path), tmp_path / "none" / "x.dcm", PictureFacts())


@pytest.mark.peer
@pytest.mark.parametrize("spacing_mm", [None, 0.15])
@pytest.mark.parametrize("name", ["film.png", "film.jpg"])
def test_dciodvfy_finds_no_error(tmp_path: Path, spacing_mm: float | None, name: str) -> None:
    path = wrapped(picture(tmp_path, name=name), spacing_mm=spacing_mm, view="AP")
    found = subprocess.run([require("dciodvfy"), "-new", path], capture_output=True, text=True, check=False)
    assert "CRImage" in found.stderr + found.stdout
    assert "Error" not in found.stderr + found.stdout
