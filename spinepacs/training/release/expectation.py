"""The part of a YOLO11 network that ONNX Runtime computes slowly, written so that it does not."""

from __future__ import annotations

import torch
from torch import nn

_MOST_LOGIT = 80.0
"""Whose exponential is still a number in fp32."""


class Expectation(nn.Module):
    """Ultralytics' mean over a box side's distribution (DFL), (n, 4 × bins, anchors) → (n, 4, anchors), as a sum over a
    sum: a softmax over an inner axis costs ONNX Runtime a twelfth of the whole network's time."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        shares = torch.eye(4).repeat_interleave(bins, 1)
        self.register_buffer("sums", torch.cat([shares * torch.arange(bins).repeat(4), shares])[..., None])

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """The mean bin of each side."""
        above, below = nn.functional.conv1d(logits.clamp(max=_MOST_LOGIT).exp(), self.sums).chunk(2, 1)
        return above / below
