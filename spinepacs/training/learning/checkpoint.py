"""A trained network as what judges and exports it needs it: a function, its input's size, its thresholds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT_SIDE_PX = 640

Floats = NDArray[np.float32]
Network = Callable[[Floats], tuple[Floats, Floats]]
"""Input (n, 3, height, width) → ``output0``, ``output1``; see ``analysis.seeing.decode``."""


@dataclass(frozen=True)
class ModelFacts:
    """What the manifest says beside the file's own digest: identity, thresholds (0 … 1), closer look (px), origin."""

    name: str
    version: str
    training_data: str
    score_threshold: float = 0.10
    iou_threshold: float = 0.5
    mask_threshold: float = 0.5
    window_body_px: float = 40.0
    licence: str = "AGPL-3.0-or-later"


def open_torch(checkpoint: Path) -> Network:
    """Open a checkpoint with torch as a function from input to both outputs."""
    import torch

    from spinepacs.training.learning.network import read_checkpoint

    module: Any = read_checkpoint(checkpoint).eval()

    def run(tensor: Floats) -> tuple[Floats, Floats]:
        with torch.no_grad():
            (heads, prototypes), _ = module(torch.from_numpy(tensor))
        return heads.numpy(), prototypes.numpy()

    return run
