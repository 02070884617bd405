"""Start a YOLO11n-seg network from folded weights: the COCO ones of an int8 OpenVINO detector, or a model folder's.

The OpenVINO detector's convolutions are dequantised (int8 weight x per-channel scale) and copied by module name.
Its batch norms are folded into them, so the copied network would start with batch norms that know nothing:
:func:`calibrate_batch_norm` un-folds them on a few films, which leaves the evaluation output unchanged and
makes train mode agree with it.  Measured on AP films, eight epochs: box mAP50-95 25.9 from scratch, 46.8
with batch norm left at identity, 54.8 calibrated.

Source of the COCO weights: Ultralytics YOLO11n, OpenVINO int8 export, AGPL-3.0.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from torch import nn

_DTYPES = {"f32": "<f4", "f16": "<f2", "i8": "i1", "u8": "u1", "i64": "<i8", "i32": "<i4"}
_CONV_TYPES = ("Convolution", "GroupConvolution")
_NAME = re.compile(r"^__module\.(model\..+?)/aten::_convolution")


class WeightsError(ValueError):
    """The folder of OpenVINO weights is missing, or has a form that this reader does not know."""


@dataclass(frozen=True)
class FoldedConvolution:
    """One convolution of the detector with its batch norm folded in.

    ``weight`` is float32 (out, in / groups, kh, kw); ``bias`` float32 (out,).
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class _Graph:
    """The part of an OpenVINO IR that is needed here: layers, constants and who feeds whom."""

    def __init__(self, xml_path: Path) -> None:
        bin_path = xml_path.with_suffix(".bin")
        if not xml_path.is_file() or not bin_path.is_file():
            raise WeightsError(f"{xml_path} and {bin_path.name} beside it are needed")
        root = ElementTree.parse(xml_path).getroot()  # noqa: S314  (a file of the user's own choice)
        self._data = bin_path.read_bytes()
        self.layers = {str(layer.get("id")): layer for layer in root.iter("layer")}
        self._inputs: dict[str, dict[int, str]] = defaultdict(dict)
        self._outputs: dict[str, list[str]] = defaultdict(list)
        for edge in root.iter("edge"):
            source, target = str(edge.get("from-layer")), str(edge.get("to-layer"))
            self._inputs[target][int(str(edge.get("to-port")))] = source
            self._outputs[source].append(target)

    def kind(self, layer_id: str) -> str:
        return str(self.layers[layer_id].get("type"))

    def inputs(self, layer_id: str) -> list[str]:
        return [source for _, source in sorted(self._inputs[layer_id].items())]

    def outputs(self, layer_id: str) -> list[str]:
        return self._outputs[layer_id]

    def constant(self, layer_id: str) -> NDArray[np.float32]:
        """Evaluate the small constant expressions that hold quantised weights, as float32."""
        kind = self.kind(layer_id)
        if kind == "Const":
            return self._read(layer_id)
        values = [self.constant(source) for source in self.inputs(layer_id)]
        if kind == "Convert":
            return values[0]
        if kind == "Multiply":
            return np.asarray(values[0] * values[1], np.float32)
        if kind == "Subtract":
            return np.asarray(values[0] - values[1], np.float32)
        if kind == "Reshape":
            return values[0].reshape(values[1].astype(int))
        raise WeightsError(f"layer {self.layers[layer_id].get('name')}: {kind} is not a constant expression")

    def _read(self, layer_id: str) -> NDArray[np.float32]:
        data = self.layers[layer_id].find("data")
        if data is None:
            raise WeightsError(f"constant {layer_id} has no data")
        dtype = _DTYPES.get(str(data.get("element_type")))
        if dtype is None:
            raise WeightsError(f"element type {data.get('element_type')} is not known")
        shape = [int(n) for n in str(data.get("shape")).split(",") if n.strip()]
        offset, size = int(str(data.get("offset"))), int(str(data.get("size")))
        values = np.frombuffer(self._data[offset : offset + size], dtype)
        # OpenVINO stores a tensor of one repeated value once only.
        values = np.broadcast_to(values, shape) if values.size == 1 else values.reshape(shape)
        return np.asarray(values, np.float32)


def read_openvino(folder: Path) -> dict[str, FoldedConvolution]:
    """Dequantise every named convolution of the OpenVINO IR in ``folder``.

    Parameters
    ----------
    folder : Path
        Holds exactly one ``*.xml`` with its ``*.bin`` (as ``yolo export format=openvino int8=True`` writes).

    Returns
    -------
    dict of str to FoldedConvolution
        By torch module name, for instance ``model.0.conv``.

    Raises
    ------
    WeightsError
        Files are missing, or the graph holds something else than (group) convolutions with int8 or float weights.
    """
    found = sorted(folder.glob("*.xml"))
    if len(found) != 1:
        raise WeightsError(f"{folder}: one .xml expected, {len(found)} found")
    graph = _Graph(found[0])
    convolutions: dict[str, FoldedConvolution] = {}
    for layer_id, layer in graph.layers.items():
        match = _NAME.match(str(layer.get("name")))
        if graph.kind(layer_id) in _CONV_TYPES and match:
            convolutions[match.group(1)] = _folded(graph, layer_id)
    return convolutions


def _folded(graph: _Graph, layer_id: str) -> FoldedConvolution:
    weight = graph.constant(graph.inputs(layer_id)[1])
    if graph.kind(layer_id) == "GroupConvolution":  # (groups, out / groups, in / groups, kh, kw)
        weight = weight.reshape(-1, *weight.shape[2:])
    bias = np.zeros(weight.shape[0], np.float32)
    for follower in graph.outputs(layer_id):
        if graph.kind(follower) == "Add":
            bias = graph.constant(graph.inputs(follower)[1]).reshape(-1)
    return FoldedConvolution(weight, bias)


