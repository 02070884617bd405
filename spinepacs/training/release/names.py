"""Fit what each answer of detector and reader, and each body that is missed or dropped, counts in a film's naming.

Run as ``python -m spinepacs.training.release.names --model DIR --ap DIR --levels FILE --lateral DIR --synthetic DIR
--out weights.toml``, with labelled films that neither network has seen. The weights are those under which what the
labels say is most probable among all chains (a conditional random field, Lafferty et al. 2001, ICML 18: 282). So the
margins of the chain are nats of a probability. A film is named twice, of bodies as they are found and as they were
drawn; the fit is to both. How good it is is told on films left out of it, a part of the groups at a time.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spinepacs.analysis.naming.chain import LEAST, best_chain
from spinepacs.analysis.naming.lattice import Lattice, Sums, most_right
from spinepacs.analysis.naming.prices import FITTED, Prices, Surprises, log_odds, surprises
from spinepacs.analysis.naming.spine import find_bodies
from spinepacs.analysis.seeing.evidence import Answers, Weights, weighed
from spinepacs.analysis.seeing.reader import Reader
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import SURE_MARGIN, Detection
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.evaluation.evaluate import film_sets
from spinepacs.training.evaluation.film import outline_iou, radiograph_of
from spinepacs.training.evaluation.reading import header_view

_SAME_BODY, _PERHAPS = 0.5, 0.2
"""Overlaps from which a detection is a labelled body, and from which it may be one."""
_KINDS = tuple(field.name for field in fields(Weights))
_OF_STEPS = Surprises._fields
_GUESS, _PULL = 0.15, 0.02
"""Where the networks' weights begin, and how strongly a weight that the films do not tell stays where it began, nats
per squared e-fold."""
_MEASURED = ("distance", "sideways", "size")
"""Prices that stay as they are. Fitted, they come out at half, to make room for outlines that are badly drawn; then a
film is mended at any place, and fewer laterals are named right."""
_FOLDS = 5
_ITERATIONS = 25
_RIGHT, _WRONG = 1e3, -1e4
"""Nats for a detection at its own level, and at any other: so that no other chain counts."""
_HOPELESS = 500.0
"""Nats: no chain fits these labels, which are out of order or twice the same."""

Floats = NDArray[np.float64]


class Worth(NamedTuple):
    """What is fitted."""

    weights: Weights
    prices: Prices

    @classmethod
    def of(cls, numbers: Floats) -> Self:
        """From all numbers in one row."""
        values = [float(value) for value in numbers]
        return cls(Weights(*values[: len(_KINDS)]), Prices(*values[len(_KINDS) :]))

    @property
    def numbers(self) -> Floats:
        """All of them in one row."""
        return np.array([*astuple(self.weights), *astuple(self.prices)])


@dataclass(frozen=True)
class Case:
    """One film, with everything that a price or a weight is multiplied by.

    Parameters
    ----------
    bodies
        (N, levels, kinds) what each kind of answer says, then 1 and the log odds of the score.
    steps
        Surprises of each step.
    labels
        (N, levels) nats, :data:`_WRONG` for what the labels exclude and :data:`_RIGHT` for what they say.
    """

    name: str
    group: str
    bodies: Floats
    steps: Surprises
    labels: Floats

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N, levels) detections that are a labelled body, at its level."""
        return self.labels == _RIGHT

    def lattice(self, worth: Worth) -> Lattice:
        """All that speaks for each chain."""
        prices = worth.prices
        return Lattice(
            self.bodies @ np.array([*astuple(worth.weights), prices.kept, prices.kept_score]),
            self.steps.priced(prices),
        )


def cases_of(segmenter: Segmenter, reader: Reader, film: Film) -> tuple[Case | None, Case | None]:
    """Read a film: its bodies as they are first found, and as they were drawn; None where no labelled one is found."""
    shown = radiograph_of(read_grey(film.path), header_view(film))
    first, drawn = find_bodies(segmenter, shown)
    return _read(reader, film, shown.display, first), _read(reader, film, shown.display, drawn)


