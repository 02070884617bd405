"""The presentation state: its marks are the picture's, and the film under them looks as it should."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from spinepacs.dicom.overlay.marks import Marks
from spinepacs.dicom.overlay.presentation import encode_presentation
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import EncodedObject, Reading
from spinepacs.domain.geometry import Turn
from spinepacs.domain.measures import Reason
from spinepacs.settings.sections import OutputSettings
from tests import films
from tests.dicom import readings
from tests.dicom.tools import dciodvfy_complaints
from tests.peers import require

OUTPUT = OutputSettings()
ROWS, COLUMNS = 600, 400


def load(tmp_path: Path, pixels: Any = None, **elements: Any) -> tuple[Path, LoadedFilm]:
    if pixels is None:
        pixels = films.spine_like(ROWS, COLUMNS)
    path = films.write(films.make_dx(pixels, **elements), tmp_path / "film.dcm")
    loaded = read_film(path)
    assert isinstance(loaded, LoadedFilm)
    return path, loaded


def encode(loaded: LoadedFilm, reading: Reading | None = None) -> EncodedObject:
    return encode_presentation(
        loaded.header, reading or readings.reading(loaded.header), loaded.shown, OUTPUT
    )


def state_of(encoded: EncodedObject) -> Dataset:
    return pydicom.dcmread(BytesIO(encoded.part10))


def texts(state: Dataset) -> list[tuple[str, str]]:
    return [
        (each.GraphicLayer, item.UnformattedTextValue)
        for each in state.GraphicAnnotationSequence
        for item in each.get("TextObjectSequence", [])
    ]


def polylines(state: Dataset, layer: str) -> list[Any]:
    return [
        np.array(item.GraphicData).reshape(-1, 2)
        for each in state.GraphicAnnotationSequence
        if each.GraphicLayer == layer
        for item in each.get("GraphicObjectSequence", [])
    ]


def lut_item() -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [4096, 0, 12]
    item.LUTData = (4095 * (np.arange(4096) / 4095) ** 2).astype(np.uint16).tobytes()
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "US"
    return item


@pytest.mark.peer
def test_dciodvfy_finds_only_the_laterality_that_a_spine_has_not(tmp_path: Path) -> None:
    _, loaded = load(tmp_path)
    (tmp_path / "state.dcm").write_bytes(encode(loaded).part10)
    wrong = [
        line
        for line in dciodvfy_complaints(tmp_path / "state.dcm")
        if line != "GrayscaleSoftcopyPresentationState"
    ]
    assert wrong == [
        "Error - Missing attribute Type 2C Conditional Element=<Laterality> Module=<GeneralSeries>"
    ], wrong


@pytest.mark.peer
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"},
        {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": None},
        {"PhotometricInterpretation": "MONOCHROME2", "PresentationLUTShape": "INVERSE"},
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": None, "WindowWidth": None, "PhotometricInterpretation": "MONOCHROME1",
         "PresentationLUTShape": "INVERSE"},
        {"WindowCenter": "1500", "WindowWidth": "900", "VOILUTFunction": "SIGMOID"},
        {"WindowCenter": "1500", "WindowWidth": "900", "VOILUTFunction": "LINEAR_EXACT"},
        {"WindowCenter": "2500", "WindowWidth": "2000", "RescaleSlope": "1.5", "RescaleIntercept": "-100"},
        {"PixelPaddingValue": 0},
    ],
    ids=["plain", "negative", "negative by its photometric interpretation", "inverse shape", "no window",
         "negative without a window", "sigmoid", "exact", "rescaled", "padding"],
)  # fmt: skip
def test_a_stranger_renders_the_film_as_it_is_to_be_seen(tmp_path: Path, elements: dict[str, Any]) -> None:
    path, loaded = load(tmp_path, **elements)
    (tmp_path / "state.dcm").write_bytes(encode(loaded).part10)
    done = subprocess.run(
        [require("dcmp2pgm"), "-p", tmp_path / "state.dcm", path, tmp_path / "shown.pgm"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = cv2.imread(str(tmp_path / "shown.pgm"), cv2.IMREAD_UNCHANGED)
    assert shown is not None
    assert np.abs(shown.astype(int) - loaded.radiograph.display).max() <= 2


@pytest.mark.peer
def test_signed_pixels_and_tables_of_the_header_are_rendered_too(tmp_path: Path) -> None:
    signed = films.spine_like(ROWS, COLUMNS).astype(np.int16) - 2000
    table = {"VOILUTSequence": [lut_item()], "WindowCenter": None, "WindowWidth": None}
    for name, pixels, elements in (
        ("signed", signed, {"WindowCenter": None, "WindowWidth": None}),
        ("table", None, table),
    ):
        (folder := tmp_path / name).mkdir()
        path, loaded = load(folder, pixels, **elements)
        (folder / "state.dcm").write_bytes(encode(loaded).part10)
        command = [require("dcmp2pgm"), "-p", folder / "state.dcm", path, folder / "shown.pgm"]
        subprocess.run(command, capture_output=True, check=True)
        shown = cv2.imread(str(folder / "shown.pgm"), cv2.IMREAD_UNCHANGED)
        assert shown is not None
        assert np.abs(shown.astype(int) - loaded.radiograph.display).max() <= 2, name


def test_outlines_and_names_are_those_of_the_reading(tmp_path: Path) -> None:
    _, loaded = load(tmp_path)
    reading = readings.reading(loaded.header)
    state = state_of(encode(loaded, reading))
    assert reading.spine
    drawn = polylines(state, "OUTLINES")
    for vertebra, line in zip(reading.spine.vertebrae, drawn, strict=True):
        assert np.abs(line[:-1] - vertebra.outline.points).max() < 0.01
        assert (line[0] == line[-1]).all()
    names = [words.split()[0] for layer, words in texts(state) if layer == "NAMES"]
    assert sorted(names) == sorted(vertebra.level.name for vertebra in reading.spine.vertebrae)
    said = [words for layer, words in texts(state) if layer == "NOTE"]
    assert len(said) == 1
    assert "Not for diagnostic use" in said[0]


def test_what_the_picture_withholds_is_withheld_here(tmp_path: Path) -> None:
    _, loaded = load(tmp_path)
    reading = readings.reading(loaded.header)
    doubted = tuple(replace(measure, reason=Reason.LOW_CONFIDENCE) for measure in reading.measures)
    reading = replace(reading, measures=doubted, findings=())
    assert reading.spine
    marks = Marks(reading, reading.spine, 15)
    state = state_of(encode(loaded, reading))
    assert not polylines(state, "DISCS")
    assert [words for layer, words in texts(state) if layer == "DOUBTFUL"] == ["[?]"] * len(marks.values())
    assert not [words for layer, words in texts(state) if layer == "DISCS"]


@pytest.mark.parametrize("turn", [Turn.NONE, Turn.CLOCKWISE, Turn.COUNTERCLOCKWISE, Turn.HALF])
def test_words_stand_beside_their_vertebrae_within_the_film(tmp_path: Path, turn: Turn) -> None:
    shape = (COLUMNS, ROWS) if turn.is_sideways else (ROWS, COLUMNS)
    _, loaded = load(tmp_path, films.spine_like(*shape))
    upright = readings.reading(readings.header(ROWS, COLUMNS))
    reading = replace(upright.moved(turn.to_film(*shape)), rows=shape[0], columns=shape[1], turn=turn)
    state = state_of(encode(loaded, reading))
    boxes = {
        item.UnformattedTextValue.split()[0]: (
            *item.BoundingBoxTopLeftHandCorner,
            *item.BoundingBoxBottomRightHandCorner,
        )
        for each in state.GraphicAnnotationSequence if each.GraphicLayer == "NAMES"
        for item in each.TextObjectSequence
    }  # fmt: skip
    assert reading.spine
    for vertebra in reading.spine.vertebrae:
        left, top, right, bottom = boxes[vertebra.level.name]
        assert 0 <= left < right <= shape[1]
        assert 0 <= top < bottom <= shape[0]
        middle = np.array([(left + right) / 2, (top + bottom) / 2])
        along = 0 if turn.is_sideways else 1
        assert abs(middle[along] - vertebra.outline.centroid[along]) < 25
        assert np.abs(middle - vertebra.outline.centroid).max() < 150


def test_the_same_reading_gives_the_same_bytes(tmp_path: Path) -> None:
    _, loaded = load(tmp_path)
    assert encode(loaded).part10 == encode(loaded).part10


def test_patient_and_study_are_the_film_s_own_whatever_their_characters(tmp_path: Path) -> None:
    _, loaded = load(
        tmp_path, SpecificCharacterSet=["", "ISO 2022 IR 149"], PatientName=b"Hong^Gildong=\x1b$)C\xfb\xf3"
    )
    state = state_of(encode(loaded))
    raw = state.get_item("PatientName")
    assert raw is not None
    assert bytes(raw.value).strip() == b"Hong^Gildong=\x1b$)C\xfb\xf3".strip()
    assert state.StudyInstanceUID == loaded.header.StudyInstanceUID
    assert state.Modality == "PR"
    (series,) = state.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == loaded.header.SeriesInstanceUID
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == loaded.header.SOPInstanceUID


def test_a_film_of_a_neck_names_c1_once(tmp_path: Path) -> None:
    _, loaded = load(tmp_path)
    state = state_of(encode(loaded, readings.reading(loaded.header, first=Level.C1, count=7)))
    assert [words for layer, words in texts(state) if layer == "NAMES" and words.startswith("C1")] == ["C1"]
