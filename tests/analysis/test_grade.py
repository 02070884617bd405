import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.grade import Policy, grade
from spinepacs.analysis.label import label
from spinepacs.analysis.measure import disc_heights
from spinepacs.anatomy import Level
from spinepacs.errors import BadSettings
from spinepacs.settings import shipped
from spinepacs.study import View
from tests import phantoms

POLICY = Policy.load(shipped("config", "grading.toml"))


def _findings(heights, view=View.LATERAL, levels=phantoms.LUMBAR, detections=None):
    phantom = phantoms.spine(levels, left_px=heights, right_px=heights)
    spine = label(detections or phantom.detections(), view, True)
    return {finding.disc.name: finding for finding in grade(disc_heights(spine, None), spine, POLICY)}


@pytest.mark.parametrize(
    ("height", "stage"), [(40, 0), (34, 0), (32, 1), (29, 2), (21, 2), (19, 3), (11, 3), (9, 4), (1, 4)]
)
def test_the_stage_follows_the_loss_against_the_neighbours(height, stage):
    finding = _findings([40.0, 40, height, 40, 40])["L3/L4"]
    assert finding.value == pytest.approx(1 - height / 40, abs=1e-3)
    assert (finding.unit, finding.computed_grade, finding.published_grade) == ("1", stage, stage)
    assert finding.reason is None


def test_two_low_discs_do_not_hide_each_other():
    findings = _findings([40.0, 40, 40, 15, 15])
    assert findings["L4/L5"].computed_grade == 3
    assert findings["L2/L3"].computed_grade == 0


def test_with_one_neighbour_nothing_is_graded_and_the_reason_is_given():
    finding = _findings([40.0, 20], levels=phantoms.LUMBAR[:3])["L1/L2"]
    assert (finding.computed_grade, finding.published_grade) == (None, None)
    assert (finding.reason, finding.value) == ("NO_EXPECTED_HEIGHT", None)


def test_neighbours_of_another_region_do_not_count():
    levels = (Level.T11, Level.T12, Level.L1, Level.L2)
    assert {finding.reason for finding in _findings([40.0, 40, 40], levels=levels).values()} == {
        "NO_EXPECTED_HEIGHT"
    }


@pytest.mark.parametrize("view", [View.AP, View.OBLIQUE, View.UNKNOWN])
def test_only_lateral_films_are_graded(view):
    phantom = phantoms.spine(width_px=182)
    spine = label(phantom.detections(), view, None)
    assert grade(disc_heights(spine, None), spine, POLICY) == ()


def test_a_stage_at_doubtful_levels_is_computed_but_withheld():
    phantom = phantoms.spine(left_px=[40, 40, 20, 40, 40], right_px=[40, 40, 20, 40, 40])
    undecided = np.full(25, 0.04, np.float32)
    detections = [phantom.detection(level, undecided) for level in phantom.bodies]
    spine = label(detections, View.LATERAL, True)
    assert "LEVEL_AMBIGUOUS" in spine.notes
    worst = max(
        grade(disc_heights(spine, None), spine, POLICY), key=lambda finding: finding.computed_grade or 0
    )
    assert (worst.computed_grade, worst.published_grade, worst.reason) == (3, None, "LEVEL_AMBIGUOUS")


def test_a_stage_beside_a_vertebra_that_was_barely_found_is_withheld():
    phantom = phantoms.spine(left_px=[40, 40, 20, 40, 40], right_px=[40, 40, 20, 40, 40])
    detections = [
        dataclasses.replace(phantom.detection(level), score=0.3 if level == Level.L4 else 0.9)
        for level in phantom.bodies
    ]
    findings = _findings([40, 40, 20, 40, 40], detections=detections)
    low = findings["L3/L4"]
    assert (low.computed_grade, low.published_grade, low.reason) == (3, None, "LOW_CONFIDENCE")
    assert findings["L1/L2"].published_grade == 0


def _policy_with(tmp_path: Path, old: str, new: str) -> Path:
    text = shipped("config", "grading.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "grading.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stage_from = [0.18, 0.25, 0.50, 0.75]", "stage_from = [0.5, 0.25, 0.50, 0.75]"),
        ("stage_from = [0.18, 0.25, 0.50, 0.75]", "stage_from = [0.25, 0.50, 0.75]"),
        ("least_neighbours = 2", ""),
        ("neighbour_reach = 2", "neighbour_reach = 0"),
        ('version = "0.1"', ""),
        ("least_score = 0.35", "least_score = ["),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_its_name(tmp_path, old, new):
    with pytest.raises(BadSettings, match=r"grading\.toml"):
        Policy.load(_policy_with(tmp_path, old, new))


def test_a_policy_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadSettings, match=r"model\.policy"):
        Policy.load(tmp_path / "none.toml")
