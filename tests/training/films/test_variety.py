"""Sacra, hips and flat lower halves that differ from patient to patient; the truth stays where the bones are."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.training.films.anatomy import LEVELS, Anatomy
from spinepacs.training.films.body import build_body
from spinepacs.training.films.build import Build, settle
from spinepacs.training.films.flesh import draw_tissue, skin
from spinepacs.training.films.implants import Metal
from spinepacs.training.films.plans import PLANS
from spinepacs.training.films.sacrum import BEND_MM, bent, remnant
from spinepacs.training.films.second import Second
from spinepacs.training.films.synthesise import draw_film, draw_patient
from spinepacs.training.films.truth import Film
from spinepacs.training.films.variety import Donors, Wash, draw_wash, vary_build, washed


def test_a_sacrum_bends_below_the_marks_of_s1_alone(anatomy: Anatomy) -> None:
    sacrum = anatomy.vertebrae[-1]
    points = np.stack([np.zeros(200), np.zeros(200), np.linspace(15, -110, 200)], axis=1)
    moved = bent(points, 0.004)
    above = points[:, 2] >= BEND_MM
    assert (moved[above] == points[above]).all()
    assert sacrum.sagittal.outline[:, 1].min() >= BEND_MM - 0.5
    shift = moved[~above, 1]
    assert (np.diff(shift) > 0).all()
    assert 20 < shift[-1] < 60
    assert np.abs(np.diff(shift, 2)).max() < 0.01  # no kink
    assert bent(points, 0.0) is points


def test_what_is_left_of_the_disc_lies_in_the_sacrum_below_s1(anatomy: Anatomy) -> None:
    sacrum = anatomy.vertebrae[-1]
    bone = next(part for part in anatomy.parts if part.name == "S1")
    local = (bone.mesh.vertices - sacrum.origin) @ sacrum.frame.T
    near = local[(np.abs(local[:, 2] + 17) < 3) & (np.abs(local[:, 0]) < 5)]
    slit, plates = remnant(sacrum, 3.0, 0.8)
    for mesh in (slit, *plates):
        assert mesh.vertices[:, 2].max() < -8
        assert mesh.vertices[:, 1].min() > near[:, 1].min() - 1
        assert np.abs(mesh.vertices[:, 0]).max() < sacrum.half_width_mm
    assert plates[0].vertices[:, 2].mean() > slit.vertices[:, 2].mean() > plates[1].vertices[:, 2].mean()


def test_a_remnant_adds_a_slit_and_two_plates(anatomy: Anatomy) -> None:
    plan = PLANS[2]
    patient = draw_patient(anatomy, np.random.default_rng(2), plan)
    counts = []
    for thickness_mm in (0.0, 3.0):
        build = replace(patient.build, remnant=(thickness_mm, 0.8, 0.01))
        rng = np.random.default_rng(1)
        counts.append(len(build_body(patient.anatomy, patient.pose, patient.tissue, build, rng)))
    assert counts[1] == counts[0] + 3


def test_hip_bones_turn_about_s1_and_nothing_else_does(anatomy: Anatomy) -> None:
    build = replace(Build(), pelvis_turn=10.0)
    hip = next(part for part in anatomy.parts if part.name == "left hip bone")
    rib = next(part for part in anatomy.parts if part.name == "left twelfth rib")
    points = hip.mesh.vertices
    moved = settle(points, hip, build, anatomy)
    about = anatomy.vertebrae[-1].origin
    away = [np.linalg.norm((p - about)[:, 1:], axis=1) for p in (points, moved)]
    assert np.allclose(*away)
    crest = np.argmax(points[:, 2])
    assert moved[crest, 1] < points[crest, 1]  # forward
    assert np.array_equal(settle(rib.mesh.vertices, rib, build, anatomy), rib.mesh.vertices)


def test_hips_make_the_skin_wider_below_and_leave_it_above(anatomy: Anatomy) -> None:
    tissue = replace(
        draw_tissue(np.random.default_rng(3), arms_down=False), hips=0.0, loin=0.0, buttock_mm=0.0
    )
    narrow = skin(anatomy, tissue).vertices
    wide = skin(anatomy, replace(tissue, hips=1.0)).vertices
    low, high = narrow[:, 2] < 900, narrow[:, 2] > 1250
    assert np.abs(wide[low, 0]).max() > np.abs(narrow[low, 0]).max() + 15
    assert np.allclose(wide[high], narrow[high])


def _noisy(rows: int, columns: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0.6, 0.05, (rows, columns))
    return np.asarray(np.clip(noise, 0, 1), dtype=np.float32)


def test_a_washed_film_is_flat_and_bright_below_and_the_same_above() -> None:
    value, path_px = _noisy(600, 200), np.array([[100.0, 20.0], [100.0, 560.0]])
    flat = washed(value, Wash(1.0, 0.7, 0.9, 0.3), 1.0, path_px)
    assert flat[500:].std() < 0.5 * value[500:].std()
    assert flat[500:].mean() > value[500:].mean() + 0.1
    assert np.abs(flat[:200] - value[:200]).max() < 0.01
    assert washed(value, Wash(), 1.0, path_px) is value


def test_about_half_of_the_laterals_are_washed() -> None:
    rng = np.random.default_rng(4)
    shares = [
        np.mean([draw_wash(rng, lateral).strength > 0 for _ in range(400)]) for lateral in (True, False)
    ]
    assert 0.4 < shares[0] < 0.6
    assert shares[1] < 0.3


def test_builds_differ_about_the_sacrum_and_nowhere_else() -> None:
    plain = Build()
    varied = [vary_build(plain, np.random.default_rng(seed)) for seed in range(60)]
    assert np.std([build.slope for build in varied]) > 5
    assert 0.15 < np.mean([build.remnant[0] > 0 for build in varied]) < 0.55
    assert all(
        replace(
            build,
            slope=0.0,
            pelvis_turn=0.0,
            sacrum_curve=0.0,
            pelvis=1.0,
            remnant=plain.remnant,
            crest_mm=0.0,
        )
        == plain
        for build in varied
    )


def test_truth_of_a_varied_patient_lies_on_the_second_donors_bones(anatomy: Anatomy, second: Second) -> None:
    donors = Donors(anatomy, (second,))
    mixes = [donors.draw(np.random.default_rng(seed)) for seed in range(12)]
    assert len({id(mix) for mix in mixes}) == 4  # either's loin, either's sacrum
    both = next(
        mix
        for mix in mixes
        if mix.vertebrae[-1] is not anatomy.vertebrae[-1] and mix.vertebrae[-2] is not anatomy.vertebrae[-2]
    )
    inside, between = [], []
    for seed in range(2):
        film = _film(both, seed)
        for above, below in zip(film.truths, film.truths[1:], strict=False):
            if LEVELS.index(below.level) <= LEVELS.index("L5") and above.level[0] == "L":
                inside.append(_mean(film, above.outline_px))
                gap = np.concatenate([above.corners_px[[3, 2]], below.corners_px[[1, 0]]])
                between.append(_mean(film, gap))
    assert len(inside) > 4
    assert np.mean(np.array(inside) > np.array(between)) > 0.6


def _film(anatomy: Anatomy, seed: int) -> Film:
    plan = replace(PLANS[2], height_px=(600, 601))
    rng = np.random.default_rng(seed)
    patient = replace(draw_patient(anatomy, rng, plan, varied=True), metal=Metal())
    return draw_film(patient, plan, rng, decorate=False)


def _mean(film: Film, outline_px: np.ndarray) -> float:
    inside = np.zeros(film.value.shape, np.uint8)
    cv2.fillPoly(inside, [np.floor(outline_px).astype(np.int32)], 1)
    return float(film.value[inside > 0].mean())
