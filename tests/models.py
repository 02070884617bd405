"""Made-up models for tests: real ONNX files that "find" the bodies of a phantom on any film that is bright enough.

The heads are constants but for a gate: where no pixel of the input is brighter than ``GATE``, nothing is found. So the
whole path from the session to the outlines is the real one, without a training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spinepacs.analysis.seeing.crops import EDGES, NAMES, Frame
from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.analysis.seeing.normalise import input_shape, to_input
from spinepacs.domain.anatomy import Level
from spinepacs.domain.geometry import Points
from tests.phantoms import Phantom, scores_of

GATE = 0.7
"""Grey (0–1) that a film must reach somewhere for the model to find anything."""
MASKS = 32
INPUT_PX = 640
STRIDE_PX = 4
READER_WEIGHTS = Weights(
    cervical=0.2,
    thoracic=0.1,
    thoracolumbar=0.3,
    lumbosacral=0.5,
    ends=0.4,
    detector_cervical=0.35,
    detector_thoracic=0.05,
    detector_thoracolumbar=0.15,
    detector_lumbosacral=0.25,
    below=0.45,
    below_end=0.6,
)


def write_model(
    folder: Path,
    phantom: Phantom,
    sizes: Sequence[int | str] = ("batch", "height", "width"),
    reader: NDArray[np.float64] | None = None,
    tracer: NDArray[np.float64] | None = None,
    **changes: object,
) -> Path:
    """Write ``model.onnx`` and ``manifest.toml`` into a folder, for films of the phantom's size.

    ``changes`` replace values of the manifest; None removes a key. ``sizes``: as the input declares them. ``reader``:
    write ``reader.onnx`` too, which answers with these logits to every crop; ``tracer``: the same, with these maps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = _onnx(*heads(phantom), sizes)
    (folder / "model.onnx").write_bytes(weights)
    manifest: dict[str, object] = {
        "name": "made-up",
        "version": "1",
        "licence": "none",
        "classes": [level.name for level in Level],
        "input_px": INPUT_PX,
        "pad_value": 114,
        "score_threshold": 0.25,
        "iou_threshold": 0.55,
        "mask_threshold": 0.5,
        "sha256": hashlib.sha256(weights).hexdigest(),
    } | changes
    lines = [f"{key} = {_toml(value)}" for key, value in manifest.items() if value is not None]
    if reader is not None:
        answering = _answering(reader, NAMES)
        (folder / "reader.onnx").write_bytes(answering)
        lines += [
            "[reader]",
            f'sha256 = "{hashlib.sha256(answering).hexdigest()}"',
            "[reader.weights]",
            *(f"{name} = {weight}" for name, weight in asdict(READER_WEIGHTS).items()),
        ]
    if tracer is not None:
        drawing = _answering(tracer, EDGES)
        (folder / "tracer.onnx").write_bytes(drawing)
        lines += ["[tracer]", f'sha256 = "{hashlib.sha256(drawing).hexdigest()}"']
    (folder / "manifest.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _answering(logits: NDArray[np.float64], frame: Frame) -> bytes:
    """A network that looks at crops and answers the same to all of them."""
    nodes = [
        helper.make_node("ReduceMean", ["crops"], ["means"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["means", "nothing"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "others"], ["columns"]),
        helper.make_node("Add", ["columns", "answer"], ["logits"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0), "nothing"),
        numpy_helper.from_array(np.arange(1, logits.ndim + 1), "others"),
        numpy_helper.from_array(logits.astype(np.float32), "answer"),
    ]
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["batch", 1, *frame.shape])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", *logits.shape])
    graph = helper.make_graph(nodes, "answering", [crops], [answer], constants)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    network.ir_version = 8
    return bytes(network.SerializeToString())


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("'", '"')


def heads(phantom: Phantom) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``output0`` (1, 61, N) with a good and a worse anchor for each body, and ``output1`` (1, 32, h / 4, w / 4)."""
    shape = input_shape(phantom.rows, phantom.columns, INPUT_PX)
    _, letterbox = to_input(np.zeros((phantom.rows, phantom.columns), np.uint8), *shape)
    output0 = np.zeros((1, 4 + len(Level) + MASKS, 2 * len(phantom.bodies)), np.float32)
    output1 = np.zeros((1, MASKS, shape[0] // STRIDE_PX, shape[1] // STRIDE_PX), np.float32)
    for number, (level, body) in enumerate(phantom.bodies.items()):
        corners = letterbox.to_input(body)
        output1[0, number] = inside_px(corners, output1.shape[2:]) / 2
        low, high = corners.min(axis=0), corners.max(axis=0)
        for column, worse in ((2 * number, 0), (2 * number + 1, 1)):
            anchor = output0[0, :, column]
            anchor[:2], anchor[2:4] = (low + high) / 2 + worse, (high - low) * (1 + 0.05 * worse) + 2
            anchor[4 : 4 + len(Level)] = scores_of(level) * (1 - 0.3 * worse)
            anchor[4 + len(Level) + number] = 1
    return output0, output1


def inside_px(corners: Points, cells: tuple[int, ...]) -> NDArray[np.float32]:
    """``cells`` float32: how far the cells' centres lie inside a convex clockwise polygon, input px."""
    centres = (np.moveaxis(np.indices(cells), 0, 2)[:, :, ::-1] + 0.5) * STRIDE_PX
    distance = np.full(cells, np.inf)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        side = (end - start) / np.hypot(*(end - start))
        offset = centres - start
        distance = np.minimum(distance, side[0] * offset[:, :, 1] - side[1] * offset[:, :, 0])
    return distance.astype(np.float32)


def _onnx(output0: NDArray[np.float32], output1: NDArray[np.float32], sizes: Sequence[int | str]) -> bytes:
    scores = np.zeros_like(output0)
    scores[:, 4 : 4 + len(Level)] = output0[:, 4 : 4 + len(Level)]
    constants = {"rest": output0 - scores, "scores": scores, "masks": output1, "gate": np.float32(GATE)}
    constants |= {"nothing": np.float32(0), "last": np.array([3])}
    nodes = [
        # One answer for each picture of a batch.
        helper.make_node("ReduceMax", ["images"], ["brightest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Greater", ["brightest", "gate"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["open"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["open", "last"], ["openings"]),
        helper.make_node("Mul", ["scores", "openings"], ["gated"]),
        helper.make_node("Add", ["rest", "gated"], ["output0"]),
        helper.make_node("Mul", ["open", "nothing"], ["zeros"]),
        helper.make_node("Add", ["masks", "zeros"], ["output1"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "made-up",
        [value("images", TensorProto.FLOAT, [sizes[0], 3, *sizes[1:]])],
        [
            value("output0", TensorProto.FLOAT, [sizes[0], *output0.shape[1:]]),
            value("output1", TensorProto.FLOAT, [sizes[0], *output1.shape[1:]]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
