"""Agreement of grades, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from spinepacs.training.metrics.grades import UNKNOWN, GradedSign, agreement, confusion_tables, grade_figures

STAGES = "disc_height_loss"


def _sign(drawn: int, computed: int, published: int, marks: int = 0) -> GradedSign:
    return GradedSign(
        STAGES, "L4/L5", "lumbar", 22, drawn, drawn / 4, computed, published, "", np.nan, marks, np.nan
    )


GRADES = [
    (0, _sign(0, 0, 0)),
    (0, _sign(0, 2, 0)),
    (0, _sign(2, 2, UNKNOWN)),
    (1, _sign(0, 1, 1)),
    (1, _sign(3, 2, 2, 3)),
    (1, _sign(4, UNKNOWN, UNKNOWN, 4)),
]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exact_computed", 2 / 5),
        ("within_one_computed", 4 / 5),
        ("exact_of_signs_computed", 1 / 2),
        ("false_1_computed", 2 / 3),
        ("false_2_computed", 1 / 3),
        ("caught_2_computed", 1),
        ("exact_published", 2 / 4),
        ("false_2_published", 0),
        ("caught_1_published", 1),
        ("exact_marks", 5 / 6),
        ("withheld", 1 / 5),
        ("not_graded", 1 / 6),
    ],
)
def test_figures_by_hand(name: str, value: float) -> None:
    assert grade_figures(np.ones((1, 2)), GRADES, STAGES)[name][0] == pytest.approx(value)


def test_kappa_is_one_minus_the_costs_over_those_of_chance() -> None:
    drawn, given = [0, 0, 1, 2, 2], [0, 1, 1, 2, 0]
    table = np.zeros((1, 3, 3))
    for row, column in zip(drawn, given, strict=True):
        table[0, row, column] += 1
    cost = np.mean([(a - b) ** 2 for a, b in zip(drawn, given, strict=True)])
    chance = np.mean([(a - b) ** 2 for a in drawn for b in given])
    assert agreement(np.ones((1, 1)), table)["kappa"][0] == pytest.approx(1 - cost / chance)


def test_kappa_of_perfect_agreement_is_one_and_of_a_constant_zero() -> None:
    perfect, constant = np.diag([5.0, 2.0, 1.0]), np.array([[5.0, 0, 0], [2, 0, 0], [1, 0, 0]])
    tables = np.stack([perfect, constant])
    kappa = agreement(np.eye(2), tables)["kappa"]
    np.testing.assert_allclose(kappa, [1, 0], atol=1e-12)


def test_a_film_that_counts_twice_is_a_film_that_is_there_twice() -> None:
    twice = [*GRADES, *((2, one) for film, one in GRADES if film == 1)]
    weighted = grade_figures(np.array([[1.0, 2.0]]), GRADES, STAGES)
    repeated = grade_figures(np.ones((1, 3)), twice, STAGES)
    for name, value in weighted.items():
        np.testing.assert_allclose(value, repeated[name], err_msg=name)


def test_nothing_is_known_of_a_sign_that_is_never_graded() -> None:
    figures = grade_figures(np.ones((1, 1)), [(0, _sign(1, UNKNOWN, UNKNOWN))], STAGES)
    assert np.isnan(figures["kappa_published"][0])
    assert np.isnan(figures["withheld"][0])
    assert figures["not_graded"][0] == 1
    assert confusion_tables([(0, _sign(1, UNKNOWN, UNKNOWN))], "published", 1, 5).sum() == 0
