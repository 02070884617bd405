"""The tracer's network: down to a sixteenth of a crop and up to half of it again, with what was seen on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from spinepacs.analysis.seeing.tracer import MAPS
from spinepacs.training.reader.network import Stage, convolution

CHANNELS = (16, 32, 64, 96)
_GATHERED = 32


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
        return self.head(self.maps(crops)[-1]).float()

    def maps(self, crops: torch.Tensor) -> list[torch.Tensor]:
        """What is seen, from the coarsest map (n, 96, 6, 6) to the finest (n, 16, 48, 48)."""
        seen = [self.fine(self.stem(crops))]
        for stage in self.down:
            seen.append(stage(seen[-1]))
        maps = [self.deep(seen.pop())]
        for stage in self.up:
            maps.append(stage(maps[-1], seen.pop()))
        return maps


class SpursNetwork(nn.Module):
    """A trained tracer, which stays as it is, with one map more: how far a spur stands out at each cell, as a share of
    its plate. (n, 1, 96, 96) float32 → (n, 6, 48, 48)."""

    def __init__(self) -> None:
        super().__init__()
        self.tracer = TracerNetwork().requires_grad_(False)
        first, second, third, fourth = CHANNELS
        # One map of what is seen at all four sizes: narrowed before it is enlarged, which is the same and cheaper.
        self.fine = nn.Conv2d(first, _GATHERED, 2, 2)
        self.narrow = nn.ModuleList(
            [nn.Conv2d(width, _GATHERED, 1, bias=False) for width in (second, third, fourth)]
        )
        self.near = nn.Conv2d(_GATHERED, _GATHERED, 3, padding=1)
        self.wide = nn.Conv2d(_GATHERED, _GATHERED, 3, padding=2, dilation=2)
        self.last = nn.Conv2d(_GATHERED, 1, 1)

    def train(self, mode: bool = True) -> Any:
        """Train, or not, what is learnt here; the tracer's batch norms keep their statistics."""
        super().train(mode)
        self.tracer.eval()
        return self

    def forward(self, crops: torch.Tensor) -> Any:
        """The tracer's logits, and the spurs."""
        with torch.no_grad():
            *coarser, fine = self.tracer.maps(crops)
            edges = self.tracer.head(fine).float()
        map_ = self.fine(fine)
        for times, narrow, seen in zip((1.0, 2.0, 4.0), self.narrow, reversed(coarser), strict=True):
            map_ = map_ + _grown(narrow(seen), times)
        map_ = torch.relu(map_)
        map_ = torch.relu(self.near(map_)) + map_
        map_ = torch.relu(self.wide(map_)) + map_
        return torch.cat([edges, _grown(self.last(map_).float(), 2.0)], dim=1)


def _grown(map_: torch.Tensor, times: float) -> torch.Tensor:
    return map_ if times == 1 else functional.interpolate(map_, scale_factor=times, mode="bilinear")
