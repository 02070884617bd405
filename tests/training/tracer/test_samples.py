"""Crops with their truth: outline and corners lie where the body lies on the crop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.seeing.crops import EDGES
from spinepacs.analysis.seeing.tracer import MAP, MAP_STRIDE
from spinepacs.training.data.dataset import LabelledBody, read_ap_corners, read_lateral_corners, read_yolo_seg
from spinepacs.training.tracer.samples import Sampler, marked, sample, share_inside, usable

QUAD = np.array([[40.0, 60], [90, 70], [85, 110], [35, 100]])


@pytest.fixture
def truths(yolo_folder: Path) -> Path:
    """The folder with the generator's truth: one body in view, one that is not to be seen."""
    for number in range(2):
        body = {"outline_px": QUAD.tolist(), "corners_px": QUAD.tolist()}
        rows = [{"level": "L4", "seen": True, **body}, {"level": "L5", "seen": False, **body}]
        path = yolo_folder / "truth" / f"s{number}.json"
        path.write_text(json.dumps({"view": "lateral", "vertebrae": rows}))
    return yolo_folder


def test_the_generators_marks_are_taken_as_they_are(truths: Path) -> None:
    film = marked(read_yolo_seg(truths)[0])
    assert film is not None
    assert len(film.bodies) == 1
    np.testing.assert_array_equal(film.bodies[0].corners, QUAD)


def test_labels_of_corners_count_from_the_centres_of_pixels(ap_folder: Path) -> None:
    film = marked(read_ap_corners(ap_folder)[0])
    assert film is not None
    np.testing.assert_array_equal(
        film.bodies[0].corners, [[35.5, 10.5], [65.5, 10.5], [65.5, 22.5], [35.5, 22.5]]
    )
    assert [body.place.centre[1] for body in film.bodies] == sorted(
        body.place.centre[1] for body in film.bodies
    )


def test_corners_of_a_patient_who_looks_to_the_left_go_from_the_films_left(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100), np.uint8))
    rows = [("L4TB", 60, 10), ("L4TF", 20, 12), ("L4BF", 22, 40), ("L4BB", 61, 41)]
    text = "film,corner,x,y\n" + "".join(f"a.png,{name},{x},{y}\n" for name, x, y in rows)
    (tmp_path / "corners.csv").write_text(text)
    film = marked(read_lateral_corners(tmp_path)[0])
    assert film is not None
    np.testing.assert_array_equal(
        film.bodies[0].corners, [[20.5, 12.5], [60.5, 10.5], [61.5, 41.5], [22.5, 40.5]]
    )


def test_films_without_marks_are_left_out(yolo_folder: Path) -> None:
    films = read_yolo_seg(yolo_folder)
    outlined = [replace(film, bodies=tuple(map(_rounder, film.bodies))) for film in films]
    for path in (yolo_folder / "truth").glob("*.json"):
        path.unlink()
    assert usable(outlined) == []


def _rounder(body: LabelledBody) -> LabelledBody:
    return replace(body, outline_px=np.repeat(body.outline_px, 2, axis=0))


@pytest.mark.parametrize("mirrored", [False, True])
def test_outline_and_corners_lie_where_the_crop_shows_the_body(truths: Path, mirrored: bool) -> None:
    film = marked(read_yolo_seg(truths)[0])
    assert film is not None
    body = film.bodies[0]
    change = np.diag([-1.0 if mirrored else 1.0, 1.0])
    move = EDGES.to_film(body.place, change)
    one = sample(np.zeros(EDGES.shape, np.uint8), body, move, (200, 160))
    back = one.corners * MAP_STRIDE @ move[:, :2].T + move[:, 2]
    np.testing.assert_allclose(back, QUAD[[1, 0, 3, 2]] if mirrored else QUAD, atol=1e-3)
    assert one.corners[0, 0] < one.corners[1, 0]
    assert one.seen.all()
    cell_px2 = MAP_STRIDE**2 * abs(np.linalg.det(move[:, :2]))
    assert one.inside.sum() * cell_px2 == pytest.approx(2050, rel=0.01)


def test_corners_beyond_the_film_are_not_learnt(truths: Path) -> None:
    film = marked(read_yolo_seg(truths)[0])
    assert film is not None
    one = sample(
        np.zeros(EDGES.shape, np.uint8), film.bodies[0], EDGES.to_film(film.bodies[0].place), (200, 87)
    )
    assert one.seen.tolist() == [True, False, True, True]