def read_onnx(path: Path) -> dict[str, FoldedConvolution]:
    """Read every convolution of a ``model.onnx`` as ``spinepacs export`` writes it, by torch module name.

    Raises
    ------
    WeightsError
        The file cannot be read, or its convolutions have no names.
    """
    import onnx

    try:
        stored = onnx.load(path).graph.initializer
    except (OSError, ValueError, DecodeError) as error:
        raise WeightsError(f"{path}: cannot be read as ONNX ({error})") from error
    values = {tensor.name: np.array(onnx.numpy_helper.to_array(tensor), np.float32) for tensor in stored}
    found = {
        name.removesuffix(".weight"): FoldedConvolution(
            weight, values.get(name.removesuffix("weight") + "bias", np.zeros(len(weight), np.float32))
        )
        for name, weight in values.items()
        if name.startswith("model.") and name.endswith(".weight")
    }
    if not found:
        raise WeightsError(f"{path}: its convolutions have no names; give the fp32 model.onnx of an export")
    return found


def build_network(n_classes: int, size: str = "n") -> nn.Module:
    """Return an untrained YOLO11-seg torch network for grey films shown as three equal channels.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    size : str
        Ultralytics' letter: n, s, m, l or x.
    """
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import SegmentationModel

    network: nn.Module = SegmentationModel(f"yolo11{size}-seg.yaml", ch=3, nc=n_classes, verbose=False)
    network.args = get_cfg(overrides={"task": "segment"})  # the loss reads its gains from here
    return network


def load_folded(network: nn.Module, convolutions: dict[str, FoldedConvolution]) -> list[str]:
    """Copy folded convolutions into ``network`` by name; a batch norm takes the bias and becomes the identity.

    The class branch is narrower for fewer classes: it takes the first rows and columns.  Names that ``network``
    lacks, and convolutions of another kernel, are passed over.

    Returns
    -------
    list of str
        The names that were copied.
    """
    modules = dict(network.named_modules())
    loaded: list[str] = []
    for name, folded in convolutions.items():
        module = modules.get(name)
        if not isinstance(module, nn.Conv2d):
            continue
        rows, columns = module.weight.shape[:2]
        weight = torch.from_numpy(folded.weight[:rows, :columns].copy())
        bias = torch.from_numpy(folded.bias[:rows].copy())
        if module.weight.shape != weight.shape:
            continue
        norm = modules.get(name.rpartition(".")[0] + ".bn")
        if module.bias is None and norm is None:  # the fixed sum of the box distribution: nothing to learn
            continue
        with torch.no_grad():
            module.weight.copy_(weight)
            if module.bias is not None:
                module.bias.copy_(bias)
            else:
                make_identity(norm, bias)
        loaded.append(name)
    return loaded


def make_identity(norm: nn.Module | None, bias: torch.Tensor) -> None:
    """A batch norm that does nothing but add ``bias``: what stands behind a convolution into which it was folded."""
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_mean is None or norm.running_var is None:
        raise WeightsError("a convolution without bias is not followed by a batch norm")
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0 - norm.eps)
    norm.weight.fill_(1.0)
    norm.bias.copy_(bias)


def calibrate_batch_norm(network: nn.Module, batches: Sequence[torch.Tensor]) -> None:
    """Un-fold identity batch norms: statistics from films, affine part so that the output does not change.

    Only the batch norms that are an identity (running mean 0, weight 1) are changed.

    Parameters
    ----------
    network : nn.Module
        As :func:`load_folded` left it.
    batches : sequence of torch.Tensor
        Real inputs, float32 (n, 3, height, width) in 0 .. 1; 48 films in all are enough.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    sums = {norm: _Moments() for norm in norms}
    network.eval()
    with torch.no_grad(), _watching(sums):
        for batch in batches:
            network(batch)
    with torch.no_grad():
        for norm, moments in sums.items():
            if moments.count:
                _unfold(norm, moments.mean(), moments.variance())


class _Moments:
    """First two moments by channel of what enters a batch norm."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Any = 0.0
        self._squares: Any = 0.0

    def add(self, values: torch.Tensor) -> None:
        wide = values.detach().double()
        self.count += wide.numel() // wide.shape[1]
        self._sum = self._sum + wide.sum((0, 2, 3))
        self._squares = self._squares + (wide * wide).sum((0, 2, 3))

    def mean(self) -> torch.Tensor:
        return torch.as_tensor(self._sum / self.count).float()

    def variance(self) -> torch.Tensor:
        mean = self._sum / self.count
        return torch.as_tensor(self._squares / self.count - mean * mean).clamp(min=1e-6).float()


@contextmanager
def _watching(sums: dict[nn.BatchNorm2d, _Moments]) -> Iterator[None]:
    def hook(moments: _Moments) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda _module, inputs: moments.add(inputs[0])

    handles = [norm.register_forward_pre_hook(hook(moments)) for norm, moments in sums.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _unfold(norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    if norm.running_mean is None or norm.running_var is None:
        raise WeightsError("batch norms without running statistics cannot be calibrated")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - scale * norm.running_mean
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_(scale * torch.sqrt(variance + norm.eps))
    norm.bias.copy_(shift + scale * mean)


def initialise(weights: Path, n_classes: int, batches: Sequence[torch.Tensor], size: str = "n") -> nn.Module:
    """Build the network, copy weights in and calibrate its batch norms; see the functions above.

    ``weights`` is a model folder with its ``model.onnx``, or an OpenVINO folder.
    """
    network = build_network(n_classes, size)
    exported = weights / "model.onnx"
    load_folded(network, read_onnx(exported) if exported.is_file() else read_openvino(weights))
    calibrate_batch_norm(network, batches)
    return network
