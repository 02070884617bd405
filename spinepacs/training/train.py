"""Train YOLO11-seg on films: a lean loop over Ultralytics' network and its segmentation loss.

Run as ``python -m spinepacs.training.train --help``.  The learning rate follows the share of the time that is used
up, so a run of any length ends annealed; a run that was stopped goes on from ``last.pt`` in its output folder.
"""

from __future__ import annotations

import argparse
import csv
import logging
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from torch import nn

from spinepacs.training.augment import centred, make_sample
from spinepacs.training.batches import TALL, Pool, collate, stream
from spinepacs.training.dataset import (
    CLASS_NAMES,
    Film,
    read_ap_corners,
    split_by_group,
    suspicion,
    write_split,
)
from spinepacs.training.initialise import build_network, initialise
from spinepacs.training.network import MaskedLoss, MovingAverage, freeze, read_checkpoint, write_checkpoint
from spinepacs.training.workers import agreed, average_gradients, join, share_state

log = logging.getLogger(__name__)

SPLIT_SEED = 3
VALIDATION_SHARE = 0.2
_CALIBRATION_FILMS = 48


@dataclass(frozen=True)
class TrainConfig:
    """What to train on, from what, for how long.

    Attributes
    ----------
    out : Path
        Folder for checkpoints, the split and the log; made when missing.  A ``last.pt`` in it is continued.
    ap : Path or None
        Folder of AP films with corner CSVs; a fifth of its groups is kept for validation.
    synthetic : tuple of Path
        YOLO-seg folders; films that appear later are taken up.
    init : Path or None
        OpenVINO folder of COCO weights; None starts from ``start`` or from random weights.
    start : Path or None
        Checkpoint of an earlier stage (``ema.pt``) whose weights this run begins with.
    minutes : float
        Wall-clock length of the whole run, stops excluded.
    steps : int or None
        Ends the run earlier, after this many batches; with ``minutes`` large, the way to repeat a run exactly.
    real_share : float
        Share of real films among those drawn while there are synthetic ones, 0 … 1.
    learning_rate : float
        AdamW's peak rate.
    workers : int
        Processes that train on batches of their own and average gradients: on a CPU three of one thread each do
        more than twice the work of one with three threads.
    threads : int
        Torch's threads in each worker.
    scale : float
        Of the training images: 0.8 for a fast first stage, 1 for the last.
    frozen : int
        So many first layers keep the weights they start with, which saves an eighth of the time.
    bf16 : bool
        Mixed precision; helps only where the processor multiplies bfloat16 itself.
    size : str
        Ultralytics' model letter.
    seed : int
        Of the batches' random choices.
    """

    out: Path
    ap: Path | None = None
    synthetic: tuple[Path, ...] = ()
    init: Path | None = None
    start: Path | None = None
    minutes: float = 60.0
    steps: int | None = None
    real_share: float = 0.4
    learning_rate: float = 1e-3
    workers: int = 1
    threads: int = 2
    scale: float = 1.0
    frozen: int = 0
    bf16: bool = False
    size: str = "n"
    seed: int = 0


def real_films(folder: Path) -> tuple[list[Film], list[Film]]:
    """Training and validation films of an AP folder: split by group first, then doubtful labels are dropped."""
    parts = split_by_group(read_ap_corners(folder), VALIDATION_SHARE, SPLIT_SEED)
    kept = [[film for film in part if suspicion(film) is None] for part in parts]
    return kept[0], kept[1]


