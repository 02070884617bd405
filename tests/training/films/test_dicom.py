"""Synthetic films as DX objects."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

import pydicom

from spinepacs.training.films.dicom import StudyLabel, stable_uid, to_dx, write_dx
from spinepacs.training.films.truth import Film
from spinepacs.training.films.xray import Camera

STUDY = StudyLabel(key="a test")


@pytest.fixture
def film() -> Film:
    camera = Camera(True, 1800.0, 250.0, np.zeros(2), -50.0, 50.0, 0.4321, (120, 80))
    value = np.linspace(0, 1, 120 * 80, dtype=np.float32).reshape(120, 80)
    return Film(np.zeros((120, 80), np.uint8), value, "lateral", "cervical", "left", camera, (), {})


def test_geometry_and_view_are_those_of_the_film(film: Film) -> None:
    ds = to_dx(film, STUDY, 2)
    assert (ds.BodyPartExamined, ds.ViewPosition, ds.PatientOrientation) == ("CSPINE", "LL", ["P", "F"])
    assert [float(v) for v in ds.ImagerPixelSpacing] == [0.4321, 0.4321]
    assert float(ds.EstimatedRadiographicMagnificationFactor) == pytest.approx(1800 / 1550, abs=1e-5)
    assert float(ds.DistanceSourceToPatient) == 1550.0
    assert (ds.Rows, ds.Columns, ds.BitsStored) == (120, 80, 12)


def test_a_frontal_film_says_so(film: Film) -> None:
    ds = to_dx(replace(film, view="ap", facing="front", region="full"), STUDY, 1)
    assert (ds.BodyPartExamined, ds.ViewPosition, ds.PatientOrientation) == ("SPINE", "AP", ["L", "F"])


def test_uids_are_stable_and_differ_between_the_films_of_a_study(film: Film) -> None:
    first, again, second = to_dx(film, STUDY, 1), to_dx(film, STUDY, 1), to_dx(film, STUDY, 2)
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID == second.StudyInstanceUID == stable_uid("a test", "study")


def test_written_pixels_come_back_without_loss(film: Film, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed")
    write_dx(film, tmp_path / "film.dcm", STUDY)
    ds = pydicom.dcmread(tmp_path / "film.dcm")
    assert ds.file_meta.TransferSyntaxUID == pydicom.uid.JPEG2000Lossless
    assert np.array_equal(ds.pixel_array, np.round(film.value * 4095))


def test_dciodvfy_finds_no_error(film: Film, tmp_path: Path) -> None:
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed")
    write_dx(film, tmp_path / "film.dcm", STUDY)
    done = subprocess.run([validator, tmp_path / "film.dcm"], capture_output=True, text=True, check=False)
    assert "Error" not in done.stdout + done.stderr
