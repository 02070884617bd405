"""What the training loop needs beside the network itself: the loss, the running average and checkpoints."""

from __future__ import annotations

import copy
import math
import time
from pathlib import Path
from pydoc import locate
from typing import Any

import torch
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from spinepacs.errors import BadModel
from spinepacs.training.data.dataset import CLASS_NAMES

_MASKED_LOGIT = -30.0
_NETWORKS = ("torch.nn.modules.", "ultralytics.nn.", "ultralytics.utils.IterableSimpleNamespace")
"""Where the classes are defined that a checkpoint may be made of."""


class MaskedLoss:
    """Ultralytics' v8 segmentation loss that leaves out classes for which a film carries no labels."""

    def __init__(self, network: Any) -> None:
        from ultralytics.utils.loss import v8SegmentationLoss

        network.args.overlap_mask = False  # one soft mask per body instead of one index image
        self._loss: Any = v8SegmentationLoss(network)

    def __call__(
        self, predictions: dict[str, Any], batch: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss to minimise and its parts (box, mask, class, distribution), detached, float32 (4,)."""
        floats: dict[str, Any] = {
            key: [part.float() for part in value] if isinstance(value, list | tuple) else value.float()
            for key, value in predictions.items()
        }
        # A constant far below zero costs nothing as background and carries no gradient.
        hidden = batch["unlabelled"][:, :, None] & ~self._on_labelled_bodies(floats["feats"], batch)[:, None]
        floats["scores"] = floats["scores"].masked_fill(hidden, _MASKED_LOGIT)
        total, _ = self._loss(floats, batch)
        return total.sum(), total.detach()[:4] / len(batch["img"])

    def _on_labelled_bodies(
        self, features: list[torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Bool (n, anchors): whether an anchor lies in the box of a labelled body.

        There every class is known, also those without labels elsewhere on the film: a labelled T1 is no C7.
        """
        from ultralytics.utils.tal import make_anchors

        points, strides = make_anchors(features, self._loss.stride, 0.5)
        height, width = (size * float(self._loss.stride[0]) for size in features[0].shape[2:])
        shares = points * strides / torch.tensor([width, height], device=points.device)
        near = (shares[None] - batch["bboxes"][:, None, :2]).abs() < batch["bboxes"][:, None, 2:] / 2
        inside = torch.zeros(len(batch["img"]), len(shares), device=points.device)
        inside.index_add_(0, batch["batch_idx"].long(), near.all(dim=2).float())
        return inside > 0


class MovingAverage:
    """Exponential moving average of a network's weights and statistics, with a short memory at first."""

    def __init__(self, network: nn.Module, decay: float = 0.998, warm_up_steps: float = 200.0) -> None:
        self.network = copy.deepcopy(network).eval()
        self._decay, self._warm_up_steps = decay, warm_up_steps
        self.updates = 0

    def update(self, network: nn.Module) -> None:
        """Move towards ``network``."""
        self.updates += 1
        decay = self._decay * (1 - math.exp(-self.updates / self._warm_up_steps))
        fresh = network.state_dict()
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.dtype.is_floating_point:
                    value.lerp_(fresh[name].detach(), 1 - decay)
                else:
                    value.copy_(fresh[name])


def read_checkpoint(path: Path) -> nn.Module:
    """Network of an ``ema.pt`` (or any Ultralytics checkpoint), float32, ready to be trained further.

    Such a file is a pickle, which could call anything: only networks' own classes are let through.

    Raises
    ------
    BadModel
        If it asks for anything else.
    """
    named = get_unsafe_globals_in_checkpoint(path)
    if strange := [name for name in named if not name.startswith(_NETWORKS)]:
        raise BadModel(f"{path}: asks for {', '.join(strange)}: no checkpoint of a network, not loaded")
    with safe_globals([locate(name) for name in named]):
        content = torch.load(path, map_location="cpu", weights_only=True)
    network: nn.Module = (content.get("ema") or content["model"]).float()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".dfl" not in name)  # the sum over the box distribution is fixed
    return network


def freeze(network: Any, layers: int) -> None:
    """Keep weights and statistics of the first ``layers`` layers as they are; to be called in train mode."""
    for layer in network.model[:layers]:
        layer.eval()
        for parameter in layer.parameters():
            parameter.requires_grad_(False)


def write_checkpoint(path: Path, network: nn.Module) -> None:
    """Write weights so that ``ultralytics.YOLO(path)`` loads them."""
    import ultralytics

    saved: Any = copy.deepcopy(network).float().eval().cpu()
    saved.names = dict(enumerate(CLASS_NAMES))
    settings = {"task": "segment", "imgsz": 640, "data": None, "overlap_mask": False}
    content = {
        "model": saved,
        "ema": None,
        "train_args": settings,
        "version": ultralytics.__version__,
        "epoch": -1,
    }
    temporary = path.with_suffix(".tmp")
    torch.save({**content, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}, temporary)
    temporary.replace(path)
