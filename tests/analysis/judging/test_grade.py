import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spinepacs.analysis.judging.expected import expected_index
from spinepacs.analysis.judging.grade import grade
from spinepacs.analysis.judging.policy import Policy, grade_of
from spinepacs.analysis.judging.quality import Quality
from spinepacs.analysis.judging.texture import texture
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.localisation import MODES, Localisation
from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Region
from spinepacs.domain.findings import Spine
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Deformity, ExpectedFrom, Scheme, Side, Sign
from spinepacs.domain.study import View
from spinepacs.errors import BadSettings
from spinepacs.settings.shipped import shipped
from tests import phantoms
from tests.analysis.grading import POLICY, drawn, graded, radiograph

WIDTH = 170.0
L3_L4 = DiscLevel(Level.L3, Level.L4)
USUAL = [POLICY.height.usual_index[disc] * WIDTH for disc in ALL_DISCS if disc.upper >= Level.L1]


def _lumbar(**shares):
    """A lumbar phantom with discs of their usual height, some a share of it (``L3=0.5``: the disc below L3)."""
    heights = [height * shares.get(f"L{n}", 1.0) for n, height in enumerate(USUAL, start=1)]
    return phantoms.spine(left_px=heights, right_px=heights)


def _error(share):
    shares = {region: (share,) * len(MODES) for region in ("cervical", "thoracic", "lumbar", "sacral")}
    return {View.LATERAL: Localisation(shares, 0.0, (0.0,) * len(MODES), (0.0,) * len(MODES))}


@pytest.mark.parametrize(
    ("share", "stage", "wilke"),
    [(1, 0, 0), (0.9, 0, 0), (0.8, 1, 1), (0.7, 2, 1), (0.6, 2, 2), (0.4, 3, 2), (0.3, 3, 3), (0.1, 4, 3)],
)
def test_the_stage_follows_the_loss_against_the_same_spine(share, stage, wilke):
    finding = graded(_lumbar(L3=share)).at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert finding.value == pytest.approx(1 - share, abs=0.01)
    assert (finding.computed_grade, finding.published_grade, finding.reason) == (stage, stage, None)
    assert (finding.reference_scheme, finding.reference_grade) == (Scheme.WILKE, wilke)
    assert finding.expected_from is ExpectedFrom.BOTH


def test_no_disc_of_a_usual_spine_has_lost_height_though_they_differ_by_a_quarter():
    stages = {f.computed_grade for f in graded(_lumbar()).findings if f.sign is Sign.DISC_HEIGHT_LOSS}
    assert stages == {0}


def test_a_disc_whose_usual_height_is_not_known_is_measured_and_not_graded():
    finding = graded(_neck()).at(Sign.DISC_HEIGHT_LOSS, "C2/C3")
    assert (finding.computed_grade, finding.published_grade) == (None, None)
    assert finding.reason is Reason.NO_EXPECTED_HEIGHT
    slip = graded(_neck()).at(Sign.SPONDYLOLISTHESIS, "C2/C3")
    assert (slip.computed_grade, slip.reason) == (None, Reason.NOT_VALIDATED)
    assert slip.value == pytest.approx(0, abs=0.02)


def test_two_low_discs_do_not_hide_each_other():
    found = graded(_lumbar(L4=0.4, L5=0.4))
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L4/L5").computed_grade == 3
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L2/L3").computed_grade == 0


def test_a_disc_without_neighbours_is_compared_with_published_means():
    phantom = phantoms.spine((Level.L3, Level.L4), left_px=21, right_px=21)
    finding = graded(phantom).at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert (finding.expected, finding.expected_from) == (0.251, ExpectedFrom.NORMS)
    assert finding.computed_grade == 3


GRADED_DISCS = sorted(POLICY.height.usual_index)


@given(scale=st.floats(0.75, 1.3), low=st.sampled_from(GRADED_DISCS), share=st.floats(0.2, 0.9))
def test_the_expected_height_follows_the_spine_and_not_the_narrow_disc(scale, low, share):
    usual = POLICY.height.usual_index
    indices = {disc: usual[disc] * scale * (share if disc == low else 1) for disc in GRADED_DISCS}
    for disc in GRADED_DISCS:
        found = expected_index(disc, indices, POLICY.height)
        assert found.index == pytest.approx(usual[disc] * scale, rel=0.08)


