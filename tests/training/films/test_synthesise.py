"""Synthetic films from the donor's surfaces: the same every time, and labelled where the bones are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.domain.anatomy import Level
from spinepacs.errors import BadSettings
from spinepacs.training.films import synthesise as module
from spinepacs.training.films.anatomy import LEVELS, Anatomy
from spinepacs.training.films.implants import USUAL, Metal, implants
from spinepacs.training.films.plans import PLANS, Plan
from spinepacs.training.films.pose import draw_pose, place_vertebra, plate_middle
from spinepacs.training.films.synthesise import (
    Run,
    draw_film,
    draw_patient,
    film_name,
    synthesise,
)
from spinepacs.training.films.truth import Film
from spinepacs.training.films.variety import Donors
from tests.training.conftest import MESHES

SMALL = tuple(Plan(**{**vars(plan), "height_px": (400, 401)}) for plan in PLANS)


@pytest.fixture
def loaded(anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the donor already loaded."""
    monkeypatch.setattr(module, "load_donors", lambda *_: Donors(anatomy))


def small_run(out_dir: Path, seed: int, dicom: bool = False) -> Run:
    return Run(MESHES, out_dir, seed, dicom, SMALL)


def plan_of(region: str, lateral: bool) -> Plan:
    return next(
        plan for plan in PLANS if plan.region == region and plan.lateral == lateral and plan.top != "T1"
    )


def film_of(anatomy: Anatomy, region: str, lateral: bool, seed: int) -> Film:
    plan = plan_of(region, lateral)
    rng = np.random.default_rng(seed)
    patient = draw_patient(anatomy, rng, plan)
    clean = module.replace(patient, metal=Metal())
    return draw_film(clean, plan, rng, decorate=False)


def test_every_level_of_the_donor_has_plausible_marks(anatomy: Anatomy) -> None:
    assert [v.level for v in anatomy.vertebrae] == [level.name for level in Level]
    for vertebra in anatomy.vertebrae[2:-1]:
        corners = vertebra.sagittal.corners
        depth_mm = np.linalg.norm(corners[0] - corners[1])
        height_mm = vertebra.upper_mm - vertebra.lower_mm
        assert 9 < height_mm < 32, vertebra.level
        assert 0.6 < height_mm / depth_mm < 1.2, vertebra.level


def test_discs_of_a_pose_are_as_high_as_drawn(anatomy: Anatomy) -> None:
    pose = draw_pose(anatomy, np.random.default_rng(5), neck_view=False, scoliosis=0.5)
    for upper in range(1, len(LEVELS) - 1):
        lower = upper + 1
        top = place_vertebra(_middle(anatomy, upper, False), upper, anatomy, pose)[0]
        bottom = place_vertebra(_middle(anatomy, lower, True), lower, anatomy, pose)[0]
        axis = pose.rotations[upper][:, 2] + pose.rotations[lower][:, 2]
        height_mm = (top - bottom) @ (axis / np.linalg.norm(axis))
        assert height_mm == pytest.approx(pose.discs.height_mm[upper] * pose.scale, abs=0.9), LEVELS[upper]


def test_true_disc_heights_are_those_between_the_corners_of_the_film(anatomy: Anatomy) -> None:
    film = film_of(anatomy, "lumbar", True, seed=8)
    bodies = {t.level: t for t in film.truths}
    to_mm = film.camera.spacing_mm / film.camera.magnification
    for disc, heights in film.disc_mm.items():
        above, below = (bodies[level].corners_px for level in disc.split("/"))
        upper, lower = above[[3, 2]], below[[0, 1]]
        along = (upper[1] - upper[0]) / np.linalg.norm(upper[1] - upper[0])
        along = along + (lower[1] - lower[0]) / np.linalg.norm(lower[1] - lower[0])
        along /= np.linalg.norm(along)
        on_film_mm = ((lower - upper) @ np.array([-along[1], along[0]])).mean() * to_mm
        assert heights["mean"] == pytest.approx(on_film_mm, abs=0.25), disc
        assert heights["mean"] == pytest.approx((heights["anterior"] + heights["posterior"]) / 2, abs=0.001)


