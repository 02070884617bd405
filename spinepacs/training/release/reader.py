"""Put a trained reader into a model folder: ``reader.onnx``, its table in ``manifest.toml``, its reference answers.

Run as ``python -m spinepacs.training.release.reader --reader runs/reader/reader.pt --model DIR --weights FILE --version
V``; the weights are what ``training.release.names`` writes. The other networks' files stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from spinepacs.analysis.seeing.evidence import Weights
from spinepacs.analysis.seeing.reader import FILE
from spinepacs.errors import BadModel
from spinepacs.toml import read_toml, usable_keys
from spinepacs.training.release.joining import join, say


def add_reader(checkpoint: Path, folder: Path, weights: Weights, version: str) -> float:
    """Put a reader into a model folder; see :func:`spinepacs.training.release.joining.join`."""
    from spinepacs.training.reader.network import ReaderNetwork

    return join(
        ReaderNetwork(), checkpoint, folder, FILE, lambda sha256: reader_table(sha256, weights), version
    )


def reader_table(sha256: str, weights: Weights) -> str:
    """The reader's tables of a manifest."""
    lines = [
        "[reader]",
        f'sha256 = "{sha256}"',
        "# Of the log probabilities of both networks' levels: spinepacs.training.release.names.",
        "[reader.weights]",
        *(f"{name} = {weight:g}" for name, weight in asdict(weights).items()),
    ]
    return "\n".join(lines)


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
    say(add_reader(given.reader, given.model, weights, given.version))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
