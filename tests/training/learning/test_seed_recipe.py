"""The seed study's recipe runs through Ultralytics, stops and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")

from ultralytics.nn.tasks import SegmentationModel  # noqa: E402
from ultralytics.utils.instance import Instances  # noqa: E402

from spinepacs.training.data.dataset import LabelsError, read_ap_corners, yolo_outlines  # noqa: E402
from spinepacs.training.data.merge import DataSet  # noqa: E402
from spinepacs.training.learning import seed_recipe  # noqa: E402
from spinepacs.training.learning.config import TrainConfig  # noqa: E402
from spinepacs.training.learning.seed_recipe import QuarterTurn, SeedTrainer, train_seed, write_yolo_seg  # noqa: E402


@pytest.fixture
def data(ap_folder: Path) -> DataSet:
    films = tuple(read_ap_corners(ap_folder))
    return DataSet(films[:4], films[4:], {})


def test_the_merged_set_has_the_same_outlines(data: DataSet, tmp_path: Path) -> None:
    path = write_yolo_seg(tmp_path / "merged", data.training, data.validation)
    assert json.loads(path.read_text())["names"][23] == "L5"
    films = sorted((tmp_path / "merged" / "images" / "train").iterdir())
    assert [film.name for film in films] == [f"00000{k}-ap-{k}.png" for k in range(4)]
    assert films[0].read_bytes() == data.training[0].path.read_bytes()
    label = tmp_path / "merged" / "labels" / "train" / "000000-ap-0.txt"
    for (number, outline), body in zip(
        yolo_outlines(label, (100, 300), 25), data.training[0].bodies, strict=True
    ):
        assert number == body.class_id
        np.testing.assert_allclose(outline, body.outline_px, atol=1e-3)


def test_a_quarter_turn_takes_the_labels_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.0)
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:20, 30:60] = 255
    segment = np.array([[[30, 10], [60, 10], [60, 20], [30, 20]]], np.float32)
    boxes = np.array([[45, 15, 30, 10]], np.float32)
    turned = QuarterTurn()(
        {"img": image, "instances": Instances(boxes, segment, bbox_format="xywh", normalized=False)}
    )
    assert turned["img"][40, 15, 0] == 255
    assert turned["img"][15, 40, 0] == 0
    assert turned["instances"].bboxes.tolist() == [[15, 45, 10, 30]]
    assert turned["instances"].segments.tolist() == [[[10, 30], [10, 60], [20, 60], [20, 30]]]


class _Stopped(Exception):  # noqa: N818  (no error: the test's own stop)
    pass


def test_a_stopped_run_goes_on_and_a_finished_one_stays(
    data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_recipe, "SETTINGS", {**seed_recipe.SETTINGS, "imgsz": 32, "batch": 4})
    monkeypatch.setattr(
        SegmentationModel, "info", lambda *_, **__: None
    )  # runs the network at 640 px to count FLOPs
    config = TrainConfig(out=tmp_path / "run", recipe="seed", epochs=2, threads=1)
    config.out.mkdir()
    whole_save = SeedTrainer.save_model

    def save_and_stop(trainer: SeedTrainer) -> None:
        whole_save(trainer)
        raise _Stopped

    monkeypatch.setattr(SeedTrainer, "save_model", save_and_stop)
    with pytest.raises(_Stopped):
        train_seed(config, data)
    monkeypatch.setattr(SeedTrainer, "save_model", whole_save)
    best = train_seed(config, data)
    assert best == config.out / "weights" / "best.pt"
    epochs = (config.out / "results.csv").read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in epochs] == [1, 2]
    written = best.stat().st_mtime_ns
    assert train_seed(config, data) == best
    assert best.stat().st_mtime_ns == written


def test_films_to_validate_with_are_needed(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="films to train on and to validate with"):
        train_seed(TrainConfig(out=tmp_path), DataSet(data.training, (), {}))
