"""Known bodies, drawn with known errors: the comparison finds just those."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spinepacs.analysis.naming.label import label
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film, LabelledBody, read_lateral_corners, read_yolo_seg
from spinepacs.training.evaluation.film import outline_iou
from spinepacs.training.evaluation.reading import body_size_px, curve_distance, read_as_product
from spinepacs.training.evaluation.truth import FilmTruth, film_truth
from spinepacs.training.metrics.reading import FilmReading

LEVELS = [Level.L1, Level.L2, Level.L3, Level.L4, Level.L5]
WIDTH, HEIGHT, PITCH = 40.0, 30.0, 38.0


def _quad(row: int) -> NDArray[np.float64]:
    """Upper left, upper right, lower right, lower left of the body in a row of a straight column."""
    x, y = 100.0, 20 + PITCH * row
    return np.array([[x, y], [x + WIDTH, y], [x + WIDTH, y + HEIGHT], [x, y + HEIGHT]])


def _moved(points: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    return points + np.array([x, y])


def _dense(quad: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.linspace(0, 1, 12, endpoint=False)[:, None]
    return np.concatenate(
        [a + shares * (b - a) for a, b in zip(quad, np.roll(quad, -1, axis=0), strict=True)]
    )


def _detection(quad: NDArray[np.float64], level: Level, score: float = 0.9) -> Detection:
    scores = np.zeros(25, np.float32)
    scores[level] = score
    outline = _dense(quad)
    return Detection(
        scores, score, np.concatenate([outline.min(axis=0), outline.max(axis=0)]), Outline(outline)
    )


def _film(view: str = "lateral") -> Film:
    bodies = tuple(
        LabelledBody(int(level), (_quad(row) - 0.5).astype(np.float32)) for row, level in enumerate(LEVELS)
    )
    return Film(Path("film.png"), 300, 300, "group", view, bodies, frozenset({int(Level.S1)}))


def _truth(**beside: object) -> FilmTruth:
    corners = {row: _quad(row) for row in range(len(LEVELS))}
    return FilmTruth(corners_px=corners, **beside)  # type: ignore[arg-type]  # the fields of the class


def _read(found: list[Detection], film: Film, truth: FilmTruth) -> FilmReading:
    overlaps = np.array(
        [
            [outline_iou(one.outline.points, body.outline_px.astype(float) + 0.5) for body in film.bodies]
            for one in found
        ]
    ).reshape(len(found), len(film.bodies))
    return read_as_product(label(found, View.LATERAL, None), found, overlaps, film, truth, 0.1)


def test_true_outlines_have_no_error() -> None:
    found = [_detection(_quad(row), level) for row, level in enumerate(LEVELS)]
    reading = _read(found, _film(), _truth())
    assert reading.all_found
    assert reading.levels_right
    assert not reading.false
    np.testing.assert_allclose([body.iou for body in reading.bodies], 1, atol=0.01)
    np.testing.assert_allclose([body.corners_px for body in reading.bodies], 0, atol=0.5)
    assert [body.size_px for body in reading.bodies] == [WIDTH] * 5


def test_a_shift_is_the_corner_error() -> None:
    found = [_detection(_moved(_quad(row), 3, 4), level) for row, level in enumerate(LEVELS)]
    reading = _read(found, _film("ap"), _truth())
    np.testing.assert_allclose([body.corners_px for body in reading.bodies], 5, atol=0.5)
    assert [body.size_px for body in reading.bodies] == [HEIGHT] * 5


def test_a_missed_body_and_a_false_one() -> None:
    stray = _detection(_moved(_quad(1), 120, 0), Level.T5, 0.3)
    sacrum = _detection(_quad(5), Level.S1, 0.8)
    found = [*(_detection(_quad(row), LEVELS[row]) for row in (0, 1, 3, 4)), sacrum, stray]
    reading = _read(found, _film(), _truth())
    assert [body.found for body in reading.bodies] == [True, True, False, True, True]
    assert np.isnan(reading.bodies[2].corners_px).all()
    # S1 has no labels on this film, so that what is called S1 is not wrong.
    assert [one.raw_level for one in reading.false] == [Level.T5]


def test_a_chain_that_is_shifted_is_seen_beside_right_raw_levels() -> None:
    lower = [Level(level - 1) for level in LEVELS]
    found = [_detection(_quad(row), level) for row, level in enumerate(lower)]
    reading = _read(found, _film(), _truth())
    assert [body.published_level for body in reading.bodies] == lower
    assert not reading.levels_right


def test_sacral_plate_by_the_upper_endplate_nearest_to_it() -> None:
    found = [_detection(_quad(row), level) for row, level in enumerate([*LEVELS, Level.S1])]
    near = _read(found, _film(), _truth(sacral_plate_px=_moved(_quad(5)[:2], 0, 4))).plate
    assert near is not None
    assert near.found
    assert near.published_level == Level.S1
    assert near.error == pytest.approx(4 / WIDTH, abs=0.015)
    without = _read(found[:5], _film(), _truth(sacral_plate_px=_quad(5)[:2])).plate
    assert without is not None
    assert not without.found


def test_nothing_found_is_a_reading_too() -> None:
    reading = _read([], _film(), _truth(sacral_plate_px=_quad(5)[:2]))
    assert reading.notes == ("NO_VERTEBRA_FOUND",)
    assert not any(body.found for body in reading.bodies)
    assert reading.plate is not None
    assert not reading.plate.found


def test_endplates_and_discs_in_mm() -> None:
    plates = {row: (_quad(row)[:2], _quad(row)[[3, 2]]) for row in range(5)}
    discs = {(row, row + 1): (PITCH - HEIGHT) * 0.2 for row in range(4)}
    truth = _truth(endplates_px=plates, mm_per_px=0.2, disc_mm=discs)
    lifted = [_quad(row) + np.array([[0, -2], [0, -2], [0, 0], [0, 0]]) for row in range(5)]
    reading = _read(
        [_detection(quad, level) for quad, level in zip(lifted, LEVELS, strict=True)], _film(), truth
    )
    errors = np.array([body.endplates_mm for body in reading.bodies])
    np.testing.assert_allclose(errors[:, 0], 0.4, atol=0.08)
    np.testing.assert_allclose(errors[:, 1], 0, atol=0.08)
    # Every upper endplate lies 2 px too high, so every disc is 2 px too low.
    np.testing.assert_allclose([body.disc_mm for body in reading.bodies[:-1]], -0.4, atol=0.1)
    assert np.isnan(reading.bodies[-1].disc_mm)


def test_distance_of_curves() -> None:
    line = np.array([[0.0, 0], [10, 0]])
    assert curve_distance(line, _moved(line, 0, 3)) == pytest.approx(3)
    # The half that is missing lies 0 to 5 px off, that is 1.25 px over the whole line, and nothing the other way.
    assert curve_distance(line, line / [2, 1]) == pytest.approx(0.625, abs=0.01)


def test_body_size_by_view() -> None:
    assert body_size_px(_quad(0), "ap") == HEIGHT
    assert body_size_px(_quad(0), "lateral") == WIDTH


@pytest.mark.parametrize("facing_left", [True, False])
def test_lateral_labels_are_turned_to_image_sides(tmp_path: Path, facing_left: bool) -> None:
    front, back = (10.0, 50.0) if facing_left else (50.0, 10.0)
    rows = [
        *(("L5TB", back, 20), ("L5TF", front, 20), ("L5BF", front, 50), ("L5BB", back, 50)),
        *(("S1TB", back, 60), ("S1TF", front, 64)),
    ]
    with (tmp_path / "corners.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("film", "corner", "x", "y"), *(("f.png", *row) for row in rows)])
    cv2.imwrite(str(tmp_path / "f.png"), np.zeros((80, 70), np.uint8))
    truth = film_truth(read_lateral_corners(tmp_path)[0])
    expected = [[10.5, 20.5], [50.5, 20.5], [50.5, 50.5], [10.5, 50.5]]
    np.testing.assert_array_equal(truth.corners_px[0], expected)
    assert truth.sacral_plate_px is not None
    np.testing.assert_array_equal(truth.sacral_plate_px[:, 0], [10.5, 50.5])
    assert truth.sacral_plate_px[0 if facing_left else 1, 1] == 64.5


def test_truth_of_a_synthetic_film(yolo_folder: Path) -> None:
    """Its labels are L4, L5 and S1 at 20, 40 and 60 % of 200 px, each 20 px high and 64 px wide."""

    def row(level: str, top: float) -> dict[str, object]:
        corners = [[48.0, top], [112, top], [112, top + 20], [48, top + 20]]
        return {
            "level": level,
            "corners_px": corners,
            "outline_px": [[80, top + 3], *corners[1:], corners[0]],
        }

    record = {
        "view": "lateral",
        "spacing_mm": 0.3,
        "magnification": 1.2,
        "disc_heights_mm": {"L3/L4": 8.0, "L4/L5": 9.5, "L5/S1": 7.0},
        "vertebrae": [row("L3", 0), row("L4", 40), row("L5", 80), row("S1", 120)],
    }
    (yolo_folder / "truth" / "s0.json").write_text(json.dumps(record))
    film = read_yolo_seg(yolo_folder)[0]
    truth = film_truth(film)
    assert [film.bodies[place].class_id for place in truth.corners_px] == [Level.L4, Level.L5, Level.S1]
    np.testing.assert_array_equal(truth.corners_px[1][0], [48, 80])
    assert truth.sacral_plate_px is not None
    np.testing.assert_array_equal(truth.sacral_plate_px, [[48, 120], [112, 120]])
    assert truth.mm_per_px == pytest.approx(0.25)
    # The label of L3 is missing, and so is the disc above L4.
    assert truth.disc_mm == {(0, 1): 9.5, (1, 2): 7.0}
    np.testing.assert_array_equal(truth.endplates_px[0][0], [[48, 40], [80, 43], [112, 40]])
    np.testing.assert_array_equal(truth.endplates_px[0][1], [[48, 60], [112, 60]])


def test_a_sixth_lumbar_vertebra_and_one_that_leaves_the_film(yolo_folder: Path) -> None:
    boxes = {"L5": (20, 40), "L6": (80, 100), "S1": (170, 240)}
    rows = [
        {"level": level, "outline_px": quad, "corners_px": quad}
        for level, (top, bottom) in boxes.items()
        for quad in [[[48, top], [112, top], [112, bottom], [48, bottom]]]
    ]
    discs = {"L5/L6": 8.0, "L6/S1": 9.0}
    record = {"spacing_mm": 0.2, "magnification": 1.0, "disc_heights_mm": discs, "vertebrae": rows}
    (yolo_folder / "truth" / "s0.json").write_text(json.dumps(record))
    lines = [
        f"{level} 0.3 {top} 0.7 {top} 0.7 {bottom} 0.3 {bottom}"
        for level, top, bottom in ((23, 0.1, 0.2), (23, 0.4, 0.5), (24, 0.85, 1.0))
    ]
    (yolo_folder / "labels" / "s0.txt").write_text("\n".join(lines))
    truth = film_truth(read_yolo_seg(yolo_folder)[0])
    np.testing.assert_array_equal([quad[0, 1] for quad in truth.corners_px.values()], [20, 80])
    assert truth.disc_mm == {(0, 1): 8.0, (1, 2): 9.0}
    assert truth.sacral_plate_px is None


def test_a_plain_yolo_folder_has_outlines_only(yolo_folder: Path) -> None:
    film = read_yolo_seg(yolo_folder)[0]
    for record in (yolo_folder / "truth").iterdir():
        record.unlink()
    assert not film_truth(film).corners_px
