"""Where a body hardly shows, those above and below tell where it lies: a spine bends and grows smoothly.

Behind the shoulders a network draws bodies half a body off, at the right number but at the wrong place. So the centres
and sizes of a chain are smoothed over the levels, each believed as far as its edges were seen: the line with the
smallest third differences (a spline, Whittaker 1923, Proc. Edinb. Math. Soc. 41: 63) whose deviations are those of
Student's t, so that one that lies quite elsewhere does not bend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Vertebra

_FIRST, _LAST = Level.C3, Level.L5
"""Between them a body's centre lies a body's height from the next; C1 lies around the dens, S1 is drawn in part."""
_LEAST = 6
"""Bodies from which a line is drawn."""
_STIFF, _STIFF_SIZES = 30.0, 20.0
"""What a squared third difference of the centres, and a squared second one of log √area, costs beside a squared
deviation, in bodies. Tried from 3 to 300, on 15 lateral films: the same within two bodies of 330."""
_SURE, _PER_DOUBT = 0.05, 6.0
"""A body's standard deviation along either axis, in √area: this, and this for each squared doubt."""
_FREEDOM = 4.0
_ROUNDS = 12
_IN_DOUBT = 0.15
"""Doubt from which a body is moved to where it has to lie."""
_UNDRAWN = 0.4
"""Doubt of a body of which no plate was drawn."""
_FAR = 0.1
"""Move, in √area, from which it is one."""

Floats = NDArray[np.float64]


class Place(NamedTuple):
    """Where a body has to lie: its centre (x, y), and √area ÷ that of its outline; and how far that is, in √area."""

    centre: Floats
    growth: float
    move: float


def doubt(body: Vertebra) -> float:
    """How widely the tracer's answers for a body's plates are scattered; see ``Endplate.spread``."""
    spreads = [plate.spread for plate in (body.upper, body.lower) if plate and plate.spread is not None]
    return sum(spreads) / len(spreads) if spreads else _UNDRAWN


def out_of_line(vertebrae: Sequence[Vertebra]) -> dict[int, Place]:
    """Bodies whose edges hardly show and that lie elsewhere than their neighbours say, by their row.

    Not the first and the last one: beyond the last that shows, a line may run anywhere.

    Parameters
    ----------
    vertebrae
        Named, from head to foot, on a picture with square pixels.
    """
    rows = [row for row, body in enumerate(vertebrae) if _FIRST <= body.level <= _LAST]
    doubts = np.array([doubt(vertebrae[row]) for row in rows])
    if len(rows) < _LEAST or doubts.max() <= _IN_DOUBT:
        return {}
    steps = np.array([vertebrae[row].level for row in rows])
    centres = np.array([vertebrae[row].outline.centroid for row in rows])
    sizes = np.sqrt([vertebrae[row].outline.area_px for row in rows])
    unit = float(np.median(sizes))
    deviations = _SURE + _PER_DOUBT * doubts**2
    lines = _smoothed(steps - steps[0], centres / unit, deviations) * unit
    growths = np.exp(_smooth(steps - steps[0], np.log(sizes)[:, None], deviations**-2, 2, _STIFF_SIZES))[:, 0]
    moves = np.hypot(*(lines - centres).T) / unit
    return {
        row: Place(line, float(growth / size), float(move))
        for row, line, growth, size, move, much in zip(
            rows, lines, growths, sizes, moves, doubts, strict=True
        )
        if much > _IN_DOUBT and move > _FAR and row not in (rows[0], rows[-1])
    }


def _smoothed(steps: NDArray[np.int64], centres: Floats, deviations: Floats) -> Floats:
    """(N, 2) centres on the smooth line; iteratively reweighted, so that the deviations are those of Student's t."""
    weights = deviations**-2
    for _ in range(_ROUNDS):
        line = _smooth(steps, centres, weights, 3, _STIFF)
        off = np.square(line - centres).sum(axis=1) / deviations**2
        weights = (_FREEDOM + 2) / (_FREEDOM + off) / deviations**2
    return line


def _smooth(steps: NDArray[np.int64], values: Floats, weights: Floats, order: int, stiff: float) -> Floats:
    """(N, k) values of the line with small differences of an order over whole ``steps`` (N,) from 0, growing."""
    there = np.eye(int(steps[-1]) + 1)
    seen = there[steps]
    bent = np.diff(there, order, axis=0)
    matrix = seen.T @ (weights[:, None] * seen) + stiff * bent.T @ bent
    return np.asarray(np.linalg.solve(matrix, seen.T @ (weights[:, None] * values))[steps])
