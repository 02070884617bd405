"""Write a model folder from a checkpoint: ``model.onnx`` with manifest and reference answers, on request int8 too.

Run as ``spinepacs export --model FILE --out DIR --version V``.  The card (``README.md``) is written by hand.  The
exported network is compared with the torch one, in several shapes, before anything is put in place.  A folder's reader
and tracer stay, with all that its manifest says of them.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinepacs.analysis.seeing import reader, segment, tracer
from spinepacs.analysis.seeing.manifest import INT8_KEYS, int8_form
from spinepacs.training.data.dataset import CLASS_NAMES
from spinepacs.training.learning.checkpoint import INPUT_SIDE_PX, ModelFacts, open_torch
from spinepacs.training.release.reference import (
    COMPARED,
    REPLAYED,
    SQUARES,
    TOLERANCE,
    ReferenceInput,
    answers,
    open_onnx,
)
from spinepacs.training.release.tables import sha256_of, without_table

_OPSET = 17
_TOLERANCE = {"output0": 0.05, "output1": 0.002}
"""Largest difference allowed between torch and ONNX Runtime; output0 holds boxes in px."""
_OTHERS = (reader.FILE, tracer.FILE)


class ExportError(RuntimeError):
    """The exported network does not answer as the torch network does."""


def onnx_from_checkpoint(checkpoint: Path, target: Path, *, static: bool = False) -> None:
    """Export with Ultralytics' own exporter, so that Ultralytics can load it as well.

    Batch, height and width (multiples of 32) are left open; ``static`` fixes them to 1 × 640 × 640.
    """
    from ultralytics import YOLO

    from spinepacs.training.release.expectation import Expectation  # needs torch, as Ultralytics does

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "model.pt"
        shutil.copyfile(checkpoint, copied)
        model: Any = YOLO(str(copied), task="segment")
        model.model.model[-1].dfl = Expectation(model.model.model[-1].dfl.c1)
        written = model.export(
            format="onnx",
            imgsz=INPUT_SIDE_PX,
            opset=_OPSET,
            simplify=True,
            dynamic=not static,
            device="cpu",
            verbose=False,
        )
        _tidy(Path(written), target)


def _tidy(written: Path, target: Path) -> None:
    """Copy without the date and without intermediate shapes, listed several times: the same weights give one file."""
    import onnx

    network: Any = onnx.load(str(written))
    del network.graph.value_info[:]
    kept = [entry for entry in network.metadata_props if entry.key != "date"]
    del network.metadata_props[:]
    network.metadata_props.extend(kept)
    onnx.save(network, str(target))


def check_same(
    checkpoint: Path, onnx_path: Path, inputs: Sequence[ReferenceInput] = COMPARED
) -> dict[str, float]:
    """Compare torch and ONNX Runtime on the reference inputs.

    Returns
    -------
    dict
        Largest absolute difference by output.

    Raises
    ------
    ExportError
        A difference exceeds the tolerance.
    """
    ours, theirs = open_torch(checkpoint), open_onnx(onnx_path)
    worst = dict.fromkeys(_TOLERANCE, 0.0)
    for tensor in (given.tensor() for given in inputs):
        for name, left, right in zip(_TOLERANCE, ours(tensor), theirs(tensor), strict=True):
            worst[name] = max(worst[name], float(np.abs(left - right).max()))
    if any(worst[name] > limit for name, limit in _TOLERANCE.items()):
        raise ExportError(f"ONNX Runtime and torch differ by {worst}")
    return worst


def manifest_text(onnx_path: Path, facts: ModelFacts) -> str:
    """TOML text of the manifest for an exported model."""
    import ultralytics

    lines = [
        f'name = "{facts.name}"',
        f'version = "{facts.version}"',
        f'licence = "{facts.licence}"',
        f'sha256 = "{sha256_of(onnx_path)}"',
        f"classes = {json.dumps(CLASS_NAMES)}",
        "",
        "# Longer side of a film, and of a window of it, in the input; the shorter side is padded to a multiple of 32.",
        "# Grey is repeated in 3 channels.",
        f"input_px = {INPUT_SIDE_PX}",
        "pad_value = 114",
        f"scale = {1 / 255!r}  # of grey levels 0 … 255",
        "# output0 (n, 4 + 25 + 32, anchors): boxes, class scores, mask weights;",
        "# output1 (n, 32, height / 4, width / 4): prototypes.",
        'outputs = ["output0", "output1"]',
        "",
        f"score_threshold = {facts.score_threshold}",
        f"iou_threshold = {facts.iou_threshold}",
        f"mask_threshold = {facts.mask_threshold}",
        "# Height of a body in the input at the second, closer look (analysis.seeing.windows); 0: none.",
        f"window_body_px = {facts.window_body_px:g}",
        "",
        f"training_data = {json.dumps(facts.training_data, ensure_ascii=False)}",
        f'ultralytics_version = "{ultralytics.__version__}"',
    ]
    return "\n".join(lines) + "\n"


def export(
    checkpoint: Path,
    folder: Path,
    facts: ModelFacts,
    *,
    static: bool = False,
    calibrate: Sequence[Path] = (),
    measure: Sequence[Path] = (),
) -> dict[str, float]:
    """Write ``model.onnx``, ``manifest.toml``, ``reference.json`` and perhaps 8-bit forms into ``folder``.

    Parameters
    ----------
    checkpoint : Path
        Ultralytics checkpoint, as :func:`spinepacs.training.learning.train.train` writes it.
    folder : Path
        Made when missing; an older detector in it is replaced only after the new one has been checked. Reader and
        tracer stay, and what was fitted and measured with the older one (``release.names``, ``release.localise``).
    facts : ModelFacts
        Goes into the manifest.
    static : bool
        Fix the input to 1 × 3 × 640 × 640, for other runtimes: the product does not read such a model.
    calibrate, measure : sequence of Path
        Data sets for the 8-bit forms, see ``quantise.add_int8``; no ``calibrate``, none of them.

    Returns
    -------
    dict
        Largest difference between torch and ONNX Runtime by output, and what ``add_int8`` measured.

    Raises
    ------
    ExportError
        The exported network answers differently; ``folder`` is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fresh, scratch = Path(name) / segment.FILE, Path(name)
        onnx_from_checkpoint(checkpoint, fresh, static=static)
        figures = check_same(checkpoint, fresh, SQUARES if static else COMPARED)
        tables, replies = _others(folder, scratch)
        (scratch / "manifest.toml").write_text(manifest_text(fresh, facts) + tables, encoding="utf-8")
        _write_reference(fresh, facts, SQUARES if static else REPLAYED, replies)
        if calibrate:
            from spinepacs.training.release.quantise import add_int8  # needs the package onnx

            figures |= add_int8(scratch, calibrate, measure)
        for file in INT8_KEYS:
            int8_form(folder / file).unlink(missing_ok=True)
        for made in scratch.iterdir():
            made.replace(folder / made.name)
    return figures


