"""Draw training batches from a pool of films, in a background thread, in the form that Ultralytics' loss takes."""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from spinepacs.training.data.augment import (
    Affine,
    Canvas,
    FilmCache,
    Sample,
    make_sample,
    whole_film,
    zoom_in,
)
from spinepacs.training.data.dataset import Film, finished_labels, read_yolo_film

TALL = Canvas(640, 288)
"""Whole slim films at the scale at which the 640 px square of the product shows them, at less than half its cost."""
WINDOW = Canvas(512, 288)
"""Windows along the spine, as the product's second look cuts them."""
_SLIM = 0.53
"""Width over height up to which a film counts as slim."""


@dataclass(frozen=True)
class Draw:
    """A kind of batch: canvas, films per batch, share of all batches, which films, and windows' body height in px."""

    canvas: Canvas
    films: int
    share: float
    takes: Literal["slim", "wide", "any"]
    body_px: tuple[float, float] | None = None


def draws(scale: float = 1.0) -> tuple[Draw, ...]:
    """Kinds of batches of about equal cost; ``scale`` below one trains faster on smaller images."""
    return (
        Draw(_scaled(TALL, scale), 8, 0.34, "slim"),
        Draw(_scaled(Canvas(544, 544), scale), 5, 0.20, "wide"),
        Draw(_scaled(WINDOW, scale), 10, 0.46, "any", (24 * scale, 68 * scale)),
    )


def _scaled(canvas: Canvas, scale: float) -> Canvas:
    return Canvas(round(canvas.height_px * scale / 32) * 32, round(canvas.width_px * scale / 32) * 32)


class Pool:
    """Films to draw from: real ones with a fixed list, synthetic folders that may grow while training runs."""

    def __init__(
        self,
        real: Sequence[Film],
        synthetic: Sequence[Path],
        real_share: float,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._part = part
        self._real = [film for film in real if self._is_mine(film.name)] or list(real)
        self._folders, self._real_share = list(synthetic), real_share
        self._read: dict[Path, Film] = {}
        self._synthetic: list[Film] = []
        self.cache = FilmCache()
        self.refresh()

    def refresh(self) -> int:
        """Look for new synthetic films; return how many films there are now."""
        for folder in self._folders:
            for path in finished_labels(folder):
                if path not in self._read and self._is_mine(path.stem):
                    self._read[path] = read_yolo_film(path)
        self._synthetic = [film for film in self._read.values() if film.bodies]
        self._has_wide = any(not is_slim(film) for film in self._synthetic)
        return len(self._synthetic) + len(self._real)

    def _is_mine(self, name: str) -> bool:
        """Whether a film belongs to this worker: each keeps its own part of the films in memory."""
        number, workers = self._part
        return zlib.crc32(name.encode()) % workers == number

    def draw(self, draw: Draw, rng: np.random.Generator) -> Film:
        """Pick a film that suits the canvas."""
        for _ in range(50):
            films = self.films(rng)
            film = films[int(rng.integers(len(films)))]
            if draw.takes == "any" or is_slim(film) == (draw.takes == "slim"):
                break
        return film

    def films(self, rng: np.random.Generator) -> Sequence[Film]:
        """Films to choose the next one from: the real ones by their share, or the synthetic ones."""
        use_real = not self._synthetic or (bool(self._real) and rng.random() < self._real_share)
        return self._real if use_real else self._synthetic

    def suits(self, draw: Draw) -> bool:
        """Whether a kind of batch makes sense: there may be no wide film."""
        return draw.takes != "wide" or self._has_wide


def is_slim(film: Film) -> bool:
    """Whether a film goes onto the slim canvas."""
    return film.width_px <= _SLIM * film.height_px


def make_batch(pool: Pool, rng: np.random.Generator, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """Draw one batch.

    Returns
    -------
    dict
        ``img`` float32 (n, 3, height, width) in 0 … 1; ``batch_idx`` (m,), ``cls`` (m, 1), ``bboxes`` (m, 4) centre
        and size in shares, ``masks`` (m, height / 4, width / 4); ``unlabelled`` bool (n, classes).
    """
    kinds = [draw for draw in draws(scale) if pool.suits(draw)]
    shares = np.array([draw.share for draw in kinds])
    draw = kinds[int(rng.choice(len(kinds), p=shares / shares.sum()))]
    samples = []
    for _ in range(draw.films):
        film = pool.draw(draw, rng)
        samples.append(make_sample(film, pool.cache, draw.canvas, _affine(film, draw, rng), rng))
    return collate(samples, draw.canvas)


def _affine(film: Film, draw: Draw, rng: np.random.Generator) -> Affine:
    if draw.body_px is not None:
        return zoom_in(film, draw.canvas, draw.body_px, rng)
    return whole_film(film, draw.canvas, rng)


def collate(samples: Sequence[Sample], canvas: Canvas, n_classes: int = 25) -> dict[str, torch.Tensor]:
    """Stack samples of one canvas into a batch; see :func:`make_batch`."""
    size = np.array([canvas.width_px, canvas.height_px] * 2, np.float32)
    boxes = np.concatenate([sample.boxes_px for sample in samples]) / size
    centres_and_sizes = np.concatenate(
        [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1
    )
    unlabelled = np.zeros((len(samples), n_classes), bool)
    for row, sample in zip(unlabelled, samples, strict=True):
        row[list(sample.unlabelled)] = True
    grey = torch.from_numpy(np.stack([sample.image for sample in samples]))
    owners = np.repeat(np.arange(len(samples)), [len(sample.classes) for sample in samples])
    return {
        "img": grey[:, None].float().div_(255).expand(-1, 3, -1, -1),
        "batch_idx": torch.from_numpy(owners).float(),
        "cls": torch.from_numpy(np.concatenate([sample.classes for sample in samples])).float()[:, None],
        "bboxes": torch.from_numpy(centres_and_sizes),
        "masks": torch.from_numpy(np.concatenate([sample.masks for sample in samples])),
        "unlabelled": torch.from_numpy(unlabelled),
    }


def stream(
    pool: Pool, seed: int, first_step: int = 0, scale: float = 1.0, ahead: int = 6
) -> Iterator[dict[str, torch.Tensor]]:
    """Batches without end, made ``ahead`` of time in one thread; batch k depends on seed, k and the pool only."""
    made: queue.Queue[dict[str, torch.Tensor] | BaseException] = queue.Queue(ahead)
    stopped = threading.Event()

    def produce() -> None:
        step = first_step
        while not stopped.is_set():
            try:
                made.put(make_batch(pool, np.random.default_rng([seed, step]), scale))
            except BaseException as error:
                made.put(error)
                return
            step += 1

    threading.Thread(target=produce, daemon=True, name="batches").start()
    try:
        while True:
            batch = made.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stopped.set()
