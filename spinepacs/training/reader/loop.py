"""Training of a small network on crops: batches without end, an average of its weights, checkpoints to go on from."""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

_EMA = 0.998
_MOST_GRADIENT = 5.0
_LEAST_RATE = 0.02
_RAMP_STEPS = 200
_SAVE_S, _REPORT_S = 120.0, 600.0

Loss = Callable[[nn.Module, Sequence[Any]], torch.Tensor]
"""Of a network on what a sampler has drawn."""


class Sampler(Protocol):
    """Draws what is learnt from."""

    def draw(self, rng: np.random.Generator) -> Any:
        """One crop with its truth."""


class Trainer:
    """Network, average of its weights, optimiser and how far they are; all of it in the file ``path``."""

    def __init__(self, network: nn.Module, loss: Loss, path: Path, given: argparse.Namespace) -> None:
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=given.rate, weight_decay=0.02)
        self.step, self.used_s, self.seconds = 0, 0.0, given.minutes * 60
        self._loss, self._path, self._rate, self._seed = loss, path, given.rate, given.seed
        if self._path.is_file():
            self._load()

    @property
    def seed(self) -> tuple[int, int]:
        """Of the run as far as it has come: one that is resumed draws other crops."""
        return self._seed, self.step

    def learn(self, drawn: Sequence[Any]) -> float:
        """One step; returns the loss."""
        progress = min(self.used_s / self.seconds, 1.0)
        rate = self._rate * (_LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * progress)) / 2)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * min(1.0, (self.step + 1) / _RAMP_STEPS)
        self.network.train()
        loss = self._loss(self.network, drawn)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), _MOST_GRADIENT)
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


class Mixture(IterableDataset[Any]):
    """Crops without end, from several sources by their shares; every worker draws others."""

    def __init__(self, sources: Sequence[tuple[float, Sampler]], seed: tuple[int, int]) -> None:
        self._samplers = [sampler for _, sampler in sources]
        self._shares = np.array([share for share, _ in sources])
        self._seed = seed

    def __iter__(self) -> Iterator[Any]:
        cv2.setNumThreads(1)
        about = get_worker_info()
        rng = np.random.default_rng((*self._seed, about.id if about else 0))
        while True:
            pick = rng.choice(len(self._samplers), p=self._shares / self._shares.sum())
            yield self._samplers[pick].draw(rng)


def train(
    trainer: Trainer,
    sources: Sequence[tuple[float, Sampler]],
    judge: Callable[[nn.Module], object],
    given: argparse.Namespace,
) -> None:
    """Learn until the time is used up, and say now and then what ``judge`` finds of the averaged network."""
    losses, before, start = [], trainer.used_s, time.monotonic()
    saved = reported = start
    batches = DataLoader(
        Mixture(sources, trainer.seed), given.batch, num_workers=given.workers, collate_fn=list
    )
    for drawn in batches:
        losses.append(trainer.learn(drawn))
        trainer.used_s = before + time.monotonic() - start
        now, finished = time.monotonic(), trainer.used_s >= trainer.seconds
        if now - saved > _SAVE_S or finished:
            trainer.save()
            saved = now
        if now - reported > _REPORT_S or finished:
            told = (trainer.step, round(trainer.used_s), round(float(np.mean(losses)), 4))
            print(*told, judge(trainer.average), flush=True)  # noqa: T201
            reported, losses = now, []
        if finished:
            return


def parser(name: str, about: str | None, ap_share: float) -> argparse.ArgumentParser:
    """The command line that all of these trainings have."""
    made = argparse.ArgumentParser(prog=name, description=about)
    add = made.add_argument
    add("--ap", type=Path, help="AP folder with corner tables; its validation groups are only looked at")
    add("--ap-share", type=float, default=ap_share, help="of the crops")
    add("--synthetic", type=Path, nargs="+", required=True, help="YOLO-seg folders of the film generator")
    add("--lateral", type=Path, help="lateral films with corners.csv, only looked at")
    add("--check", type=Path, nargs="*", default=[], help="synthetic films that are only looked at")
    add(
        "--start",
        type=Path,
        help="model folder whose network's weights are begun with (a checkpoint goes before)",
    )
    add("--out", type=Path, required=True, help="folder of the checkpoint")
    add("--minutes", type=float, default=30)
    add("--rate", type=float, default=2e-3)
    add("--batch", type=int, default=64)
    add("--workers", type=int, default=1, help="processes that cut crops beside the one that learns; 0: none")
    add("--threads", type=int, default=1)
    add("--seed", type=int, default=11)
    return made


def prepare(given: argparse.Namespace) -> None:
    """Threads as told, and a folder for the checkpoint."""
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(1)
    given.out.mkdir(parents=True, exist_ok=True)
