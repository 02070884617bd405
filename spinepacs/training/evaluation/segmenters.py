"""The product's segmenter over a model folder or a checkpoint, for judging them alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Precision, Segmenter
from spinepacs.domain.anatomy import Level
from spinepacs.training.learning.checkpoint import INPUT_SIDE_PX, ModelFacts, open_torch

Heads = tuple[NDArray[np.float32], NDArray[np.float32]]


class RememberingSegmenter(Segmenter):
    """The product's segmenter; the network sees no picture twice while one film is evaluated."""

    _answers: dict[int, Heads] | None = None

    def infer(self, tensor: NDArray[np.float32]) -> Heads:
        """Run the network, or repeat its answer: (n, 3, h, w) float32 to both heads."""
        if self._answers is None:
            self._answers = {}
        key = hash((tensor.shape, tensor.tobytes()))
        if key not in self._answers:
            self._answers[key] = self.run_network(tensor)
        return self._answers[key]

    def run_network(self, tensor: NDArray[np.float32]) -> Heads:
        """Run the network, whatever it has answered before."""
        return super().infer(tensor)

    def forget(self) -> None:
        """Make room for the next film."""
        self._answers = None


class TorchSegmenter(RememberingSegmenter):
    """The product's segmenter with the torch network of a checkpoint in the place of ONNX Runtime."""

    def __init__(self, checkpoint: Path, manifest: Manifest, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.manifest = manifest
        self._network = open_torch(checkpoint)

    def run_network(self, tensor: NDArray[np.float32]) -> Heads:
        """Run the network: (n, 3, h, w) float32 to both heads."""
        return self._network(tensor)


def open_segmenter(model: Path, threads: int = 2, precision: Precision = "auto") -> RememberingSegmenter:
    """Open a model folder, or a checkpoint with the thresholds that export would write."""
    if model.is_dir():
        return RememberingSegmenter.open(model, threads, precision)
    facts = ModelFacts("checkpoint", "0", "")
    manifest = Manifest(
        name=facts.name,
        version=facts.version,
        licence=facts.licence,
        classes=tuple(Level),
        input_px=INPUT_SIDE_PX,
        pad_value=114,
        score_threshold=facts.score_threshold,
        iou_threshold=facts.iou_threshold,
        mask_threshold=facts.mask_threshold,
        sha256="",
        window_body_px=facts.window_body_px,
    )
    return TorchSegmenter(model, manifest, threads)
