import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.naming.chain import _Ordered, best_chain
from spinepacs.analysis.naming.label import label, levels_in_view
from spinepacs.analysis.naming.lattice import Sums
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Refusal
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from tests import phantoms

# A neck, a chest and a loin, opening to the left, to the right, to the left.
CURVED = {
    "levels": phantoms.WHOLE,
    "width_px": 60.0,
    "height_px": 50.0,
    "left_px": [14] * 5 + [7] * 12 + [18] * 4,
    "right_px": [8] * 5 + [10] * 12 + [8] * 4,
    "rows": 2200,
}


def _levels(spine):
    return [vertebra.level for vertebra in spine.vertebrae]


def _spine(phantom, view=View.LATERAL, anterior_left=None):
    return label(phantom.detections(), view, anterior_left)


def test_a_film_without_any_vertebra_is_refused():
    assert label((), View.AP, None).code == "NO_VERTEBRA_FOUND"


def test_one_vertebra_alone_is_refused():
    refusal = label(phantoms.spine([Level.L3]).detections(), View.AP, None)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "TOO_FEW_VERTEBRAE"


def test_a_clear_spine_gets_the_names_that_the_network_gave():
    spine = _spine(phantoms.spine())
    assert _levels(spine) == list(phantoms.LUMBAR)
    assert spine.missing == ()
    assert spine.notes == ()
    assert all(vertebra.level_reason == "" for vertebra in spine.vertebrae)


