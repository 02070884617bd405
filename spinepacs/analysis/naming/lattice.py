"""All chains of levels over detections in order, weighed at once: a semi-Markov random field.

A chain keeps some of N detections, from head to foot, and gives each a level greater than that of the one before. Its
weight is the exponential of what speaks for it (nats): of each kept detection at its level, and of each step from one
kept detection to the next. Sums over all chains are made by dynamic programming, forwards and backwards (Rabiner 1989,
Proc IEEE 77: 257; Sarawagi and Cohen 2004, NIPS 17), so that the probability of every name is that of all chains with
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEVER = -1e30


class Lattice(NamedTuple):
    """What speaks for each part of a chain, nats.

    Parameters
    ----------
    bodies
        (N, L): for keeping a detection at a level, against dropping it.
    steps
        (N, N, K, L): for going from one detection to a later one by 1 … K levels, to the level that is reached; only
        what lies above the diagonal counts.
    """

    bodies: Floats
    steps: Floats


@dataclass(frozen=True)
class Sums:
    """Sums over all chains of a lattice that keep at least one detection; each is made when it is asked for, once."""

    lattice: Lattice

    @cached_property
    def to(self) -> Floats:
        """(N, L) logarithm of the summed weights, nats, of all beginnings that end with a detection at a level."""
        return _forwards(self.lattice)

    @cached_property
    def onwards(self) -> Floats:
        """(N, L) the same of all that may follow."""
        return _backwards(self.lattice)

    @cached_property
    def total(self) -> float:
        """The same of all chains."""
        return float(_log_sum(self.to.reshape(-1, 1))[0])

    @property
    def names(self) -> Floats:
        """(N, L) probability that a detection is kept and has a level; the rest of each row is that it is dropped."""
        probable: Floats = np.exp(self.to + self.onwards - self.total)
        return probable

    @property
    def steps_taken(self) -> Floats:
        """(N, N, K, L) probability of each step."""
        bodies, steps = self.lattice
        number, most, levels = steps.shape[1:]
        before = np.full((number, most, levels), _NEVER)
        for step in range(1, min(most, levels - 1) + 1):
            before[:, step - 1, step:] = self.to[:, :-step]
        nats = before[:, None] + steps + (bodies + self.onwards)[None, :, None] - self.total
        later = np.triu(np.ones((number, number), bool), 1)[:, :, None, None]
        probable: Floats = np.exp(np.where(later, nats, _NEVER))
        return probable


def _forwards(lattice: Lattice) -> Floats:
    bodies, steps = lattice
    number, levels = bodies.shape
    most = steps.shape[2]
    to = bodies.copy()
    before = np.full((number, most, levels), _NEVER)  # [n, k - 1, l] is to[n, l - k]
    for here in range(number):
        if here:
            ways = (before[:here] + steps[:here, here]).reshape(-1, levels)
            to[here] += np.logaddexp(0.0, _log_sum(ways))
        for step in range(1, min(most, levels - 1) + 1):
            before[here, step - 1, step:] = to[here, :-step]
    return to


def _backwards(lattice: Lattice) -> Floats:
    bodies, steps = lattice
    number, levels = bodies.shape
    most = steps.shape[2]
    onwards = np.zeros_like(bodies)
    for here in range(number - 2, -1, -1):
        after = slice(here + 1, number)
        ways = (bodies + onwards)[after][:, None] + steps[here, after]
        reached = _log_sum(ways)  # [k - 1, the level k below]
        parts = np.full((most + 1, levels), _NEVER)
        parts[0] = 0.0
        for step in range(1, min(most, levels - 1) + 1):
            parts[step, :-step] = reached[step - 1, step:]
        onwards[here] = _log_sum(parts)
    return onwards


def most_right(names: Floats, least: float) -> list[tuple[int, int]]:
    """(detection, level) of the chain of which most names are expected to be right.

    Parameters
    ----------
    names
        (N, L) probabilities, of :class:`Sums`.
    least
        Probability of being kept below which a detection is not named, unless it is the surest of all. Of the others a
        name counts by how much more probable it is than half of the detection's likeliest name.
    """
    held = names.sum(axis=1)
    worth = names - names.max(axis=1, keepdims=True) / 2
    worth[held < min(least, held.max())] = _NEVER
    return _heaviest(worth)


def _heaviest(worth: Floats) -> list[tuple[int, int]]:
    """The chain with the greatest sum of worths."""
    number, levels = worth.shape
    best = worth.copy()
    came_from = np.full((number, levels, 2), -1, np.intp)
    column, place = best[0].copy(), np.zeros(levels, np.intp)  # best end at each level so far, and whose
    for here in range(1, number):
        upto = np.maximum.accumulate(column)
        is_new = np.concatenate([[True], column[1:] > upto[:-1]])
        # The level that is the best up to each.
        below = np.maximum.accumulate(np.where(is_new, np.arange(levels), 0))
        goes_on = upto[:-1] > 0
        came_from[here, 1:][goes_on] = np.stack([place[below], below], axis=1)[:-1][goes_on]
        best[here, 1:] += np.where(goes_on, upto[:-1], 0.0)
        better = best[here] > column
        column, place = np.where(better, best[here], column), np.where(better, here, place)
    here, level = (int(value) for value in np.unravel_index(best.argmax(), best.shape))
    chain = []
    while here >= 0:
        chain.append((here, level))
        here, level = (int(value) for value in came_from[here, level])
    return chain[::-1]


def _log_sum(nats: Floats) -> Floats:
    """Logarithm of the sum of exponentials along the first axis."""
    greatest = nats.max(axis=0)
    total: Floats = greatest + np.log(np.exp(nats - greatest).sum(axis=0))
    return total
