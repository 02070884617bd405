"""Put a trained network that looks at crops into a model folder: its ONNX file, its table, its reference answers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spinepacs.analysis.seeing.manifest import Manifest, int8_form
from spinepacs.training.release.crop_reference import FRAMES, computed_crops, crop_answers, open_network
from spinepacs.training.release.export import ExportError
from spinepacs.training.release.tables import sha256_of, with_table, without_table

if TYPE_CHECKING:
    from torch import nn

_OPSET = 17
_TOLERANCE = 1e-3
"""Largest difference allowed between torch and ONNX Runtime, of logits."""


def join(
    network: nn.Module, checkpoint: Path, folder: Path, file: str, table: Callable[[str], str], version: str
) -> float:
    """Put a network into a model folder, in the place of an older one; returns the largest difference from torch.

    The folder's 8-bit forms go with the older one: :mod:`spinepacs.training.release.quantise` makes them anew.

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
        text = (folder / "manifest.toml").read_text(encoding="utf-8")
        replies = crop_answers(open_network(fresh), FRAMES[file])
        replace(folder, fresh, with_table(text, Path(file).stem, table(sha256_of(fresh)), version), replies)
    return worst


def replace(folder: Path, fresh: Path, text: str, replies: dict[str, Any]) -> None:
    """Put a network's file into a folder, with the manifest's text and what the network answers to the reference.

    8-bit forms go, unless the network is the one that was there.
    """
    before, file = Manifest.load(folder), folder / fresh.name
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    reference["files"][fresh.name] = replies
    if not (file.is_file() and file.read_bytes() == fresh.read_bytes()):
        text = without_table(text, "int8")
        for stale in (int8_form(folder / one) for one in before.int8_sha256):
            reference["files"].pop(stale.name, None)
            stale.unlink(missing_ok=True)
    (folder / "reference.json").write_text(json.dumps(reference, indent=1) + "\n", encoding="utf-8")
    fresh.replace(file)
    (folder / "manifest.toml").write_text(text, encoding="utf-8")


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


def say(worst: float) -> None:
    """What the two command lines print at their end."""
    print(f"largest difference between torch and ONNX Runtime: {worst:.2g}")  # noqa: T201
