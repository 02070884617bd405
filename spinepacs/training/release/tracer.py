"""Put a trained tracer into a model folder: ``tracer.onnx``, its table in ``manifest.toml``, its reference answers.

Run as ``python -m spinepacs.training.release.tracer --tracer runs/tracer/tracer.pt --model DIR --version V``. The other
networks' files stay as they are; ``training.release.localise`` then says how far endplates are off.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from spinepacs.analysis.seeing.tracer import FILE
from spinepacs.training.release.joining import join, say


def add_tracer(checkpoint: Path, folder: Path, version: str) -> float:
    """Put a tracer, with spurs or without, into a model folder; see :func:`spinepacs.training.release.joining.join`."""
    import torch

    from spinepacs.training.tracer.network import SpursNetwork, TracerNetwork

    weights = torch.load(checkpoint, weights_only=True)["average"]
    network = SpursNetwork() if any(name.startswith("tracer.") for name in weights) else TracerNetwork()
    return join(network, checkpoint, folder, FILE, lambda sha256: f'[tracer]\nsha256 = "{sha256}"', version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="spinepacs.training.release.tracer", description=__doc__)
    add = parser.add_argument
    add("--tracer", type=Path, required=True, help="checkpoint of training.tracer.learn or .spurs")
    add("--model", type=Path, required=True, help="model folder that it joins")
    add("--version", required=True, help="of the model from now on")
    given = parser.parse_args(arguments)
    say(add_tracer(given.tracer, given.model, given.version))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