def _middle(anatomy: Anatomy, level: int, upper: bool) -> np.ndarray:
    corners = anatomy.vertebrae[level].sagittal.corners
    across, up = (corners[:2] if upper else corners[2:]).mean(axis=0)
    return np.array([[0.0, across, up]])


@pytest.mark.parametrize(
    ("region", "lateral", "expected"),
    [
        ("full", True, 24),
        ("cervical", True, 7),
        ("lumbar", True, 6),
        ("thoracic", True, 13),
        ("full", False, 18),
    ],
)
def test_each_view_labels_the_levels_it_asks_for(
    anatomy: Anatomy, region: str, lateral: bool, expected: int
) -> None:
    film = film_of(anatomy, region, lateral, seed=11)
    levels = [LEVELS.index(t.level) for t in film.truths]
    assert len(levels) >= expected
    assert levels == list(range(levels[0], levels[-1] + 1))
    heights = [t.corners_px[:, 1].mean() for t in film.truths]
    assert heights == sorted(heights)


def test_lateral_outlines_lie_on_bone_and_discs_between_them_are_darker(anatomy: Anatomy) -> None:
    inside, between = [], []
    for seed in range(3, 7):  # one patient may have dense endplates or bridged discs
        film = film_of(anatomy, "lumbar", True, seed)
        for above, below in zip(film.truths, film.truths[1:], strict=False):
            if Level[below.level] > Level.L4:
                break
            inside.append(_mean(film, above.outline_px))
            between.append(_mean(film, np.concatenate([above.corners_px[[3, 2]], below.corners_px[[1, 0]]])))
    assert np.mean(np.array(inside) > np.array(between)) > 0.5


def _mean(film: Film, outline_px: np.ndarray) -> float:
    mask = np.zeros(film.pixels.shape, np.uint8)
    cv2.fillPoly(mask, [np.floor(outline_px).astype(np.int32)], 1)
    return float(film.value[mask > 0].mean())


def test_corners_go_round_from_the_upper_left(anatomy: Anatomy) -> None:
    for film in (film_of(anatomy, "lumbar", True, 4), film_of(anatomy, "full", False, 4)):
        for truth in film.truths:
            if truth.level in ("C1", "S1"):
                continue
            tl, tr, br, bl = truth.corners_px
            assert tl[0] < tr[0], truth.level
            assert bl[0] < br[0], truth.level
            assert tl[1] < bl[1], truth.level
            assert tr[1] < br[1], truth.level


def test_a_run_that_was_cut_off_goes_on_and_ends_alike(loaded: None, tmp_path: Path) -> None:
    whole, cut = small_run(tmp_path / "whole", 21), small_run(tmp_path / "cut", 21)
    assert synthesise(whole, 3) == 3
    assert synthesise(cut, 2) == 2
    done: list[int] = []
    assert synthesise(cut, 3, on_film=done.append) == 1
    assert done == [0, 1, 2]
    for path in whole.out_dir.rglob("syn-*"):
        assert path.read_bytes() == (cut.out_dir / path.relative_to(whole.out_dir)).read_bytes(), path.name
    assert json.loads((whole.out_dir / "data.json").read_text())["names"] == list(LEVELS)


