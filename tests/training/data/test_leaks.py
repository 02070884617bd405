"""The same film in training and validation is found however it was changed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("imagehash", reason="the extra 'train' is not installed")

from spinepacs.training.data.dataset import Film, LabelsError
from spinepacs.training.data.leaks import find_leaks, turn, without_leaks
from spinepacs.training.data.merge import DataSet


def _picture(seed: int) -> np.ndarray:
    """A made-up film: soft shapes of several sizes, 300 × 150 px, uint8."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.random((2 * n, n), np.float32), (150, 300), interpolation=cv2.INTER_CUBIC)
        for n in (3, 8, 20)
    ]
    return cv2.normalize(sum(layers), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def _film(path: Path, image: np.ndarray) -> Film:
    cv2.imwrite(str(path), image)
    return Film(path, image.shape[1], image.shape[0], path.stem, "", ())


@pytest.fixture
def training(tmp_path: Path) -> list[Film]:
    return [_film(tmp_path / f"train{seed}.png", _picture(seed)) for seed in range(4)]


def _windowed(image: np.ndarray) -> np.ndarray:
    return (np.clip((image / 255 - 0.1) / 0.75, 0, 1) ** 1.6 * 255).astype(np.uint8)


CHANGES = {
    "as it is": lambda image: image,
    "resized": lambda image: cv2.resize(image, None, fx=0.6, fy=0.5, interpolation=cv2.INTER_AREA),
    "re-windowed": _windowed,
    "inverted": lambda image: 255 - image,
    "inverted, turned, re-windowed": lambda image: np.rot90(255 - _windowed(image)),
    "cropped": lambda image: image[8:-6, 4:-3],
    "16 bit": lambda image: image.astype(np.uint16) * 200,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_same_film_is_found(training: list[Film], tmp_path: Path, change: object) -> None:
    copy = _film(tmp_path / "validation.png", change(_picture(2)))  # type: ignore[operator]
    leaks = find_leaks(training, [copy])
    assert [leak.training.name for leak in leaks] == ["train2.png"]
    assert "train2.png shows the same as" in str(leaks[0])


@pytest.mark.parametrize("number", range(8))
def test_every_turn_and_flip_is_found(training: list[Film], tmp_path: Path, number: int) -> None:
    copy = _film(tmp_path / "validation.png", turn(_picture(1), number))
    assert [leak.training.name for leak in find_leaks(training, [copy])] == ["train1.png"]


def test_the_eight_turns_differ() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert len({turn(image, number).tobytes() for number in range(8)}) == 8


def test_other_films_do_not_leak(training: list[Film], tmp_path: Path) -> None:
    assert (
        find_leaks(training, [_film(tmp_path / f"v{seed}.png", _picture(seed)) for seed in range(10, 16)])
        == []
    )


def test_leaking_films_are_left_out_once_and_for_all(training: list[Film], tmp_path: Path) -> None:
    validation = (_film(tmp_path / "validation.png", _picture(2)),)
    data = DataSet(tuple(training), validation, {})
    kept = without_leaks(data, tmp_path / "leaks.csv").training
    assert [film.name for film in kept] == ["train0.png", "train1.png", "train3.png"]
    validation[0].path.unlink()  # a resumed run believes the file and reads no film
    assert without_leaks(data, tmp_path / "leaks.csv").training == kept


def test_a_damaged_film_is_named(training: list[Film], tmp_path: Path) -> None:
    whole = training[0].path.read_bytes()
    training[0].path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LabelsError, match=r"train0\.png: cannot be decoded .*; replace it"):
        find_leaks(training, training[1:])
