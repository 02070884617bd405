"""Evidence of a second network shifts the chain as a whole, and its doubt is the chain's doubt."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.naming.chain import best_chain
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.evidence import of_detector
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import LevelEvidence
from spinepacs.domain.study import View
from tests import phantoms


def _read(detections, said):
    """Detections with a clear neighbourhood; ``said`` by the detector's level: nats by level, together."""
    read = []
    for one in detections:
        together = np.zeros(25)
        for level, nats in said.get(one.raw_level, {}).items():
            together[level] = nats
        read.append(replace(one, evidence=LevelEvidence(of_detector([one.class_scores])[0], together)))
    return read


@pytest.mark.parametrize(("said", "first"), [({Level.L4: {Level.L5: 9.0}}, Level.L2), ({}, Level.L1)])
def test_one_body_that_can_be_told_names_all(said, first):
    chain = best_chain(_read(phantoms.spine(phantoms.LUMBAR[:4]).detections(), said))
    assert chain.levels == tuple(range(first, first + 4))
    assert chain.dropped == ()


def test_against_what_most_of_them_look_like_the_weighed_evidence_wins():
    detections = phantoms.spine([Level.T10, Level.T11, Level.T12, Level.L1]).detections()
    said = {Level.T10: {Level.T10: 1.0}, Level.T11: {Level.T11: 1.0}, Level.L1: {Level.T12: 4.0}}
    assert best_chain(_read(detections, said)).levels == (Level.T9, Level.T10, Level.T11, Level.T12)


def test_what_would_lie_beyond_the_spine_is_dropped():
    detections = phantoms.spine([Level.L3, Level.L4, Level.L5, Level.S1]).detections()
    spine = label(_read(detections, {Level.L4: {Level.L5: 9.0}}), View.AP, None)
    assert [one.level for one in spine.vertebrae] == [Level.L4, Level.L5, Level.S1]
    assert [one.raw_level for one in spine.vertebrae] == [Level.L3, Level.L4, Level.L5]
    assert {"LEVELS_SHIFTED", "DETECTIONS_DROPPED"} <= set(spine.notes)


@pytest.mark.parametrize(("nats", "doubted"), [(2.5, True), (4.0, False)])
def test_the_doubt_of_the_shift_is_that_of_every_vertebra(nats, doubted):
    said = {Level.L4: {Level.L4: 1.0, Level.L5: 1.0 + nats}}
    spine = label(_read(phantoms.spine(phantoms.LUMBAR[:4]).detections(), said), View.AP, None)
    assert [one.level_margin for one in spine.vertebrae] == pytest.approx([nats] * 4)
    assert ("LEVEL_AMBIGUOUS" in spine.notes) is doubted


def test_a_body_part_that_shows_no_sacrum_counts_for_the_whole_too():
    said = {Level.C7: {Level.T1: 6.0}}
    detections = _read(phantoms.spine([Level.C4, Level.C5, Level.C6, Level.C7]).detections(), said)
    assert best_chain(detections).levels[-1] == Level.T1
    assert best_chain(detections, range(Level.C1, Level.T1)).levels[-1] == Level.T1
    said = {Level.C7: {Level.T1: 2.0}}
    detections = _read(phantoms.spine([Level.C4, Level.C5, Level.C6, Level.C7]).detections(), said)
    assert best_chain(detections, range(Level.C1, Level.T1)).levels[-1] == Level.C7


def test_bodies_that_nobody_read_keep_the_chain_as_it_is():
    detections = phantoms.spine(phantoms.LUMBAR[:4]).detections()
    one_unread = [*_read(detections[:3], {Level.L1: {Level.L3: 50.0}}), detections[3]]
    assert best_chain(one_unread).levels == best_chain(detections).levels