def _others(folder: Path, scratch: Path) -> tuple[str, dict[str, Any]]:
    """Copy a folder's other networks; returns their tables of the manifest, and what they answer to the reference."""
    manifest, reference = folder / "manifest.toml", folder / "reference.json"
    if not manifest.is_file():
        return "", {}
    text = without_table(manifest.read_text(encoding="utf-8"), "int8")
    first = re.search(r"^(?:#.*\n)*\[", text, flags=re.MULTILINE)
    others = [file for file in _OTHERS if (folder / file).is_file()]
    for file in others:
        shutil.copyfile(folder / file, scratch / file)
    replies = json.loads(reference.read_text(encoding="utf-8"))["files"] if others else {}
    return f"\n{text[first.start() :]}" if first else "", {file: replies[file] for file in others}


def _write_reference(
    onnx_path: Path, facts: ModelFacts, inputs: Sequence[ReferenceInput], others: dict[str, Any]
) -> None:
    """``reference.json`` beside the network, with its answers under its name, and those of other networks."""
    replies = answers(open_onnx(onnx_path), facts.score_threshold / 2, facts.iou_threshold, TOLERANCE, inputs)
    text = json.dumps({"files": {onnx_path.name: replies} | others}, indent=1)
    onnx_path.with_name("reference.json").write_text(text + "\n", encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    """Options of ``spinepacs export``."""
    options = argparse.ArgumentParser(
        prog="spinepacs export", description="Write a model folder from a checkpoint."
    )
    options.add_argument("--model", type=Path, required=True, help="checkpoint (.pt)")
    options.add_argument("--out", type=Path, required=True, help="model folder, for instance models/spine")
    options.add_argument("--name", help="default: the folder's name")
    options.add_argument("--version", required=True)
    options.add_argument("--training-data", default="", help="one sentence for the manifest")
    options.add_argument("--score-threshold", type=float, default=ModelFacts.score_threshold)
    options.add_argument("--window-body-px", type=float, default=ModelFacts.window_body_px)
    options.add_argument(
        "--static",
        action="store_true",
        help="fix the input to 1 × 640 × 640, for other runtimes than spinepacs",
    )
    options.add_argument(
        "--calibrate",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="data sets: write the 8-bit forms too",
    )
    options.add_argument(
        "--measure",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="labelled data sets: measure int8's loss",
    )
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints how far torch and ONNX Runtime differ, and the accuracy of fp32 and int8."""
    options = parser()
    given = options.parse_args(arguments)
    if given.static and given.calibrate:
        options.error("--static with --calibrate: the product, which makes the inputs, reads no static model")
    facts = ModelFacts(
        given.name or given.out.resolve().name,
        given.version,
        given.training_data,
        score_threshold=given.score_threshold,
        window_body_px=given.window_body_px,
    )
    figures = export(
        given.model, given.out, facts, static=given.static, calibrate=given.calibrate, measure=given.measure
    )
    sys.stdout.write(f"largest difference between torch and ONNX Runtime, and accuracy: {figures}\n")
    if kept := [file for file in _OTHERS if (given.out / file).is_file()]:
        sys.stdout.write(
            f"{', '.join(kept)} stay as they were; fit names and errors of endplates anew "
            "(spinepacs.training.release.names, .localise)\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
