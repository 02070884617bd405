"""Slips, signs and builds of synthetic patients against what was drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.training.films import pose as film_pose
from spinepacs.training.films.anatomy import Anatomy
from spinepacs.training.films.build import Build, draw_build, with_lumbar, with_ribs
from spinepacs.training.films.discs import Discs, meyerding_grade
from spinepacs.training.films.measures import body_signs, patient_record, slip_mm, slips
from spinepacs.training.films.shape import BodyShape, genant_grade, spur_grade
from spinepacs.training.films.truth import class_of, disc_heights

PLATE = np.array([[-15.0, 12.0], [15.0, 12.0], [15.0, -12.0], [-15.0, -12.0]])


def test_a_step_is_measured_along_the_lower_plate() -> None:
    for degrees in (0.0, 35.0):
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        above = (PLATE + np.array([-7.5, 33.0])) @ turn.T  # 7.5 mm towards the front, the small end
        step, depth = slip_mm(above, PLATE @ turn.T)
        assert (step, depth) == pytest.approx((7.5, 30.0))


@pytest.mark.parametrize(
    ("share", "grade"),
    [(0.0, 0), (0.02, 0), (-0.1, 1), (0.25, 1), (-0.26, 2), (-0.5, 2), (-0.7, 3), (-0.9, 4), (-1.1, 5)],
)
def test_meyerding_grades_are_quarters_of_the_depth(share: float, grade: int) -> None:
    assert meyerding_grade(share) == grade


@pytest.mark.parametrize("drawn", [-0.15, -0.4, 0.12])
def test_a_drawn_slip_moves_the_step_by_as_much(
    anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch, drawn: float
) -> None:
    def pose_with(share: float) -> film_pose.Pose:
        def discs(rng: np.random.Generator, levels: tuple[str, ...], build: Build) -> Discs:
            slip = np.zeros(len(levels))
            slip[-3] = share
            none = (False,) * len(levels)
            height = np.full(len(levels), 6.0)
            return Discs(height, slip, none, none, height, height)

        monkeypatch.setattr(film_pose, "draw_discs", discs)
        return film_pose.draw_pose(anatomy, np.random.default_rng(4), False, 0.0)

    still, slipped = (slips(anatomy, pose_with(share))["L4/L5"] for share in (0.0, drawn))
    assert slipped["percent"] - still["percent"] == pytest.approx(-100 * drawn, abs=1.0)
    assert slipped["drawn_percent"] == pytest.approx(-100 * drawn)
    assert still["meyerding"] == 0
    assert slipped["meyerding"] > 0


def test_signs_are_graded_by_what_was_drawn() -> None:
    spurs = np.array([[3.0, 0.0, 0.0], [0.0, 1.2, 0.0]])
    record = body_signs(BodyShape(spur_mm=spurs, sclerosis=(0, 2), fracture="wedge", loss=0.3), scale=1.0)
    assert record["osteophyte_grade"] == 2
    assert record["osteophytes_mm"]["lower"] == {"anterior": 0.0, "posterior": 1.2, "lateral": 0.0}
    assert record["sclerosis_grade"] == {"upper": 0, "lower": 2}
    assert record["fracture"] == {"kind": "wedge", "height_lost": 0.3, "genant": 2}
    assert "fracture" not in body_signs(BodyShape(), scale=1.0)


def test_grades_change_at_their_limits() -> None:
    assert [spur_grade(mm) for mm in (0.9, 1.0, 2.5, 4.5)] == [0, 1, 2, 3]
    assert [genant_grade(loss) for loss in (0.19, 0.20, 0.25, 0.40)] == [0, 1, 2, 3]


def test_a_sixth_lumbar_vertebra_is_named_in_the_truth_and_counts_as_l5(anatomy: Anatomy) -> None:
    six = with_lumbar(anatomy, 6)
    assert six.levels[-3:] == ("L5", "L6", "S1")
    assert class_of("L6") == class_of("L5") == 23
    gaps = [six.vertebrae[k].origin[2] - six.vertebrae[k + 1].origin[2] for k in (-4, -3, -2)]
    assert min(gaps) > 25
    pose = film_pose.draw_pose(six, np.random.default_rng(1), False, 0.0, Build(lumbar=6))
    assert patient_record(six, pose, Build(lumbar=6), ())["lumbar_vertebrae"] == 6


def test_four_lumbar_vertebrae_leave_no_gap(anatomy: Anatomy) -> None:
    four = with_lumbar(anatomy, 4)
    assert four.levels[-3:] == ("L3", "L4", "S1")
    whole = anatomy.vertebrae[-2].origin[2] - anatomy.vertebrae[-1].origin[2]
    assert four.vertebrae[-2].origin[2] - four.vertebrae[-1].origin[2] == pytest.approx(whole, abs=2.0)


def test_seven_lumbar_vertebrae_are_refused(anatomy: Anatomy) -> None:
    with pytest.raises(ValueError, match="7 lumbar"):
        with_lumbar(anatomy, 7)


@pytest.mark.parametrize("pairs", [11, 12, 13])
def test_ribs_come_in_as_many_pairs_as_the_build_says(anatomy: Anatomy, pairs: int) -> None:
    parts = with_ribs(anatomy, replace(Build(), ribs=pairs))
    assert len([part for part in parts if part.name.endswith(" rib")]) == 2 * pairs


def test_children_are_smaller_with_larger_heads() -> None:
    builds = [draw_build(np.random.default_rng(k), frontal=False) for k in range(200)]
    children, adults = ([b for b in builds if (b.cortex < 1) == young] for young in (True, False))
    assert 10 < len(children) < 60
    assert np.mean([b.scale for b in children]) < 0.9 * np.mean([b.scale for b in adults])
    assert np.mean([b.head for b in children]) > 1.05


def test_a_narrowed_disc_knows_how_high_it_would_be(
    anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pose_with(height_mm: float) -> film_pose.Pose:
        def discs(rng: np.random.Generator, levels: tuple[str, ...], build: Build) -> Discs:
            none, even = (False,) * len(levels), np.ones(len(levels))
            return Discs(height_mm * even, 0 * even, none, none, 8 * even, 7 * even)

        monkeypatch.setattr(film_pose, "draw_discs", discs)
        return film_pose.draw_pose(anatomy, np.random.default_rng(4), False, 0.0)

    def heights(height_mm: float) -> dict[str, dict[str, float]]:
        return disc_heights(anatomy, pose_with(height_mm), True, {"L1", "L2", "L3", "L4", "L5", "S1"})

    narrowed, healthy, usual = heights(4.0), heights(8.0), heights(7.0)
    assert len(narrowed) == 5
    for disc, row in narrowed.items():
        assert row["healthy"] == pytest.approx(healthy[disc]["mean"], abs=0.1)
        assert row["usual"] == pytest.approx(usual[disc]["mean"], abs=0.1)
        assert healthy[disc]["healthy"] == healthy[disc]["mean"]
