"""One consecutive chain of levels over all detections of a film, by dynamic programming.

The detections are sorted from head to foot; each is either dropped, at a price, or gets a level, and levels grow
from one kept detection to the next by one for each step that its distance is worth. The network's class scores
are the emissions, so the whole film is named at once, as an HMM decoder would (Viterbi 1967, IEEE Trans Inf Theory 13:
260). All prices are in nats, like the logarithms of the class scores. Where a second network has read the bodies, the
chain is then shifted as a whole to where the evidence of both wants it.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import directions
from spinepacs.analysis.seeing.evidence import of_detector
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection

_LEVELS = len(Level)
_MISSED_PRICE = (2.5, 0.7)
"""Of the first level that is skipped, and of each one after it: a vertebra missed in the middle of a film is rare, but
where one is hidden (shoulder, diaphragm, implant) its neighbours often are too."""
_DROP_PRICE = (1.0, 8.0)
"""Of a detection: constant, and times its score. A confident one is only dropped as a duplicate or far off."""
_SPACING_SIGMA = 0.2
"""Spread of log(distance ÷ expected distance) between neighbours: 0.1 on labelled films (98 % within ± 0.25), and
outlines that a network draws are less regular than those of a reader."""
_SPACING_PER_SIZE = (0.75, 1.45)
"""Centre-to-centre distance ÷ √area of neighbours: AP bodies with flat discs, and cervical ones from the side. Unlike
their height, √area does not depend on how a body is turned, nor on the upper thoracic ones being wide and low."""
_ATLAS_RATIO, _ATLAS_SIGMA = 0.42, 0.3
"""C1 lies around the dens of C2, not above it: distance ÷ √area of the two, 0.21 to 0.61 on 588 synthetic necks."""
_SIZE_SIGMA = 0.14
"""Spread of log(√area ÷ √area of the neighbour): neighbours are alike, so of two outlines in one place the one that is
as large as its neighbours is right. None for C2 (it has the dens), C3 below it, and S1 (only its top is drawn)."""
_IS_ALIKE = np.array([level not in (Level.C2, Level.C3, Level.S1) for level in Level])
_FARTHEST_STEP = 18
"""Levels between two neighbours in a chain: a neck and a loin may be all that shows of a whole spine."""
_OUT_OF_VIEW_PRICE = 2.5
"""For each body at a level that the film's body part should not show: less than a clear answer of the network is worth,
since headers are wrong at times."""
SHIFTS = (0, -1, 1, -2, 2)
"""By how many levels a chain may be shifted as a whole; where two fit alike, the first."""
_REVERSAL_PRICE = 6.0
"""By how much the class scores must prefer the head at the bottom of the image before they are believed."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Chain:
    """Named detections from head to foot.

    Parameters
    ----------
    detections
        Those kept, from head to foot.
    levels
        Strictly growing, one for each.
    axes
        (N, 2) float64 unit vectors along the spine at each of them, pointing to the foot.
    dropped
        Those that fit nowhere: duplicates and false ones.
    score
        Sum of all emissions and prices, nats.
    margins
        (N,) float64, how much better the chain is than the best one that gives this vertebra another level, nats.
    """

    detections: tuple[Detection, ...]
    levels: tuple[Level, ...]
    axes: Vector
    dropped: tuple[Detection, ...]
    score: float
    margins: Vector


def best_chain(detections: Sequence[Detection], in_view: Container[int] = range(_LEVELS)) -> Chain:
    """Order and name at least one detection; the answer does not depend on the order they come in.

    Parameters
    ----------
    in_view
        Levels that a film of this body part usually shows: others cost something.
    """
    prior = -_OUT_OF_VIEW_PRICE * np.array([level not in in_view for level in Level])
    centres = np.array([detection.outline.centroid for detection in detections])
    towards = _principal_axis(centres)
    ordered = _Ordered.along(towards, detections, centres)
    steps = _step_prices(*ordered[:2])
    down = _chain(ordered, prior, steps)
    turned = _Ordered.along(-towards, detections, centres)
    # The same prices from the other end, unless two lie side by side.
    is_mirrored = all(
        one is other for one, other in zip(turned.detections, ordered.detections[::-1], strict=True)
    )
    up = _chain(turned, prior, steps[::-1, ::-1] if is_mirrored else _step_prices(*turned[:2]))
    lying = abs(towards[1]) < 0.5
    chain = up if up.score > down.score + (0 if lying else _REVERSAL_PRICE) else down
    return _as_a_whole(chain, prior)


