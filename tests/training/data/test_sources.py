"""Data sets in the layouts in which they are found, sound and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from spinepacs.training.data.classmap import ClassMap, read_class_map
from spinepacs.training.data.dataset import CLASS_NAMES, LabelsError
from spinepacs.training.data.raw import Source
from spinepacs.training.data.sources import Reading, read_source

SQUARE = "0.25 0.25 0.75 0.25 0.75 0.5 0.25 0.5"


def _write_film(images: Path, name: str, lines: str, suffix: str = "jpg") -> None:
    labels = Path(*["labels" if part == "images" else part for part in images.parts])
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(images / f"{name}.{suffix}"), np.full((80, 40), 90, np.uint8))
    (labels / f"{name}.txt").write_text(lines)


@pytest.fixture
def roboflow(tmp_path: Path) -> Path:
    """A Roboflow YOLO11-seg export: two augmented copies of one film to train on, one to validate, one to test."""
    folder = tmp_path / "web"
    for part, name in (
        ("train", "a_jpg.rf.0f1"),
        ("train", "a_jpg.rf.9e2"),
        ("valid", "b_png.rf.77"),
        ("test", "c"),
    ):
        _write_film(folder / part / "images", name, f"0 {SQUARE}\n1 0.3 0.6 0.7 0.6 0.7 0.8\n")
    (folder / "data.json").write_text(
        json.dumps({"names": ["vertebra-L1", "L2"], "train": "../train/images"})
    )
    return folder


def _read(folder: Path, class_map: ClassMap | None = None, **keys: object) -> Reading:
    source = Source.model_validate({"name": "web", "kind": "yolo-seg", "path": folder, **keys})
    return read_source(source, class_map or ClassMap({"vertebra-L1": CLASS_NAMES.index("L1")}))


def test_a_roboflow_export_is_read_with_its_parts(roboflow: Path) -> None:
    films = _read(roboflow, view="lateral").films
    assert [(film.name, part) for film, part in films] == [
        ("c.jpg", "test"),
        ("a_jpg.rf.0f1.jpg", "train"),
        ("a_jpg.rf.9e2.jpg", "train"),
        ("b_png.rf.77.jpg", "validation"),
    ]
    film = films[0][0]
    assert [CLASS_NAMES[body.class_id] for body in film.bodies] == ["L1", "L2"]
    np.testing.assert_allclose(film.bodies[0].outline_px[2], [0.75 * 40 - 0.5, 0.5 * 80 - 0.5])
    assert (film.view, film.source, film.width_px, film.height_px) == ("lateral", "web", 40, 80)


def test_augmented_copies_of_one_film_are_one_group(roboflow: Path) -> None:
    assert [film.group for film, _ in _read(roboflow).films] == ["c", "a", "a", "b"]


def test_a_pattern_finds_the_group(roboflow: Path) -> None:
    assert {film.group for film, _ in _read(roboflow, group="rf[.]([0-9a-f])").films} == {"c", "0", "9", "7"}


def test_levels_that_the_source_does_not_name_count_as_unlabelled(roboflow: Path) -> None:
    film = _read(roboflow).films[0][0]
    assert {CLASS_NAMES[number] for number in film.unlabelled} == set(CLASS_NAMES) - {"L1", "L2"}


def test_ultralytics_own_layout_is_read(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="the extra 'train' is not installed")
    _write_film(tmp_path / "images" / "train", "a", f"0 {SQUARE}", "png")
    _write_film(tmp_path / "images" / "val", "b", "", "png")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/val\nnames:\n  0: L3\n")
    films = _read(tmp_path).films
    assert [(film.name, part, len(film.bodies)) for film, part in films] == [
        ("a.png", "train", 1),
        ("b.png", "validation", 0),
    ]


def test_a_damaged_yaml_is_named(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="the extra 'train' is not installed")
    (tmp_path / "data.yaml").write_text("names: [L1\nnc: 1")
    with pytest.raises(LabelsError, match=r"data\.yaml: holds no 'names'"):
        _read(tmp_path)


def test_the_generators_films_keep_their_view_and_must_be_finished(yolo_folder: Path) -> None:
    (yolo_folder / "data.json").write_text(json.dumps({"names": CLASS_NAMES}))
    films = _read(yolo_folder).films
    assert [(film.name, film.view, part) for film, part in films] == [
        ("s0.png", "lateral", ""),
        ("s1.png", "lateral", ""),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.1 0.2 0.3 0.4", "a box, not an outline"),
        ("2 " + SQUARE, "class 2 is not one of the 2"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.7", "7 coordinates"),
        ("0 0.1 0.2 0.3 0.4 0.5 1.2", "outside 0 … 1"),
        ("0 0.1 0.2 nan 0.4 0.5 0.6", "outside 0 … 1"),
        ("0 0.1 0.2 x 0.4 0.5 0.6", "x"),
        ("0 0.1 0.2 0.1 0.4 0.1 0.6", "no area"),
    ],
)
def test_a_damaged_line_is_named_with_its_remedy(roboflow: Path, line: str, why: str) -> None:
    label = roboflow / "train" / "labels" / "a_jpg.rf.0f1.txt"
    label.write_text(f"0 {SQUARE}\n{line}\n")
    with pytest.raises(LabelsError) as raised:
        _read(roboflow)
    assert f"{label}:2: " in str(raised.value)
    assert why in str(raised.value)
    assert "mend the line" in str(raised.value)


def test_every_damage_is_told_at_once(roboflow: Path) -> None:
    (roboflow / "train" / "images" / "a_jpg.rf.0f1.jpg").write_bytes(b"not a picture")
    (roboflow / "valid" / "images" / "b_png.rf.77.jpg").unlink()
    with pytest.raises(LabelsError) as raised:
        _read(roboflow)
    lines = str(raised.value).splitlines()
    assert len(lines) == 3
    assert "a_jpg.rf.0f1.jpg: missing, or no image" in lines[1]
    assert "b_png.rf.77.txt: no image of that name" in lines[2]


def test_damaged_films_can_be_left_out(roboflow: Path) -> None:
    (roboflow / "train" / "images" / "a_jpg.rf.0f1.jpg").write_bytes(b"not a picture")
    reading = _read(roboflow, skip_damaged=True)
    assert len(reading.films) == 3
    assert "a_jpg.rf.0f1.jpg" in reading.left_out[0]


def test_an_unknown_class_is_named_with_a_film_and_the_map(roboflow: Path, tmp_path: Path) -> None:
    class_map = tmp_path / "classes.toml"
    class_map.write_text('[classes]\ndisc = ""\n')
    with pytest.raises(LabelsError, match=r"c\.jpg: class 'vertebra-L1' \(4 labels\).*classes\.toml"):
        _read(roboflow, read_class_map(class_map, "web"), skip_damaged=True)


@pytest.mark.parametrize(
    ("names", "missing"),
    [(None, "neither data.yaml nor data.json"), (["L1"], "no film below an 'images' folder")],
)
def test_a_folder_that_is_no_data_set_is_refused(
    tmp_path: Path, names: list[str] | None, missing: str
) -> None:
    if names:
        (tmp_path / "data.json").write_text(json.dumps({"names": names}))
    with pytest.raises(LabelsError, match=missing):
        _read(tmp_path)


def test_corner_tables_are_a_source_too(ap_folder: Path) -> None:
    films = _read(ap_folder, kind="ap-corners").films
    assert len(films) == 6
    assert {(film.source, film.view, part) for film, part in films} == {("web", "ap", "")}
