"""One rule for measures and grades: what stands on a doubtful place is not published, whatever it is."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.judging.grade import grade
from spinepacs.analysis.judging.publish import Doubts, published
from spinepacs.analysis.judging.quality import Quality
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.anatomy import Level, Region, Span
from spinepacs.domain.measures import Quantity, Reason
from spinepacs.domain.study import View
from tests import phantoms
from tests.analysis.grading import POLICY, graded

PHANTOM = phantoms.spine(left_px=45, right_px=40)
SURE = {View.LATERAL: Localisation(dict.fromkeys(Region, (0.0033,) * 5), 125.0, (0.0,) * 5, (0.0,) * 5)}


def _detections(**scores):
    """A perfect network's, some bodies with a confidence of their own (``L3=0.4``)."""
    return [
        replace(phantom, score=scores.get(level.name, 0.9))
        for level in PHANTOM.bodies
        for phantom in [PHANTOM.detection(level)]
    ]


FINE = Quality()


def _published(spine, verdict=FINE, localisation=SURE):
    measures = measure(spine, None, localisation)
    doubts = Doubts.of(spine, measures, verdict, POLICY.least_score)
    return {(m.quantity, m.place.name): m.reason for m in published(measures, doubts)}


def _spine(**scores):
    return label(_detections(**scores), View.LATERAL, True)


def test_on_a_sure_film_everything_is_published():
    assert set(_published(_spine()).values()) == {None}


def test_uncertain_outlines_withhold_every_measure_of_their_places_and_no_other():
    reasons = _published(_spine(L3=0.36))
    doubtful = {place for (_, place), reason in reasons.items() if reason is Reason.UNCERTAIN}
    assert doubtful == {"L3", "L2/L3", "L3/L4"}
    assert reasons[Quantity.DISC_HEIGHT_MIDDLE, "L5/S1"] is None


def test_a_disc_whose_interval_holds_everything_is_no_measure():
    reasons = _published(_spine(L3=0.36))
    for disc in ("L2/L3", "L3/L4"):
        for quantity in (Quantity.DISC_HEIGHT_ANTERIOR, Quantity.DISC_HEIGHT_MIDDLE, Quantity.SLIP):
            assert reasons[quantity, disc] is Reason.UNCERTAIN


@pytest.mark.parametrize(
    ("verdict", "scores", "reason"),
    [
        (Quality(cut=frozenset({Level.L2})), {}, Reason.CUT_AT_BORDER),
        (Quality(metal=frozenset({Level.L2})), {}, Reason.IMPLANT),
        (Quality(), {"L2": 0.3}, Reason.LOW_CONFIDENCE),
    ],
)
def test_measures_are_withheld_for_the_reasons_that_grades_are(verdict, scores, reason):
    reasons = _published(_spine(**scores), verdict, None)
    touched = {place for (_, place), found in reasons.items() if found is reason}
    assert {"L2", "L1/L2", "L2/L3"} <= touched
    assert "L3/L4" not in touched


def test_the_grades_follow_the_same_rule():
    sure, unsure = (
        graded(PHANTOM, detections=_detections(**scores), localisation=SURE) for scores in ({}, {"L3": 0.36})
    )
    doubts = Doubts.of(unsure.spine, measure(unsure.spine, None, SURE), unsure.quality, POLICY.least_score)
    assert all(f.reason is not Reason.UNCERTAIN for f in sure.findings)
    for finding in unsure.findings:
        if finding.computed_grade is not None and (reason := doubts.about(finding.place)):
            assert (finding.published_grade, finding.reason) == (None, reason)
    assert any(f.reason is Reason.UNCERTAIN for f in unsure.findings)


def test_an_angle_outlives_a_doubtful_name_but_not_a_cut_end():
    spine = _spine()
    spine = replace(spine, vertebrae=tuple(replace(v, level_margin=1.0) for v in spine.vertebrae))
    span = Span(Level.L1, Level.S1)
    doubts = Doubts(spine, Quality(), frozenset(), POLICY.least_score)
    assert (doubts.about(span), doubts.about(Level.L1)) == (None, Reason.LEVEL_AMBIGUOUS)
    cut = replace(doubts, quality=Quality(cut=frozenset({Level.L1})))
    assert cut.about(span) is Reason.CUT_AT_BORDER


def test_what_is_withheld_keeps_its_value():
    spine = _spine(L3=0.36)
    measures = measure(spine, None, SURE)
    kept = published(measures, Doubts.of(spine, measures, Quality(), POLICY.least_score))
    np.testing.assert_array_equal([m.value for m in kept], [m.value for m in measures])
    assert grade(spine, kept, graded(PHANTOM).texture, Quality(), POLICY)
