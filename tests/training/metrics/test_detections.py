from __future__ import annotations

import numpy as np
import pytest

from spinepacs.training.metrics.bootstrap import average_precision
from spinepacs.training.metrics.detections import FilmResult, box_iou, match, mean_average_precision, summary


def _result(classes: list[int], scores: list[float], truth: list[int], iou: list[list[float]]) -> FilmResult:
    table = np.array(iou, float)
    return FilmResult(
        "f", np.array(scores), np.array(classes), np.array(truth), table, table, frozenset({24})
    )


def test_all_right_is_one() -> None:
    result = _result([7, 8], [0.9, 0.8], [7, 8], [[0.97, 0], [0, 0.97]])
    figures = summary([result], 0.25)
    assert figures["mask_map50_95_by_level"] == pytest.approx(1)
    assert figures["films_with_all_bodies"] == 1
    assert figures["level_exact_raw"] == 1


def test_a_shifted_level_costs_by_level_but_not_agnostic() -> None:
    result = _result([8, 9], [0.9, 0.8], [7, 8], [[0.97, 0], [0, 0.97]])
    assert mean_average_precision([result], "box", by_level=False)[0] == pytest.approx(1)
    assert mean_average_precision([result], "box", by_level=True)[0] == pytest.approx(0)
    assert summary([result], 0.25)["level_within_one_raw"] == 1


def test_an_unlabelled_class_is_no_false_positive() -> None:
    clean = _result([24, 7], [0.95, 0.9], [7], [[0], [0.9]])
    assert mean_average_precision([clean], "mask", by_level=False)[0] == pytest.approx(1)
    wrong = _result([9, 7], [0.95, 0.9], [7], [[0], [0.9]])
    assert mean_average_precision([wrong], "mask", by_level=False)[0] == pytest.approx(0.5)


def test_a_body_is_matched_once_and_to_the_best() -> None:
    iou = np.array([[0.6, 0.8], [0.7, 0.75]])
    assert match(iou, np.ones((2, 2), bool), 0.5).tolist() == [1, 0]


def test_missed_bodies_bound_the_precision_curve() -> None:
    area = average_precision(np.ones((1, 1)), np.array([0]), np.array([True]), np.array([2.0]))
    assert area == pytest.approx(51 / 101)


def test_iou_of_boxes() -> None:
    first = np.array([[0, 0, 2, 2]], float)
    second = np.array([[1, 1, 3, 3], [5, 5, 6, 6]], float)
    np.testing.assert_allclose(box_iou(first, second), [[1 / 7, 0]])
