"""How well the reader alone names whole labelled spines: the best shift of all its bodies at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spinepacs.analysis.seeing.crops import hidden_above, to_batch
from spinepacs.domain.anatomy import Level
from spinepacs.training.reader.samples import Grey, Spine, crops_of

_SHIFTS = range(-3, 4)


def log_probabilities(network: nn.Module, crops: Sequence[Grey]) -> NDArray[np.float64]:
    """(N, 26) of what crops show."""
    with torch.no_grad():
        logits = network(torch.from_numpy(to_batch(crops)))
    return np.asarray(torch.log_softmax(logits, dim=1).numpy(), np.float64)


def agreement(network: nn.Module, spines: Sequence[Spine]) -> dict[str, float]:
    """``crops``: share of bodies named right by themselves; ``nats``: their mean log probability; ``films``: share of
    spines that fit best where they are, not shifted as a whole; ``sacrum``: the same of what is seen from L2 downwards
    with all above each body hidden, where L5 is among them or the next below."""
    exact, nats, films, sacra = [], [], [], []
    for spine in spines:
        crops, levels = crops_of(spine)[1:], np.array(spine.classes[1:])
        found, levels_seen = log_probabilities(network, crops[:-1]), levels[:-1]
        exact.extend(found.argmax(axis=1) == levels_seen)
        nats.extend(found[np.arange(len(levels_seen)), levels_seen])
        films.append(best_shift(found, levels_seen) == 0)
        if Level.L5 in levels:
            low = np.flatnonzero(levels >= Level.L2)
            told = log_probabilities(network, [hidden_above(crops[row]) for row in low])
            sacra.append(best_shift(told, levels[low]) == 0)
    means = (float(np.mean(part)) if part else float("nan") for part in (exact, nats, films, sacra))
    return dict(zip(("crops", "nats", "films", "sacrum"), means, strict=True))


def best_shift(found: NDArray[np.float64], levels: NDArray[np.int64]) -> int:
    """The shift of all levels at once that fits best; a level beyond the spine counts as no vertebra."""
    totals = []
    for shift in _SHIFTS:
        moved = levels + shift
        beyond = (moved < 0) | (moved >= found.shape[1] - 1)
        columns = np.where(beyond, found.shape[1] - 1, moved)
        totals.append(found[np.arange(len(levels)), columns].sum())
    return _SHIFTS[int(np.argmax(totals))]
