"""Train the vertebra reader on the crops of labelled films; it goes on where it was stopped.

Run as ``python -m spinepacs.training.reader.learn --ap DIR --levels docs/aasce-levels.csv --synthetic DIR --out DIR``.
AP films: the training groups, under the names that were read anew; of films noted as unusual only what lies by the
sacrum.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from spinepacs.analysis.seeing.crops import to_batch
from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.data.levels import read_levels, renamed
from spinepacs.training.reader.agreement import agreement
from spinepacs.training.reader.network import ReaderNetwork
from spinepacs.training.reader.samples import NOTHING, Grey, Sampler, Spine, usable

_EMA = 0.998
_NEIGHBOUR = 0.03
"""Weight of each neighbouring level in the target: a level off is less wrong than six."""
_BY_THE_SACRUM = range(Level.L3, Level.S1 + 1)
"""What is learnt from films with four or six lumbar vertebrae: there ribs and sacrum give the others two names."""
_RAMP_STEPS = 200
_SAVE_S, _REPORT_S = 120.0, 600.0


def ap_spines(folder: Path, levels: Path) -> tuple[list[Spine], list[Spine]]:
    """Training and validation spines of the AP films, by the names that were read."""
    readings = read_levels(levels)
    usual = {name: reading for name, reading in readings.items() if not reading.note}
    odd = {name: reading for name, reading in readings.items() if reading.note and "cut" not in reading.note}
    training, validation = real_films(folder)
    learnt = usable(renamed(training, usual)) + usable(renamed(training, odd), _BY_THE_SACRUM)
    return learnt, usable(renamed(validation, readings))


class Trainer:
    """Network, average of its weights, optimiser and how far they are."""

    def __init__(self, out: Path, rate: float, seconds: float, seed: int) -> None:
        self.network = ReaderNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=0.02)
        self.step, self.used_s = 0, 0.0
        self._path, self._rate, self.seconds, self._seed = out / "reader.pt", rate, seconds, seed
        if self._path.is_file():
            self._load()

    @property
    def seed(self) -> tuple[int, int]:
        """Of the run as far as it has come: one that is resumed draws other crops."""
        return self._seed, self.step

    def learn(self, crops: Sequence[Grey], classes: Sequence[int]) -> float:
        """One step; returns the loss."""
        progress = min(self.used_s / self.seconds, 1.0)
        rate = self._rate * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / _RAMP_STEPS)
        self.network.train()
        batch = torch.from_numpy(to_batch(crops)).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = self.network(batch)
        loss = -(targets(classes) * torch.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self._follow()
        self.step += 1
        return float(loss.detach())

    def _follow(self) -> None:
        keep = min(_EMA, (1 + self.step) / (10 + self.step))
        state = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(state[name], 1 - keep)
            else:
                value.copy_(state[name])

    def save(self) -> None:
        """Everything that a later start needs, in one step."""
        part = self._path.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "used_s": self.used_s,
            },
            part,
        )
        part.replace(self._path)

    def _load(self) -> None:
        held = torch.load(self._path, weights_only=True)
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(held[name])
        self.step, self.used_s = held["step"], held["used_s"]


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
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    sources, held = _sources(given)
    trainer = Trainer(given.out, given.rate, given.minutes * 60, given.seed)
    train(trainer, sources, held, given.batch, given.workers)
    return 0


def train(
    trainer: Trainer,
    sources: Sequence[tuple[float, Sequence[Spine]]],
    held: Mapping[str, Sequence[Spine]],
    batch: int,
    workers: int,
) -> None:
    """Learn until the time is used up; ``sources`` with their shares of the crops, ``held`` is only looked at."""
    mixture = Mixture(sources, trainer.seed)
    losses, before, start = [], trainer.used_s, time.monotonic()
    saved = reported = start
    for crops, classes in DataLoader(mixture, batch, num_workers=workers, collate_fn=_together):
        losses.append(trainer.learn(crops, classes))
        trainer.used_s = before + time.monotonic() - start
        now, finished = time.monotonic(), trainer.used_s >= trainer.seconds
        if now - saved > _SAVE_S or finished:
            trainer.save()
            saved = now
        if now - reported > _REPORT_S or finished:
            _say(trainer, losses, held)
            reported, losses = now, []
        if finished:
            return


class Mixture(IterableDataset[tuple[Grey, int]]):
    """Crops without end, from several sources by their shares; every worker draws others."""

    def __init__(self, sources: Sequence[tuple[float, Sequence[Spine]]], seed: tuple[int, int]) -> None:
        self._samplers = [Sampler(spines) for _, spines in sources]
        self._shares = np.array([share for share, _ in sources])
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[Grey, int]]:
        cv2.setNumThreads(1)
        about = get_worker_info()
        rng = np.random.default_rng((*self._seed, about.id if about else 0))
        while True:
            pick = rng.choice(len(self._samplers), p=self._shares / self._shares.sum())
            yield self._samplers[pick].draw(rng)


def _together(drawn: Sequence[tuple[Grey, int]]) -> tuple[list[Grey], list[int]]:
    crops, classes = zip(*drawn, strict=True)
    return list(crops), list(classes)


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


def _say(trainer: Trainer, losses: Sequence[float], held: Mapping[str, Sequence[Spine]]) -> None:
    told = {name: agreement(trainer.average, spines) for name, spines in held.items() if spines}
    figures = {name: {key: round(value, 3) for key, value in row.items()} for name, row in told.items()}
    print(trainer.step, round(trainer.used_s), round(float(np.mean(losses)), 4), figures, flush=True)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="spinepacs.training.reader.learn", description=__doc__)
    add = parser.add_argument
    add("--ap", type=Path, help="AP folder with corner tables; its validation groups are only looked at")
    add("--levels", type=Path, help="table of the names that were read anew (docs/aasce-levels.csv)")
    add("--ap-share", type=float, default=0.4, help="of the crops")
    add("--synthetic", type=Path, nargs="+", required=True, help="YOLO-seg folders of the film generator")
    add("--lateral", type=Path, help="lateral films with corners.csv, only looked at")
    add("--check", type=Path, nargs="*", default=[], help="synthetic films that are only looked at")
    add("--out", type=Path, required=True, help="folder of the checkpoint")
    add("--minutes", type=float, default=30)
    add("--rate", type=float, default=2e-3)
    add("--batch", type=int, default=64)
    add("--workers", type=int, default=1, help="processes that cut crops beside the one that learns; 0: none")
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=11)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
