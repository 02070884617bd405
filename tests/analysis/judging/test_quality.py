import dataclasses

import numpy as np
import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Sign
from spinepacs.domain.study import View
from tests import phantoms
from tests.analysis.grading import drawn, graded

LUMBAR = phantoms.spine(left_px=40, right_px=40)


def test_a_good_film_says_which_region_is_whole_and_nothing_else():
    assert graded(LUMBAR).quality.notes == ("WHOLE_LUMBAR",)
    assert graded(phantoms.spine(phantoms.CERVICAL, width_px=100, height_px=85)).quality.notes == (
        "WHOLE_CERVICAL",
    )


def test_a_vertebra_at_the_border_is_named_and_its_grades_are_withheld():
    phantom = phantoms.spine(left_px=40, right_px=40, top=(450, -60))
    found = graded(phantom)
    assert "CUT_AT_BORDER" in found.quality.notes
    assert "WHOLE_LUMBAR" not in found.quality.notes
    assert found.quality.cut == {Level.L1}
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L1/L2").reason is Reason.CUT_AT_BORDER
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L2/L3").published_grade == 0


def test_metal_over_a_vertebra_withholds_what_stands_on_it():
    middle = LUMBAR.bodies[Level.L4].mean(axis=0)
    bar = middle + np.array([[-60, -12], [60, -12], [60, 12], [-60, 12]])
    film = np.clip(LUMBAR.picture().astype(int) // 3, 0, 255).astype(np.uint8)
    found = graded(LUMBAR, picture=drawn(film, bar, 250))
    assert found.quality.metal == {Level.L4}
    assert "METAL" in found.quality.notes
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L3/L4").reason is Reason.IMPLANT
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L1/L2").reason is None


def test_a_film_without_contrast_says_so_and_endplates_are_not_read():
    flat = np.random.default_rng(0).integers(95, 105, (1500, 900)).astype(np.uint8)
    found = graded(LUMBAR, picture=flat)
    assert "LOW_CONTRAST" in found.quality.notes
    assert found.at(Sign.SUBCHONDRAL_SCLEROSIS, "L3/L4").published_grade is None
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L3/L4").published_grade == 0


@pytest.mark.parametrize(("degrees", "tilted"), [(0, False), (15, False), (30, True), (-30, True)])
def test_a_leaning_spine_is_told(degrees, tilted):
    turned = LUMBAR.moved(phantoms.rotation(degrees, 1500, 900), 1500, 900)
    assert ("TILTED" in graded(turned).quality.notes) is tilted


def test_a_header_that_says_lateral_over_a_frontal_picture_is_a_mismatch_and_nothing_is_published():
    frontal = phantoms.spine(width_px=230, height_px=130, left_px=40, right_px=40)
    found = graded(frontal, View.LATERAL)
    assert "VIEW_MISMATCH" in found.quality.notes
    heights = [f for f in found.findings if f.sign is Sign.DISC_HEIGHT_LOSS]
    assert {f.reason for f in heights} == {Reason.FILM_QUALITY}


@pytest.mark.parametrize("view", [View.OBLIQUE, View.UNKNOWN])
def test_a_view_that_cannot_be_measured_is_told(view):
    # Between the shapes of lateral and frontal bodies: the picture does not answer either.
    phantom = dataclasses.replace(phantoms.spine(width_px=187, height_px=130, left_px=40, right_px=40))
    assert f"VIEW_{view.value}" in graded(phantom, view).quality.notes