def _first_network(config: TrainConfig, pool: Pool, films: Sequence[Film]) -> nn.Module:
    if config.start is not None:
        return read_checkpoint(config.start)
    if config.init is None:
        return build_network(len(CLASS_NAMES), config.size)
    chosen = list(films)[:: max(1, len(films) // _CALIBRATION_FILMS)][:_CALIBRATION_FILMS]
    samples = [make_sample(film, pool.cache, TALL, centred(film, TALL), None) for film in chosen]
    batches = [collate(samples[index : index + 8], TALL)["img"] for index in range(0, len(samples), 8)]
    return initialise(config.init, len(CLASS_NAMES), batches, config.size)


class _Run:
    """State of one training run: network, average, optimiser, step and seconds used."""

    def __init__(self, config: TrainConfig, network: nn.Module, rank: int = 0) -> None:
        self.rank = rank
        self.config, self.network = config, network.to(memory_format=torch.channels_last)
        self.average = MovingAverage(network)
        self.loss = MaskedLoss(network)
        freeze(network, config.frozen)
        decayed = [p for p in network.parameters() if p.ndim > 1 and p.requires_grad]
        plain = [p for p in network.parameters() if p.ndim <= 1 and p.requires_grad]
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=config.learning_rate)
        self.step, self.used_s = 0, 0.0

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location="cpu", weights_only=False)
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
        image = batch["img"].contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
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
    config.out.mkdir(parents=True, exist_ok=True)
    films, held_back = real_films(config.ap) if config.ap else ([], [])
    write_split(config.out / "split.csv", films, held_back)
    if not Pool(films, config.synthetic, config.real_share).refresh():
        raise ValueError("no labelled film to train on")
    if config.workers == 1:
        _work(0, config, films, None)
    else:
        meeting = Path(tempfile.mkdtemp(prefix="spinepacs-train-")) / "meeting"
        torch.multiprocessing.spawn(_work, args=(config, films, meeting), nprocs=config.workers)
    return config.out / "ema.pt"


def _work(rank: int, config: TrainConfig, films: Sequence[Film], meeting: Path | None) -> None:
    """One worker's whole run; worker 0 also keeps the average, the log and the checkpoints."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    cv2.setNumThreads(1)
    if meeting is not None:
        join(meeting, rank, config.workers)
    pool = Pool(films, config.synthetic, config.real_share, part=(rank, config.workers))
    run = _Run(config, _first_network(config, pool, films).train(), rank)
    if (config.out / "last.pt").is_file():
        run.resume(config.out / "last.pt")
    share_state(run.network, config.workers)
    _loop(run, pool)
    if rank == 0:
        run.save()


def _loop(run: _Run, pool: Pool, save_every_s: float = 180.0, log_every: int = 25) -> None:
    seed = run.config.seed * run.config.workers + run.rank
    images, sums, saved_s, mark = 0, torch.zeros(4), run.used_s, time.monotonic()
    for batch in stream(pool, seed, run.step, run.config.scale):
        sums += run.train_on(batch) * len(batch["img"])
        images += len(batch["img"])
        now = time.monotonic()
        # All workers go by one clock, so that they end at the same step.
        run.used_s, mark = agreed(run.used_s + now - mark, run.config.workers), now
        if run.step % log_every == 0:
            if run.rank == 0:
                _write_log(run, images * run.config.workers, sums / images)
            images, sums = 0, torch.zeros(4)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the path of the trained checkpoint."""
    parser = argparse.ArgumentParser(description="Train YOLO11-seg on labelled spine films.")
    parser.add_argument("--ap", type=Path, help="folder of AP films with corners.csv and films.csv")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="YOLO-seg folders")
    parser.add_argument("--init", type=Path, help="OpenVINO folder of COCO weights")
    parser.add_argument("--start", type=Path, help="checkpoint (.pt) of an earlier stage")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and log")
    parser.add_argument("--minutes", type=float, default=60.0, help="length of the run")
    parser.add_argument("--steps", type=int, help="end after so many batches")
    parser.add_argument(
        "--real-share", type=float, default=0.4, help="share of real films beside synthetic ones"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work")
    parser.add_argument("--threads", type=int, default=2, help="threads of each worker")
    parser.add_argument("--scale", type=float, default=1.0, help="of the training images")
    parser.add_argument("--frozen", type=int, default=0, help="first layers that are not trained")
    parser.add_argument("--bf16", action="store_true", help="mixed precision, where the processor has it")
    parser.add_argument("--size", default="n", choices="nsmlx")
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args(arguments))
    trained = train(TrainConfig(**{**given, "synthetic": tuple(given["synthetic"])}))
    sys.stdout.write(f"{trained}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
