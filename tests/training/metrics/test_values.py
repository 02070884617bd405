"""Errors of measures, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spinepacs.training.metrics.values import ComparedValue, smape, value_figures


def _value(true: float, found: float, deviation: float = np.nan) -> ComparedValue:
    return ComparedValue("disc_height_patient", "mm", "L4/L5", 22, true, found, deviation)


def test_errors_bias_limits_and_coverage() -> None:
    values = [(0, _value(10, 11, 1.0)), (0, _value(8, 6, 1.0)), (1, _value(5, 8)), (1, _value(4, 4, 0.1))]
    figures = {name: float(each[0]) for name, each in value_figures(np.ones((1, 2)), values).items()}
    differences = np.array([1, -2, 3, 0])
    assert figures["mean_error"] == pytest.approx(1.5)
    assert figures["median_error"] == pytest.approx(1.5)
    assert figures["bias"] == pytest.approx(0.5)
    assert figures["limit_low"] == pytest.approx(0.5 - 1.96 * differences.std())
    assert figures["limit_high"] == pytest.approx(0.5 + 1.96 * differences.std())
    assert figures["covered"] == pytest.approx(2 / 3)


def test_a_resample_counts_its_films() -> None:
    values = [(0, _value(10, 11)), (1, _value(5, 8))]
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    np.testing.assert_allclose(value_figures(weights, values)["bias"], [2, 1, 3])


def test_smape_is_a_mean_over_films() -> None:
    first = [(0, _value(40, 50)), (0, _value(10, 0))]
    second = [(1, _value(30, 30))]
    assert smape(np.ones((1, 2)), first + second)[0] == pytest.approx(100 * (20 / 100 + 0) / 2)
