"""Train YOLO11-seg on films: a lean loop over Ultralytics' network and its segmentation loss.

Run as ``spinepacs train``.  The learning rate follows the share of the time that is used
up, so a run of any length ends annealed; a run that was stopped goes on from ``last.pt`` in its output folder.
"""

from __future__ import annotations

import csv
import logging
import math
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from rich.console import Console
from torch import nn

from spinepacs.training.data.balance import balance, balance_table, write_balance
from spinepacs.training.data.batches import Pool, make_batch, stream
from spinepacs.training.data.dataset import (
    CLASS_NAMES,
    LabelsError,
    write_split,
)
from spinepacs.training.data.held_out import real_films
from spinepacs.training.data.leaks import find_leaks, without_leaks
from spinepacs.training.data.levels import read_levels, renamed
from spinepacs.training.data.merge import DataSet, read_data
from spinepacs.training.data.pools import SourcePool
from spinepacs.training.learning.config import TrainConfig, record
from spinepacs.training.learning.initialise import build_network, initialise
from spinepacs.training.learning.network import (
    MaskedLoss,
    MovingAverage,
    freeze,
    read_checkpoint,
    write_checkpoint,
)
from spinepacs.training.learning.workers import agreed, average_gradients, join, share_state

log = logging.getLogger(__name__)

_CALIBRATION_BATCHES = 8


def first_network(config: TrainConfig, pool: Pool) -> nn.Module:
    """The network that a run begins with: of an earlier stage, with folded weights, or untrained."""
    if config.start is not None:
        return read_checkpoint(config.start)
    if config.init is None:
        return build_network(len(CLASS_NAMES), config.size)
    batches = [
        make_batch(pool, np.random.default_rng([config.seed, number]))["img"]
        for number in range(_CALIBRATION_BATCHES)
    ]
    return initialise(config.init, len(CLASS_NAMES), batches, config.size)