def test_a_loss_within_the_error_is_published_as_none():
    finding = graded(_lumbar(L3=0.8), localisation=_error(0.05)).at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert (finding.computed_grade, finding.published_grade) == (1, 0)
    assert finding.reason is Reason.WITHIN_ERROR


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_stage_that_nothing_can_be_told_of_is_withheld_and_so_is_the_degree_that_rests_on_it(share):
    found = graded(_lumbar(L3=share), localisation=_error(0.07))
    height = found.at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert height.uncertainty > POLICY.height.most_deviation
    assert (height.computed_grade, height.published_grade) == (3 if share < 1 else 0, None)
    assert height.reason is Reason.UNCERTAIN
    degree = found.at(Sign.DISC_DEGENERATION, "L3/L4")
    assert (degree.published_grade, degree.reason) == (None, Reason.UNCERTAIN)


def test_a_policy_of_before_withholds_no_stage(tmp_path):
    text = shipped("config", "grading.toml").read_text(encoding="utf-8")
    path = tmp_path / "grading.toml"
    path.write_text("\n".join(row for row in text.splitlines() if not row.startswith("most_deviation")))
    height = graded(_lumbar(), localisation=_error(0.07), policy=Policy.load(path)).at(
        Sign.DISC_HEIGHT_LOSS, "L3/L4"
    )
    assert (height.published_grade, height.reason) == (0, None)


def test_a_grade_whose_interval_spans_a_threshold_says_so():
    finding = graded(_lumbar(L3=0.5), localisation=_error(0.01)).at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert finding.grade_range == (2, 3)
    assert finding.is_borderline


@pytest.mark.parametrize("view", [View.AP, View.OBLIQUE, View.UNKNOWN])
def test_only_lateral_films_are_graded(view):
    assert graded(phantoms.spine(width_px=182), view).findings == ()


@pytest.mark.parametrize(
    ("share", "grade", "side"),
    [
        (-0.05, 0, None), (0.04, 1, Side.ANTERIOR), (0.2, 1, Side.ANTERIOR), (0.3, 2, Side.ANTERIOR),
        (0.6, 3, Side.ANTERIOR), (0.8, 4, Side.ANTERIOR), (1.1, 5, Side.ANTERIOR), (-0.3, 2, Side.POSTERIOR),
    ],
)  # fmt: skip
def test_slips_are_graded_by_quarters_with_their_direction(share, grade, side):
    phantom = _lumbar()
    shift = np.array([share * WIDTH, 0])  # the lower ones to the back: the upper ones stand in front
    bodies = {level: body + (shift if level > Level.L3 else 0) for level, body in phantom.bodies.items()}
    moved = dataclasses.replace(phantom, bodies=bodies, columns=1400)
    finding = graded(moved).at(Sign.SPONDYLOLISTHESIS, "L3/L4")
    assert finding.value == pytest.approx(share, abs=0.01)
    assert finding.computed_grade == grade
    assert side in (None, finding.side)


def test_the_range_of_a_slip_holds_no_slip_where_its_interval_holds_the_usual_step():
    phantom = _lumbar()
    moved = {
        level: body + ([-0.04 * WIDTH, 0] if level <= Level.L3 else [0, 0])
        for level, body in phantom.bodies.items()
    }
    found = graded(dataclasses.replace(phantom, bodies=moved), localisation=_error(0.06))
    slip = found.at(Sign.SPONDYLOLISTHESIS, "L3/L4")
    assert (slip.computed_grade, slip.published_grade, slip.grade_range) == (1, 0, (0, 1))


def test_a_wedged_vertebra_is_graded_with_its_shape():
    phantom = _lumbar()
    bodies = dict(phantom.bodies)
    height = bodies[Level.L2][3, 1] - bodies[Level.L2][0, 1]
    bodies[Level.L2] = bodies[Level.L2] + np.array([[0, 0.3 * height], [0, 0], [0, 0], [0, 0]])
    finding = graded(dataclasses.replace(phantom, bodies=bodies)).at(Sign.VERTEBRAL_DEFORMITY, "L2")
    assert (finding.computed_grade, finding.form, finding.scheme) == (2, Deformity.WEDGE, Scheme.GENANT)


def _neck(**shares):
    """C2 to C7 with discs of their usual height, some a share of it."""
    usual = [POLICY.height.usual_index.get(disc, 0.29) * 100 for disc in ALL_DISCS if disc.lower <= Level.C7]
    heights = [height * shares.get(f"C{n}", 1.0) for n, height in enumerate(usual, start=2)]
    return phantoms.spine(phantoms.CERVICAL, width_px=100, height_px=85, left_px=heights, right_px=heights)


