"""Other donors' vertebrae, laid in the first one's place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.errors import BadSettings
from spinepacs.training.films.anatomy import Anatomy, Vertebra
from spinepacs.training.films.second import LUMBAR, Second, load_mean, load_second, with_second
from tests.training.conftest import data_folder

MEAN = data_folder() / "meshes" / "morphable_lumbar" / "mean_L2_L5.npz"


def _depth_mm(vertebra: Vertebra) -> float:
    corners = vertebra.sagittal.corners
    return float(np.linalg.norm(corners[[1, 2]] - corners[[0, 3]], axis=1).mean())


def _slope(vertebra: Vertebra) -> float:
    """Degrees by which the upper plate leans forward in the donor's place."""
    front, back = vertebra.lift(vertebra.sagittal.corners[:2]) @ vertebra.frame
    return float(np.degrees(np.arctan2(back[2] - front[2], back[1] - front[1])))


def test_second_donor_stands_where_the_first_does(anatomy: Anatomy, second: Second) -> None:
    own = {vertebra.level: vertebra for vertebra in anatomy.vertebrae}
    for level, vertebra in second.vertebrae.items():
        assert np.abs(vertebra.origin - own[level].origin).max() < 8, level
        assert abs(vertebra.origin[0]) < 0.5, level  # it is symmetrical
        assert np.linalg.det(vertebra.frame) == pytest.approx(1.0)
        height_mm = vertebra.upper_mm - vertebra.lower_mm
        assert 22 < height_mm < 30, level
    assert 30 < _slope(second.vertebrae["S1"]) < 45


def test_second_donors_bodies_are_as_slender_as_the_first_ones(anatomy: Anatomy, second: Second) -> None:
    own = {vertebra.level: vertebra for vertebra in anatomy.vertebrae}
    for level in LUMBAR:
        mine, other = second.vertebrae[level], own[level]
        slender = [(v.upper_mm - v.lower_mm) / _depth_mm(v) for v in (mine, other)]
        assert slender[0] == pytest.approx(slender[1], rel=0.02), level
        assert np.abs(mine.sagittal.corners - other.sagittal.corners).max() > 0.5, level


def test_marks_of_the_second_donor_lie_on_its_surface(second: Second) -> None:
    for level in (*LUMBAR, "S1"):
        vertebra, mesh = second.vertebrae[level], second.parts[level].mesh
        local = (mesh.vertices - vertebra.origin) @ vertebra.frame.T
        middle = local[np.abs(local[:, 0]) < 8][:, 1:]
        for corner in vertebra.sagittal.corners[:2]:
            away = np.linalg.norm(middle - corner, axis=1).min()
            assert away < 3.0, (level, corner)


def test_only_what_was_asked_for_is_the_second_donors(anatomy: Anatomy, second: Second) -> None:
    for lumbar, sacrum in ((True, False), (False, True), (True, True)):
        mixed = with_second(anatomy, second, lumbar, sacrum)
        assert mixed.levels == anatomy.levels
        changed = {v.level for v, was in zip(mixed.vertebrae, anatomy.vertebrae, strict=True) if v is not was}
        assert changed == (set(LUMBAR) if lumbar else set()) | ({"S1"} if sacrum else set())
        hips = [p.name for p in mixed.parts if p.name.endswith("hip bone")]
        assert hips == (["hip bone"] if sacrum else ["right hip bone", "left hip bone"])


def test_mean_lumbar_spine_is_one_file_of_four_bones(anatomy: Anatomy) -> None:
    if not MEAN.is_file():
        pytest.skip(f"no mean lumbar spine at {MEAN}; set SPINEPACS_DATA")
    mean = load_mean(MEAN, anatomy)
    assert list(mean.vertebrae) == ["L2", "L3", "L4", "L5"]
    heights = [mean.vertebrae[level].origin[2] for level in ("L2", "L3", "L4", "L5")]
    assert heights == sorted(heights, reverse=True)
    mixed = with_second(anatomy, mean, True, False)
    assert mixed.vertebrae[mixed.levels.index("L1")] is anatomy.vertebrae[mixed.levels.index("L1")]


def test_missing_surfaces_are_named(anatomy: Anatomy, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"L1\.npz"):
        load_second(tmp_path, anatomy)
    with pytest.raises(BadSettings, match="mean"):
        load_mean(tmp_path / "mean.npz", anatomy)
