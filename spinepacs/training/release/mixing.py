"""Mix the weights of a network of a model folder with those that another training made of it: often better than either.

Run as ``python -m spinepacs.training.release.mixing --model DIR --with DIR --file model.onnx --share 0.5 --version V``.
A network that learnt on from a released one, on other films, gains on films like those and loses on others; between the
two lies one that keeps most of both (Wortsman et al. 2022, CVPR, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spinepacs.analysis.seeing import segment
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.training.release.crop_reference import FRAMES
from spinepacs.training.release.export import ExportError
from spinepacs.training.release.joining import replace
from spinepacs.training.release.reference import answers_of
from spinepacs.training.release.tables import sha256_of, with_version

_WITH_WEIGHTS = ("Conv", "ConvTranspose", "Gemm")
_FIXED = "/dfl/"
"""In the names of nodes whose weights are no weights: the sum over a distribution."""


def mix(first: Path, second: Path, share: float, target: Path) -> int:
    """Write ``first`` with its weights moved by a share of the way to those of ``second``.

    Batch norms are folded into the convolutions of both, and layers are told by their order.

    Parameters
    ----------
    first, second
        Networks of the same architecture, fp32; ``second`` may have more layers at its end, or fewer.
    share
        0: ``first`` as it is, 1: ``second``'s weights.

    Returns
    -------
    How many layers were mixed.

    Raises
    ------
    ExportError
        The networks are not alike.
    """
    import onnx

    network, other = onnx.load(str(first)), onnx.load(str(second))
    mine, theirs = ({one.name: one for one in model.graph.initializer} for model in (network, other))
    count = 0
    for names, other_names in zip(_layers(network.graph), _layers(other.graph), strict=False):
        for name, other_name in zip(names, other_names, strict=True):
            values, towards = (onnx.numpy_helper.to_array(held) for held in (mine[name], theirs[other_name]))
            if values.shape != towards.shape:
                raise ExportError(f"{first} and {second} are not the same network: {name} has another shape")
            mixed = ((1 - share) * values + share * towards).astype(np.float32)
            mine[name].CopyFrom(onnx.numpy_helper.from_array(mixed, name))
        count += 1
    onnx.save(network, str(target))
    return count


def _layers(graph: Any) -> Iterator[list[str]]:
    """Names of the weights and biases of each layer, in the order in which they are run."""
    held = {one.name for one in graph.initializer}
    for node in graph.node:
        if node.op_type in _WITH_WEIGHTS and _FIXED not in node.name:
            yield [name for name in node.input[1:] if name in held]


def mix_into(folder: Path, other: Path, file: str, share: float, version: str) -> int:
    """Mix a network of a model folder with another folder's, and note it in manifest and reference; see :func:`mix`."""
    manifest, path = Manifest.load(folder), folder / file
    with tempfile.TemporaryDirectory(dir=folder) as name:
        fresh = Path(name) / file
        count = mix(path, other / file, share, fresh)
        replies = answers_of(fresh, manifest)
        text = (folder / "manifest.toml").read_text(encoding="utf-8")
        replace(
            folder, fresh, with_version(text.replace(sha256_of(path), sha256_of(fresh)), version), replies
        )
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.mixing", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder whose network is mixed")
    add("--with", dest="other", type=Path, required=True, help="model folder with the other one")
    add("--file", choices=[segment.FILE, *FRAMES], required=True, help="which network")
    add("--share", type=float, required=True, help="of the other one, 0 to 1")
    add("--version", required=True, help="of the model from now on")
    given = parser.parse_args(arguments)
    count = mix_into(given.model, given.other, given.file, given.share, given.version)
    print(f"{count} layers mixed")  # noqa: T201
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
