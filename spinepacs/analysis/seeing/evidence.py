"""What detector and reader say of each body's level, in nats.

Neighbours are seen with the same surroundings, so that their answers are no independent evidence; and where nothing but
counting tells one level from the next, a network's confidence is worth little. So each answer is weighed by where it
says that it is: a body beside the alae tells more than five behind the heart. The weights belong to the model and are
fitted on films that neither network has seen (``training.release.names``).

The lowest bodies are looked at twice, the second time with everything above hidden: what the sacrum says by itself, and
not by counting from the ribs, is evidence of its own. Where ribs and sacrum disagree, the sum is small, and the names
are in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level

_LEVELS = len(Level)
_SHARE_FLOOR = 0.03
"""Least share of a class score: one confident wrong answer of the detector says 3.5 nats and no more."""
_READ_FLOOR = 0.01
"""The same of the reader's probability: 4.6 nats, before it is weighed."""
_STRETCHES = {
    "cervical": (Level.C1, Level.C7),
    "thoracic": (Level.T1, Level.T10),
    "thoracolumbar": (Level.T11, Level.L2),
    "lumbosacral": (Level.L3, Level.S1),
}

Floats = NDArray[np.float64]


class Answers(NamedTuple):
    """The reader's log probabilities at N bodies and beyond both ends, (N + 2, levels + 1) each: of the crops as they
    are, and with what lies above each body hidden. Rows where nobody looked are nan."""

    whole: Floats
    below: Floats


@dataclass(frozen=True)
class Weights:
    """By which answers are multiplied before they are added up along the spine.

    Parameters
    ----------
    cervical, thoracic, thoracolumbar, lumbosacral
        Of the reader's answers, by where they say that they are: C1–C7, T1–T10, T11–L2, L3–S1.
    ends
        Of its answers beyond both ends of what was found.
    below, below_end
        Of its answers where what lies above is hidden, by how far they say L3–S1, and of that below the last body; 0
        where a model's reader has not learnt to look so.
    detector_cervical, detector_thoracic, detector_thoracolumbar, detector_lumbosacral
        Of the detector's class scores, by where they say that they are.
    """

    cervical: float
    thoracic: float
    thoracolumbar: float
    lumbosacral: float
    ends: float
    detector_cervical: float
    detector_thoracic: float
    detector_thoracolumbar: float
    detector_lumbosacral: float
    below: float = 0.0
    below_end: float = 0.0

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The manifest's table ``reader.weights``; KeyError where one without a default is missing."""
        return cls(
            **{
                field.name: float(table[field.name])
                for field in fields(cls)
                if field.default is MISSING or field.name in table
            }
        )


def weighed(class_scores: Sequence[NDArray[np.float32]], answers: Answers, weights: Weights) -> Floats:
    """(N, levels) evidence of N bodies from head to foot by both networks."""
    worth = _worth(_shares(class_scores), weights, "detector_")
    total: Floats = worth[:, None] * of_detector(class_scores) + of_reader(answers, weights)
    return total


def of_detector(class_scores: Sequence[NDArray[np.float32]]) -> Floats:
    """(N, levels): log of each class score's share over an even share; 0 says nothing."""
    nats: Floats = np.log(np.maximum(_shares(class_scores), _SHARE_FLOOR) * _LEVELS)
    return nats


def _shares(class_scores: Sequence[NDArray[np.float32]]) -> Floats:
    scores = np.array(class_scores, np.float64).reshape(-1, _LEVELS)
    shares: Floats = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9)
    return shares


def of_reader(answers: Answers, weights: Weights) -> Floats:
    """(N, levels) of the reader's answers at N bodies and beyond both ends.

    What lies beyond an end speaks of the body there: below L5 comes S1, and below S1 no vertebra.
    """
    whole, below = np.exp(answers.whole), np.exp(answers.below)
    nats, nats_below = _nats(whole), _nats(below)
    bodies: Floats = nats[1:-1, :_LEVELS] * _worth(whole[1:-1], weights, "")[:, None]
    first, last = _STRETCHES["lumbosacral"]
    sacral = np.nansum(below[1:-1, first : last + 1], axis=1)
    bodies += nats_below[1:-1, :_LEVELS] * (weights.below * sacral)[:, None]
    bodies[0] += weights.ends * np.append(nats[0, _LEVELS], nats[0, : _LEVELS - 1])
    bodies[-1] += (weights.ends * nats[-1] + weights.below_end * nats_below[-1])[1:]
    return bodies


def _nats(probable: Floats) -> Floats:
    """Of probabilities; 0, which says nothing, where nobody looked."""
    nats: Floats = np.nan_to_num(np.log(np.maximum(probable, _READ_FLOOR) * _LEVELS), nan=0.0)
    return nats


def _worth(probable: Floats, weights: Weights, network: str) -> Floats:
    """(N,) weight of each answer: that of each stretch by how probable it is."""
    parts = [
        getattr(weights, network + name) * probable[:, first : last + 1].sum(axis=1)
        for name, (first, last) in _STRETCHES.items()
    ]
    total: Floats = np.sum(parts, axis=0)
    return total
