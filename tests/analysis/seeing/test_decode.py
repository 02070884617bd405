import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.seeing.decode import box_iou, decode, suppress


def _heads(*anchors, classes=25, masks=32):
    """(4 + classes + masks, N) heads; each anchor is (cx, cy, w, h, {class: score})."""
    heads = np.zeros((4 + classes + masks, len(anchors)), np.float32)
    for column, (*box, scores) in enumerate(anchors):
        heads[:4, column] = box
        for index, score in scores.items():
            heads[4 + index, column] = score
        heads[4 + classes :, column] = column
    return heads


def test_boxes_scores_and_coefficients_stay_together_best_first():
    found = decode(_heads((50, 60, 20, 10, {3: 0.4}), (200, 300, 40, 30, {7: 0.9})), 25, 0.25, 0.5)
    assert found.scores == pytest.approx([0.9, 0.4])
    assert found.boxes_px.tolist() == [[180, 285, 220, 315], [40, 55, 60, 65]]
    assert found.class_scores.argmax(axis=1).tolist() == [7, 3]
    assert found.coefficients[:, 0].tolist() == [1, 0]


def test_a_score_shared_by_two_levels_counts_for_both():
    found = decode(_heads((50, 60, 20, 10, {3: 0.2, 4: 0.2})), 25, 0.25, 0.5)
    assert found.scores == pytest.approx([1 - 0.8 * 0.8])


def test_what_no_class_believes_is_left_out():
    assert len(decode(_heads((50, 60, 20, 10, {3: 0.2})), 25, 0.25, 0.5)) == 0


def test_one_body_under_two_names_is_found_once():
    found = decode(_heads((50, 60, 20, 10, {3: 0.8}), (51, 60, 20, 10, {4: 0.7})), 25, 0.25, 0.5)
    assert found.class_scores.argmax(axis=1).tolist() == [3]


def test_of_two_overlapping_boxes_the_one_with_the_surest_name_is_kept():
    found = decode(_heads((50, 60, 20, 10, {3: 0.5, 4: 0.5}), (51, 60, 20, 10, {7: 0.6})), 25, 0.25, 0.5)
    assert found.class_scores.argmax(axis=1).tolist() == [7]


def test_noise_does_not_flood_what_comes_after():
    many = [(20.0 * (n % 30), 20.0 * (n // 30), 10, 10, {3: 0.5}) for n in range(900)]
    assert len(decode(_heads(*many), 25, 0.25, 0.5)) == 60


def test_a_suppressed_box_suppresses_nothing():
    chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)
    assert suppress(chain, 0.4).tolist() == [0, 2]


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 0.9))
def test_kept_boxes_overlap_little_and_every_other_box_overlaps_a_kept_one(seed, threshold):
    corner = np.random.default_rng(seed).uniform(0, 50, (30, 2)).astype(np.float32)
    boxes = np.hstack([corner, corner + 20])
    kept = suppress(boxes, threshold)
    overlap = box_iou(boxes)
    among = overlap[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] <= threshold).all()
    others = np.setdiff1d(np.arange(30), kept)
    assert (overlap[others][:, kept].max(axis=1, initial=0) > threshold).all()
