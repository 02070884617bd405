"""Quantise the networks of a model folder to 8 bits: ``model-int8.onnx`` beside ``model.onnx``, and so on.

Run as ``python -m spinepacs.training.release.quantise --model DIR --calibrate DIR … --measure DIR …``, last of all:
each network that joins the folder takes the 8-bit forms away.

ONNX Runtime's static quantisation in QDQ form: int8 weights with a scale for each channel, uint8 activations whose
ranges come from calibration films as the product shows them to each network.  What computes the final numbers stays in
fp32, and of the detector what 8 bits harm most for the time they save: see :func:`fp32_nodes`.

Weights keep all 8 bits.  Processors with AVX2 or AVX-512 but no VNNI sum u8 × s8 in 16 bits, which overflows; there
``analysis.seeing.sessions`` asks ONNX Runtime for exact sums, which are slower.  Weights of 7 bits
(``reduce_range``) would be safe and fast everywhere, but cost 2 points of mask mAP50-95 on lateral films
(https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html; figures in docs/model-comparison.md).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from spinepacs.analysis.naming.spine import find_spine
from spinepacs.analysis.seeing import reader, segment, tracer
from spinepacs.analysis.seeing.manifest import INT8_KEYS, Manifest, int8_form
from spinepacs.analysis.seeing.reader import Reader
from spinepacs.analysis.seeing.segment import Precision, Segmenter
from spinepacs.analysis.seeing.tracer import Tracer
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film, read_grey, read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.evaluation.evaluate import evaluate
from spinepacs.training.evaluation.film import radiograph_of
from spinepacs.training.evaluation.reading import header_view
from spinepacs.training.evaluation.segmenters import open_segmenter
from spinepacs.training.learning.checkpoint import Floats
from spinepacs.training.release.reference import answers_of
from spinepacs.training.release.tables import sha256_of, with_table

CALIBRATION_IMAGES = 64
_CROPS = 4
"""Of each look of the reader and the tracer: evenly spread along the spine."""
_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_HARMED = re.compile(r"/model\.[0-2]/|/attn/|/cv3\.[01]/")
"""Of the detector: what 8 bits harm most for the time that they save: the first stages, whose channels are few, the
attention, and the levels' branch where maps are large. On 129 inputs 8 bits everywhere move scores by 4.7 points and
outlines to an overlap of 97.2 %; without these by 2.4 and to 98.3 %, in less time."""
_LAST_CONVOLUTIONS = re.compile(r"/cv[234]\.\d/cv[234]\.\d\.2/Conv$")
_BRANCHES = re.compile(r"/model\.\d+/(cv[234]\.|proto/)")
_WITH_WEIGHTS = ("Conv", "Gemm")


class _Recording(onnxruntime.InferenceSession):
    """A network that keeps what it is shown."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), providers=["CPUExecutionProvider"])
        self.shown: list[Floats] = []

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """Keep the input, then run the network."""
        self.shown.extend(input_feed.values())
        return super().run(output_names, input_feed, run_options)


