"""The reader's network: patches of a crop, three residual stages, the logits of 25 levels and of no vertebra."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from spinepacs.analysis.seeing.crops import NAMES
from spinepacs.training.reader.samples import NOTHING

CHANNELS = (32, 48, 96, 128)
_NECK = 32
"""Channels of the last map, which is read cell by cell: where something lies matters as much as what."""


class Stage(nn.Module):
    """Two 3 × 3 convolutions that halve the map, beside a 1 × 1 one."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.first = convolution(width, wider, 3, 2)
        self.second = convolution(wider, wider, 3, 1)
        self.beside = convolution(width, wider, 1, 2)

    def forward(self, map_: torch.Tensor) -> Any:
        """(n, width, h, w) → (n, wider, h / 2, w / 2)."""
        return torch.relu(self.second(torch.relu(self.first(map_))) + self.beside(map_))


class ReaderNetwork(nn.Module):
    """(n, 1, 160, 128) float32 → (n, 26) logits."""

    def __init__(self) -> None:
        super().__init__()
        stages = [Stage(width, wider) for width, wider in pairwise(CHANNELS)]
        # Patches at once: half the cost of two convolutions that halve the crop one after the other.
        self.stem = nn.Sequential(
            nn.Conv2d(1, CHANNELS[0], 6, 4, 1, bias=False), nn.BatchNorm2d(CHANNELS[0]), nn.ReLU()
        )
        self.stages = nn.Sequential(*stages)
        self.neck = nn.Sequential(convolution(CHANNELS[-1], _NECK, 1, 1), nn.ReLU(), nn.Flatten())
        cells = (NAMES.height // 32) * (NAMES.width // 32)
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(_NECK * cells, NOTHING + 1))

    def forward(self, crops: torch.Tensor) -> Any:
        """Logits of each crop."""
        return self.head(self.neck(self.stages(self.stem(crops))).float())


def convolution(width: int, wider: int, side: int, stride: int, pad: int | None = None) -> nn.Sequential:
    """A convolution and its batch norm; ``pad`` None: as much as keeps the map's size at stride 1."""
    pad = side // 2 if pad is None else pad
    return nn.Sequential(nn.Conv2d(width, wider, side, stride, pad, bias=False), nn.BatchNorm2d(wider))
