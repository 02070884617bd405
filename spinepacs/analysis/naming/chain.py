"""One consecutive chain of levels over all detections of a film, with the probability of each name.

The detections are sorted from head to foot; each is either dropped or gets a level, and levels grow from one kept
detection to the next by one for each step that its distance is worth. All that speaks for a name is weighed at once
over all chains (:mod:`~spinepacs.analysis.naming.lattice`): the networks' answers, which are weighed so that what they
say adds up along the film (:mod:`~spinepacs.analysis.seeing.evidence`), and the chain's geometry
(:mod:`~spinepacs.analysis.naming.prices`). Published is the chain of which most names are expected to be right, and how
sure each of them is. So one end of the film that is sure of itself names the other, through a place where a body is
hidden or drawn twice, and where both ends disagree both are doubted.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.lattice import Lattice, Sums, most_right
from spinepacs.analysis.naming.prices import FITTED, kept, surprises
from spinepacs.analysis.seeing.crops import directions
from spinepacs.analysis.seeing.evidence import of_detector
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.study import View

_LEVELS = len(Level)
LEAST = 0.15
"""Probability of being a vertebra of the chain from which a detection is named: rather in doubt than left out."""
_DETECTOR_ALONE = 0.6
"""Weight of the detector's class scores where no second network has read the body."""
_OUT_OF_VIEW_PRICE = 1.0
"""For each body at a level that the film's body part should not show: less than a clear answer of the network is worth,
since headers are wrong at times."""
_REVERSAL_PRICE = 6.0
"""By how much the chains must prefer the head at the bottom of the image before they are believed."""

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
        Logarithm of the summed weights of all chains, nats: how well the film fits any.
    margins
        (N,) float64, log odds of each level against all others that the vertebra may have, nats.
    others
        The likeliest of those others, one for each.
    """

    detections: tuple[Detection, ...]
    levels: tuple[Level, ...]
    axes: Vector
    dropped: tuple[Detection, ...]
    score: float
    margins: Vector
    others: tuple[Level, ...]


def best_chain(
    detections: Sequence[Detection], in_view: Container[int] = range(_LEVELS), view: View = View.UNKNOWN
) -> Chain:
    """Order and name at least one detection; the answer does not depend on the order they come in.

    Parameters
    ----------
    in_view
        Levels that a film of this body part usually shows: others cost something.
    view
        Where it is known: necks have other proportions from the front than from the side.
    """
    prior = -_OUT_OF_VIEW_PRICE * np.array([level not in in_view for level in Level])
    centres = np.array([detection.outline.centroid for detection in detections])
    towards = _principal_axis(centres)
    ordered = _Ordered.along(towards, detections, centres)
    lattice = ordered.lattice(prior, view)
    turned = _Ordered.along(-towards, detections, centres)
    # The same lattice from the other end, unless two lie side by side.
    is_mirrored = all(
        one is other for one, other in zip(turned.detections, ordered.detections[::-1], strict=True)
    )
    mirrored = Lattice(lattice.bodies[::-1], lattice.steps[::-1, ::-1])
    upwards = mirrored if is_mirrored else turned.lattice(prior, view)
    lying = abs(towards[1]) < 0.5
    down, up = Sums(lattice), Sums(upwards)
    if up.total > down.total + (0 if lying else _REVERSAL_PRICE):
        return turned.chain(up)
    return ordered.chain(down)


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

    def lattice(self, prior: Vector, view: View) -> Lattice:
        """All that speaks for each chain; ``prior`` (levels,) for each body at a level, nats."""
        own = _DETECTOR_ALONE * of_detector([one.class_scores for one in self.detections])
        said = np.array(
            [
                mine if one.evidence is None else one.evidence
                for mine, one in zip(own, self.detections, strict=True)
            ]
        )
        bodies = said + prior + kept(self.detections, FITTED)[:, None]
        return Lattice(bodies, surprises(self.detections, self.centres, self.towards, view).priced(FITTED))

    def chain(self, sums: Sums) -> Chain:
        """The chain that is to be published."""
        names = sums.names
        rows, levels = np.array(most_right(names, LEAST)).T
        right = names[rows, levels]
        others = names[rows]
        others[np.arange(len(rows)), levels] = 0
        with np.errstate(divide="ignore"):
            margins = np.log(right) - np.log(others.sum(axis=1))
        chosen = set(rows.tolist())
        return Chain(
            detections=tuple(self.detections[row] for row in rows),
            levels=tuple(Level(level) for level in levels),
            axes=directions(self.centres[rows], self.towards),
            dropped=tuple(one for row, one in enumerate(self.detections) if row not in chosen),
            score=sums.total,
            margins=margins,
            others=tuple(map(Level, others.argmax(axis=1))),
        )
