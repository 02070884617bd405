"""How well the reader alone names whole labelled spines: the best shift of all its bodies at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spinepacs.analysis.seeing.crops import to_batch
from spinepacs.training.reader.samples import Spine, crops_of

_SHIFTS = range(-3, 4)


def log_probabilities(network: nn.Module, spine: Spine) -> NDArray[np.float64]:
    """(N + 2, 26) of the places of a spine."""
    with torch.no_grad():
        logits = network(torch.from_numpy(to_batch(crops_of(spine))))
    return np.asarray(torch.log_softmax(logits, dim=1).numpy(), np.float64)


def agreement(network: nn.Module, spines: Sequence[Spine]) -> dict[str, float]:
    """``crops``: share of bodies named right by themselves; ``nats``: their mean log probability; ``films``: share of
    spines that fit best where they are, not shifted as a whole."""
    exact, nats, films = [], [], []
    for spine in spines:
        found, levels = log_probabilities(network, spine)[1:-1], np.array(spine.classes[1:-1])
        exact.extend(found.argmax(axis=1) == levels)
        nats.extend(found[np.arange(len(levels)), levels])
        films.append(best_shift(found, levels) == 0)
    means = (float(np.mean(part)) for part in (exact, nats, films))
    return dict(zip(("crops", "nats", "films"), means, strict=True))


def best_shift(found: NDArray[np.float64], levels: NDArray[np.int64]) -> int:
    """The shift of all levels at once that fits best; a level beyond the spine counts as no vertebra."""
    totals = []
    for shift in _SHIFTS:
        moved = levels + shift
        beyond = (moved < 0) | (moved >= found.shape[1] - 1)
        columns = np.where(beyond, found.shape[1] - 1, moved)
        totals.append(found[np.arange(len(levels)), columns].sum())
    return _SHIFTS[int(np.argmax(totals))]