def _as_a_whole(chain: Chain, prior: Vector) -> Chain:
    """The chain, shifted to where all evidence together wants it; its margins are no greater than that of the shift.

    Which bodies are neighbours their spacing and each one's looks have settled. What they are all called hangs on a few
    of them, whose evidence is weighed for that. A body that would lie beyond the spine is dropped, at its least
    evidence.
    """
    said = [one.evidence.together + prior for one in chain.detections if one.evidence]
    if len(said) < len(chain.detections):
        return chain
    levels = np.array(chain.levels)
    totals = np.array([_total(said, levels + shift) for shift in SHIFTS])
    best = int(totals.argmax())
    margin = float(totals[best] - np.delete(totals, best).max())
    moved = levels + SHIFTS[best]
    inside = (moved >= 0) & (moved < _LEVELS)
    return replace(
        chain,
        detections=tuple(one for one, stays in zip(chain.detections, inside, strict=True) if stays),
        levels=tuple(Level(level) for level in moved[inside]),
        axes=chain.axes[inside],
        dropped=chain.dropped
        + tuple(one for one, stays in zip(chain.detections, inside, strict=True) if not stays),
        margins=np.minimum(chain.margins, margin)[inside],
    )


def _total(said: Sequence[Vector], levels: NDArray[np.intp]) -> float:
    """What speaks for these levels, nats; of one beyond the spine, what speaks least for any."""
    pairs = zip(said, levels, strict=True)
    return float(sum(nats[level] if 0 <= level < _LEVELS else nats.min() for nats, level in pairs))


def _principal_axis(centres: Vector) -> Vector:
    """(2,) unit vector along the cloud of centres, pointing down the image."""
    if len(centres) == 1:
        return np.array([0.0, 1.0])
    axis: Vector = np.linalg.svd(centres - centres.mean(axis=0))[2][0]
    return axis if (axis[1], axis[0]) > (0, 0) else -axis


class _Ordered(NamedTuple):
    """Detections, and their centres (N, 2) px, as they come along a unit vector."""

    detections: Sequence[Detection]
    centres: Vector
    towards: Vector

    @classmethod
    def along(cls, towards: Vector, detections: Sequence[Detection], centres: Vector) -> Self:
        order = np.lexsort((centres[:, 0], centres @ towards))
        return cls([detections[index] for index in order], centres[order], towards)


def _chain(ordered: _Ordered, prior: Vector, steps: Vector) -> Chain:
    emissions = _emissions(ordered.detections) + prior
    drops = _DROP_PRICE[0] + _DROP_PRICE[1] * np.array([detection.score for detection in ordered.detections])
    kept, levels, score, margins = _viterbi(emissions, drops, steps)
    return Chain(
        detections=tuple(ordered.detections[index] for index in kept),
        levels=tuple(Level(level) for level in levels),
        axes=directions(ordered.centres[kept], ordered.towards),
        dropped=tuple(item for index, item in enumerate(ordered.detections) if index not in kept),
        score=score,
        margins=margins,
    )


def _emissions(ordered: Sequence[Detection]) -> Vector:
    """(N, levels): what the networks say of each one's level, nats; 0 says nothing."""
    own = of_detector([detection.class_scores for detection in ordered])
    said = [detection.evidence for detection in ordered]
    return np.array([mine if more is None else more.alone for mine, more in zip(own, said, strict=True)])


