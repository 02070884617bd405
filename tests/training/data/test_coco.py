from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spinepacs.training.data.classmap import ClassMap
from spinepacs.training.data.coco import outline_of
from spinepacs.training.data.dataset import CLASS_NAMES, LabelsError
from spinepacs.training.data.raw import Source
from spinepacs.training.data.sources import Reading, read_source

POLYGON = [10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0]


def _content(**changes: Any) -> dict[str, Any]:
    annotation = {
        "id": 7,
        "image_id": 0,
        "category_id": 1,
        "segmentation": [POLYGON],
        "iscrowd": 0,
        **changes,
    }
    return {
        "images": [{"id": 0, "file_name": "a_jpg.rf.1f.jpg", "width": 60, "height": 80}],
        # Roboflow puts a class 0 in front, of which all others are kinds.
        "categories": [{"id": 0, "name": "vertebrae"}, {"id": 1, "name": "L3", "supercategory": "vertebrae"}],
        "annotations": [annotation],
    }


def _write(json_path: Path, images: Path, content: dict[str, Any]) -> None:
    json_path.parent.mkdir(parents=True, exist_ok=True)
    images.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(content))
    for image in content["images"]:
        cv2.imwrite(str(images / image["file_name"]), np.full((80, 60), 90, np.uint8))


def _read(path: Path, **keys: object) -> Reading:
    source = Source.model_validate({"name": "web", "kind": "coco", "path": path, "view": "lateral", **keys})
    return read_source(source, ClassMap())


@pytest.mark.parametrize(
    ("json_path", "images", "part"),
    [
        ("train/_annotations.coco.json", "train", "train"),
        ("valid/_annotations.coco.json", "valid", "validation"),
        ("annotations/instances_train2017.json", "train2017", "train"),
        ("annotations/instances_val2017.json", "images/val2017", "validation"),
        ("labels.json", "images", ""),
    ],
)
def test_layouts(tmp_path: Path, json_path: str, images: str, part: str) -> None:
    _write(tmp_path / json_path, tmp_path / images, _content())
    ((film, found),) = _read(tmp_path).films
    assert (found, film.group, film.view) == (part, "a", "lateral")
    assert [CLASS_NAMES[body.class_id] for body in film.bodies] == ["L3"]
    assert film.bodies[0].outline_px.tolist() == [[9.5, 19.5], [29.5, 19.5], [29.5, 39.5], [9.5, 39.5]]
    assert CLASS_NAMES.index("L3") not in film.unlabelled
    assert CLASS_NAMES.index("L2") in film.unlabelled


def test_the_films_may_lie_elsewhere(tmp_path: Path) -> None:
    _write(tmp_path / "labels.json", tmp_path / "films", _content())
    with pytest.raises(
        LabelsError, match=r'film a_jpg\.rf\.1f\.jpg is missing; add it, or say images = "FOLDER"'
    ):
        _read(tmp_path)
    assert len(_read(tmp_path / "labels.json", images=tmp_path / "films").films) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"segmentation": []}, "annotation 7 of a_jpg.rf.1f.jpg: a box, not an outline"),
        ({"segmentation": [[1, 2, 3, 4]]}, "a polygon without x and y of three or more points"),
        ({"segmentation": [[1, 2, 3, 2, 5, 2]]}, "no area"),
        ({"segmentation": [POLYGON, [40, 40, 50, 40, 50, 60]]}, "comes in 2 pieces"),
        ({"category_id": 9}, "category 9 is not listed"),
        ({"image_id": 3}, "image 3 has annotations but no entry"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    _write(tmp_path / "train" / "_annotations.coco.json", tmp_path / "train", _content(**changes))
    with pytest.raises(LabelsError) as raised:
        _read(tmp_path)
    assert why in str(raised.value)
    assert "_annotations.coco.json" in str(raised.value)


def test_a_film_of_another_size_is_refused(tmp_path: Path) -> None:
    content = _content()
    content["images"][0]["width"] = 61
    _write(tmp_path / "labels.json", tmp_path, content)
    with pytest.raises(LabelsError, match=r"60 × 80 px, but .*labels\.json says 61 × 80"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"), [("{", "not valid JSON"), ('{"images": []}', "lacks annotations, categories")]
)
def test_a_file_that_is_no_coco_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(LabelsError, match=why):
        _read(tmp_path)


def test_a_small_stray_piece_is_passed_over() -> None:
    assert outline_of([POLYGON, [40, 40, 43, 40, 43, 43]], (60, 80)).tolist()[0] == [9.5, 19.5]


# pycocotools 2.0 hands numpy 2 an object whose __array__ knows no copy; the answer is right.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_give_the_outline_of_their_pixels(compressed: bool) -> None:
    mask = pytest.importorskip("pycocotools.mask", reason="the extra 'train' is not installed")
    pixels = np.zeros((80, 60), np.uint8, order="F")
    pixels[20:40, 10:30] = 1
    flat = pixels.ravel(order="F")
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[2], flat, [2]])))).tolist()
    coded: Any = mask.encode(pixels) if compressed else {"size": [80, 60], "counts": runs}
    outline = outline_of(coded, (60, 80))
    assert outline.min(axis=0) == pytest.approx([9.5, 19.5], abs=0.13)
    assert outline.max(axis=0) == pytest.approx([29.5, 39.5], abs=0.13)
    with pytest.raises(ValueError, match="the film has 60 rows"):
        outline_of(coded, (80, 60))
