"""Put a trained reader into a model folder: ``reader.onnx``, its table in ``manifest.toml``, its reference answers.

Run as ``python -m spinepacs.training.release.reader --reader runs/reader/reader.pt --model DIR --weight W
--detector-weight W --version V``; the weights are what ``training.release.names`` prints. The detector's files stay as
they are; the version is a new one, since name and version are part of every output UID.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spinepacs.analysis.seeing.manifest import Manifest, ReaderFacts
from spinepacs.analysis.seeing.reader import FILE
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


def add_reader(checkpoint: Path, folder: Path, facts: ReaderFacts, version: str) -> float:
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
        facts = replace(facts, sha256=hashlib.sha256(fresh.read_bytes()).hexdigest())
        manifest = folder / "manifest.toml"
        text = manifest_with_reader(manifest.read_text(encoding="utf-8"), facts, version)
        (folder / "reference.json").write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / FILE)
        manifest.write_text(text, encoding="utf-8")
    return worst


def manifest_with_reader(text: str, facts: ReaderFacts, version: str) -> str:
    """The manifest with another version and the reader's table, before the other tables or in the old one's place."""
    table = "\n".join(
        (
            "[reader]",
            f'sha256 = "{facts.sha256}"',
            "# Of the log probabilities of both networks' levels, fitted by spinepacs.training.release.names.",
            f"weight = {facts.weight:g}",
            f"detector_weight = {facts.detector_weight:g}",
            "",
            "",
        )
    )
    text = re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^\[reader\]\n(?:[^\[]*\n)?", "", text, flags=re.MULTILINE)
    head, first, tables = text.partition("\n[")
    return f"{head.rstrip()}\n\n{table}{first.lstrip()}{tables}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.reader", description=__doc__)
    add = parser.add_argument
    add("--reader", type=Path, required=True, help="checkpoint of training.reader.learn")
    add("--model", type=Path, required=True, help="model folder that it joins")
    add("--weight", type=float, required=True)
    add("--detector-weight", type=float, required=True)
    add("--version", required=True, help="of the model from now on")
    given = parser.parse_args(arguments)
    facts = ReaderFacts("", given.weight, given.detector_weight)
    worst = add_reader(given.reader, given.model, facts, given.version)
    sys.stdout.write(f"largest difference between torch and ONNX Runtime: {worst:.2g}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