@pytest.mark.parametrize(("share", "grade"), [(0.0, 0), (0.19, 2), (0.40, 3)])
def test_bone_in_front_of_a_rim_is_an_osteophyte(share, grade):
    phantom = _neck()
    found = graded(phantom, spurs={(Level.C5, "lower"): share})
    assert found.at(Sign.OSTEOPHYTES, "C5/C6").published_grade == grade
    assert found.at(Sign.OSTEOPHYTES, "C3/C4").published_grade == 0
    rims = [f for f in found.findings if f.sign is Sign.OSTEOPHYTES and f.level is not None]
    assert [(f.place, f.side) for f in rims] == ([(Level.C5, Side.LOWER_ANTERIOR)] if grade else [])
    for rim in rims:
        ((start, end),) = rim.marks_px
        assert np.allclose(start, phantom.bodies[Level.C5][3], atol=1)
        assert start[0] - end[0] == pytest.approx(rim.value * 100, abs=1)


def test_a_spur_is_looked_for_at_the_front():
    phantom = _neck()
    spine = graded(phantom, spurs={(Level.C5, "lower"): 0.3}).spine
    film = radiograph(phantom.picture())
    assert texture(spine, film).spurs[Level.C5].tolist() == [0.0, 0.3]
    turned = dataclasses.replace(spine, anterior_left=False)
    assert texture(turned, film).spurs[Level.C5].tolist() == [0.0, 0.0]
    unknown = dataclasses.replace(spine, anterior_left=None)
    assert np.isnan(texture(unknown, film).spurs).all()
    frontal = dataclasses.replace(spine, view=View.AP)
    assert np.isnan(texture(frontal, film).spurs).all()


def test_a_rim_whose_corner_hardly_shows_has_no_spur():
    phantom = _neck()
    spine, film = graded(phantom, spurs={(Level.C5, "lower"): 0.3}).spine, radiograph(phantom.picture())

    def spurs(front: float, back: float) -> list[float]:
        seen = [
            dataclasses.replace(
                body, lower=body.lower and dataclasses.replace(body.lower, spreads=(front, back))
            )
            for body in spine.vertebrae
        ]
        return texture(dataclasses.replace(spine, vertebrae=tuple(seen)), film).spurs[Level.C5].tolist()

    assert spurs(0.1, 0.3) == [0.0, 0.3]
    assert np.isnan(spurs(0.2, 0.05)[1])


def test_where_no_network_looked_for_spurs_none_is_graded():
    phantom = _neck()
    spine = label(phantom.detections(), View.LATERAL, True)
    look = texture(spine, radiograph(phantom.picture()))
    findings = grade(spine, measure(spine, None), look, Quality(()), POLICY)
    found = [finding for finding in findings if finding.sign is Sign.OSTEOPHYTES]
    assert {finding.reason for finding in found} == {Reason.NOT_MEASURABLE, Reason.NOT_VALIDATED}
    assert not any(finding.published_grade for finding in found)


def test_what_looks_like_a_spur_under_the_shoulder_or_at_the_lip_of_c2_is_not_graded():
    phantom = phantoms.spine(
        (*phantoms.CERVICAL, Level.T1), width_px=100, height_px=85, left_px=29, right_px=29
    )
    found = graded(phantom, spurs={(Level.C7, "lower"): 0.4, (Level.C2, "lower"): 0.4})
    for disc in ("C2/C3", "C7/T1"):
        finding = found.at(Sign.OSTEOPHYTES, disc)
        assert (finding.published_grade, finding.reason) == (None, Reason.NOT_VALIDATED)
    assert found.at(Sign.SPONDYLOLISTHESIS, "C7/T1").reason is Reason.NOT_VALIDATED
    assert not [f for f in found.findings if f.sign is Sign.OSTEOPHYTES and f.level is not None]


def test_a_spur_within_the_error_is_published_as_none():
    share = 1.01 * POLICY.spur.grade_from[0]
    assert share < POLICY.certain[Sign.OSTEOPHYTES] * POLICY.spur.error[Region.CERVICAL]
    finding = graded(_neck(), spurs={(Level.C5, "lower"): share}).at(Sign.OSTEOPHYTES, "C5/C6")
    assert (finding.computed_grade, finding.published_grade, finding.reason) == (1, 0, Reason.WITHIN_ERROR)


