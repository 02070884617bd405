import numpy as np
import pytest

from spinepacs.domain.anatomy import ALL_DISCS, Level, Span
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import Area, ForAge, Sign, Statement
from spinepacs.domain.study import View
from tests import phantoms
from tests.analysis.grading import POLICY, graded


def _spine(levels, width, **shares):
    """Discs of their usual height, some a share of it (``L4=0.3``: the disc below L4)."""
    first, last = levels[0], levels[-1]
    discs = [disc for disc in ALL_DISCS if first <= disc.upper and disc.lower <= last]
    heights = [POLICY.height.usual_index.get(d, 0.29) * width * shares.get(d.upper.name, 1.0) for d in discs]
    return phantoms.spine(levels, width_px=width, height_px=0.8 * width, left_px=heights, right_px=heights)


def _lumbar(**shares):
    return _spine(phantoms.LUMBAR, 170.0, **shares)


def _neck(**shares):
    return _spine(phantoms.CERVICAL, 100.0, **shares)


def _by_area(found):
    return {conclusion.area: conclusion for conclusion in found.conclusions}


def test_a_healthy_loin_has_no_signs_region_by_region_and_together():
    found = _by_area(graded(_lumbar()))
    assert list(found) == [Area.LUMBAR, Area.LUMBOSACRAL, Area.COMBINED]
    assert {c.statement for c in found.values()} == {Statement.NO_SIGNS}
    assert found[Area.LUMBAR].span == Span(Level.L1, Level.L5)
    assert found[Area.LUMBOSACRAL].span == Span(Level.L5, Level.S1)
    assert {c.published_degree for c in found.values()} == {0}


def test_a_narrow_disc_alone_is_a_single_sign():
    found = _by_area(graded(_lumbar(L4=0.6)))
    assert found[Area.LUMBAR].statement is Statement.ISOLATED_SIGNS
    assert found[Area.LUMBAR].published_degree == 1
    assert [(f.sign, f.place.name) for f in found[Area.LUMBAR].support] == [(Sign.DISC_HEIGHT_LOSS, "L4/L5")]
    assert "L4/L5" in found[Area.LUMBAR].sentence
    assert found[Area.LUMBOSACRAL].statement is Statement.NO_SIGNS
    assert found[Area.COMBINED].published_degree == 1


def test_a_slip_beside_healthy_discs_is_spoken_of():
    phantom = _neck()
    forwards = np.array([-22.0, 0.0])
    slipped = phantoms.Phantom(
        phantom.rows,
        phantom.columns,
        {level: body + forwards * (level <= Level.C4) for level, body in phantom.bodies.items()},
        phantom.discs,
    )
    found = graded(slipped)
    assert found.at(Sign.SPONDYLOLISTHESIS, "C4/C5").published_grade == 1
    (cervical,) = found.conclusions
    assert (cervical.statement, cervical.published_degree) == (Statement.ISOLATED_SIGNS, 0)
    assert "Besides: antero slip I at C4/C5." in cervical.sentence
    assert [(f.sign, f.place.name) for f in cervical.support] == [(Sign.SPONDYLOLISTHESIS, "C4/C5")]


def test_a_deformed_body_is_spoken_of_once_by_its_region_and_once_by_the_film():
    phantom = _lumbar()
    body = phantom.bodies[Level.L2].copy()
    body[0] = body[0] + 0.35 * (body[3] - body[0])
    found = graded(phantoms.Phantom(phantom.rows, phantom.columns, {**phantom.bodies, Level.L2: body}))
    deformity = found.at(Sign.VERTEBRAL_DEFORMITY, "L2")
    assert deformity.published_grade
    said = {c.area: c.sentence for c in found.conclusions if "deformity" in c.sentence}
    assert set(said) == {Area.LUMBAR, Area.COMBINED}
    assert f"deformity {deformity.published_grade} (" in said[Area.LUMBAR]
    assert "wedge) at L2" in said[Area.LUMBAR]


def test_every_published_sign_is_in_the_support_of_the_whole_film():
    for phantom in (_lumbar(L4=0.4), _lumbar(L3=0.1), _neck(C5=0.3)):
        found = graded(phantom)
        published = {
            (f.sign, f.place)
            for f in found.findings
            if f.published_grade and f.disc and f.sign is not Sign.DISC_DEGENERATION
        }
        assert published <= {(f.sign, f.place) for f in found.conclusions[-1].support}


