"""What names are worth: the fit finds what tells the right name, its sums are probabilities, on films left out too."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from spinepacs.analysis.naming.prices import FITTED, Prices, surprises
from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film, LabelledBody
from spinepacs.training.release.names import (
    _KINDS,
    _RIGHT,
    _WRONG,
    Case,
    Naming,
    Worth,
    _labels,
    described,
    fit,
    left_out,
    naming,
    surprise,
)

START = Worth(Weights(*[0.15] * len(_KINDS)), FITTED)
DOWN = np.array([0.0, 1.0])


def _detection(row: int, score: float = 0.9) -> Detection:
    square = np.array([[10.0, 40 * row], [50, 40 * row], [50, 40 * row + 30], [10, 40 * row + 30]])
    return Detection(np.zeros(25, np.float32), score, np.concatenate([square[0], square[2]]), Outline(square))


def _cases(count: int, **reliability: float) -> list[Case]:
    """Films of L2 to L4 of which each kind of answer names the middle one, rightly as often as its reliability says."""
    rng = np.random.default_rng(5)
    found = [_detection(row) for row in range(3)]
    centres = np.array([one.outline.centroid for one in found])
    steps = surprises(found, centres, DOWN, View.AP)
    labels = np.full((3, 25), _WRONG)
    labels[range(3), range(Level.L2, Level.L5)] = _RIGHT
    cases = []
    for number in range(count):
        bodies = np.zeros((3, 25, len(_KINDS) + 2))
        bodies[:, :, -2] = 1
        for kind, reliable in reliability.items():
            off = 0 if rng.random() < reliable else int(rng.choice([-2, -1, 1]))
            bodies[1, Level.L3 + off, _KINDS.index(kind)] = 10.0
        cases.append(Case(f"film-{number}", f"group-{number // 2}", bodies, steps, labels))
    return cases


def test_reliable_answers_weigh_more_and_the_sums_are_probabilities() -> None:
    cases = _cases(60, lumbosacral=0.9, thoracic=0.2)
    worth = fit([cases])
    assert worth.weights.lumbosacral > 2 * worth.weights.thoracic
    found = [naming(case, worth) for case in cases]
    right = np.mean([one.right for one in found])
    assert right == pytest.approx(0.9, abs=0.07)
    assert np.mean([one.probability for one in found]) == pytest.approx(right, abs=0.12)


def test_the_derivatives_are_those_of_the_surprise() -> None:
    case = _cases(1, lumbosacral=0.0, cervical=1.0)[0]
    nats, change = surprise(case, START)
    for place in (0, 3, len(_KINDS), len(_KINDS) + 3, len(_KINDS) + 5):
        more = START.numbers
        more[place] += 1e-5
        assert (surprise(case, Worth.of(more))[0] - nats) / 1e-5 == pytest.approx(
            change[place], rel=1e-3, abs=1e-4
        )


def test_labels_that_no_chain_fits_count_for_nothing() -> None:
    case = _cases(1, lumbosacral=1.0)[0]
    nats, change = surprise(replace(case, labels=case.labels[::-1]), START)
    assert nats == 0
    assert not change.any()


def test_every_film_is_judged_by_a_fit_without_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def noted(sets: list[list[Case]]) -> Worth:
        seen.append({case.group for cases in sets for case in cases})
        return START

    monkeypatch.setattr("spinepacs.training.release.names.fit", noted)
    sets = {"a": _cases(20, lumbosacral=0.9), "b": _cases(6, cervical=0.9)}
    found = left_out(sets)
    assert {name: len(films) for name, films in found.items()} == {"a": 20, "b": 6}
    every = {case.group for cases in sets.values() for case in cases}
    held = [every - groups for groups in seen]
    assert len(held) == 5
    assert set().union(*held) == every
    assert sum(len(groups) for groups in held) == len(every)


def test_the_line_counts_doubt_among_right_and_wrong() -> None:
    found = [Naming(True, 0.99), Naming(True, 0.9), Naming(False, 0.94), Naming(False, 0.96)]
    assert described("x", found) == "x: right 2 of 4; doubted: 1 of 2 wrong, 1 of 2 right"


def test_each_labelled_body_has_one_detection_the_surest() -> None:
    outlines = [(_detection(row).outline.points - 0.5).astype(np.float32) for row in (1, 2)]
    bodies = tuple(
        LabelledBody(int(level), outline)
        for level, outline in zip((Level.L4, Level.L5), outlines, strict=True)
    )
    film = Film(Path("f.png"), 100, 200, "g", "ap", bodies)
    labels = _labels([_detection(1, 0.4), _detection(2, 0.8), _detection(1, 0.9), _detection(4, 0.9)], film)
    assert np.argwhere(labels == _RIGHT).tolist() == [[1, Level.L5], [2, Level.L4]]
    # The double may be either: the labels hold for it as for any other.
    assert labels[0, Level.L4] == 0
    assert labels[0, Level.L5] == _WRONG
    # What lies beyond the labelled bodies is free, but for their levels.
    assert labels[3, Level.S1] == 0
    assert labels[3, Level.L5] == _WRONG


def test_numbers_come_back_as_they_were_put_in_a_row() -> None:
    assert Worth.of(START.numbers) == START
    assert len(START.numbers) == len(astuple(Weights(*range(9)))) + len(astuple(Prices(*range(7))))