def test_the_share_of_a_cell_is_exact_at_its_edge() -> None:
    share = share_inside(np.array([[10.3125, 5], [20, 5], [20, 9.5625], [10.3125, 9.5625]]))
    assert share.shape == MAP
    np.testing.assert_allclose(share[7, 9:12], [0, 0.6875, 1], atol=0.01)
    np.testing.assert_allclose(share[8:11, 15], [1, 0.5625, 0], atol=0.01)


def test_a_sampler_draws_other_crops_of_the_bodies_each_time(ap_folder: Path) -> None:
    sampler, rng = Sampler(usable(read_ap_corners(ap_folder))), np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(20)]
    assert {one.crop.shape for one in drawn} == {EDGES.shape}
    assert len({one.crop.tobytes() for one in drawn}) > 15
    middles = np.array([one.corners.mean(axis=0) for one in drawn])
    np.testing.assert_allclose(middles.mean(axis=0), np.array(MAP) / 2, atol=3)


SPURS = {"upper": {"anterior": 4.0, "posterior": 1.0}, "lower": {"anterior": 0.0, "posterior": 2.0}}


@pytest.mark.parametrize(
    ("facing", "clockwise"), [("right", [1.0, 4.0, 0.0, 2.0]), ("left", [4.0, 1.0, 2.0, 0.0])]
)
@pytest.mark.parametrize("mirrored", [False, True])
def test_spurs_are_told_at_the_corners_where_they_stand_out(
    truths: Path, facing: str, clockwise: list[float], mirrored: bool
) -> None:
    rectangle = [[40.0, 60.0], [90.0, 60.0], [90.0, 100.0], [40.0, 100.0]]
    row = {
        "level": "L4",
        "seen": True,
        "outline_px": rectangle,
        "corners_px": rectangle,
        "osteophytes_mm": SPURS,
    }
    scale = {
        "spacing_mm": 0.6,
        "magnification": 1.2,
    }  # half a millimetre of the patient a pixel: a plate of 25 mm
    record = {"view": "lateral", "facing": facing, "vertebrae": [row], **scale}
    (truths / "truth" / "s0.json").write_text(json.dumps(record))
    film = marked(read_yolo_seg(truths)[0])
    assert film is not None
    np.testing.assert_allclose(film.bodies[0].spurs, np.array(clockwise) / 25)
    move = EDGES.to_film(film.bodies[0].place, np.diag([-1.0 if mirrored else 1.0, 1.0]))
    one = sample(np.zeros(EDGES.shape, np.uint8), film.bodies[0], move, (200, 160))
    shown = np.array(clockwise)[[1, 0, 3, 2]] if mirrored else np.array(clockwise)
    np.testing.assert_allclose(one.spurs, shown / 25, rtol=1e-6)


def test_of_other_films_spurs_are_not_known(truths: Path, ap_folder: Path) -> None:
    for films in (read_yolo_seg(truths), read_ap_corners(ap_folder)):
        assert all(np.isnan(body.spurs).all() for film in usable(films) for body in film.bodies)


def test_bodies_with_spurs_are_drawn_as_often_as_is_asked(truths: Path) -> None:
    rows = []
    for number, mm in enumerate((0.0, 0.0, 5.0)):
        quad = [
            [40.0, 20.0 + 50 * number],
            [90, 20.0 + 50 * number],
            [90, 55 + 50 * number],
            [40, 55 + 50 * number],
        ]
        spurs = {"upper": {"anterior": mm, "posterior": 0.0}, "lower": {"anterior": 0.0, "posterior": 0.0}}
        rows.append(
            {"level": "L4", "seen": True, "outline_px": quad, "corners_px": quad, "osteophytes_mm": spurs}
        )
    record = {"view": "lateral", "facing": "left", "spacing_mm": 1, "magnification": 1, "vertebrae": rows}
    (truths / "truth" / "s0.json").write_text(json.dumps(record))
    films = usable(read_yolo_seg(truths)[:1])
    for spurred, share in ((1.0, 1 / 3), (4.0, 2 / 3)):
        sampler, rng = Sampler(films, spurred), np.random.default_rng(2)
        drawn = [sampler.draw(rng).spurs.max() > 0.05 for _ in range(200)]
        assert np.mean(drawn) == pytest.approx(share, abs=0.1)