def test_a_disc_that_has_lost_half_of_its_height_is_enough_alone():
    found = _by_area(graded(_lumbar(L4=0.4)))
    assert (found[Area.LUMBAR].statement, found[Area.LUMBAR].published_degree) == (Statement.SLIGHT_SIGNS, 1)


def test_a_narrow_disc_with_a_spur_has_signs_of_osteochondrosis():
    phantom = _neck(C5=0.4)
    (cervical,) = graded(phantom, spurs={(Level.C5, "lower"): 0.4}).conclusions
    assert (cervical.statement, cervical.published_degree) == (Statement.MODERATE_SIGNS, 2)
    assert {f.sign for f in cervical.support} == {Sign.DISC_HEIGHT_LOSS, Sign.OSTEOPHYTES}
    assert (
        "most marked at C5/C6: loss of disc height, stage 3 (advanced); anterior osteophytes, grade 3 (severe)"
        in (cervical.sentence)
    )


@pytest.mark.parametrize(
    ("age", "share", "expected"),
    [
        (None, 0.4, None), (30, 1.0, ForAge.USUAL), (70, 1.0, ForAge.LESS), (30, 0.4, ForAge.MORE),
        (70, 0.4, ForAge.USUAL), (8, 0.4, None),
    ],
)  # fmt: skip
def test_loins_are_compared_with_what_is_usual_at_that_age(age, share, expected):
    found = _by_area(graded(_lumbar(L3=share), age=age))
    assert found[Area.LUMBAR].for_age is expected
    assert found[Area.COMBINED].for_age is None


def test_all_lumbar_discs_are_compared_together_and_none_alone():
    found = _by_area(graded(_lumbar(L5=0.4), age=30))
    assert found[Area.LUMBAR].for_age is ForAge.MORE
    assert "L1-S1 together" in found[Area.LUMBAR].sentence
    assert found[Area.LUMBOSACRAL].for_age is None
    low = phantoms.spine((Level.L4, Level.L5, Level.S1), left_px=45, right_px=45)
    assert all(conclusion.for_age is None for conclusion in graded(low, age=50).conclusions)


def test_necks_have_no_norm_by_age():
    assert graded(_neck(), age=50).conclusions[0].for_age is None


def test_every_sentence_leaves_the_judgement_to_a_physician_and_none_is_a_diagnosis():
    for phantom in (_lumbar(), _lumbar(L4=0.3), _neck(C4=0.1)):
        for conclusion in graded(phantom, age=50).conclusions:
            assert "physician" in conclusion.sentence
            assert "diagnos" not in conclusion.sentence.lower()
            assert conclusion.sentence.isascii()  # reports are ASCII


def test_ambiguous_levels_and_frontal_films_have_no_statement_but_a_reason():
    phantom = _lumbar(L4=0.4)
    undecided = np.full(25, 0.04, np.float32)
    doubtful = graded(phantom, detections=[phantom.detection(level, undecided) for level in phantom.bodies])
    for conclusion in doubtful.conclusions:
        assert (conclusion.statement, conclusion.published_degree) == (Statement.WITHHELD, None)
        assert conclusion.reason is Reason.LEVEL_AMBIGUOUS
        assert conclusion.computed_degree is not None
    (frontal,) = graded(phantoms.spine(width_px=230, left_px=40, right_px=40), View.AP).conclusions
    assert (frontal.area, frontal.reason) == (Area.COMBINED, Reason.NOT_LATERAL)


def test_a_region_of_which_little_could_be_graded_has_no_statement():
    phantom = _lumbar()
    detections = [
        phantom.detection(level)
        if level in (Level.L5, Level.S1)
        else type(d := phantom.detection(level))(d.class_scores, 0.3, d.box_px, d.outline)
        for level in phantom.bodies
    ]
    found = _by_area(graded(phantom, detections=detections))
    assert found[Area.LUMBAR].reason is Reason.TOO_FEW_DISCS
    assert found[Area.LUMBOSACRAL].statement is Statement.NO_SIGNS