class _Run:
    """State of one training run: network, average, optimiser, step and seconds used."""

    def __init__(self, config: TrainConfig, network: nn.Module, rank: int = 0) -> None:
        self.rank = rank
        self.config, self.device = config, torch.device(config.device)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.average = MovingAverage(network)
        self.loss = MaskedLoss(network)
        freeze(network, config.frozen)
        decayed = [p for p in network.parameters() if p.ndim > 1 and p.requires_grad]
        plain = [p for p in network.parameters() if p.ndim <= 1 and p.requires_grad]
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
        self.step, self.used_s = 0, 0.0

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.updates = self.step = int(state["step"])
        self.used_s = float(state["used_s"])

    def save(self) -> None:
        state = {"network": self.network.state_dict(), "average": self.average.network.state_dict()}
        state |= {"optimiser": self.optimiser.state_dict(), "step": self.step, "used_s": self.used_s}
        temporary = self.config.out / "last.tmp"
        torch.save(state, temporary)
        temporary.replace(self.config.out / "last.pt")
        write_checkpoint(self.config.out / "ema.pt", self.average.network)

    def progress(self) -> float:
        """Share of the run that is done; 1 ends it."""
        by_time = self.used_s / (60 * self.config.minutes)
        return by_time if self.config.steps is None else max(by_time, self.step / self.config.steps)

    def learning_rate(self) -> float:
        share = min(1.0, self.progress())
        warm = min(1.0, (self.step + 1) / 100)
        return self.config.learning_rate * warm * (0.02 + 0.98 * (1 + math.cos(math.pi * share)) / 2)

    def train_on(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        batch = {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}
        image = batch["img"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            predictions = self.network(image)
        loss, parts = self.loss(predictions, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.network, self.config.workers)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0 * len(image))
        self.optimiser.step()
        if self.rank == 0:
            self.average.update(self.network)
        self.step += 1
        return parts


def train(config: TrainConfig) -> Path:
    """Train, or go on training, until the time is used up.

    Returns
    -------
    Path
        ``ema.pt``: the averaged weights as an Ultralytics checkpoint.

    Raises
    ------
    LabelsError, WeightsError
        Labels or initial weights cannot be read.
    ValueError
        There is nothing to train on.
    """
    data = prepare(config)
    if not _pool(config, data).refresh():
        raise LabelsError("no labelled film to train on; give --data, --ap or --synthetic")
    if config.workers == 1:
        _work(0, config, data, None)
    else:
        meeting = Path(tempfile.mkdtemp(prefix="spinepacs-train-")) / "meeting"
        torch.multiprocessing.spawn(_work, args=(config, data, meeting), nprocs=config.workers)
    return config.out / "ema.pt"


def films_of(config: TrainConfig) -> DataSet:
    """Films of ``data``, or of ``ap``; those of ``synthetic`` are looked for while training runs."""
    if config.data is not None:
        return read_data(config.data)
    training, validation = real_films(config.ap) if config.ap else ([], [])
    if config.levels is not None:
        readings = read_levels(config.levels)
        training, validation = renamed(training, readings), renamed(validation, readings)
    return DataSet(tuple(training), tuple(validation), {})


def prepare(config: TrainConfig) -> DataSet:
    """Read the films, leave leaks out of training; write split, balance, leaks and the record of this start.

    Raises
    ------
    LabelsError
        Labels cannot be read.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    record(config)
    data = without_leaks(films_of(config), config.out / "leaks.csv")
    write_split(config.out / "split.csv", data.training, data.validation)
    write_balance(config.out / "balance.csv", balance(data))
    return data


def check(data: DataSet) -> int:
    """Print class balance, what is left out, and leaks; return 1 if there are any."""
    screen = Console(width=None if sys.stdout.isatty() else 200, markup=False)
    screen.print(balance_table(balance(data)))
    for line in data.left_out:
        screen.print(f"left out: {line}", soft_wrap=True)
    leaks = find_leaks(data.training, data.validation)
    for leak in leaks:
        screen.print(f"leak: {leak}", soft_wrap=True)
    screen.print(f"{len(leaks)} leaks: such films are left out of training" if leaks else "no leak")
    return int(bool(leaks))


def _pool(config: TrainConfig, data: DataSet, part: tuple[int, int] = (0, 1)) -> Pool:
    if config.data is not None and data.training:
        return SourcePool(data.training, data.shares, part)
    return Pool(data.training, config.synthetic, config.real_share, part)


def _work(rank: int, config: TrainConfig, data: DataSet, meeting: Path | None) -> None:
    """One worker's whole run; worker 0 also keeps the average, the log and the checkpoints."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    cv2.setNumThreads(1)
    if meeting is not None:
        join(meeting, rank, config.workers)
    pool = _pool(config, data, (rank, config.workers))
    run = _Run(config, first_network(config, pool).train(), rank)
    if (config.out / "last.pt").is_file():
        run.resume(config.out / "last.pt")
    share_state(run.network, config.workers)
    _loop(run, pool)
    if rank == 0:
        run.save()


def _loop(run: _Run, pool: Pool, save_every_s: float = 180.0, log_every: int = 25) -> None:
    seed = run.config.seed * run.config.workers + run.rank
    images, sums, saved_s, mark = 0, torch.zeros(4, device=run.device), run.used_s, time.monotonic()
    for batch in stream(pool, seed, run.step, run.config.scale):
        sums += run.train_on(batch) * len(batch["img"])
        images += len(batch["img"])
        now = time.monotonic()
        # All workers go by one clock, so that they end at the same step.
        run.used_s, mark = agreed(run.used_s + now - mark, run.config.workers), now
        if run.step % log_every == 0:
            if run.rank == 0:
                _write_log(run, images * run.config.workers, sums / images)
            images, sums = 0, torch.zeros_like(sums)
        if run.used_s - saved_s > save_every_s:
            if run.rank == 0:
                run.save()
            saved_s = run.used_s
            log.info("worker %d: step %d, %d films", run.rank, run.step, pool.refresh())
        if run.progress() >= 1:
            return


def _write_log(run: _Run, images: int, parts: torch.Tensor) -> None:
    path = run.config.out / "log.csv"
    fresh = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(("step", "used_s", "images", "box", "mask", "class", "distribution"))
        writer.writerow((run.step, round(run.used_s, 1), images, *(round(float(part), 4) for part in parts)))
    log.info(
        "step %d, %.0f s, loss %s", run.step, run.used_s, " ".join(f"{float(part):.3f}" for part in parts)
    )
