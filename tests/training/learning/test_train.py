"""A few steps of training on made-up films, stopped and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from spinepacs.training.data.batches import Pool, draws, make_batch  # noqa: E402
from spinepacs.training.data.dataset import read_ap_corners  # noqa: E402
from spinepacs.training.data.pools import SourcePool  # noqa: E402
from spinepacs.training.learning.initialise import build_network  # noqa: E402
from spinepacs.training.learning.network import MaskedLoss, read_checkpoint  # noqa: E402
from spinepacs.training.learning.recipes import main  # noqa: E402
from spinepacs.training.learning.train import TrainConfig, prepare, train  # noqa: E402


def test_unlabelled_classes_are_learnt_on_labelled_bodies_only(ap_folder: Path) -> None:
    pool = Pool(read_ap_corners(ap_folder), (), 1.0)
    batch = make_batch(pool, np.random.default_rng(0), scale=0.4)
    network: Any = build_network(25).train()
    predictions = network(batch["img"])
    predictions["scores"].retain_grad()
    loss, _ = MaskedLoss(network)(predictions, batch)
    loss.backward()
    # The finest of the three grids, a stride of 8: anchor (i, j) lies at the input px (8 j + 4, 8 i + 4).
    rows, columns = (side // 8 for side in batch["img"].shape[2:])
    finest = predictions["scores"].grad.abs()[:, :, : rows * columns].reshape(-1, 25, rows, columns)
    covered = np.zeros((len(batch["img"]), rows, columns), bool)
    for film, (x, y, width, height) in zip(batch["batch_idx"].int(), batch["bboxes"].double(), strict=True):
        beside = np.abs((np.arange(columns) + 0.5) / columns - float(x)) < float(width) / 2
        above = np.abs((np.arange(rows) + 0.5) / rows - float(y)) < float(height) / 2
        covered[film] |= above[:, None] & beside
    assert 0 < covered.mean() < 0.5
    for unlabelled in (*range(7), 24):
        np.testing.assert_array_equal(finest[:, unlabelled].numpy() > 0, covered)
    assert float(finest[:, 7:24].amin(dim=(2, 3)).min()) > 0


def test_new_synthetic_films_are_taken_up(ap_folder: Path, yolo_folder: Path) -> None:
    pool = Pool(read_ap_corners(ap_folder), (yolo_folder,), 0.5)
    assert pool.refresh() == 6 + 2
    (yolo_folder / "truth" / "s2.json").write_text("{}")
    assert pool.refresh() == 6 + 3


def test_a_run_leaves_a_checkpoint_and_goes_on_from_it(ap_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = train(TrainConfig(out=out, ap=ap_folder, steps=1, scale=0.2, threads=1))
    first = torch.load(out / "last.pt", weights_only=False)["step"]
    assert path == out / "ema.pt"
    assert (out / "split.csv").is_file()
    assert len(read_checkpoint(path).names) == 25
    train(TrainConfig(out=out, ap=ap_folder, steps=first + 1, scale=0.2, threads=1))
    assert torch.load(out / "last.pt", weights_only=False)["step"] == first + 1


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labelled film"):
        train(TrainConfig(out=tmp_path / "run"))


def test_two_workers_train_one_network(ap_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(TrainConfig(out=out, ap=ap_folder, steps=2, scale=0.2, threads=1, workers=2))
    assert torch.load(out / "last.pt", weights_only=False)["step"] == 2


def test_frozen_layers_keep_their_weights(ap_folder: Path, tmp_path: Path) -> None:
    first = train(TrainConfig(out=tmp_path / "a", ap=ap_folder, steps=1, scale=0.2, threads=1))
    second = train(
        TrainConfig(out=tmp_path / "b", ap=ap_folder, start=first, steps=2, scale=0.2, threads=1, frozen=1)
    )
    before, after = read_checkpoint(first).state_dict(), read_checkpoint(second).state_dict()
    assert torch.equal(before["model.0.conv.weight"], after["model.0.conv.weight"])
    assert not torch.equal(before["model.1.conv.weight"], after["model.1.conv.weight"])


@pytest.fixture
def data_file(ap_folder: Path, tmp_path: Path) -> Path:
    """A merged set of one source, two of whose six films are held back."""
    path = tmp_path / "data.toml"
    path.write_text('validation = 0.34\n[[source]]\nname = "a"\nkind = "ap-corners"\npath = "ap"\n')
    return path


def test_films_are_drawn_by_the_weight_of_their_source(ap_folder: Path) -> None:
    films = [replace(film, source="ab"[k > 4]) for k, film in enumerate(read_ap_corners(ap_folder))]
    pool, rng = SourcePool(films, {"a": 0.25, "b": 0.75}), np.random.default_rng(0)
    drawn = [pool.draw(draws()[0], rng).source for _ in range(400)]
    assert 0.68 < drawn.count("b") / 400 < 0.82


def test_a_merged_set_is_trained_on_and_recorded(data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(TrainConfig(out=out, data=data_file, steps=1, scale=0.2, threads=1))
    assert {path.name for path in out.iterdir()} >= {
        "ema.pt",
        "split.csv",
        "balance.csv",
        "leaks.csv",
        "config.json",
    }


def test_a_film_that_leaks_is_not_trained_on(data_file: Path, tmp_path: Path) -> None:
    config = TrainConfig(out=tmp_path / "run", data=data_file)
    before = prepare(replace(config, out=tmp_path / "before"))
    twin, held_back = before.training[0].path, before.validation[0].path
    cv2.imwrite(str(twin), cv2.flip(cv2.imread(str(held_back), cv2.IMREAD_GRAYSCALE), 1))
    assert twin not in {film.path for film in prepare(config).training}
    assert str(twin) in (config.out / "leaks.csv").read_text()


def test_the_check_prints_balance_and_leaks_and_trains_nothing(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(data_file), "--check"]) == 0
    said = capsys.readouterr().out
    assert "a validation" in said
    assert "no leak" in said
    assert not list(tmp_path.rglob("*.pt"))


def test_a_wrong_data_file_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "none.toml"), "--check"]) == 2
    assert "none.toml: cannot be read" in capsys.readouterr().err
