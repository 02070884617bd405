"""Truth of a film: clipping, mirroring, labels, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.domain.anatomy import Level
from spinepacs.training.films.truth import (
    Film,
    Truth,
    clip_outline,
    mark_seen,
    mirror,
    truth_record,
    write_film,
    yolo_lines,
)
from spinepacs.training.films.xray import Camera

SQUARE = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 20.0], [0.0, 20.0]])


def film_of(*truths: Truth) -> Film:
    camera = Camera(True, 1800.0, 250.0, np.zeros(2), -50.0, 50.0, 0.5, (200, 100))
    pixels = np.zeros((200, 100), np.uint8)
    value = pixels.astype(np.float32)
    return Film(
        pixels,
        value,
        "lateral",
        "lumbar",
        "right",
        camera,
        truths,
        {"L4/L5": {"anterior": 10.0, "posterior": 8.2, "mean": 9.1}},
    )


def body(level: str, x: float, y: float) -> Truth:
    return Truth(level, SQUARE + np.array([x, y]), SQUARE + np.array([x, y]))


def test_an_outline_on_the_film_is_left_as_it_is() -> None:
    clipped = clip_outline(SQUARE + 10, (200, 100))
    assert clipped is not None
    assert sorted(clipped.tolist()) == sorted((SQUARE + 10).tolist())


def test_an_outline_over_the_edge_is_cut_there() -> None:
    clipped = clip_outline(SQUARE + np.array([70, 0]), (200, 100))
    assert clipped is not None
    assert clipped[:, 0].max() == pytest.approx(100)
    assert clipped[:, 0].min() == pytest.approx(70)


def test_an_outline_mostly_off_the_film_is_not_labelled() -> None:
    assert clip_outline(SQUARE + np.array([85, 0]), (200, 100)) is None
    assert clip_outline(SQUARE + np.array([300, 0]), (200, 100)) is None


def test_mirroring_twice_gives_the_marks_back_and_once_keeps_the_upper_left_corner_first() -> None:
    truth = body("L3", 30, 50)
    once = mirror(truth, 100)
    assert once.corners_px[0].tolist() == [30.0, 50.0]
    assert np.allclose(mirror(once, 100).corners_px, truth.corners_px)


def test_label_lines_carry_the_class_of_the_level_and_shares_of_the_film() -> None:
    (line,) = yolo_lines(film_of(body("L5", 30, 50)))
    number, *shares = line.split()
    assert int(number) == Level.L5
    points = np.array(shares, dtype=float).reshape(-1, 2)
    assert points.min(axis=0) == pytest.approx([0.30, 0.25])
    assert points.max(axis=0) == pytest.approx([0.70, 0.35])


def test_the_truth_comes_last_and_names_the_plates(tmp_path: Path) -> None:
    film = film_of(body("L4", 30, 20), body("L5", 30, 50))
    write_film(film, tmp_path, "one", 3)
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["one.json", "one.png", "one.txt"]
    truth = json.loads((tmp_path / "truth" / "one.json").read_text())
    assert truth == json.loads(json.dumps(truth_record(film, "one", 3)))
    assert truth["disc_heights_mm"] == {"L4/L5": 9.1}
    assert truth["disc_sides_mm"]["L4/L5"]["anterior"] == 10.0
    assert truth["magnification"] == pytest.approx(1800 / 1550, abs=1e-5)
    assert truth["vertebrae"][0]["lower_endplate_px"] == [[30.0, 40.0], [70.0, 40.0]]
    assert truth["vertebrae"][1]["upper_endplate_px"] == [[30.0, 50.0], [70.0, 50.0]]


def test_a_saturated_body_at_the_end_of_the_chain_is_not_labelled() -> None:
    value = np.full((200, 100), 1.0, np.float32)
    value[60:] = np.linspace(0.2, 0.8, 100, dtype=np.float32)
    marked = mark_seen([body("L3", 30, 10), body("L4", 30, 70), body("L5", 30, 110)], value)
    assert [truth.seen for truth in marked] == [False, True, True]
    assert [line.split()[0] for line in yolo_lines(film_of(*marked))] == ["22", "23"]


def test_a_saturated_body_between_others_keeps_its_label() -> None:
    value = np.full((200, 100), 0.5, np.float32)
    value[65:100] = 1.0
    marked = mark_seen([body("L3", 30, 10), body("L4", 30, 70), body("L5", 30, 110)], value)
    assert all(truth.seen for truth in marked)
