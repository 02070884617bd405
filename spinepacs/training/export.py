"""Write a model folder: ``model.onnx``, ``manifest.toml`` and ``reference.json`` from a checkpoint.

Run as ``python -m spinepacs.training.export --model FILE --out DIR --version V``.  The card (``README.md``) is
written by hand.  The exported network is compared with the torch one before anything is put in place.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.training.dataset import CLASS_NAMES

Floats = NDArray[np.float32]
INPUT_SIDE_PX = 640
_OPSET = 17
_TOLERANCE = {"output0": 0.05, "output1": 0.002}
"""Largest difference allowed between torch and ONNX Runtime; output0 holds boxes in px."""

REFERENCE_FORMULAS = {
    "ladder": "60 + 90 y / 640 - 30 |x - 320| / 320, plus 45 inside and 30 more on the rim of 17 bodies, 44 px wide "
    "and 18 px high, at x = 320 + 14 sin(k / 3), y = 90 + 26 k; rounded",
    "waves": "128 + 60 sin(x / 9) cos(y / 23) + 40 sin((x + 2 y) / 31), rounded",
}


class ExportError(RuntimeError):
    """The exported network does not answer as the torch network does."""


@dataclass(frozen=True)
class ModelFacts:
    """What the manifest says beside the file's own digest: identity, thresholds (0 … 1), closer look (px), origin."""

    name: str
    version: str
    training_data: str
    score_threshold: float = 0.25
    iou_threshold: float = 0.5
    mask_threshold: float = 0.5
    window_body_px: float = 40.0
    licence: str = "AGPL-3.0-or-later"


def reference_square(kind: str) -> NDArray[np.uint8]:
    """Deterministic grey input, uint8 (640, 640); see :data:`REFERENCE_FORMULAS`."""
    y, x = np.mgrid[0:INPUT_SIDE_PX, 0:INPUT_SIDE_PX].astype(np.float64)
    if kind == "waves":
        values = 128 + 60 * np.sin(x / 9) * np.cos(y / 23) + 40 * np.sin((x + 2 * y) / 31)
        return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)
    values = 60 + 90 * y / INPUT_SIDE_PX - 30 * np.abs(x - 320) / 320
    for k in range(17):
        centre_x, centre_y = 320 + 14 * np.sin(k / 3), 90 + 26 * k
        inside = (np.abs(x - centre_x) <= 22) & (np.abs(y - centre_y) <= 9)
        rim = inside & ((np.abs(x - centre_x) >= 20) | (np.abs(y - centre_y) >= 7))
        values = values + 45 * inside + 30 * rim
    return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)


def to_tensor(square: NDArray[np.uint8]) -> Floats:
    """Grey square to the network's input, float32 (1, 3, 640, 640) in 0 … 1."""
    tensor: Floats = np.repeat(square[None, None].astype(np.float32) / np.float32(255), 3, axis=1)
    return tensor


def onnx_from_checkpoint(checkpoint: Path, target: Path) -> None:
    """Export with Ultralytics' own exporter (static 1 × 3 × 640 × 640), so that Ultralytics can load it as well."""
    from ultralytics import YOLO

    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "model.pt"
        shutil.copyfile(checkpoint, copied)
        model: Any = YOLO(str(copied), task="segment")
        written = model.export(
            format="onnx", imgsz=INPUT_SIDE_PX, opset=_OPSET, simplify=True, dynamic=False, device="cpu"
        )
        shutil.copyfile(written, target)


def open_onnx(path: Path) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Open a model with ONNX Runtime as a function from input to both outputs."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(tensor: Floats) -> tuple[Floats, Floats]:
        heads, prototypes = session.run(None, {name: tensor})[:2]
        return heads, prototypes

    return run


