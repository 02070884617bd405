"""Nats of a level: what says nothing is 0, what lies beyond an end speaks of the body there."""

import dataclasses

import numpy as np
import pytest

from spinepacs.analysis.seeing.evidence import Answers, Weights, of_detector, of_reader, weighed
from spinepacs.domain.anatomy import Level
from tests.models import READER_WEIGHTS

EVEN = np.log(np.full((5, 26), 1 / 25))


def _whole(answers):
    """Answers to whole crops, where nobody looked with what lies above hidden."""
    return Answers(answers, np.full_like(answers, np.nan))


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
    np.testing.assert_allclose(of_reader(Answers(EVEN, EVEN), READER_WEIGHTS), 0, atol=1e-12)


@pytest.mark.parametrize(
    ("place", "shown", "body", "level", "weight"),
    [
        (4, Level.S1, 2, Level.L5, READER_WEIGHTS.ends),
        (4, 25, 2, Level.S1, READER_WEIGHTS.ends),
        (0, Level.C7, 0, Level.T1, READER_WEIGHTS.ends),
        (0, 25, 0, Level.C1, READER_WEIGHTS.ends),
        (2, Level.C2, 1, Level.C2, READER_WEIGHTS.cervical),
        (2, Level.T10, 1, Level.T10, READER_WEIGHTS.thoracic),
        (2, Level.T11, 1, Level.T11, READER_WEIGHTS.thoracolumbar),
        (2, Level.L2, 1, Level.L2, READER_WEIGHTS.thoracolumbar),
        (2, Level.L3, 1, Level.L3, READER_WEIGHTS.lumbosacral),
    ],
)
def test_what_a_place_shows_speaks_for_one_level_by_the_weight_of_where_it_is(
    place, shown, body, level, weight
):
    answers = EVEN.copy()
    answers[place] = -np.inf
    answers[place, shown] = 0
    nats = of_reader(_whole(answers), READER_WEIGHTS)
    assert nats[body].argmax() == level
    assert nats[body, level] == pytest.approx(weight * np.log(25))
    assert nats[body].min() == pytest.approx(weight * np.log(0.01 * 25))
    assert np.abs(np.delete(nats, body, axis=0)).max() < 1e-9


@pytest.mark.parametrize(
    ("place", "shown", "body", "level", "weight"),
    [
        (3, Level.L5, 2, Level.L5, READER_WEIGHTS.below),
        (3, Level.S1, 2, Level.S1, READER_WEIGHTS.below),
        (4, Level.S1, 2, Level.L5, READER_WEIGHTS.below_end),
        (4, 25, 2, Level.S1, READER_WEIGHTS.below_end),
        (2, Level.L2, 1, Level.L2, 0.0),
    ],
)
def test_what_is_seen_without_the_ribs_counts_by_the_sacrum_only(place, shown, body, level, weight):
    below = EVEN.copy()
    below[place] = -np.inf
    below[place, shown] = 0
    nats = of_reader(Answers(EVEN, below), READER_WEIGHTS)
    assert nats[body, level] == pytest.approx(weight * np.log(25))
    assert nats[body].min() == pytest.approx(weight * np.log(0.01 * 25))
    assert np.abs(np.delete(nats, body, axis=0)).max() < 1e-9


def test_a_body_that_is_none_says_nothing_of_its_level():
    answers = EVEN.copy()
    answers[2] = -np.inf
    answers[2, 25] = 0
    np.testing.assert_allclose(of_reader(_whole(answers), READER_WEIGHTS)[1], 0, atol=1e-12)


def test_where_nobody_looked_nothing_is_said():
    answers = EVEN.copy()
    answers[[0, -1]] = np.nan
    np.testing.assert_allclose(of_reader(_whole(answers), READER_WEIGHTS), 0, atol=1e-12)


def test_a_weight_that_is_missing_is_named():
    with pytest.raises(KeyError, match="ends"):
        Weights.from_table(dict.fromkeys(("cervical", "thoracic", "thoracolumbar", "lumbosacral"), 1))


def test_readers_that_have_not_learnt_to_look_without_the_ribs_are_not_asked():
    table = {field.name: 1 for field in dataclasses.fields(Weights) if not field.name.startswith("below")}
    weights = Weights.from_table(table)
    assert (weights.below, weights.below_end) == (0, 0)


def test_every_answer_counts_by_its_weight():
    scores = [np.eye(25, dtype=np.float32)[level] for level in (Level.T4, Level.T5, Level.L5)]
    answers = np.log(np.full((5, 26), 1e-9))
    for place, level in enumerate((Level.T4, Level.T5, Level.L5), 1):
        answers[place, level] = 0
    answers[[0, -1]] = np.nan
    said = weighed(scores, _whole(answers), READER_WEIGHTS)
    own = of_detector(scores)
    for place, level in enumerate((Level.T4, Level.T5, Level.L5)):
        own_weight = (
            READER_WEIGHTS.detector_thoracic if level < Level.T11 else READER_WEIGHTS.detector_lumbosacral
        )
        reader = of_reader(_whole(answers), READER_WEIGHTS)[place]
        np.testing.assert_allclose(said[place], own_weight * own[place] + reader)
