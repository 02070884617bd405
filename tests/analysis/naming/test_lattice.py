"""Sums over all chains are those of every chain written down, one by one."""

import itertools

import numpy as np
import pytest

from spinepacs.analysis.naming.lattice import Lattice, Sums, most_right


def _lattice(seed, number=4, most=3, levels=5):
    rng = np.random.default_rng(seed)
    return Lattice(rng.normal(0, 2, (number, levels)), rng.normal(-1, 2, (number, number, most, levels)))


def _every_chain(lattice):
    """(chain, nats) of every way to name some detections: ((detection, level), …)."""
    number, _, most, levels = lattice.steps.shape
    for count in range(1, number + 1):
        for rows in itertools.combinations(range(number), count):
            for names in itertools.combinations(range(levels), count):
                if max(np.diff(names), default=1) > most:
                    continue
                chain = tuple(zip(rows, names, strict=True))
                nats = sum(lattice.bodies[place] for place in chain)
                for (here, level), (there, below) in itertools.pairwise(chain):
                    nats += lattice.steps[here, there, below - level - 1, below]
                yield chain, nats


@pytest.mark.parametrize("seed", range(4))
def test_totals_names_and_steps_are_those_of_all_chains(seed):
    lattice = _lattice(seed)
    sums = Sums(lattice)
    weights = {chain: np.exp(nats) for chain, nats in _every_chain(lattice)}
    total = sum(weights.values())
    assert sums.total == pytest.approx(np.log(total))
    names, steps = np.zeros_like(lattice.bodies), np.zeros_like(lattice.steps)
    for chain, weight in weights.items():
        for place in chain:
            names[place] += weight / total
        for (here, level), (there, below) in itertools.pairwise(chain):
            steps[here, there, below - level - 1, below] += weight / total
    np.testing.assert_allclose(sums.names, names, atol=1e-12)
    np.testing.assert_allclose(sums.steps_taken, steps, atol=1e-12)


def test_from_the_other_end_the_sums_are_the_same():
    lattice = _lattice(7)
    backwards = Lattice(lattice.bodies[::-1, ::-1], np.zeros_like(lattice.steps))
    forwards = Lattice(lattice.bodies, np.zeros_like(lattice.steps))
    assert Sums(backwards).total == pytest.approx(Sums(forwards).total)


def test_what_can_never_be_has_no_probability_and_spoils_nothing():
    lattice = _lattice(3)
    lattice.bodies[1] = -1e4
    names = Sums(lattice).names
    assert names[1].max() == 0
    assert np.isfinite(names).all()


def test_one_detection_alone_is_named_by_what_speaks_for_it():
    sums = Sums(Lattice(np.log([[1.0, 3.0]]), np.zeros((1, 1, 1, 2))))
    np.testing.assert_allclose(sums.names, [[0.25, 0.75]])
    assert most_right(sums.names, 0.2) == [(0, 1)]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("least", [0.05, 0.6])
def test_the_chain_published_has_most_names_right_of_all(seed, least):
    lattice = _lattice(seed)
    names = Sums(lattice).names
    held = names.sum(axis=1)
    worth = names - names.max(axis=1, keepdims=True) / 2
    every = {
        chain: sum(worth[place] for place in chain)
        for chain, _ in _every_chain(_all_steps(lattice))
        if all(held[row] >= min(least, held.max()) for row, _ in chain)
    }
    assert every[tuple(most_right(names, least))] == pytest.approx(max(every.values()))


def _all_steps(lattice):
    number, levels = lattice.bodies.shape
    return Lattice(lattice.bodies, np.zeros((number, number, levels, levels)))


def test_where_every_name_is_doubtful_the_likeliest_ones_are_published_together():
    names = np.array([[0.25, 0.3, 0.25, 0.2, 0.0], [0.0, 0.25, 0.3, 0.25, 0.2], [0.0, 0.02, 0.03, 0.05, 0.0]])
    assert most_right(names, 0.3) == [(0, 1), (1, 2)]


def test_what_is_hardly_a_vertebra_is_published_only_where_nothing_else_is_there():
    names = np.array([[0.1, 0.0], [0.0, 0.15]])
    assert most_right(names, 0.2) == [(1, 1)]