def open_torch(checkpoint: Path) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Open a checkpoint with torch as a function from input to both outputs."""
    import torch

    from spinepacs.training.network import read_checkpoint

    module: Any = read_checkpoint(checkpoint).eval()

    def run(tensor: Floats) -> tuple[Floats, Floats]:
        with torch.no_grad():
            (heads, prototypes), _ = module(torch.from_numpy(tensor))
        return heads.numpy(), prototypes.numpy()

    return run


def check_same(checkpoint: Path, onnx_path: Path) -> dict[str, float]:
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
    for kind in REFERENCE_FORMULAS:
        tensor = to_tensor(reference_square(kind))
        for name, left, right in zip(_TOLERANCE, ours(tensor), theirs(tensor), strict=True):
            worst[name] = max(worst[name], float(np.abs(left - right).max()))
    if any(worst[name] > limit for name, limit in _TOLERANCE.items()):
        raise ExportError(f"ONNX Runtime and torch differ by {worst}")
    return worst


def reference_answers(onnx_path: Path, facts: ModelFacts) -> dict[str, Any]:
    """What the model answers to the reference inputs, for a test to replay.

    Per input: every detection above half the score threshold as product code decodes it, and per head channel the
    extremes over all anchors, which also guard inputs on which nothing is found.
    """
    from spinepacs.analysis.decode import decode

    run = open_onnx(onnx_path)
    answers = []
    for kind, formula in REFERENCE_FORMULAS.items():
        heads, prototypes = run(to_tensor(reference_square(kind)))
        found = decode(heads, len(CLASS_NAMES), facts.score_threshold / 2, facts.iou_threshold)
        rows = [
            {
                "box_px": _rounded(box, 2),
                "score": round(float(score), 4),
                "level": CLASS_NAMES[int(levels.argmax())],
            }
            for box, score, levels in zip(found.boxes_px, found.scores, found.class_scores, strict=True)
        ]
        answers.append(
            {
                "input": kind,
                "formula": formula,
                "grey_sum": int(reference_square(kind).sum()),
                "detections": rows,
                "highest_by_channel": _rounded(heads[0].max(axis=1), 3),
                "prototype_means": _rounded(prototypes[0].mean(axis=(1, 2)), 4),
            }
        )
    tolerance = {"box_px": 0.5, "score": 0.01, "highest_by_channel": 0.5, "prototype_means": 0.005}
    return {"score_threshold": facts.score_threshold / 2, "tolerance": tolerance, "answers": answers}


def _rounded(values: Floats, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def manifest_text(onnx_path: Path, facts: ModelFacts) -> str:
    """TOML text of the manifest for an exported model."""
    import ultralytics

    lines = [
        f'name = "{facts.name}"',
        f'version = "{facts.version}"',
        f'licence = "{facts.licence}"',
        f'sha256 = "{hashlib.sha256(onnx_path.read_bytes()).hexdigest()}"',
        f"classes = {json.dumps(CLASS_NAMES)}",
        "",
        "# The film is fitted into the input with its aspect kept, centred and padded; grey is repeated in 3 channels.",
        f"input_height_px = {INPUT_SIDE_PX}",
        f"input_width_px = {INPUT_SIDE_PX}",
        "pad_value = 114",
        f"scale = {1 / 255!r}  # of grey levels 0 … 255",
        "# output0 (1, 4 + 25 + 32, 8400): boxes, class scores, mask weights; output1 (1, 32, 160, 160): prototypes.",
        'outputs = ["output0", "output1"]',
        "",
        f"score_threshold = {facts.score_threshold}",
        f"iou_threshold = {facts.iou_threshold}",
        f"mask_threshold = {facts.mask_threshold}",
        "# Height of a body in the input at the second, closer look (analysis.windows); 0: none.",
        f"window_body_px = {facts.window_body_px:g}",
        "",
        f"training_data = {json.dumps(facts.training_data, ensure_ascii=False)}",
        f'ultralytics_version = "{ultralytics.__version__}"',
    ]
    return "\n".join(lines) + "\n"


def export(checkpoint: Path, folder: Path, facts: ModelFacts) -> dict[str, float]:
    """Write ``model.onnx``, ``manifest.toml`` and ``reference.json`` into ``folder``.

    Parameters
    ----------
    checkpoint : Path
        Ultralytics checkpoint, as :func:`spinepacs.training.train.train` writes it.
    folder : Path
        Made when missing; an older model in it is replaced only after the new one has been checked.
    facts : ModelFacts
        Goes into the manifest.

    Returns
    -------
    dict
        Largest difference between torch and ONNX Runtime by output.

    Raises
    ------
    ExportError
        The exported network answers differently; ``folder`` is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        fresh = Path(scratch) / "model.onnx"
        onnx_from_checkpoint(checkpoint, fresh)
        worst = check_same(checkpoint, fresh)
        answers = json.dumps(reference_answers(fresh, facts), indent=1)
        manifest = manifest_text(fresh, facts)
        fresh.replace(folder / "model.onnx")
    (folder / "manifest.toml").write_text(manifest, encoding="utf-8")
    (folder / "reference.json").write_text(answers + "\n", encoding="utf-8")
    return worst


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints how far torch and ONNX Runtime differ."""
    parser = argparse.ArgumentParser(description="Write a model folder from a checkpoint.")
    parser.add_argument("--model", type=Path, required=True, help="checkpoint (.pt)")
    parser.add_argument("--out", type=Path, required=True, help="model folder, for instance models/spine-v0")
    parser.add_argument("--name", help="default: the folder's name")
    parser.add_argument("--version", required=True)
    parser.add_argument("--training-data", default="", help="one sentence for the manifest")
    parser.add_argument("--score-threshold", type=float, default=ModelFacts.score_threshold)
    parser.add_argument("--window-body-px", type=float, default=ModelFacts.window_body_px)
    given = parser.parse_args(arguments)
    facts = ModelFacts(
        given.name or given.out.name,
        given.version,
        given.training_data,
        score_threshold=given.score_threshold,
        window_body_px=given.window_body_px,
    )
    worst = export(given.model, given.out, facts)
    sys.stdout.write(f"torch and ONNX Runtime differ by at most {worst}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