def _read(reader: Reader, film: Film, display: NDArray[np.uint8], found: Sequence[Detection]) -> Case | None:
    if not found:
        return None
    towards = best_chain(found).axes.mean(axis=0)
    towards /= np.hypot(*towards)
    order, answers = reader.look(display, found, towards)
    case = _case(film, [found[row] for row in order], answers, towards)
    return case if case.known.any() else None


def _case(film: Film, ordered: Sequence[Detection], answers: Answers, towards: Floats) -> Case:
    """The case of detections from head to foot and the reader's answers there and beyond both ends."""
    scores = [one.class_scores for one in ordered]
    only = (Weights(**{name: float(name == kind) for name in _KINDS}) for kind in _KINDS)
    said = [weighed(scores, answers, weights) for weights in only]
    ones = np.ones_like(said[0])
    centres = np.array([one.outline.centroid for one in ordered])
    bodies = np.stack([*said, ones, ones * log_odds(ordered)[:, None]], axis=2)
    steps = surprises(ordered, centres, towards, header_view(film))
    return Case(film.name, film.group, bodies, steps, _labels(ordered, film))


def _labels(found: Sequence[Detection], film: Film) -> Floats:
    """What a film's labels say of detections: the surest of each body has its level, others may not have it.

    Levels above the first label and below the last one are free: that a film shows no label there tells nothing.
    """
    overlaps = np.array(
        [
            [
                outline_iou(one.outline.points, body.outline_px.astype(np.float64) + 0.5)
                for body in film.bodies
            ]
            for one in found
        ]
    )
    levels = np.array([body.class_id for body in film.bodies])
    labels = np.zeros((len(found), len(Level)))
    labels[:, levels.min() : levels.max() + 1] = _WRONG
    for level in set(levels.tolist()):
        labels[(overlaps[:, levels == level] >= _PERHAPS).any(axis=1), level] = 0
    taken: set[int] = set()
    for row in sorted(range(len(found)), key=lambda row: -found[row].score):
        body = int(np.argmax(overlaps[row]))
        if overlaps[row, body] >= _SAME_BODY and levels[body] not in taken:
            taken.add(int(levels[body]))
            labels[row] = _WRONG
            labels[row, levels[body]] = _RIGHT
    return labels


def surprise(case: Case, worth: Worth) -> tuple[float, Floats]:
    """Nats by which the labels are improbable, and its derivatives by all numbers of ``worth``; 0 where none fits."""
    lattice = case.lattice(worth)
    labelled = Lattice(lattice.bodies + case.labels, lattice.steps)
    free, tied = Sums(lattice), Sums(labelled)
    nats = free.total - tied.total + _RIGHT * int(case.known.sum())
    if nats > _HOPELESS:
        return 0.0, np.zeros(len(worth.numbers))
    of_bodies = np.einsum("nl,nlk->k", free.names - tied.names, case.bodies)
    change = tied.steps_taken - free.steps_taken
    of_steps = [float((change * part).sum()) for part in case.steps]
    return nats, np.array([*of_bodies[:-2], *of_steps, *of_bodies[-2:]])


def fit(sets: Sequence[Sequence[Case]]) -> Worth:
    """What makes the labels most probable; every set counts alike, however many films it has."""
    from scipy.optimize import minimize

    start = Worth(Weights(*[_GUESS] * len(_KINDS)), FITTED).numbers

    def total(logarithms: Floats) -> tuple[float, Floats]:
        numbers = np.exp(logarithms)
        off = logarithms - np.log(start)
        nats, change = float(_PULL * (off**2).sum()), 2 * _PULL * off
        for cases in sets:
            for case in cases:
                one, by_number = surprise(case, Worth.of(numbers))
                nats += one / len(cases)
                change = change + by_number * numbers / len(cases)
        return nats, np.where(_is_fitted(), change, 0.0)

    best = minimize(total, np.log(start), jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS})
    return Worth.of(np.round(np.exp(best.x), 4))


