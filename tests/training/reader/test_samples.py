"""Crops with their truth: every place of a labelled spine shows the level that it is called."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.seeing.crops import PAD_VALUE
from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import LabelledBody, read_ap_corners, read_yolo_seg
from spinepacs.training.data.levels import Reading, renamed
from spinepacs.training.reader.samples import NOTHING, Sampler, crops_of, labelled_spine, usable


def test_places_have_the_labels_names_and_those_beyond_both_ends(ap_folder: Path) -> None:
    spine = labelled_spine(read_ap_corners(ap_folder)[0])
    assert spine is not None
    assert spine.classes == tuple(range(Level.C7, Level.S1 + 1))
    np.testing.assert_allclose(
        [place.centre for place in spine.places[:3]], [[50.5, y] for y in (0.5, 16.5, 32.5)]
    )
    assert [crop.shape for crop in crops_of(spine)] == [(160, 128)] * 19


def test_below_the_first_of_the_sacrum_there_is_no_vertebra(ap_folder: Path) -> None:
    film = read_ap_corners(ap_folder)[0]
    spine = labelled_spine(renamed([film], {film.name: Reading(1, "")})[0])
    assert spine is not None
    assert spine.classes[-2:] == (Level.S1, NOTHING)


def test_spines_with_a_hole_or_few_labels_are_left_out(ap_folder: Path) -> None:
    film = read_ap_corners(ap_folder)[0]
    few, holed = film.bodies[:2], film.bodies[:4] + film.bodies[5:]
    twice = (*film.bodies[:4], LabelledBody(film.bodies[3].class_id, film.bodies[4].outline_px))
    assert usable([replace(film, bodies=bodies) for bodies in (few, holed, twice)]) == []


@pytest.mark.parametrize("odd", [{}, {"lumbar_vertebrae": 6}, {"rib_pairs": 11}, {"transitional": True}])
def test_patients_whose_levels_have_no_usual_name_are_left_out(
    yolo_folder: Path, odd: dict[str, object]
) -> None:
    usual = {"lumbar_vertebrae": 5, "rib_pairs": 12, "transitional": False}
    for number in range(2):
        record = {"view": "lateral", "patient": usual | odd}
        (yolo_folder / "truth" / f"s{number}.json").write_text(json.dumps(record))
    assert len(usable(read_yolo_seg(yolo_folder))) == (0 if odd else 2)


def test_of_a_donor_of_whom_nothing_is_said_the_levels_have_their_usual_names(yolo_folder: Path) -> None:
    for number in range(2):
        record = {"view": "lateral", "patient": {}}
        (yolo_folder / "truth" / f"s{number}.json").write_text(json.dumps(record))
    assert len(usable(read_yolo_seg(yolo_folder))) == 2


def test_half_of_what_lies_by_the_sacrum_is_shown_without_what_lies_above(ap_folder: Path) -> None:
    sampler, rng = Sampler(usable(read_ap_corners(ap_folder))), np.random.default_rng(0)
    hidden: dict[bool, list[bool]] = {True: [], False: []}
    for crop, kind in (sampler.draw(rng) for _ in range(400)):
        hidden[kind >= Level.L2].append(bool((crop[:59] == PAD_VALUE).all()))
    assert 0.4 < np.mean(hidden[True]) < 0.6
    assert 0.05 < np.mean(hidden[False]) < 0.3


def test_of_an_unusual_patient_only_the_known_is_shown(ap_folder: Path) -> None:
    known = range(Level.L3, Level.S1 + 1)
    sampler, rng = Sampler(usable(read_ap_corners(ap_folder), known)), np.random.default_rng(0)
    assert {kind for _, kind in (sampler.draw(rng) for _ in range(150))} == {*known, NOTHING}
    assert usable(read_ap_corners(ap_folder), range(Level.C1, Level.C4)) == []


def test_a_sampler_draws_bodies_ends_and_nothing(ap_folder: Path) -> None:
    sampler, rng = Sampler(usable(read_ap_corners(ap_folder))), np.random.default_rng(0)
    drawn = [sampler.draw(rng) for _ in range(300)]
    classes = [kind for _, kind in drawn]
    assert set(classes) == {*range(Level.C7, Level.S1 + 1), NOTHING}
    assert 0.05 < classes.count(NOTHING) / 300 < 0.2
    assert {crop.shape for crop, _ in drawn} == {(160, 128)}
    again = np.random.default_rng(0)
    np.testing.assert_array_equal(sampler.draw(again)[0], drawn[0][0])
