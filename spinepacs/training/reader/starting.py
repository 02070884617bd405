"""Begin a training of a small network on crops with the weights of a released one: those of its ONNX file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from google.protobuf.message import DecodeError
from torch import nn

from spinepacs.analysis.seeing.crops import to_batch
from spinepacs.training.learning.initialise import (
    FoldedConvolution,
    WeightsError,
    calibrate_batch_norm,
    make_identity,
)
from spinepacs.training.reader.loop import Mixture, Sampler

_CROPS = 256
_WITH_WEIGHTS = ("Conv", "Gemm")


def begun(
    network: nn.Module, file: str, sources: Sequence[tuple[float, Sampler]], given: argparse.Namespace
) -> nn.Module:
    """The network as the command line asks: with the weights of a file of the model folder ``given.start``, if any.

    ``sources``: what it is to learn from, with their shares; what they draw begins with a crop.
    """
    if given.start:
        drawn = iter(Mixture(sources, (given.seed, 0)))
        crops = to_batch([next(drawn)[0] for _ in range(_CROPS)])
        start_from(network, given.start / file, torch.from_numpy(crops))
    return network


def start_from(network: nn.Module, path: Path, crops: torch.Tensor) -> None:
    """Copy the weights of an exported network into ``network``, and give its batch norms statistics again.

    The export folds batch norms into the convolutions before them and drops the names of both, so the layers are told
    by the order in which they are run. Either may have more of them than the other: a tracer's spurs come last.

    Parameters
    ----------
    network
        Untrained, of the same architecture.
    path
        ``reader.onnx`` or ``tracer.onnx`` of a model folder.
    crops
        (n, 1, height, width) float32 that the network is to learn from; some hundred.

    Raises
    ------
    WeightsError
        The file cannot be read, or is not of such a network.
    """
    layers = _in_order(network, crops[:1])
    stored = _stored(path)
    both = list(zip(layers, stored, strict=False))
    if not both or any(tuple(layer.weight.shape) != folded.weight.shape for (layer, _), folded in both):
        raise WeightsError(f"{path}: its layers are not those of a {type(network).__name__}")
    for (layer, norm), folded in both:
        bias = torch.from_numpy(folded.bias)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(folded.weight))
            if layer.bias is not None:
                layer.bias.copy_(bias)
            elif norm is not None:
                make_identity(norm, bias)
    calibrate_batch_norm(network, [crops])


def _in_order(
    network: nn.Module, crop: torch.Tensor
) -> list[tuple[nn.Conv2d | nn.Linear, nn.BatchNorm2d | None]]:
    """The layers with weights, as they are run, each with the batch norm behind it."""
    called: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda one, *_: called.append(one))
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d)
    ]
    network.eval()
    with torch.no_grad():
        network(crop)
    for hook in hooks:
        hook.remove()
    behind = [*called[1:], None]
    return [
        (module, after if isinstance(after, nn.BatchNorm2d) else None)
        for module, after in zip(called, behind, strict=True)
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]


def _stored(path: Path) -> Sequence[FoldedConvolution]:
    import onnx

    try:
        graph = onnx.load(path).graph
    except (OSError, ValueError, DecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as ONNX ({error})") from error
    values = {one.name: np.array(onnx.numpy_helper.to_array(one), np.float32) for one in graph.initializer}
    found = []
    for node in graph.node:
        if node.op_type in _WITH_WEIGHTS and all(name in values for name in node.input[1:]):
            weight, *bias = (values[name] for name in node.input[1:])
            found.append(FoldedConvolution(weight, bias[0] if bias else np.zeros(len(weight), np.float32)))
    return found
