"""How sure a measure is: the localisation error of the endplates, propagated through the measure's own formula.

The law of propagation of uncertainty (JCGM 100:2008, 5.2: sensitivity coefficients and covariances), with the
coefficients by central differences. A plate's errors are taken in its own frame and as shares of its length, because a
network errs by much the same share of a body wherever it sees bodies of the same size. They grow with doubt: where
the corners' places are scattered widely, or, without a tracer, where the score is low.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from spinepacs.analysis.measuring.plates import BACK, FRONT, Array, along, footwards, length
from spinepacs.analysis.seeing.localisation import MODES
from spinepacs.domain.measures import Quantity

Formula = Callable[[Array], Mapping[Quantity, Array]]
"""(…, K, 3, 2) plates to values (…) by quantity."""

_STEP = 2e-3
"""Of the differences, as a share of the plate's length."""


def standard_deviations(
    formula: Formula, plates: Array, sides: Sequence[int], deviations: Array, correlation: Array
) -> dict[Quantity, Array]:
    """Standard deviations of what a formula gives at N places.

    Parameters
    ----------
    plates
        (N, K, 3, 2) float64, px of the plane.
    sides
        0 or 1 for each of the K plates: upper or lower plate of its body.
    deviations
        (N, K, 5) of the plates' errors by mode, shares of their length.
    correlation
        (5, K, K) of these errors.

    Returns
    -------
    By quantity (N,), NaN where a plate is missing that the quantity depends on, or its deviations are.
    """
    steps = _STEP * _moves(plates, sides)
    forth, back = (formula(plates + sign * steps) for sign in (1, -1))
    spread = np.moveaxis(deviations, 0, 2)
    slopes = (np.stack(list(forth.values())) - np.stack(list(back.values()))) / (2 * _STEP)
    blind = (np.isnan(slopes) | (np.isnan(spread) & (slopes != 0))).any(axis=(1, 2))
    errors = np.nan_to_num(slopes * spread)
    variance = np.einsum("qkmn,mkl,qlmn->qn", errors, correlation, errors)
    found = np.where(blind, np.nan, np.sqrt(np.maximum(variance, 0)))
    return dict(zip(forth, found, strict=True))


def _moves(plates: Array, sides: Sequence[int]) -> Array:
    """(K, 5, N, K, 3, 2): how the plates move for an error of their whole length in each of the modes."""
    size = np.nan_to_num(length(plates))[..., None]
    backwards = np.nan_to_num(along(plates)) * size
    away = footwards(backwards) * np.where(np.asarray(sides) == 1, 1.0, -1.0)[:, None]
    weights = np.zeros(
        (len(MODES), 2, 3)
    )  # how far front, middle and back go away from the body, and backwards
    weights[0, 0] = 1
    weights[1, 0, (FRONT, BACK)] = 0.5, -0.5
    weights[2, 0] = -1 / 3, 2 / 3, -1 / 3
    weights[3, 1] = 1
    weights[4, 1, (FRONT, BACK)] = -0.5, 0.5
    way = np.einsum("mdp,dnkx->mnkpx", weights, np.stack([away, backwards]))
    moves = np.zeros((len(sides), *way.shape))
    for number in range(len(sides)):
        moves[number, :, :, number] = way[:, :, number]
    return moves
