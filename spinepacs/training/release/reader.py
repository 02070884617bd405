"""Put a trained reader into a model folder: ``reader.onnx``, its table in ``manifest.toml``, its reference answers.

Run as ``python -m spinepacs.training.release.reader --reader runs/reader/reader.pt --model DIR --weights FILE --version
V``; the weights are what ``training.release.names`` writes. The detector's files stay as they are; the version is a new
one, since name and version are part of every output UID.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.analysis.seeing.manifest import Manifest, ReaderFacts
from spinepacs.analysis.seeing.reader import FILE
from spinepacs.errors import BadModel
from spinepacs.toml import read_toml, usable_keys
from spinepacs.training.release.export import ExportError
from spinepacs.training.release.reader_reference import computed_crops, open_reader, reader_answers

_OPSET = 17
_TOLERANCE = 1e-3
"""Largest difference allowed between torch and ONNX Runtime, of logits."""


def onnx_from_reader(checkpoint: Path, target: Path) -> float:
    """Write ``target`` with the averaged weights, batch left open; returns the largest difference from torch.

    Raises
    ------
    ExportError
        ONNX Runtime answers differently.
    """
    import torch

    from spinepacs.training.reader.network import ReaderNetwork

    network = ReaderNetwork()
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    network.eval()
    crops = computed_crops()
    torch.onnx.export(
        network,
        (torch.from_numpy(crops),),
        str(target),
        input_names=["crops"],
        output_names=["logits"],
        dynamic_axes={"crops": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=_OPSET,
        dynamo=False,
    )
    with torch.no_grad():
        expected = network(torch.from_numpy(crops)).numpy()
    worst = float(np.abs(expected - open_reader(target)(crops)).max())
    if worst > _TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst}")
    return worst


def add_reader(checkpoint: Path, folder: Path, weights: Weights, version: str) -> float:
    """Put a reader into a model folder, in the place of an older one; returns the largest difference from torch.

    Raises
    ------
    ExportError
        ONNX Runtime answers differently; the folder is left as it was.
    """
    Manifest.load(folder)  # before anything is written
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fresh = Path(name) / FILE
        worst = onnx_from_reader(checkpoint, fresh)
        reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        reference["files"][FILE] = reader_answers(open_reader(fresh))
        facts = ReaderFacts(hashlib.sha256(fresh.read_bytes()).hexdigest(), weights)
        manifest = folder / "manifest.toml"
        text = manifest_with_reader(manifest.read_text(encoding="utf-8"), facts, version)
        (folder / "reference.json").write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / FILE)
        manifest.write_text(text, encoding="utf-8")
    return worst


def manifest_with_reader(text: str, facts: ReaderFacts, version: str) -> str:
    """The manifest with another version, and the reader's tables before all others, in the place of older ones."""
    lines = [
        "[reader]",
        f'sha256 = "{facts.sha256}"',
        "# Of the log probabilities of both networks' levels: spinepacs.training.release.names.",
        "[reader.weights]",
        *(f"{name} = {weight:g}" for name, weight in asdict(facts.weights).items()),
    ]
    text = re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^\[reader(?:\.weights)?\]\n(?:[^\[\n].*\n|\n)*", "", text, flags=re.MULTILINE)
    first = re.search(r"^\[", text, flags=re.MULTILINE)
    place = first.start() if first else len(text)
    return f"{text[:place].rstrip()}\n\n{chr(10).join(lines)}\n\n{text[place:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.reader", description=__doc__)
    add = parser.add_argument
    add("--reader", type=Path, required=True, help="checkpoint of training.reader.learn")
    add("--model", type=Path, required=True, help="model folder that it joins")
    add("--weights", type=Path, required=True, help="TOML: a weight of each kind of answer")
    add("--version", required=True, help="of the model from now on")
    given = parser.parse_args(arguments)
    with usable_keys(given.weights, BadModel):
        weights = Weights.from_table(
            read_toml(given.weights, BadModel, "spinepacs.training.release.names writes it")
        )
    worst = add_reader(given.reader, given.model, weights, given.version)
    sys.stdout.write(f"largest difference between torch and ONNX Runtime: {worst:.2g}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
