"""Put a trained network that looks at crops into a model folder: its ONNX file, its table, its reference answers."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.training.release.crop_reference import FRAMES, computed_crops, crop_answers, open_network
from spinepacs.training.release.export import ExportError

if TYPE_CHECKING:
    from torch import nn

_OPSET = 17
_TOLERANCE = 1e-3
"""Largest difference allowed between torch and ONNX Runtime, of logits."""


def join(
    network: nn.Module, checkpoint: Path, folder: Path, file: str, table: Callable[[str], str], version: str
) -> float:
    """Put a network into a model folder, in the place of an older one; returns the largest difference from torch.

    Parameters
    ----------
    checkpoint
        Of the network's training; its averaged weights are taken.
    file
        Of the network within the folder.
    table
        From the file's SHA-256 to its tables of the manifest.
    version
        Of the model from now on: name and version are part of every output UID.

    Raises
    ------
    ExportError
        ONNX Runtime answers differently; the folder is left as it was.
    """
    Manifest.load(folder)  # before anything is written
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fresh = Path(name) / file
        worst = _export(network, checkpoint, fresh)
        reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        reference["files"][file] = crop_answers(open_network(fresh), FRAMES[file])
        manifest = folder / "manifest.toml"
        text = with_table(
            manifest.read_text(encoding="utf-8"),
            Path(file).stem,
            table(hashlib.sha256(fresh.read_bytes()).hexdigest()),
            version,
        )
        (folder / "reference.json").write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / file)
        manifest.write_text(text, encoding="utf-8")
    return worst


def _export(network: nn.Module, checkpoint: Path, target: Path) -> float:
    """Write ``target``, batch left open; returns the largest difference from torch."""
    import torch

    network.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    network.eval()
    crops = computed_crops(FRAMES[target.name])
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
    worst = float(np.abs(expected - open_network(target)(crops)).max())
    if worst > _TOLERANCE:
        raise ExportError(f"ONNX Runtime and torch differ by {worst}")
    return worst


def with_table(text: str, name: str, table: str, version: str) -> str:
    """The manifest with another version, and ``table`` before all others, in the place of older ones of that name."""
    text = re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)
    text = re.sub(rf"^\[{name}(?:\.\w+)?\]\n(?:[^\[\n].*\n|\n)*", "", text, flags=re.MULTILINE)
    first = re.search(r"^\[", text, flags=re.MULTILINE)
    place = first.start() if first else len(text)
    return f"{text[:place].rstrip()}\n\n{table.rstrip()}\n\n{text[place:]}"


def say(worst: float) -> None:
    """What the two command lines print at their end."""
    print(f"largest difference between torch and ONNX Runtime: {worst:.2g}")  # noqa: T201
