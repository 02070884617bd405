from __future__ import annotations

import numpy as np
import pytest

from spinepacs.training.evaluate import outline_iou


def test_the_same_outline_overlaps_wholly() -> None:
    outline = np.array([[10, 10], [40, 12], [38, 30], [9, 28]], float)
    assert outline_iou(outline, outline) == 1


def test_a_shifted_square_overlaps_by_a_third() -> None:
    square = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], float)
    assert outline_iou(square, square + np.array([10, 0])) == pytest.approx(1 / 3, abs=0.02)