def _is_fitted() -> NDArray[np.bool_]:
    return np.array([name not in _MEASURED for name in (*_KINDS, *(price.name for price in fields(Prices)))])


class Naming(NamedTuple):
    """How a film comes out: whether all labelled bodies that are named have their name, and the least sure name."""

    right: bool
    probability: float


def naming(case: Case, worth: Worth) -> Naming:
    """Name a film as the chain does."""
    names = Sums(case.lattice(worth)).names
    rows, levels = np.array(most_right(names, LEAST)).T
    known = case.known
    right = known[rows, levels] | ~known[rows].any(axis=1)
    return Naming(bool(right.all()), float((names[rows, levels] / names[rows].sum(axis=1)).min()))


def left_out(sets: Mapping[str, Sequence[Case]]) -> dict[str, list[Naming]]:
    """By set: how each film comes out by a fit without its group."""
    groups = sorted({case.group for cases in sets.values() for case in cases})
    random.Random(0).shuffle(groups)  # noqa: S311  (not a secret, but folds that can be repeated)
    fold = {group: number % _FOLDS for number, group in enumerate(groups)}
    found: dict[str, list[Naming]] = {name: [] for name in sets}
    for held in range(_FOLDS):
        rest = [[case for case in cases if fold[case.group] != held] for cases in sets.values()]
        worth = fit([cases for cases in rest if cases])
        for name, cases in sets.items():
            found[name] += [naming(case, worth) for case in cases if fold[case.group] == held]
    return found


def described(name: str, found: Sequence[Naming]) -> str:
    """One line of how right and how sure the names are."""
    sure = 1 / (1 + np.exp(-SURE_MARGIN))
    right = [one.right for one in found]
    doubted = [one.probability < sure for one in found]
    counts = {
        kind: [doubt for doubt, true in zip(doubted, right, strict=True) if true is wanted]
        for kind, wanted in (("wrong", False), ("right", True))
    }
    parts = ", ".join(f"{sum(of_kind)} of {len(of_kind)} {kind}" for kind, of_kind in counts.items())
    return f"{name}: right {sum(right)} of {len(right)}; doubted: {parts}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print how good the naming is on films left out, write the weights of a fit to all."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.names", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder with a reader")
    add("--ap", type=Path, help="AP folder: its validation groups, by --levels")
    add("--levels", type=Path, help="table of AP films' names that were read anew")
    add("--lateral", type=Path)
    add("--synthetic", type=Path, nargs="+", default=[])
    add("--out", type=Path, required=True, help="TOML of the networks' weights; the prices are printed")
    given = parser.parse_args(arguments)
    segmenter = Segmenter.open(given.model, 1)
    if segmenter.reader is None:
        parser.error(f"{given.model} has no reader: python -m spinepacs.training.release.reader puts one in")
    films = film_sets(given.ap, given.lateral, given.synthetic, given.levels)
    films.pop("ap_validation", None) if given.levels else None
    sets = {
        f"{name}, {how}": cases
        for name, part in films.items()
        for how, cases in _cases(segmenter, segmenter.reader, name, part).items()
    }
    for name, found in left_out(sets).items():
        sys.stdout.write(described(name, found) + "\n")
    worth = fit(list(sets.values()))
    text = "".join(
        f"{name} = {value:g}\n" for name, value in zip(_KINDS, astuple(worth.weights), strict=True)
    )
    given.out.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}analysis.naming.prices.FITTED = {worth.prices}\n")
    return 0


def _cases(segmenter: Segmenter, reader: Reader, name: str, films: Sequence[Film]) -> dict[str, list[Case]]:
    """By how bodies lie: as they are first found, and as they were drawn. Both are named with the same weights."""
    read = [cases_of(segmenter, reader, film) for film in track(films, name)]
    return {
        "found": [first for first, _ in read if first],
        "drawn": [drawn for _, drawn in read if drawn],
    }


if __name__ == "__main__":
    raise SystemExit(main())
