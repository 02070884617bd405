"""Nats of a level: what says nothing is 0, what lies beyond an end speaks of the body there."""

import numpy as np
import pytest

from spinepacs.analysis.seeing.evidence import of_detector, of_reader
from spinepacs.domain.anatomy import Level

EVEN = np.log(np.full((5, 26), 1 / 25))


def test_even_scores_say_nothing_and_a_wrong_one_costs_no_more_than_its_floor():
    even, sure = np.full(25, 0.2, np.float32), np.zeros(25, np.float32)
    sure[Level.L4] = 0.9
    nats = of_detector([even, sure])
    np.testing.assert_allclose(nats[0], 0, atol=1e-6)
    assert nats[1, Level.L4] == pytest.approx(np.log(25))
    assert nats[1].min() == pytest.approx(np.log(0.03 * 25))


def test_no_scores_at_all_are_even_doubt():
    assert len(set(of_detector([np.zeros(25, np.float32)])[0])) == 1


def test_even_answers_say_nothing():
    np.testing.assert_allclose(of_reader(EVEN), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("place", "shown", "body", "level"),
    [
        (4, Level.S1, -1, Level.L5),
        (4, 25, -1, Level.S1),
        (0, Level.C7, 0, Level.T1),
        (0, 25, 0, Level.C1),
        (2, Level.T5, 1, Level.T5),
    ],
)
def test_what_a_place_shows_speaks_for_one_level(place, shown, body, level):
    answers = EVEN.copy()
    answers[place, shown] = 0
    nats = of_reader(answers)
    assert nats[body].argmax() == level
    assert nats[body, level] == pytest.approx(np.log(25))
    assert np.abs(np.delete(nats, body % 3, axis=0)).max() < 1e-9


def test_where_nobody_looked_nothing_is_said():
    answers = EVEN.copy()
    answers[[0, -1]] = np.nan
    np.testing.assert_allclose(of_reader(answers), 0, atol=1e-12)
