"""The tracer's network: down to a sixteenth of a crop and up to half of it again, with what was seen on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spinepacs.analysis.seeing.tracer import MAPS
from spinepacs.training.reader.network import Stage, convolution

CHANNELS = (16, 32, 64, 96)


class _Up(nn.Module):
    """Doubles the map and adds what was seen at that size."""

    def __init__(self, width: int, narrower: int) -> None:
        super().__init__()
        self.narrow = convolution(width, narrower, 1, 1)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.mix = convolution(narrower, narrower, 3, 1)

    def forward(self, map_: torch.Tensor, seen: torch.Tensor) -> Any:
        grown = torch.relu(self.grow(self.narrow(map_)) + seen)
        return torch.relu(self.mix(grown)) + grown


class TracerNetwork(nn.Module):
    """(n, 1, 96, 96) float32 → (n, 5, 48, 48) logits: of each corner's place, and of lying inside the body."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = CHANNELS
        self.stem = nn.Sequential(convolution(1, first, 4, 2, 1), nn.ReLU())
        self.fine = nn.Sequential(convolution(first, first, 3, 1), nn.ReLU())
        self.down = nn.ModuleList(
            [Stage(width, wider) for width, wider in ((first, second), (second, third), (third, fourth))]
        )
        self.deep = nn.Sequential(convolution(fourth, fourth, 3, 1), nn.ReLU())
        self.up = nn.ModuleList([_Up(fourth, third), _Up(third, second), _Up(second, first)])
        self.head = nn.Sequential(convolution(first, 24, 3, 1), nn.ReLU(), nn.Conv2d(24, MAPS, 1))

    def forward(self, crops: torch.Tensor) -> Any:
        """Logits of each cell of the map."""
        seen = [self.fine(self.stem(crops))]
        for stage in self.down:
            seen.append(stage(seen[-1]))
        map_ = self.deep(seen.pop())
        for stage in self.up:
            map_ = stage(map_, seen.pop())
        return self.head(map_).float()
