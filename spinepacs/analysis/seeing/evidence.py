"""What networks say of a body's level, in nats: 0 says nothing, and no answer may say more than its floor allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level

_LEVELS = len(Level)
_SHARE_FLOOR = 0.03
"""Least share of a class score: one confident wrong answer of the detector costs 3.5 nats and no more."""
_READ_FLOOR = 1e-3
"""The same of the reader's probability: 7 nats."""

Floats = NDArray[np.float64]


def of_detector(class_scores: Sequence[NDArray[np.float32]]) -> Floats:
    """(N, levels): log of each class score's share over an even share."""
    scores = np.array(class_scores, np.float64).reshape(-1, _LEVELS)
    shares = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1e-9)
    nats: Floats = np.log(np.maximum(shares, _SHARE_FLOOR) * _LEVELS)
    return nats


def of_reader(answers: Floats) -> Floats:
    """(N, levels) of the reader's log probabilities at N bodies and beyond both ends, (N + 2, levels + 1).

    What lies beyond an end speaks of the body there: below L5 comes S1, and below S1 no vertebra. Rows of ``answers``
    that are nan (nobody looked) say nothing.
    """
    nats = np.log(np.maximum(np.exp(answers), _READ_FLOOR) * _LEVELS)
    nats = np.where(np.isnan(answers), 0.0, nats)
    bodies, nothing = nats[1:-1, :_LEVELS].copy(), nats[:, _LEVELS]
    bodies[0] += np.append(nothing[0], nats[0, : _LEVELS - 1])
    bodies[-1] += np.append(nats[-1, 1:_LEVELS], nothing[-1])
    return bodies
