"""Synthetic films from the donor's surfaces: the same every time, and labelled where the bones are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.anatomy import Level
from spinepacs.training import synthesise as module
from spinepacs.training.film_anatomy import LEVELS, Anatomy, load_anatomy
from spinepacs.training.film_implants import Metal
from spinepacs.training.film_pose import draw_pose, place_vertebra, plate_middle
from spinepacs.training.film_truth import Film
from spinepacs.training.synthesise import PLANS, Plan, draw_film, draw_patient, film_name, synthesise

REPOSITORY = Path(__file__).parents[2]
MESHES = Path(
    os.environ.get("SPINEPACS_MESHES", REPOSITORY.parent / "shared" / "data" / "meshes" / "bodyparts3d")
)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    if not (MESHES / "index.csv").is_file():
        pytest.skip(f"no BodyParts3D surfaces at {MESHES}; set SPINEPACS_MESHES")
    return load_anatomy(MESHES)


@pytest.fixture
def small_run(anatomy: Anatomy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the donor already loaded, and small."""
    small = tuple(Plan(**{**vars(plan), "height_px": (400, 401)}) for plan in PLANS)
    monkeypatch.setattr(module, "PLANS", small)
    monkeypatch.setattr(module, "load_anatomy", lambda _: anatomy)


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


def test_a_run_that_was_cut_off_goes_on_and_ends_alike(small_run: None, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert synthesise(MESHES, whole, 3, 21) == 3
    assert synthesise(MESHES, cut, 2, 21) == 2
    done: list[int] = []
    assert synthesise(MESHES, cut, 3, 21, on_film=done.append) == 1
    assert done == [0, 1, 2]
    for path in whole.rglob("syn-*"):
        assert path.read_bytes() == (cut / path.relative_to(whole)).read_bytes(), path.name


def test_parts_share_a_run(small_run: None, tmp_path: Path) -> None:
    assert synthesise(MESHES, tmp_path, 3, 22, part=1, parts=2) == 1
    assert [p.stem for p in (tmp_path / "truth").iterdir()] == [film_name(22, 1)]
    assert json.loads((tmp_path / "data.json").read_text())["names"] == list(LEVELS)


def test_a_film_of_another_seed_differs(small_run: None, tmp_path: Path) -> None:
    synthesise(MESHES, tmp_path, 1, 1)
    synthesise(MESHES, tmp_path, 1, 2)
    first, second = sorted((tmp_path / "images").iterdir())
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize(("count", "part", "parts"), [(-1, 0, 1), (1, 2, 2), (1, 0, 0)])
def test_impossible_orders_are_refused(tmp_path: Path, count: int, part: int, parts: int) -> None:
    with pytest.raises(ValueError, match="count"):
        synthesise(MESHES, tmp_path, count, 1, part=part, parts=parts)


def test_a_folder_without_surfaces_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.csv"):
        synthesise(tmp_path, tmp_path / "out", 1, 1)


def test_middles_of_plates_follow_the_shape(anatomy: Anatomy) -> None:
    pose = draw_pose(anatomy, np.random.default_rng(1), neck_view=False, scoliosis=0.0)
    vertebra, shape = anatomy.vertebrae[int(Level.L3)], pose.shapes[int(Level.L3)]
    height_mm = plate_middle(vertebra, shape, True)[2] - plate_middle(vertebra, shape, False)[2]
    drawn_mm = (vertebra.upper_mm - vertebra.lower_mm) * shape.height * shape.scale
    assert height_mm == pytest.approx(drawn_mm - 2 * shape.hollow_mm, abs=1.0)