def _with_dense_plate(phantom, above_bone):
    left, right = phantom.bodies[Level.L4][3], phantom.bodies[Level.L4][2]
    up = np.array([0.0, -18.0])
    return drawn(phantom.picture(), np.array([left, right, right + up, left + up]), 190 + above_bone)


def test_a_dense_band_under_an_endplate_is_sclerosis():
    phantom = phantoms.spine(phantoms.LUMBAR, left_px=40, right_px=40)
    dim = np.clip(phantom.picture().astype(int) - 60, 0, 255).astype(np.uint8)
    assert graded(phantom, picture=dim).at(Sign.SUBCHONDRAL_SCLEROSIS, "L4/L5").computed_grade == 0
    found = graded(phantom, picture=_with_dense_plate(phantom, 65))
    finding = found.at(Sign.SUBCHONDRAL_SCLEROSIS, "L4/L5")
    assert finding.value == pytest.approx(65 / 110, abs=0.2)
    plates = [f for f in found.findings if f.sign is Sign.SUBCHONDRAL_SCLEROSIS and f.level is not None]
    assert all((f.place, f.side) == (Level.L4, Side.LOWER) for f in plates)


def test_densities_of_a_film_without_contrast_are_graded_nowhere():
    film = graded(_lumbar())
    dense = dataclasses.replace(film.texture, densities=np.full((25, 2), 1.5))
    measures = measure(film.spine, None)
    for notes, expected in (((), {None}), (("LOW_CONTRAST",), {Reason.FILM_QUALITY})):
        findings = grade(film.spine, measures, dense, Quality(notes), POLICY)
        found = [f for f in findings if f.sign is Sign.SUBCHONDRAL_SCLEROSIS]
        assert {f.reason for f in found} == expected
        assert any(f.level for f in found) is not bool(notes)


def test_outlines_that_touch_are_no_disc_that_has_vanished():
    found = graded(_lumbar(L3=0.03))
    for sign in (Sign.DISC_HEIGHT_LOSS, Sign.SPONDYLOLISTHESIS, Sign.DISC_DEGENERATION):
        finding = found.at(sign, "L3/L4")
        assert (finding.published_grade, finding.reason) == (None, Reason.NOT_MEASURABLE)


@pytest.mark.parametrize("scale", [16.0, -3.0])
def test_neither_scale_nor_offset_nor_sign_of_the_stored_values_matters(scale):
    phantom = phantoms.spine(phantoms.LUMBAR, left_px=40, right_px=40)
    film, spine = radiograph(_with_dense_plate(phantom, 65)), graded(phantom).spine
    stored = dataclasses.replace(film, values=(scale * film.values + 700).astype(np.float32))
    one, other = texture(spine, film), texture(spine, stored)
    for name in ("densities", "contrasts"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-3)


def test_what_could_not_be_told_in_a_region_is_not_graded_there():
    finding = graded(_neck()).at(Sign.SUBCHONDRAL_SCLEROSIS, "C4/C5")
    assert (finding.computed_grade, finding.reason) == (None, Reason.NOT_VALIDATED)
    assert graded(_lumbar()).at(Sign.OSTEOPHYTES, "L4/L5").reason is Reason.NOT_VALIDATED
    assert graded(_neck()).at(Sign.DISC_HEIGHT_LOSS, "C4/C5").reference_scheme is Scheme.KETTLER


def test_the_overall_degree_is_that_of_the_points_and_its_range_counts_what_is_not_graded():
    phantom = _neck(C5=0.2)
    found = graded(phantom, spurs={(Level.C5, "lower"): 0.40})
    assert found.at(Sign.DISC_HEIGHT_LOSS, "C5/C6").published_grade == 4
    overall = found.at(Sign.DISC_DEGENERATION, "C5/C6")
    assert (overall.value, overall.published_grade) == (7, 3)
    healthy = found.at(Sign.DISC_DEGENERATION, "C3/C4")
    assert (healthy.published_grade, healthy.grade_range) == (0, (0, 1))  # sclerosis may be there, unseen


