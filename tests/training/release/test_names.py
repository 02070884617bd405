"""The weights of a naming's evidence: what is right counts, what is loud and wrong does not, on films left out too."""

from __future__ import annotations

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the extra 'train' is not installed")

from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline
from spinepacs.training.data.dataset import Film, LabelledBody
from spinepacs.training.release.names import (
    SHIFTS,
    Case,
    _said,
    _true_levels,
    described,
    fit,
    left_out,
    probabilities,
)

STRETCHES = ("cervical", "thoracic", "thoracolumbar", "lumbosacral")
KINDS = (*STRETCHES, "ends", *(f"detector_{name}" for name in STRETCHES))


def _cases(count: int, **reliability: float) -> list[Case]:
    """Films on which each kind prefers some naming by ten nats: the right one as often as its reliability says."""
    rng = np.random.default_rng(5)
    cases = []
    for number in range(count):
        said = np.zeros((len(SHIFTS), len(KINDS)))
        for kind, reliable in reliability.items():
            row = 2 if rng.random() < reliable else int(rng.choice([0, 1, 3, 4]))
            said[row, KINDS.index(kind)] = 10.0
        cases.append(Case(f"film-{number}", f"group-{number // 2}", said))
    return cases


def test_reliable_answers_weigh_more_and_the_sums_are_probabilities() -> None:
    cases = _cases(400, lumbosacral=0.95, thoracic=0.4, detector_cervical=0.2)
    weights = fit([cases])
    assert weights.lumbosacral > 3 * weights.thoracic > 3 * weights.detector_cervical
    chosen = probabilities(cases, weights)
    right = chosen.argmax(axis=1) == list(SHIFTS).index(0)
    assert chosen.sum(axis=1) == pytest.approx(1)
    assert chosen.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.03)


def test_every_film_is_judged_by_a_fit_without_its_group() -> None:
    sets = {"a": _cases(40, lumbosacral=0.9), "b": _cases(10, cervical=0.9)}
    found = left_out(sets)
    assert {name: rows.shape for name, rows in found.items()} == {"a": (40, 5), "b": (10, 5)}
    assert np.abs(found["a"] - probabilities(sets["a"], fit(list(sets.values())))).max() > 0
    np.testing.assert_allclose(found["a"].sum(axis=1), 1)


def test_the_line_counts_doubt_among_right_and_wrong() -> None:
    found = np.array([[0, 0, 1.0, 0, 0], [0, 0.1, 0.9, 0, 0], [0, 0.94, 0.06, 0, 0], [0, 0.96, 0.04, 0, 0]])
    assert described("x", found).startswith("x: right 2 of 4; doubted: 1 of 2 wrong, 1 of 2 right")


def _detection(row: int, score: float) -> Detection:
    square = np.array([[10.0, 40 * row], [50, 40 * row], [50, 40 * row + 30], [10, 40 * row + 30]])
    scores = np.zeros(25, np.float32)
    return Detection(scores, score, np.concatenate([square[0], square[2]]), Outline(square))


def test_each_labelled_body_has_one_detection_the_surest() -> None:
    outlines = [(one.outline.points - 0.5).astype(np.float32) for one in (_detection(1, 1), _detection(2, 1))]
    bodies = tuple(
        LabelledBody(int(level), outline)
        for level, outline in zip((Level.L4, Level.L5), outlines, strict=True)
    )
    film = Film(Path("f.png"), 100, 200, "g", "ap", bodies)
    found = [_detection(1, 0.4), _detection(2, 0.8), _detection(1, 0.9), _detection(4, 0.9)]
    assert _true_levels(found, film) == {2: Level.L4, 1: Level.L5}


@pytest.mark.parametrize(
    ("kind", "bodies"),
    [("lumbosacral", 2), ("detector_lumbosacral", 2), ("detector_thoracic", 0), ("cervical", 0), ("ends", 2)],
)
def test_what_one_kind_says_is_added_up_along_the_film(kind: str, bodies: int) -> None:
    answers = np.log(np.full((4, 26), 1e-9))
    for place, level in enumerate((Level.L3, Level.L4, Level.L5, Level.S1)):
        answers[place, level] = 0
    found = [
        replace(_detection(row, 0.9), class_scores=np.eye(25, dtype=np.float32)[level])
        for row, level in ((2, Level.L5), (1, Level.L4))
    ]
    true = {0: int(Level.L5), 1: int(Level.L4)}
    said = _said(found, np.array([1, 0]), answers, kind, true)
    assert said.shape == (len(SHIFTS),)
    assert said[2] == pytest.approx(bodies * np.log(25), abs=1e-6)
    assert not bodies or said.argmax() == 2


def test_kinds_are_those_of_the_weights() -> None:
    assert len(astuple(Weights(*range(9)))) == len(KINDS)
    assert tuple(Weights.__dataclass_fields__) == KINDS
