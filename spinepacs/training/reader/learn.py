"""Train the vertebra reader on the crops of labelled films; it goes on where it was stopped.

Run as ``python -m spinepacs.training.reader.learn --ap DIR --levels docs/aasce-levels.csv --synthetic DIR --out DIR``.
AP films: the training groups, under the names that were read anew; of films noted as unusual only what lies by the
sacrum.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from spinepacs.analysis.seeing.crops import to_batch
from spinepacs.analysis.seeing.reader import FILE
from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.data.levels import read_levels, renamed
from spinepacs.training.reader.agreement import agreement
from spinepacs.training.reader.loop import Trainer, parser, prepare, train
from spinepacs.training.reader.network import ReaderNetwork
from spinepacs.training.reader.samples import NOTHING, Grey, Sampler, Spine, usable
from spinepacs.training.reader.starting import begun

_NEIGHBOUR = 0.03
"""Weight of each neighbouring level in the target: a level off is less wrong than six."""
_BY_THE_SACRUM = range(Level.L3, Level.S1 + 1)
"""What is learnt from films with four or six lumbar vertebrae: there ribs and sacrum give the others two names."""


def ap_spines(folder: Path, levels: Path) -> tuple[list[Spine], list[Spine]]:
    """Training and validation spines of the AP films, by the names that were read."""
    readings = read_levels(levels)
    usual = {name: reading for name, reading in readings.items() if not reading.note}
    odd = {name: reading for name, reading in readings.items() if reading.note and "cut" not in reading.note}
    training, validation = real_films(folder)
    learnt = usable(renamed(training, usual)) + usable(renamed(training, odd), _BY_THE_SACRUM)
    return learnt, usable(renamed(validation, readings))


def loss_of(network: nn.Module, drawn: Sequence[tuple[Grey, int]]) -> torch.Tensor:
    """Cross entropy with the levels that the crops show."""
    crops, classes = zip(*drawn, strict=True)
    batch = torch.from_numpy(to_batch(crops)).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(batch)
    return -(targets(classes) * torch.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def targets(classes: Sequence[int]) -> torch.Tensor:
    """(n, 26): the class, with a little weight on the neighbouring levels."""
    rows = torch.zeros(len(classes), NOTHING + 1)
    for row, kind in zip(rows, classes, strict=True):
        row[kind] = 1.0
        if kind != NOTHING:
            beside = [level for level in (kind - 1, kind + 1) if 0 <= level < len(Level)]
            row[beside] = _NEIGHBOUR
            row[kind] -= _NEIGHBOUR * len(beside)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: train for the given minutes, say now and then how whole spines are named."""
    options = parser("spinepacs.training.reader.learn", __doc__, ap_share=0.4)
    options.add_argument(
        "--levels", type=Path, help="table of the names that were read anew (docs/aasce-levels.csv)"
    )
    given = options.parse_args(arguments)
    prepare(given)
    sources, held = _sources(given)
    samplers = [(share, Sampler(spines)) for share, spines in sources]
    network = begun(ReaderNetwork(), FILE, samplers, given)
    trainer = Trainer(network, loss_of, given.out / "reader.pt", given)
    train(trainer, samplers, lambda network: _judged(network, held), given)
    return 0


def _judged(network: nn.Module, held: dict[str, list[Spine]]) -> dict[str, dict[str, float]]:
    told = {name: agreement(network, spines) for name, spines in held.items() if spines}
    return {name: {key: round(value, 3) for key, value in row.items()} for name, row in told.items()}


def _sources(given: argparse.Namespace) -> tuple[list[tuple[float, list[Spine]]], dict[str, list[Spine]]]:
    """Spines to learn from with their shares of the crops, and those to look at now and then."""
    sources, held = [], {}
    if given.ap:
        training, held["ap"] = ap_spines(given.ap, given.levels)
        sources.append((given.ap_share, training))
    synthetic = [spine for folder in given.synthetic for spine in usable(read_yolo_seg(folder))]
    sources.append((1 - given.ap_share, synthetic))
    if given.lateral:
        held["lateral"] = usable(read_lateral_corners(given.lateral))
    for folder in given.check:
        held[folder.name] = usable(read_yolo_seg(folder))
    print({"training": [len(spines) for _, spines in sources], **{k: len(v) for k, v in held.items()}})  # noqa: T201
    return sources, held


if __name__ == "__main__":
    raise SystemExit(main())