def test_grades_at_doubtful_levels_are_computed_but_withheld():
    phantom = _lumbar(L3=0.5)
    undecided = np.full(25, 0.04, np.float32)
    found = graded(phantom, detections=[phantom.detection(level, undecided) for level in phantom.bodies])
    assert "LEVEL_AMBIGUOUS" in found.spine.notes
    graded_ones = [f for f in found.findings if f.computed_grade is not None]
    heights = [f for f in graded_ones if f.sign is Sign.DISC_HEIGHT_LOSS]
    assert {(f.published_grade, f.reason) for f in heights} == {(None, Reason.LEVEL_AMBIGUOUS)}
    assert max(f.computed_grade for f in heights) >= 2


def test_grades_beside_a_vertebra_that_was_barely_found_are_withheld():
    phantom = _lumbar(L3=0.45)
    detections = [
        dataclasses.replace(phantom.detection(level), score=0.3 if level == Level.L4 else 0.9)
        for level in phantom.bodies
    ]
    found = graded(phantom, detections=detections)
    low = found.at(Sign.DISC_HEIGHT_LOSS, "L3/L4")
    assert (low.computed_grade, low.published_grade, low.reason) == (3, None, Reason.LOW_CONFIDENCE)
    assert found.at(Sign.DISC_HEIGHT_LOSS, "L1/L2").published_grade == 0


@given(
    levels=st.lists(st.sampled_from(list(Level)), min_size=2, max_size=12, unique=True),
    heights=st.lists(st.floats(-20, 90), min_size=24, max_size=24),
    wide=st.floats(120, 260),
    tall=st.floats(15, 200),
    degrees=st.floats(-180, 180),
    grey=st.integers(0, 255),
)
def test_odd_spines_are_answered_and_never_graded_beyond_their_scale(
    levels, heights, wide, tall, degrees, grey
):
    """Missing vertebrae, overlapping plates, empty films, any turn: an answer for each disc, or why there is none."""
    whole = phantoms.spine(
        tuple(sorted(levels)), width_px=wide, height_px=tall,
        left_px=heights[: len(levels) - 1], right_px=heights[-len(levels) + 1 :],
    )  # fmt: skip
    phantom = whole.moved(phantoms.rotation(degrees, 1500, 900), 1500, 900)
    # Bodies that lie upon one another may be no spine at all: then there is nothing to grade.
    assume(isinstance(label(phantom.detections(), View.LATERAL, True), Spine))
    found = graded(phantom, picture=np.full((1500, 900), grey, np.uint8))
    most = {Sign.DISC_HEIGHT_LOSS: 4, Sign.SPONDYLOLISTHESIS: 5}
    for f in found.findings:
        for number in (f.computed_grade, f.published_grade, *(f.grade_range or ())):
            assert number is None or 0 <= number <= most.get(f.sign, 3)
        assert (f.published_grade == f.computed_grade) == (f.reason is None) or f.computed_grade is None
        assert f.value is None or np.isfinite(f.value)
        if f.published_grade is None:
            assert f.reason is not None
    keys = [(f.sign, f.place, f.side if f.level is not None else None) for f in found.findings]
    assert len(keys) == len(set(keys))
    discs = [(a, b) for a, b in pairwise(v.level for v in found.spine.vertebrae) if b == a + 1 and a > 0]
    heights_at = [f.place for f in found.findings if f.sign is Sign.DISC_HEIGHT_LOSS]
    assert [tuple(place) for place in heights_at] == discs


def test_a_grade_counts_the_steps_that_are_reached():
    assert [grade_of(value, (0.2, 0.5)) for value in (-1, 0.19, 0.2, 0.5, 9)] == [0, 0, 1, 2, 2]


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
        ("error = { cervical = 0.03 }", "error = { lumbar = 0.03 }"),
        ("reach = 6", "reach = 0"),
        ('"L5/S1" = 0.245', '"L5/S1" = -0.245'),
        ('"L5/S1" = 0.245', '"L5/S2" = 0.245'),
        ('{ to = "L5/S1", step = -0.015, within = 0.09 },', ""),
        ("lumbar = [0.9, 1.4, 2.0]", "loin = [0.9, 1.4, 2.0]"),
        ('version = "1.4"', ""),
        ("certain = { cervical = 1.5, ", "certain = { "),
        ("least_score = 0.35", "least_score = ["),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused_by_its_name(tmp_path, old, new):
    with pytest.raises(BadSettings, match=r"grading\.toml"):
        Policy.load(_policy_with(tmp_path, old, new))


def test_a_policy_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadSettings, match=r"model\.policy"):
        Policy.load(tmp_path / "none.toml")