def calibration_inputs(
    folder: Path, sources: Sequence[Path], count: int = CALIBRATION_IMAGES
) -> dict[str, list[Floats]]:
    """What the product shows the networks of training films.

    Parameters
    ----------
    folder
        Model folder, with the windows' size in its manifest.
    sources
        Data sets, see :func:`labelled_films`; each gives an equal share of the films.
    count
        Most inputs of the detector wanted.

    Returns
    -------
    By file float32 inputs: of the detector (1, 3, height, width) each, of each film the whole, and one window if it has
    any; of the others (n, 1, height, width) crops.
    """
    manifest = Manifest.load(folder)
    detecting = _Recording(folder / segment.FILE)
    reading = _Recording(folder / reader.FILE) if manifest.reader else None
    tracing = _Recording(folder / tracer.FILE) if manifest.tracer_sha256 else None
    segmenter = Segmenter(
        manifest,
        detecting,
        reader=Reader(manifest.reader, reading) if manifest.reader and reading else None,
        tracer=Tracer(tracing) if tracing else None,
    )
    inputs: dict[str, list[Floats]] = {segment.FILE: []}
    for number, film in enumerate(_spread(sources, count // 2)):
        detecting.shown.clear()
        view = header_view(film)
        find_spine(segmenter, radiograph_of(read_grey(film.path), view))
        whole, *windows = (picture[None] for batch in detecting.shown for picture in batch)
        closer = windows if view is not View.AP else []
        inputs[segment.FILE] += [whole, closer[number % len(closer)]] if closer else [whole]
    for file, recorded in ((reader.FILE, reading), (tracer.FILE, tracing)):
        if recorded and recorded.shown:
            inputs[file] = [batch[:: max(1, len(batch) // _CROPS)] for batch in recorded.shown]
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

    def __init__(self, name: str, inputs: Sequence[Floats]) -> None:
        self._name, self._inputs = name, iter(inputs)

    def get_next(self) -> dict[str, Floats] | None:
        """Return the next input by name, or None at the end."""
        tensor = next(self._inputs, None)
        return None if tensor is None else {self._name: tensor}


def fp32_nodes(graph: Any) -> list[str]:
    """Names of the nodes that stay in fp32.

    Of any network the last layer with weights before each answer, and what comes after it: an answer of 8 bits is too
    coarse. Of a YOLO11-seg the decoding at its end, and the convolutions that feed it: boxes are expectations over a
    distribution and are scaled by the stride, scores leave a sigmoid, and all stand in one tensor, for which one scale
    of 8 bits loses everything; its prototypes are no numbers by themselves, and do with 8 bits.

    Parameters
    ----------
    graph
        ONNX graph; of a detector with node names as Ultralytics exports them, ``/model.N/…``, the last the head.
    """
    names = [node.name for node in graph.node]
    stages = [int(name.split("/")[1][6:]) for name in names if name.startswith("/model.")]
    if not stages:
        return _last(graph)
    head = f"/model.{max(stages)}/"
    return [
        name
        for name in names
        if (name.startswith(head) and (not _BRANCHES.match(name) or _LAST_CONVOLUTIONS.search(name)))
        or _HARMED.search(name)
    ]


def _last(graph: Any) -> list[str]:
    makes = {name: node for node in graph.node for name in node.output}
    asked = [output.name for output in graph.output]
    found: dict[str, None] = {}
    while asked:
        node = makes.get(asked.pop())
        if node is not None and node.name not in found:
            found[node.name] = None
            if node.op_type not in _WITH_WEIGHTS:
                asked.extend(node.input)
    return list(found)


def quantise(model: Path, target: Path, inputs: Sequence[Floats]) -> None:
    """Write the 8-bit form of an exported network; ``inputs`` set the ranges of its activations."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared)).graph
        quantize_static(
            str(prepared),
            str(target),
            _Reader(graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=fp32_nodes(graph),
            calibrate_method=CalibrationMethod.MinMax,
        )


def add_int8(folder: Path, calibrate: Sequence[Path], measure: Sequence[Path] = ()) -> dict[str, float]:
    """Quantise the networks of a model folder, and note files, loss and answers in manifest and reference.

    Parameters
    ----------
    folder
        Model folder as ``training.release`` writes it; 8-bit forms that it has are made anew.
    calibrate
        Data sets for :func:`calibration_inputs`.
    measure
        Data sets on which the loss is measured; none: the manifest does not state it.

    Returns
    -------
    ``films`` and, in points of 100, mask mAP50-95 (one class) of ``fp32`` and ``int8``; empty without ``measure``.
    """
    lines = []
    for file, inputs in calibration_inputs(folder, calibrate).items():
        target = int8_form(folder / file)
        quantise(folder / file, target, inputs)
        lines.append(f'{INT8_KEYS[file]} = "{sha256_of(target)}"')
    _note(folder, lines)
    _add_references(folder)
    figures = accuracy(folder, measure)
    if figures:
        loss = figures["fp32"] - figures["int8"]
        lines.append(f"# Of mask mAP50-95 (one class), points of 100, on {figures['films']:.0f} films.")
        _note(folder, [*lines, f"loss_map50_95 = {loss:.2f}"])
    return figures


def _note(folder: Path, lines: Sequence[str]) -> None:
    path = folder / "manifest.toml"
    table = "\n".join(["[int8]", *lines])
    text = with_table(path.read_text(encoding="utf-8"), "int8", table, Manifest.load(folder).version)
    path.write_text(text, encoding="utf-8")


def _add_references(folder: Path) -> None:
    path, manifest = folder / "reference.json", Manifest.load(folder)
    reference: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for file in manifest.int8_sha256:
        form = int8_form(folder / file)
        reference["files"][form.name] = answers_of(form, manifest)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the accuracy of both forms."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.quantise", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder")
    add("--calibrate", type=Path, nargs="+", required=True, metavar="DIR", help="data sets for the ranges")
    add(
        "--measure",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="labelled data sets: measure the loss",
    )
    given = parser.parse_args(arguments)
    sys.stdout.write(f"accuracy: {add_int8(given.model, given.calibrate, given.measure)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
