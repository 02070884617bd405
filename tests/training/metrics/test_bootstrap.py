from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from spinepacs.training.metrics.bootstrap import (
    average_precision,
    figure,
    mean,
    median,
    ratio,
    resample_weights,
)

Floats = NDArray[np.float64]


def test_films_of_one_group_are_drawn_together() -> None:
    weights = resample_weights(["a", "b", "a", "c"], 200)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[1:, [0, 1, 3]].sum(axis=1), 3)
    assert weights[1:, 0].std() > 0.5


def test_the_same_films_are_drawn_each_time() -> None:
    np.testing.assert_array_equal(resample_weights(["a", "b"], 50), resample_weights(["a", "b"], 50))


def test_one_group_gives_no_interval() -> None:
    told = figure(ratio(resample_weights(["a", "a"]), np.array([1.0, 0]), np.ones(2)))
    assert told == {"value": 0.5, "low": None, "high": None}


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    told = figure(mean(resample_weights([str(n) for n in range(400)]), np.arange(400), values))
    expected = 1.96 * values.std() / np.sqrt(400)
    assert told["value"] == pytest.approx(values.mean(), abs=1e-4)
    assert told["high"] is not None
    assert told["low"] is not None
    assert (told["high"] - told["low"]) / 2 == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_the_median_counts_each_value_as_often_as_its_film(count: int) -> None:
    random = np.random.default_rng(count)
    films, values = random.integers(0, 4, count), random.normal(size=count)
    weights = np.concatenate([np.ones((1, 4)), random.integers(0, 4, (20, 4))])
    for row, found in zip(weights, median(weights, films, values), strict=True):
        repeated = np.repeat(values, row[films].astype(int))
        np.testing.assert_allclose(found, np.median(repeated) if len(repeated) else np.nan)


def test_what_is_not_known_is_left_out() -> None:
    films, values = np.array([0, 0, 1]), np.array([1.0, np.nan, 3.0])
    assert median(np.ones((1, 2)), films, values) == 2
    assert mean(np.ones((1, 2)), films, values) == 2
    assert np.isnan(median(np.ones((1, 2)), films, np.full(3, np.nan)))


def _by_the_book(correct: Floats, truth: int) -> float:
    """AP at 101 points of recall, one detection after the other."""
    hits, best_at = 0, np.zeros(101)
    for seen, one in enumerate(correct, 1):
        hits += int(one)
        for point in range(101):
            if hits * 100 >= point * truth:
                best_at[point] = max(best_at[point], hits / seen)
    return float(best_at.mean())


def test_average_precision_of_resamples_is_that_of_repeated_films() -> None:
    random = np.random.default_rng(5)
    films, correct = random.integers(0, 6, 60), random.random(60) < 0.6
    truth = np.bincount(films[correct], minlength=6) + random.integers(0, 3, 6).astype(float)
    weights = np.concatenate([np.ones((1, 6)), random.integers(0, 4, (15, 6))])
    found = average_precision(weights, films, correct, truth)
    for row, area in zip(weights, found, strict=True):
        repeated = np.repeat(correct, row[films].astype(int))
        assert area == pytest.approx(_by_the_book(repeated, int(row @ truth)), abs=1e-12)


def test_missed_bodies_bound_the_average_precision() -> None:
    area = average_precision(np.ones((1, 1)), np.array([0]), np.array([True]), np.array([2.0]))
    assert area == pytest.approx(51 / 101)


def test_without_bodies_there_is_no_average_precision_and_without_hits_it_is_nothing() -> None:
    films, wrong = np.array([0]), np.array([False])
    assert np.isnan(average_precision(np.ones((1, 1)), films, wrong, np.zeros(1)))
    assert average_precision(np.ones((1, 1)), films, wrong, np.ones(1)) == 0