def test_a_plain_run_draws_the_donor_as_he_was(loaded: None, anatomy: Anatomy, tmp_path: Path) -> None:
    run = small_run(tmp_path, 26)
    synthesise(module.replace(run, plain=True), 1)
    rng = np.random.default_rng([26, 0])
    plan = module.choose_plan(rng, SMALL)
    film = draw_film(draw_patient(anatomy, rng, plan), plan, rng)
    drawn = cv2.imread(str(tmp_path / "images" / f"{film_name(26, 0)}.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(drawn, film.pixels)


@pytest.mark.usefixtures("loaded")
def test_films_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    alone, shared = small_run(tmp_path / "alone", 24), small_run(tmp_path / "shared", 24)
    assert synthesise(alone, 3) == 3
    assert synthesise(shared, 3, workers=2) == 3
    written = sorted(path.relative_to(alone.out_dir) for path in alone.out_dir.rglob("syn-*"))
    assert written == sorted(path.relative_to(shared.out_dir) for path in shared.out_dir.rglob("syn-*"))
    for path in written:
        assert (alone.out_dir / path).read_bytes() == (shared.out_dir / path).read_bytes(), path


def test_films_are_dicom_files_when_asked(loaded: None, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed")
    run = small_run(tmp_path, 25, dicom=True)
    assert synthesise(run, 1) == 1
    name = film_name(25, 0)
    ds = pydicom.dcmread(tmp_path / "dicom" / f"{name}.dcm")
    truth = json.loads((tmp_path / "dicom" / f"{name}.json").read_text())
    assert truth == json.loads((tmp_path / "truth" / f"{name}.json").read_text())
    assert float(ds.ImagerPixelSpacing[0]) == truth["spacing_mm"]
    assert float(ds.EstimatedRadiographicMagnificationFactor) == pytest.approx(
        truth["magnification"], abs=1e-5
    )
    assert (ds.Rows, ds.Columns) == (truth["rows"], truth["columns"])
    (tmp_path / "dicom" / f"{name}.dcm").unlink()
    assert synthesise(run, 1) == 1


def test_a_film_of_another_seed_differs(loaded: None, tmp_path: Path) -> None:
    synthesise(small_run(tmp_path, 1), 1)
    synthesise(small_run(tmp_path, 2), 1)
    first, second = sorted((tmp_path / "images").iterdir())
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize(("count", "workers"), [(-1, 1), (1, 0)])
def test_impossible_orders_are_refused(tmp_path: Path, count: int, workers: int) -> None:
    with pytest.raises(ValueError, match="count"):
        synthesise(Run(MESHES, tmp_path, 1), count, workers=workers)


def test_a_folder_without_surfaces_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"index\.csv"):
        synthesise(Run(tmp_path, tmp_path / "out", 1), 1)


def test_middles_of_plates_follow_the_shape(anatomy: Anatomy) -> None:
    pose = draw_pose(anatomy, np.random.default_rng(1), neck_view=False, scoliosis=0.0)
    vertebra, shape = anatomy.vertebrae[int(Level.L3)], pose.shapes[int(Level.L3)]
    height_mm = plate_middle(vertebra, shape, True)[2] - plate_middle(vertebra, shape, False)[2]
    drawn_mm = (vertebra.upper_mm - vertebra.lower_mm) * shape.height * shape.scale
    assert height_mm == pytest.approx(drawn_mm - 2 * shape.hollow_mm, abs=1.0)


@pytest.mark.parametrize("share", [0.0, USUAL, 0.6, 1.0])
def test_as_many_patients_have_metal_as_was_asked_for(anatomy: Anatomy, share: float) -> None:
    pose = draw_patient(anatomy, np.random.default_rng(1), plan_of("full", True)).pose
    drawn = [implants(anatomy, pose, np.random.default_rng([7, n]), share) for n in range(150)]
    assert np.mean([bool(one.meshes or one.caged) for one in drawn]) == pytest.approx(share, abs=0.09)


def test_with_more_metal_than_usual_half_of_the_rods_are_long(anatomy: Anatomy) -> None:
    pose = draw_patient(anatomy, np.random.default_rng(1), plan_of("full", True)).pose

    def rods_mm(share: float) -> list[float]:
        drawn = [implants(anatomy, pose, np.random.default_rng([7, n]), share) for n in range(120)]
        return [max(float(np.ptp(mesh.vertices[:, 2])) for mesh in one.meshes) for one in drawn if one.meshes]

    few, many = rods_mm(USUAL), rods_mm(1.0)
    assert np.mean(np.array(many) > 210) > 1.8 * np.mean(np.array(few) > 210)
