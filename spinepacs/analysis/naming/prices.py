"""What a chain's geometry costs: distances, sideways steps, sizes, vertebrae that are missed or dropped; all in nats.

Each price is a weight times a surprise. Those of what is missed or dropped are fitted together with the weights of the
networks' answers (``training.release.names``), so that sums of them are logarithms of probabilities. Those of distance,
sideways steps and size are 1 ÷ 2σ², σ twice what is measured between true neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import directions
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.study import View

Floats = NDArray[np.float64]

FARTHEST_STEP = 18
"""Levels between two neighbours in a chain: a neck and a loin may be all that shows of a whole spine."""
_LEVELS = len(Level)
_FROM_THE_SIDE = {"C2": 0.45, "C3": 1.47, "C4": 1.31, "C7": 1.27, "T1": 1.27, "T2": 1.23, "T3": 1.16, "T4": 1.11,
                  "T6": 1.06, "T8": 1.04, "T10": 1.05, "T12": 1.11, "L2": 1.22, "L3": 1.25, "S1": 1.27}  # fmt: skip
_FROM_THE_FRONT = {"C2": 0.45, "C3": 1.0, "C4": 0.9, "C7": 0.88, "T1": 0.93, "T2": 0.95, "T4": 1.04, "T6": 1.06,
                   "T9": 1.02, "T12": 1.06, "L2": 1.1, "L4": 1.11, "L5": 1.02, "S1": 0.9}  # fmt: skip
"""Centre-to-centre distance ÷ mean √area of the two, for the step that reaches a level: medians of what the detector
outlines on real and synthetic films (which agree within 5 %), straight between those given. C1 lies around the dens."""
_ATLAS_SHARE = 0.25
"""Of the price of a distance: between C1 and C2 it varies twice as much."""
_OF_THIS_FILM = 0.12
"""By how much (as a logarithm) all of a film's ratios may differ from the usual ones."""
_LEAST_RATIO = 0.05
_LEAST_SCORE = 0.02
"""And the greatest is as far from 1: a network is never surer."""
_UNUSUAL = 0.05
"""Squared logarithm added to that of a distance where the sacrum follows right below L4, or below L5 and one more body:
four or six lumbar vertebrae. A few in a hundred people have them."""
_IS_ALIKE = np.array([level not in (Level.C1, Level.C2, Level.C3, Level.S1) for level in Level])
"""Neighbours are as large as each other; but C2 has the dens, and of S1 only the top is drawn."""


@dataclass(frozen=True)
class Prices:
    """Weights of the surprises of a chain.

    Parameters
    ----------
    distance
        For each squared logarithm of distance ÷ usual distance.
    missed, missed_more
        For the first level that a step skips, and for each one after it: where one is hidden its neighbours often are.
    sideways
        For each squared sine of the angle between a step and the spine's direction there.
    size
        For each squared logarithm of √area ÷ √area of the neighbour, shared by the levels between.
    kept, kept_score
        For a detection that is kept (so, what it costs to drop it), and for each log odds of its score.
    """

    distance: float
    missed: float
    missed_more: float
    sideways: float
    size: float
    kept: float
    kept_score: float


FITTED = Prices(
    distance=22.0, missed=3.96, missed_more=0.05, sideways=12.5, size=35.0, kept=2.23, kept_score=0.54
)


class Surprises(NamedTuple):
    """What a step from one detection to another may cost, each to be multiplied by its price; arrays broadcast to
    (N, N, steps, levels), the last the level that is reached."""

    distance: Floats
    missed: Floats
    missed_more: Floats
    sideways: Floats
    size: Floats

    def priced(self, prices: Prices) -> Floats:
        """(N, N, steps, levels) nats, ≤ 0."""
        total: Floats = prices.distance * self.distance
        total += prices.sideways * self.sideways
        total += prices.size * self.size
        total += prices.missed * self.missed + prices.missed_more * self.missed_more
        return np.negative(total, out=total)


def surprises(detections: Sequence[Detection], centres: Floats, towards: Floats, view: View) -> Surprises:
    """Of every step between detections that are sorted along ``towards`` (2,); centres (N, 2) px."""
    size = np.sqrt([one.outline.area_px for one in detections])
    between = centres[None] - centres[:, None]
    distance = np.hypot(between[..., 0], between[..., 1])
    mean_size = np.maximum((size[:, None] + size[None]) / 2, 1e-6)
    ratio = np.log(np.maximum(distance / mean_size, _LEAST_RATIO))
    axes = directions(centres, towards)
    axes = axes[:, None] + axes[None]
    axes /= np.maximum(np.hypot(axes[..., 0], axes[..., 1]), 1e-9)[..., None]
    aside = between[..., 0] * axes[..., 1] - between[..., 1] * axes[..., 0]
    expected = _expected(view)
    if len(detections) > 1:
        usual = float(np.median(np.diagonal(ratio, 1))) - float(np.median(expected[0, Level.C3 :]))
        expected = expected + np.clip(usual, -_OF_THIS_FILM, _OF_THIS_FILM)
    off = np.square(ratio[:, :, None, None] - expected)
    off[:, :, 0, Level.C2] *= _ATLAS_SHARE
    off[:, :, :2, Level.S1] = np.minimum(off[:, :, :2, Level.S1], off[:, :, 1::-1, Level.S1] + _UNUSUAL)
    unlike = np.square(np.log(size[:, None] / size[None]))[:, :, None] / np.arange(1, FARTHEST_STEP + 1)
    skipped = np.arange(FARTHEST_STEP, dtype=np.float64)[:, None]
    missed = np.minimum(skipped, np.ones(_LEVELS))
    missed[1, Level.S1] = 0  # Where there is no L5, it is not missed.
    return Surprises(
        off,
        missed,
        np.maximum(skipped - 1, 0),
        np.square(aside / np.maximum(distance, 1e-6))[:, :, None, None],
        unlike[..., None] * _IS_ALIKE,
    )


def kept(detections: Sequence[Detection], prices: Prices) -> Floats:
    """(N,) nats for keeping each detection, by its score."""
    nats: Floats = prices.kept + prices.kept_score * log_odds(detections)
    return nats


def log_odds(detections: Sequence[Detection]) -> Floats:
    """(N,) of each detection's score."""
    scores = np.clip([one.score for one in detections], _LEAST_SCORE, 1 - _LEAST_SCORE)
    odds: Floats = np.log(scores / (1 - scores))
    return odds


@cache
def _expected(view: View) -> Floats:
    """(steps, levels) logarithm of the usual ratio of a step of 1, 2, … levels to each level."""
    sides = [_FROM_THE_SIDE] * (view is not View.AP) + [_FROM_THE_FRONT] * (view in (View.AP, View.UNKNOWN))
    levels = range(_LEVELS)
    ratios = np.exp(
        np.mean(
            [
                np.interp(levels, [Level[name] for name in side], np.log(list(side.values())))
                for side in sides
            ],
            axis=0,
        )
    )
    upto = np.concatenate([[0.0], np.cumsum(ratios)])
    expected = np.zeros((FARTHEST_STEP, _LEVELS))
    for step in range(1, FARTHEST_STEP + 1):
        for level in range(step, _LEVELS):
            expected[step - 1, level] = np.log(upto[level + 1] - upto[level - step + 1])
    return expected
