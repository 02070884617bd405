"""All that is said of a film's bodies is weighed at once: a sure one names the others, and doubt is a probability."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.naming.chain import best_chain
from spinepacs.analysis.naming.label import label
from spinepacs.domain.anatomy import Level
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from tests import phantoms


def _read(detections, said):
    """Detections that a second network has read; ``said`` by the detector's level: nats by level."""
    read = []
    for one in detections:
        evidence = np.zeros(25)
        for level, nats in said.get(one.raw_level, {}).items():
            evidence[level] = nats
        read.append(replace(one, evidence=evidence))
    return read


def _lumbar(said):
    return _read(phantoms.spine(phantoms.LUMBAR[:4]).detections(), said)


@pytest.mark.parametrize(("told", "first"), [(Level.L5, Level.L2), (Level.L4, Level.L1)])
def test_one_body_that_can_be_told_names_all(told, first):
    chain = best_chain(_lumbar({Level.L4: {told: 9.0}}))
    assert chain.levels == tuple(range(first, first + 4))
    assert chain.dropped == ()


def test_against_what_most_of_them_look_like_the_greater_evidence_wins():
    detections = phantoms.spine([Level.T10, Level.T11, Level.T12, Level.L1]).detections()
    said = {Level.T10: {Level.T10: 1.0}, Level.T11: {Level.T11: 1.0}, Level.L1: {Level.T12: 5.0}}
    assert best_chain(_read(detections, said)).levels == (Level.T9, Level.T10, Level.T11, Level.T12)


def test_what_would_lie_beyond_the_spine_is_dropped():
    detections = phantoms.spine([Level.L3, Level.L4, Level.L5, Level.S1]).detections()
    spine = label(_read(detections, {Level.L4: {Level.L5: 12.0}}), View.AP, None)
    assert [one.level for one in spine.vertebrae] == [Level.L4, Level.L5, Level.S1]
    assert [one.raw_level for one in spine.vertebrae] == [Level.L3, Level.L4, Level.L5]
    assert {"LEVELS_SHIFTED", "DETECTIONS_DROPPED"} <= set(spine.notes)


@pytest.mark.parametrize(("nats", "doubted"), [(2.5, True), (4.0, False)])
def test_the_margin_is_the_log_odds_of_the_naming(nats, doubted):
    spine = label(_lumbar({Level.L4: {Level.L4: 20.0, Level.L5: 20.0 - nats}}), View.AP, None)
    assert [one.level for one in spine.vertebrae] == list(phantoms.LUMBAR[:4])
    assert [one.level_margin for one in spine.vertebrae] == pytest.approx([nats] * 4, abs=0.2)
    assert ("LEVEL_AMBIGUOUS" in spine.notes) is doubted
    others = [Level(level + 1) if doubted else None for level in phantoms.LUMBAR[:4]]
    assert [one.other_level for one in spine.vertebrae] == others
    assert spine.vertebrae[0].names == (("L1", "L2") if doubted else ("L1",))


def test_a_body_part_that_shows_no_sacrum_counts_too():
    necks = phantoms.spine([Level.C4, Level.C5, Level.C6, Level.C7]).detections()
    told = [_read(necks, {Level.C7: {Level.T1: nats, Level.C7: nats - 0.5}}) for nats in (9.0, 0.5)]
    assert [best_chain(one).levels[-1] for one in told] == [Level.T1, Level.T1]
    assert best_chain(told[0], range(Level.C2, Level.T1)).levels[-1] == Level.C7
    assert (
        best_chain(_read(necks, {Level.C7: {Level.T1: 9.0}}), range(Level.C1, Level.T1)).levels[-1]
        == Level.T1
    )


def test_both_ends_that_disagree_are_both_in_doubt():
    levels = [Level(number) for number in range(Level.T8, Level.S1)]
    detections = phantoms.spine(levels, rows=2400).detections()
    said = {Level.T8: {Level.T9: 6.0}, Level.L5: {Level.L5: 6.5}}
    spine = label(_read(detections, said), View.AP, None)
    assert "LEVEL_AMBIGUOUS" in spine.notes
    agreed = label(_read(detections, said | {Level.T8: {Level.T8: 6.0}}), View.AP, None)
    assert "LEVEL_AMBIGUOUS" not in agreed.notes


def test_a_body_that_is_drawn_twice_does_not_shift_what_an_anchor_names():
    levels = [Level(number) for number in range(Level.T6, Level.S1)]
    phantom = phantoms.spine(levels, rows=2600)
    bodies = phantom.detections()
    lower = np.add(bodies[3].outline.points, (0, 30))
    twice = replace(bodies[3], score=0.5, outline=Outline(lower))
    said = {Level.L5: {Level.L5: 9.0}, Level.T6: {Level.T6: 9.0}}
    chain = best_chain(_read([*bodies, twice], said))
    assert chain.levels == tuple(levels)
    assert chain.dropped == (chain.dropped[0],)
    np.testing.assert_array_equal(chain.dropped[0].class_scores, twice.class_scores)


def test_bodies_that_nobody_read_go_by_the_detector():
    detections = phantoms.spine(phantoms.LUMBAR[:4]).detections()
    one_unread = [*_read(detections[:3], {Level.L1: {Level.L1: 1.0}}), detections[3]]
    assert best_chain(one_unread).levels == best_chain(detections).levels
