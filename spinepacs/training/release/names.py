"""Fit how much each answer of detector and reader counts in a film's naming, on labelled films that neither has seen.

Run as ``python -m spinepacs.training.release.names --model DIR --ap DIR --levels FILE --lateral DIR --synthetic DIR
--out weights.toml``. Of each film the namings that are shifted as a whole are compared: the weights are those under
which the right one is most probable (a temperature for each kind of answer, Guo et al. 2017). So the margins of the
chain are nats of a probability. How good that is is told on films left out of the fit, a fifth of the groups at a time.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spinepacs.analysis.naming.chain import best_chain
from spinepacs.analysis.naming.spine import detect
from spinepacs.analysis.seeing.evidence import Weights, weighed
from spinepacs.analysis.seeing.reader import Reader
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.evaluation.evaluate import film_sets
from spinepacs.training.evaluation.film import outline_iou
from spinepacs.training.evaluation.reading import header_view
from spinepacs.training.reader.samples import is_unusual

SHIFTS = range(-2, 3)
_RIGHT = list(SHIFTS).index(0)
_SAME_BODY = 0.5
_KINDS = tuple(field.name for field in fields(Weights))
_GUESS, _PULL = 0.1, 0.005
"""Where the fit begins, and how strongly a weight that the films do not tell stays there, nats per squared e-fold."""
_FOLDS = 5
_SURE = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One film: (shifts, kinds of answer) float64, what each kind says for each shift of the whole naming."""

    name: str
    group: str
    said: Floats


def case_of(segmenter: Segmenter, reader: Reader, film: Film) -> Case | None:
    """Read a film and see what speaks for its labels; None where no labelled body is found."""
    display = read_grey(film.path)
    found = detect(segmenter, display, header_view(film))
    true = _true_levels(found, film)
    if not true:
        return None
    towards = best_chain(found).axes.mean(axis=0)
    order, answers = reader.look(display, found, towards / np.hypot(*towards))
    said = [_said(found, order, answers, kind, true) for kind in _KINDS]
    return Case(film.name, film.group, np.stack(said, axis=1))


def _true_levels(found: Sequence[Detection], film: Film) -> dict[int, int]:
    """Labelled level of each detection that is a labelled body; the surest one of each."""
    true: dict[int, int] = {}
    for place in sorted(range(len(found)), key=lambda place: -found[place].score):
        points = found[place].outline.points
        overlaps = [outline_iou(points, body.outline_px.astype(np.float64) + 0.5) for body in film.bodies]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= _SAME_BODY and film.bodies[best].class_id not in true.values():
            true[place] = film.bodies[best].class_id
    return true


def _said(
    found: Sequence[Detection],
    order: NDArray[np.intp],
    answers: Floats,
    kind: str,
    true: Mapping[int, int],
) -> Floats:
    """(shifts,) nats of one kind of answer, its weight 1, over the bodies whose level is known."""
    only = Weights(**{name: float(name == kind) for name in _KINDS})
    nats = np.empty((len(found), len(Level)))
    nats[order] = weighed([found[row].class_scores for row in order], answers, only)
    least = nats.min(axis=1)  # of a level beyond the spine
    return np.array(
        [
            sum(
                nats[place, level + shift] if 0 <= level + shift < len(Level) else least[place]
                for place, level in true.items()
            )
            for shift in SHIFTS
        ]
    )


def probabilities(cases: Sequence[Case], weights: Weights) -> Floats:
    """(films, shifts) of each naming."""
    totals = np.array([case.said for case in cases]) @ np.array(astuple(weights))
    totals -= totals.max(axis=1, keepdims=True)
    likely: Floats = np.exp(totals)
    return likely / likely.sum(axis=1, keepdims=True)


def fit(sets: Sequence[Sequence[Case]]) -> Weights:
    """Weights under which the right namings are most probable; every set counts alike, however many films it has."""
    from scipy.optimize import minimize

    def surprise(logarithms: Floats) -> float:
        weights = Weights(*np.exp(logarithms))
        missed = sum(-np.log(probabilities(cases, weights)[:, _RIGHT] + 1e-12).mean() for cases in sets)
        return float(missed + _PULL * ((logarithms - np.log(_GUESS)) ** 2).sum())

    best = minimize(surprise, np.full(len(_KINDS), np.log(_GUESS)), method="L-BFGS-B")
    return Weights(*(round(float(value), 4) for value in np.exp(best.x)))


def left_out(sets: Mapping[str, Sequence[Case]]) -> dict[str, Floats]:
    """By set: (films, shifts), each film's by weights fitted without its group."""
    groups = sorted({case.group for cases in sets.values() for case in cases})
    random.Random(0).shuffle(groups)  # noqa: S311  (not a secret, but folds that can be repeated)
    fold = {group: number % _FOLDS for number, group in enumerate(groups)}
    found = {name: np.empty((len(cases), len(SHIFTS))) for name, cases in sets.items()}
    for held in range(_FOLDS):
        rest = [[case for case in cases if fold[case.group] != held] for cases in sets.values()]
        weights = fit([cases for cases in rest if cases])
        for name, cases in sets.items():
            rows = [row for row, case in enumerate(cases) if fold[case.group] == held]
            if rows:
                found[name][rows] = probabilities([cases[row] for row in rows], weights)
    return found


def described(name: str, found: Floats) -> str:
    """One line of how right and how sure the best naming is."""
    right, sure = found.argmax(axis=1) == _RIGHT, found.max(axis=1) >= _SURE
    parts = [
        f"right {right.sum()} of {len(right)}",
        f"doubted: {(~sure & ~right).sum()} of {(~right).sum()} wrong, {(~sure & right).sum()} of {right.sum()} right",
        f"mean probability of the best {found.max(axis=1).mean():.3f}",
        f"nats {-np.log(found[:, _RIGHT] + 1e-12).mean():.3f}",
    ]
    return f"{name}: " + "; ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print how good the naming is on films left out, write the weights of a fit to all."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.names", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder with a reader")
    add("--ap", type=Path, help="AP folder: its validation groups, by --levels")
    add("--levels", type=Path, help="table of AP films' names that were read anew")
    add("--lateral", type=Path)
    add("--synthetic", type=Path, nargs="+", default=[])
    add("--out", type=Path, required=True, help="TOML of the weights")
    given = parser.parse_args(arguments)
    segmenter = Segmenter.open(given.model, 1)
    if segmenter.reader is None:
        parser.error(f"{given.model} has no reader: python -m spinepacs.training.release.reader puts one in")
    films = film_sets(given.ap, given.lateral, given.synthetic, given.levels)
    films.pop("ap_validation", None) if given.levels else None
    sets = {name: _cases(segmenter, segmenter.reader, name, part) for name, part in films.items()}
    for name, found in left_out(sets).items():
        sys.stdout.write(described(name, found) + "\n")
    weights = fit(list(sets.values()))
    text = "".join(f"{name} = {value:g}\n" for name, value in zip(_KINDS, astuple(weights), strict=True))
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def _cases(segmenter: Segmenter, reader: Reader, name: str, films: Sequence[Film]) -> list[Case]:
    usual = [film for film in films if not is_unusual(film)]
    cases = [case_of(segmenter, reader, film) for film in track(usual, name)]
    return [case for case in cases if case]


if __name__ == "__main__":
    raise SystemExit(main())