def _step_prices(ordered: Sequence[Detection], centres: Vector) -> Vector:
    """(N, N, steps, levels): price of going from one detection to another as 1, 2, … levels, by their distance.

    The last axis is the level that is reached: C2 from C1 is a step of its own kind.
    """
    size = np.sqrt([item.outline.area_px for item in ordered])
    distance = np.hypot(*np.moveaxis(centres[:, None] - centres[None, :], 2, 0))
    ratio = distance / np.maximum((size[:, None] + size[None, :]) / 2, 1e-6)
    usual = float(np.median(np.diagonal(ratio, 1))) if len(centres) > 1 else 1.0
    expected = np.clip(usual, *_SPACING_PER_SIZE) * np.arange(1, _FARTHEST_STEP + 1)
    surprise = np.log(np.maximum(ratio, 0.05)[:, :, None] / expected) / _SPACING_SIGMA
    skipped = np.arange(_FARTHEST_STEP)
    prices = surprise**2 + np.where(skipped > 0, _MISSED_PRICE[0] + _MISSED_PRICE[1] * (skipped - 1), 0)
    unlike = np.log(size[:, None] / size[None, :]) / _SIZE_SIGMA
    by_size = (unlike**2)[:, :, None] / np.arange(1, _FARTHEST_STEP + 1)
    of_level: Vector = np.where(_IS_ALIKE, (prices + by_size)[..., None], prices[..., None])
    of_level[:, :, 0, Level.C2] = (np.log(np.maximum(ratio, 0.05) / _ATLAS_RATIO) / _ATLAS_SIGMA) ** 2
    return of_level


def _viterbi(emissions: Vector, drops: Vector, steps: Vector) -> tuple[list[int], list[int], float, Vector]:
    """Indices kept, their levels, the score of the best chain, and its margins."""
    dropped_before = np.concatenate([[0.0], np.cumsum(drops)])
    best, came_from = _forward(emissions, dropped_before, steps)
    through = best + _backward(emissions, dropped_before, steps)
    total = best - (dropped_before[-1] - dropped_before[1:])[:, None]
    index, level = (int(value) for value in np.unravel_index(total.argmax(), total.shape))
    score = float(total[index, level])
    kept, levels = [], []
    while index >= 0:
        kept.append(index)
        levels.append(level)
        index, step = (int(value) for value in came_from[index, level])
        level -= step
    others = through[kept]
    others[np.arange(len(kept)), levels] = -np.inf
    return kept[::-1], levels[::-1], score, (score - others.max(axis=1))[::-1]


def _forward(emissions: Vector, dropped_before: Vector, steps: Vector) -> tuple[Vector, NDArray[np.intp]]:
    """Best score of a chain that ends at each detection and level, and (N, levels, 2) where it came from.

    The latter holds the detection before and the levels between; −1 where the chain starts.
    """
    number = len(emissions)
    best = emissions - dropped_before[:number, None]
    came_from = np.full((number, _LEVELS, 2), -1, np.intp)
    shifted = np.full((number, _FARTHEST_STEP, _LEVELS), -np.inf)  # [n, k - 1, l] is best[n, l - k]
    for here in range(number):
        if here:
            between = dropped_before[here] - dropped_before[1 : here + 1]
            ways = shifted[:here] - steps[:here, here] - between[:, None, None]
            choice = ways.reshape(-1, _LEVELS).argmax(axis=0)
            origin = np.stack(np.divmod(choice, _FARTHEST_STEP), axis=1)
            reached = ways[origin[:, 0], origin[:, 1], np.arange(_LEVELS)] + emissions[here]
            better = reached > best[here]
            best[here, better] = reached[better]
            came_from[here, better] = origin[better] + (0, 1)
        for step in range(1, _FARTHEST_STEP + 1):
            shifted[here, step - 1, step:] = best[here, :-step]
    return best, came_from


def _backward(emissions: Vector, dropped_before: Vector, steps: Vector) -> Vector:
    """(N, levels): best score of what follows each detection at each level, to the end of the film."""
    number = len(emissions)
    best = np.repeat((dropped_before[1:] - dropped_before[-1])[:, None], _LEVELS, axis=1)
    for here in range(number - 2, -1, -1):
        after = slice(here + 1, number)
        between = dropped_before[after] - dropped_before[here + 1]
        ways = ((emissions + best)[after] - between[:, None])[:, None] - steps[here, after]
        reached = ways.max(axis=0)  # [k - 1, the level k below]
        for step in range(1, _FARTHEST_STEP + 1):
            best[here, :-step] = np.maximum(best[here, :-step], reached[step - 1, step:])
    return best