@given(
    degrees=st.floats(-30, 30),
    scale=st.floats(0.2, 1.2),
    mirror=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_turned_mirrored_scaled_and_shuffled_detections_give_the_same_spine(degrees, scale, mirror, seed):
    phantom = phantoms.spine(**CURVED)
    moved = phantom.moved(phantoms.rotation(degrees, 2200, 900, scale, mirror), 2200, 900)
    detections = list(moved.detections())
    random.Random(seed).shuffle(detections)
    spine = label(detections, View.LATERAL, None)
    assert _levels(spine) == list(phantoms.WHOLE)
    assert spine.anterior_left is not mirror
    for vertebra in spine.vertebrae:
        assert np.allclose(vertebra.outline.centroid, moved.outline(vertebra.level).centroid)


@given(st.sampled_from(phantoms.WHOLE[1:-1]))
def test_a_vertebra_that_is_not_seen_is_named_as_missing(level):
    phantom = phantoms.spine(**CURVED)
    spine = _spine(phantom.without(level))
    assert spine.missing == (level,)
    assert _levels(spine) == [other for other in phantoms.WHOLE if other != level]
    assert "VERTEBRAE_MISSING" in spine.notes


def test_two_neighbours_that_are_not_seen_are_both_named():
    spine = _spine(phantoms.spine(**CURVED).without(Level.T6, Level.T7))
    assert spine.missing == (Level.T6, Level.T7)


def test_a_neck_and_a_loin_without_the_chest_between_are_one_chain():
    hidden = phantoms.WHOLE[5:17]
    spine = _spine(phantoms.spine(**CURVED).without(*hidden))
    assert spine.missing == hidden
    assert _levels(spine)[:5] == list(phantoms.WHOLE[:5])


@pytest.mark.parametrize(
    ("body_part", "first"),
    [("CSPINE", Level.C3), ("C-SPINE", Level.C3), ("LSPINE", Level.T11), ("LUMBAR SPINE", Level.T11)],
)
def test_the_body_part_decides_where_the_network_cannot(body_part, first):
    phantom = phantoms.spine([Level.C3, Level.C4, Level.C5, Level.C6])
    either = [
        phantom.detection(level, phantoms.scores_of(level, 0.4) + phantoms.scores_of(Level(level + 15), 0.4))
        for level in phantom.bodies
    ]
    assert _levels(label(either, View.LATERAL, None, body_part))[0] is first


def test_a_clear_answer_of_the_network_outweighs_a_wrong_body_part():
    phantom = phantoms.spine()
    assert _levels(label(phantom.detections(), View.LATERAL, None, "CSPINE")) == list(phantoms.LUMBAR)


@pytest.mark.parametrize(
    ("body_part", "first", "last"),
    [
        ("", Level.C1, Level.S1),
        ("SPINE", Level.C1, Level.S1),
        ("WHOLESPINE", Level.C1, Level.S1),
        ("CTSPINE", Level.C1, Level.T12),
        ("TLSPINE", Level.T1, Level.S1),
        ("T-SPINE", Level.C6, Level.L3),
        ("LSSPINE", Level.T9, Level.S1),
    ],
)
def test_the_usual_spellings_of_body_parts_are_known(body_part, first, last):
    assert levels_in_view(body_part) == range(first, last + 1)


def test_one_wrong_answer_of_the_network_is_corrected_and_kept_beside():
    phantom = phantoms.spine()
    detections = [
        phantom.detection(level, phantoms.scores_of(Level.L4) if level == Level.L3 else None)
        for level in phantom.bodies
    ]
    spine = label(detections, View.LATERAL, None)
    assert _levels(spine) == list(phantoms.LUMBAR)
    third = spine.vertebrae[2]
    assert (third.level, third.raw_level, third.level_reason) == (Level.L3, Level.L4, "TAKEN")
    assert third.raw_score == pytest.approx(0.8)


def test_a_level_that_no_other_vertebra_took_is_changed_by_the_chain():
    phantom = phantoms.spine()
    detections = [
        phantom.detection(level, phantoms.scores_of(Level.T3) if level == Level.L3 else None)
        for level in phantom.bodies
    ]
    assert label(detections, View.LATERAL, None).vertebrae[2].level_reason == "CHAIN"


def test_a_second_outline_of_the_same_body_is_dropped():
    phantom = phantoms.spine()
    twin = phantom.detection(Level.L3, phantoms.scores_of(Level.L4))
    twin = dataclasses.replace(twin, score=0.5, outline=Outline(twin.outline.points + np.array([3, 5])))
    spine = label([*phantom.detections(), twin], View.LATERAL, None)
    assert _levels(spine) == list(phantoms.LUMBAR)
    assert "DETECTIONS_DROPPED" in spine.notes


def test_the_atlas_around_the_dens_is_kept_and_a_second_axis_is_not():
    neck = phantoms.neck()
    assert _levels(_spine(neck)) == [Level.C1, *phantoms.CERVICAL]
    twin = neck.detection(Level.C2, phantoms.scores_of(Level.C1, 0.3))
    twin = dataclasses.replace(twin, score=0.5, outline=Outline(twin.outline.points + np.array([1, -2])))
    spine = label([*neck.without(Level.C1).detections(), twin], View.LATERAL, None)
    assert _levels(spine) == list(phantoms.CERVICAL)


def test_a_false_detection_between_two_bodies_is_dropped():
    phantom = phantoms.spine()
    body = phantom.outline(Level.L3)
    between = (np.array(body.centroid) + phantom.outline(Level.L4).centroid) / 2
    false = dataclasses.replace(
        phantom.detection(Level.L3, phantoms.scores_of(Level.L4)),
        score=0.3,
        outline=Outline((body.points - body.centroid) * (1.0, 0.3) + between),
    )
    assert _levels(label([*phantom.detections(), false], View.LATERAL, None)) == list(phantoms.LUMBAR)


@given(st.lists(st.integers(0, 24), min_size=2, max_size=12), st.integers(0, 2**32 - 1))
def test_whatever_the_network_says_no_level_comes_twice_and_they_are_in_order(classes, seed):
    noise = np.random.default_rng(seed)
    phantom = phantoms.spine(list(Level)[: len(classes)], height_px=60, rows=2000)
    detections = [
        phantom.detection(level, noise.dirichlet(np.ones(25)).astype(np.float32) + np.eye(25)[raw] * 0.5)
        for level, raw in zip(phantom.bodies, classes, strict=True)
    ]
    spine = label(detections, View.LATERAL, None)
    if not isinstance(spine, Refusal):
        levels = _levels(spine)
        assert levels == sorted(set(levels))
        between = set(range(levels[0], levels[-1] + 1)) - set(levels)
        assert set(spine.missing) == between


def test_a_film_on_its_head_is_read_from_its_foot():
    phantom = phantoms.spine(**CURVED)
    upside_down = phantom.moved(phantoms.rotation(180, 2200, 900), 2200, 900)
    spine = _spine(upside_down)
    assert _levels(spine) == list(phantoms.WHOLE)
    assert "HEAD_AT_THE_BOTTOM" in spine.notes
    first = spine.vertebrae[3]
    assert first.upper.left.x > first.upper.right.x  # left and right are those of the vertebra, cranial up


def test_a_film_lying_on_its_side_is_read_by_the_names():
    phantom = phantoms.spine(**CURVED)
    for degrees in (90, -90):
        spine = _spine(phantom.moved(phantoms.rotation(degrees, 2200, 900), 2200, 2200))
        assert _levels(spine) == list(phantoms.WHOLE)


def test_levels_that_would_fit_one_higher_as_well_are_called_ambiguous():
    phantom = phantoms.spine([Level.T6, Level.T7, Level.T8, Level.T9])
    scores = {level: np.full(25, 0.002, np.float32) for level in phantom.bodies}
    for level, vector in scores.items():
        vector[[level - 1, level]] = 0.40, 0.42
    detections = [phantom.detection(level, scores[level]) for level in phantom.bodies]
    spine = label(detections, View.LATERAL, None)
    assert "LEVEL_AMBIGUOUS" in spine.notes
    assert all(vertebra.level_is_ambiguous for vertebra in spine.vertebrae)
    assert best_chain(phantom.detections()).margins.min() > 3.5


def test_only_the_levels_below_a_gap_that_may_hide_a_vertebra_are_ambiguous():
    levels = [Level(number) for number in range(Level.T4, Level.L1)]
    heights = [38.0 if level != Level.T8 else 86.0 for level in levels[:-1]]
    phantom = phantoms.spine(levels, left_px=heights, right_px=heights, rows=2400)
    scores = {level: phantoms.scores_of(level) for level in levels}
    for level in levels[
        levels.index(Level.T9) :
    ]:  # one lower fits as well: then a vertebra is hidden in the gap
        scores[level][[level, level + 1]] = 0.41, 0.40
    found = label([phantom.detection(level, scores[level]) for level in levels], View.LATERAL, None)
    assert [v.level for v in found.vertebrae] == levels
    assert [v.level for v in found.vertebrae if v.level_is_ambiguous] == levels[levels.index(Level.T9) :]


def test_margins_are_the_log_odds_of_each_name():
    answers = np.random.default_rng(2).dirichlet(np.full(25, 0.2), 4).astype(np.float32)
    phantom = phantoms.spine([Level.T6, Level.T7, Level.T8, Level.T9])
    ordered = [
        phantom.detection(level, answer) for level, answer in zip(phantom.bodies, answers, strict=True)
    ]
    chain = best_chain(ordered)
    down = np.array([0.0, 1.0])
    centres = np.array([one.outline.centroid for one in ordered])
    names = Sums(_Ordered(ordered, centres, down).lattice(np.zeros(25), View.UNKNOWN)).names
    for one, level, margin in zip(chain.detections, chain.levels, chain.margins, strict=True):
        row = next(row for row, other in enumerate(ordered) if other is one)
        assert margin == pytest.approx(np.log(names[row, level] / (names[row].sum() - names[row, level])))


@pytest.mark.parametrize("width_px", [170, 140])
def test_narrow_bodies_are_lateral_and_the_note_says_that_the_picture_told(width_px):
    spine = _spine(phantoms.spine(width_px=width_px), View.UNKNOWN)
    assert (spine.view, "VIEW_FROM_PICTURE" in spine.notes) == (View.LATERAL, True)


def test_wide_bodies_are_ap_and_have_no_anterior_side():
    spine = _spine(phantoms.spine(width_px=220), View.UNKNOWN, anterior_left=True)
    assert (spine.view, spine.anterior_left, spine.anterior_basis) == (View.AP, None, "")


def test_bodies_in_between_leave_the_view_unknown():
    assert _spine(phantoms.spine(width_px=182), View.UNKNOWN).view is View.UNKNOWN


def test_the_header_has_the_last_word_on_view_and_facing():
    spine = _spine(phantoms.spine(width_px=220), View.LATERAL, anterior_left=False)
    assert (spine.view, spine.anterior_left, spine.anterior_basis) == (View.LATERAL, False, "header")


@pytest.mark.parametrize("opens_left", [True, False])
def test_a_lordotic_loin_tells_which_side_is_the_front(opens_left):
    wide, narrow = (44.0, 26.0) if opens_left else (26.0, 44.0)
    spine = _spine(phantoms.spine(left_px=wide, right_px=narrow))
    assert (spine.anterior_left, spine.anterior_basis) == (opens_left, "picture")


@pytest.mark.parametrize("lean_deg", [-12.0, 12.0, 0.0])
def test_a_neck_slopes_down_to_the_front(lean_deg):
    phantom = phantoms.spine(
        phantoms.CERVICAL, width_px=100, height_px=85, left_px=30, right_px=30, lean_deg=lean_deg
    )
    expected = {-12.0: (True, "picture"), 12.0: (False, "picture"), 0.0: (None, "")}
    spine = _spine(phantom)
    assert (spine.anterior_left, spine.anterior_basis) == expected[lean_deg]
    lying = _spine(phantom.moved(phantoms.rotation(90, 1500, 900), 1500, 1500))
    assert lying.anterior_left is None


def test_a_straight_spine_does_not_tell_which_side_is_the_front():
    spine = _spine(phantoms.spine(left_px=35.0, right_px=35.0))
    assert (spine.anterior_left, spine.anterior_basis) == (None, "")


def test_endplates_that_the_outline_does_not_show_are_left_out():
    cervical = {v.level: (v.upper is None, v.lower is None) for v in _spine(phantoms.neck()).vertebrae}
    assert cervical[Level.C1] == (True, True)
    assert cervical[Level.C2] == (True, False)
    assert cervical[Level.C3] == (False, False)
    sacrum = _spine(phantoms.spine()).vertebrae[-1]
    assert (sacrum.upper is None, sacrum.lower is None) == (False, True)


def test_a_doubtful_vertebra_is_kept_between_others_and_not_at_the_ends():
    """T2 below a neck is drawn into the shoulders with little confidence; C5 between C4 and C6 is meant."""
    phantom = phantoms.spine(phantoms.CERVICAL)
    doubtful = (Level.C5, Level.C7)
    found = [
        dataclasses.replace(one, score=0.15) if one.raw_level in doubtful else one
        for one in phantom.detections()
    ]
    levels = [one.level for one in label(found, View.LATERAL, True).vertebrae]
    assert levels == [level for level in phantom.bodies if level is not Level.C7]
    assert Level.C5 in levels
