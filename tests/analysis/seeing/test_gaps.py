"""Where a vertebra is missing, the network looks again, and only there."""

import numpy as np
import pytest

from spinepacs.analysis.naming.label import label
from spinepacs.analysis.naming.spine import detect
from spinepacs.analysis.seeing.gaps import find_gaps
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.domain.study import View
from tests import models, phantoms

PHANTOM = phantoms.spine()
UNIT = np.ones(2)


def spine_without(*levels):
    return label(PHANTOM.without(*levels).detections(), View.LATERAL, True)


def test_a_whole_chain_has_no_gap():
    assert find_gaps(spine_without(), UNIT) == ()


def test_what_is_missing_lies_in_the_gap_and_its_neighbours_do_not():
    (gap,) = find_gaps(spine_without(Level.L3), UNIT)
    assert gap.holds(PHANTOM.detection(Level.L3))
    for level in (Level.L1, Level.L2, Level.L4, Level.L5):
        assert not gap.holds(PHANTOM.detection(level))


def test_two_missing_in_a_row_are_one_gap_and_both_lie_in_it():
    (gap,) = find_gaps(spine_without(Level.L3, Level.L4), UNIT)
    assert gap.holds(PHANTOM.detection(Level.L3))
    assert gap.holds(PHANTOM.detection(Level.L4))


def test_what_lies_beside_the_spine_is_not_in_the_gap():
    (gap,) = find_gaps(spine_without(Level.L3), UNIT)
    aside = PHANTOM.moved(np.array([[1.0, 0, 2 * gap.body_px], [0, 1, 0]]), PHANTOM.rows, PHANTOM.columns)
    assert not gap.holds(aside.detection(Level.L3))


def test_the_window_shows_the_gap_in_its_middle_at_a_close_scale():
    (gap,) = find_gaps(spine_without(Level.L3), UNIT)
    window = gap.window(640)
    x, y = PHANTOM.bodies[Level.L3].mean(axis=0)
    assert window.left_px + window.width_px / 2 == pytest.approx(x, abs=0.15 * gap.body_px)
    assert window.top_px + window.height_px / 2 == pytest.approx(y, abs=0.15 * gap.body_px)
    assert gap.body_px * 640 / window.height_px == pytest.approx(56, rel=0.01)


def test_gaps_are_given_in_the_px_of_the_stretched_picture():
    (native,) = find_gaps(spine_without(Level.L3), UNIT)
    (stretched,) = find_gaps(spine_without(Level.L3), np.array([1.0, 0.5]))
    np.testing.assert_allclose(stretched.above, native.above * [1, 2])
    np.testing.assert_allclose(stretched.below, native.below * [1, 2])


class UnsureOfL3(Segmenter):
    """Finds all but L3 on the whole film, and L3 with little confidence in the square around the gap."""

    def infer(self, tensor):
        if tensor.shape[2] != tensor.shape[3]:
            return models.heads(PHANTOM.without(Level.L3))
        (gap,) = find_gaps(spine_without(Level.L3), UNIT)
        window = gap.window(640)
        shift = np.array([[1.0, 0, -window.left_px], [0, 1, -window.top_px]])
        output0, output1 = models.heads(PHANTOM.moved(shift, window.height_px, window.width_px))
        output0[:, 4 : 4 + len(Level)] *= 0.13
        return output0, output1


def test_a_doubtful_vertebra_in_a_gap_joins_the_chain(tmp_path):
    opened = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM), threads=1)
    segmenter = UnsureOfL3(opened.manifest, opened._session)
    found = detect(segmenter, PHANTOM.picture())
    spine = label(found, View.LATERAL, True)
    assert spine.missing == (Level.L3,)
    shown = segmenter.detect_missing(PHANTOM.picture(), find_gaps(spine, UNIT))
    assert {one.raw_level for one in shown} == {Level.L3}
    assert all(one.score < opened.manifest.score_threshold for one in shown)
    whole = label([*found, *shown], View.LATERAL, True)
    assert [one.level for one in whole.vertebrae] == list(PHANTOM.bodies)
    third = next(one for one in whole.vertebrae if one.level is Level.L3)
    assert np.allclose(third.outline.centroid, PHANTOM.outline(Level.L3).centroid, atol=2)
