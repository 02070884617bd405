"""Quantise the network of a model folder to 8 bits: ``model-int8.onnx`` beside ``model.onnx``.

ONNX Runtime's static quantisation in QDQ form: int8 weights with a scale for each channel, uint8 activations whose
ranges come from calibration films as the product shows them to the network, whole and in windows.  What computes the
final numbers stays in fp32, see :func:`fp32_nodes`.

Weights keep all 8 bits.  Processors with AVX2 or AVX-512 but no VNNI sum u8 × s8 in 16 bits, which overflows; there
``analysis.seeing.segment`` asks ONNX Runtime for exact sums, which are slower.  Weights of 7 bits
(``reduce_range``) would be safe and fast everywhere, but cost 2 points of mask mAP50-95 on lateral films
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html; figures in docs/model-comparison.md).
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from spinepacs.analysis.naming.spine import detect
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Precision, Segmenter
from spinepacs.training.data.dataset import Film, read_grey, read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.evaluation.evaluate import evaluate
from spinepacs.training.evaluation.segmenters import open_segmenter
from spinepacs.training.learning.checkpoint import Floats
from spinepacs.training.release.reference import TOLERANCE_INT8, answers, open_onnx

FILE_NAME = "model-int8.onnx"
CALIBRATION_IMAGES = 64
_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_RANGES = {"CalibMovingAverage": True}
"""Least and greatest value of each input, averaged over the inputs: one odd film must not widen a range. Percentiles,
which do the same, want inputs of one size, and ours are as slim as the films."""
_LAST_CONVOLUTIONS = re.compile(r"/cv[234]\.\d/cv[234]\.\d\.2/Conv$")
_BRANCHES = re.compile(r"/model\.\d+/(cv[234]\.|proto/)")


class _Recorder(Segmenter):
    """The product's segmenter, which keeps what it shows the network."""

    shown: list[Floats]

    def infer(self, tensor: Floats) -> tuple[Floats, Floats]:
        """Keep each picture of the batch, then run the network."""
        self.shown += [tensor[index : index + 1] for index in range(len(tensor))]
        return super().infer(tensor)


def calibration_inputs(
    folder: Path, sources: Sequence[Path], count: int = CALIBRATION_IMAGES
) -> list[Floats]:
    """What the product shows the network of training films: of each film the whole, and one window if it has any.

    Parameters
    ----------
    folder
        Model folder, with the windows' size in its manifest.
    sources
        Data sets, see :func:`labelled_films`; each gives an equal share of the films.
    count
        Most inputs wanted.

    Returns
    -------
    Float32 (1, 3, height, width) each, of several sizes.
    """
    recorder = _Recorder.open(folder, 2, "fp32")
    inputs: list[Floats] = []
    for number, film in enumerate(_spread(sources, count // 2)):
        recorder.shown = []
        detect(recorder, read_grey(film.path))
        whole, windows = recorder.shown[0], recorder.shown[1:]
        inputs += [whole, windows[number % len(windows)]] if windows else [whole]
    return inputs


def _spread(sources: Sequence[Path], count: int) -> Iterator[Film]:
    """So many films, evenly from each source and from each source's order; the sources take turns."""
    films = [labelled_films(source, training=True) for source in sources]
    wanted = max(1, count // len(sources))
    chosen = [part[:: max(1, len(part) // wanted)][:wanted] for part in films]
    for turn in zip_longest(*chosen):
        yield from (film for film in turn if film is not None)


def labelled_films(folder: Path, *, training: bool) -> list[Film]:
    """Films of an AP folder (its training or its validation groups), a lateral or a YOLO-seg folder (all of them)."""
    if (folder / "films.csv").is_file():
        return real_films(folder)[0 if training else 1]
    return read_lateral_corners(folder) if (folder / "corners.csv").is_file() else read_yolo_seg(folder)


class _Reader(CalibrationDataReader):
    """Hands the inputs to ONNX Runtime one by one."""

    def __init__(self, inputs: Sequence[Floats]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> dict[str, Floats] | None:
        """Return the next input by name, or None at the end."""
        tensor = next(self._inputs, None)
        return None if tensor is None else {"images": tensor}


def fp32_nodes(names: Sequence[str]) -> list[str]:
    """Nodes of a YOLO11-seg graph that stay in fp32: the decoding at the end, and the convolutions that feed it.

    Boxes are expectations over a distribution and are scaled by the stride, scores leave a sigmoid, and all stand
    in one tensor: one scale of 8 bits for it loses everything.

    Parameters
    ----------
    names
        Node names as Ultralytics exports them, ``/model.N/…``; the head is the highest N.
    """
    head = f"/model.{max(int(name.split('/')[1][6:]) for name in names if name.startswith('/model.'))}/"
    return [
        name
        for name in names
        if name.startswith(head) and (not _BRANCHES.match(name) or _LAST_CONVOLUTIONS.search(name))
    ]


def quantise(model: Path, target: Path, inputs: Sequence[Floats]) -> None:
    """Write the 8-bit form of an exported network; ``inputs`` set the ranges of its activations."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        names = [node.name for node in onnx.load(str(prepared)).graph.node]
        quantize_static(
            str(prepared),
            str(target),
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=fp32_nodes(names),
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=_RANGES,
        )


def add_int8(folder: Path, calibrate: Sequence[Path], measure: Sequence[Path] = ()) -> dict[str, float]:
    """Quantise the network of a model folder, and note file, loss and answers in manifest and reference.

    Parameters
    ----------
    folder
        Model folder as ``training.release.export`` writes it, without an int8 network.
    calibrate
        Data sets for :func:`calibration_inputs`.
    measure
        Data sets on which the loss is measured; none: the manifest does not state it.

    Returns
    -------
    ``films`` and, in points of 100, mask mAP50-95 (one class) of ``fp32`` and ``int8``; empty without ``measure``.
    """
    target = folder / FILE_NAME
    quantise(folder / "model.onnx", target, calibration_inputs(folder, calibrate))
    _append(
        folder / "manifest.toml", f'\n[int8]\nsha256 = "{hashlib.sha256(target.read_bytes()).hexdigest()}"'
    )
    figures = accuracy(folder, measure)
    if figures:
        loss = figures["fp32"] - figures["int8"]
        what = f"# Of mask mAP50-95 (one class), points of 100, on {figures['films']:.0f} films."
        _append(folder / "manifest.toml", f"{what}\nloss_map50_95 = {loss:.2f}")
    _add_reference(folder)
    return figures


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def _add_reference(folder: Path) -> None:
    path, manifest = folder / "reference.json", Manifest.load(folder)
    reference: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    reference["files"][FILE_NAME] = answers(
        open_onnx(folder / FILE_NAME), manifest.score_threshold / 2, manifest.iou_threshold, TOLERANCE_INT8
    )
    path.write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")


def accuracy(folder: Path, sources: Sequence[Path]) -> dict[str, float]:
    """Accuracy of both networks of a folder on the same films, as the product reads them; see :func:`add_int8`."""

    films = [film for source in sources for film in labelled_films(source, training=False)]
    if not films:
        return {}
    figures: dict[str, float] = {"films": len(films)}
    for precision in _PRECISIONS:
        segmenter = open_segmenter(folder, precision=precision)
        figures[precision] = 100 * evaluate(segmenter, films)["mask_map50_95_agnostic"]
    return figures
