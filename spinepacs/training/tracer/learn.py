"""Train the tracer on the crops of labelled films; it goes on where it was stopped.

Run as ``python -m spinepacs.training.tracer.learn --ap DIR --synthetic DIR --out DIR``. AP films: the training groups.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from spinepacs.analysis.seeing.crops import EDGES, to_batch
from spinepacs.analysis.seeing.crops import Film as Cutter
from spinepacs.analysis.seeing.tracer import FILE, MAP, corner_places
from spinepacs.training.data.dataset import read_grey, read_lateral_corners, read_yolo_seg
from spinepacs.training.data.held_out import real_films
from spinepacs.training.reader.loop import Trainer, parser, prepare, train
from spinepacs.training.reader.samples import shaken
from spinepacs.training.reader.starting import begun
from spinepacs.training.tracer.network import TracerNetwork
from spinepacs.training.tracer.samples import Marked, Sample, Sampler, sample, usable

_SPREAD = 0.8
"""Standard deviation, cells, of what each corner's cells are to be likely by."""
_MEAN, _MASK = 0.5, 8.0
"""Weights, beside that of the corners' cross entropy, of the distance of their mean places and of the outline."""
_SHOWN = 3
"""Of the films that are only looked at, one in so many: those with many bodies take long."""


def loss_of(network: nn.Module, drawn: Sequence[Sample]) -> torch.Tensor:
    """Cross entropies of the corners' places, of those that are seen, and of the cells inside."""
    batch = torch.from_numpy(to_batch([one.crop for one in drawn])).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(batch)
    corners = torch.from_numpy(np.stack([one.corners for one in drawn]))
    seen = torch.from_numpy(np.stack([one.seen for one in drawn])).float()
    inside = torch.from_numpy(np.stack([one.inside for one in drawn]))
    likely = torch.log_softmax(logits[:, :4].flatten(2), dim=2)
    cross = -(spread(corners).flatten(2) * likely).sum(dim=2)
    away = functional.smooth_l1_loss(_means(likely.exp()), corners, reduction="none", beta=0.5).sum(dim=2)
    corner = ((cross + _MEAN * away) * seen).sum() / seen.sum().clamp(min=1)
    return corner + _MASK * functional.binary_cross_entropy_with_logits(logits[:, 4], inside)


def spread(corners: torch.Tensor) -> torch.Tensor:
    """(n, 4, 48, 48): how likely each cell is to be the one of a corner at (n, 4, 2) x, y."""
    x, y = _cells()
    near_x = torch.exp(-((x - corners[..., :1]) ** 2) / (2 * _SPREAD**2))
    near_y = torch.exp(-((y - corners[..., 1:]) ** 2) / (2 * _SPREAD**2))
    near = near_y[..., :, None] * near_x[..., None, :]
    return near / near.sum(dim=(2, 3), keepdim=True).clamp(min=1e-6)


def _means(share: torch.Tensor) -> torch.Tensor:
    """(n, 4, 2) mean places of (n, 4, cells) shares."""
    x, y = _cells()
    share = share.unflatten(2, MAP)
    return torch.stack([(share.sum(dim=2) * x).sum(dim=2), (share.sum(dim=3) * y).sum(dim=2)], dim=2)


def _cells() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(MAP[1]) + 0.5, torch.arange(MAP[0]) + 0.5


def judged(network: nn.Module, films: Sequence[Marked]) -> dict[str, float]:
    """Over all bodies of films, cut as inexactly as in training: median and mean error of the corners, as shares of
    the plates' mean length, and the outlines' mean intersection over union."""
    errors: list[float] = []
    overlaps: list[float] = []
    rng = np.random.default_rng(5)
    for film in films:
        cutter = Cutter(read_grey(film.path))
        where = [shaken(body.place, rng) for body in film.bodies]
        true = [
            sample(cutter.cut(place, EDGES), body, EDGES.to_film(place), cutter.shape)
            for place, body in zip(where, film.bodies, strict=True)
        ]
        with torch.no_grad():
            answer = network(torch.from_numpy(to_batch([one.crop for one in true]))).numpy()
        for found, mask, one in zip(corner_places(answer[:, :4]), answer[:, 4], true, strict=True):
            errors.extend(_shares(found, one).tolist())
            overlaps.append(((mask > 0) & (one.inside > 0.5)).sum() / ((mask > 0) | (one.inside > 0.5)).sum())
    found = {"median": np.median(errors), "mean": np.mean(errors), "iou": np.mean(overlaps)}
    return {name: round(float(value), 4) for name, value in found.items()}


def _shares(found: NDArray[np.float64], one: Sample) -> NDArray[np.float64]:
    length = np.hypot(*(one.corners[[1, 2]] - one.corners[[0, 3]]).T).mean()
    away: NDArray[np.float64] = np.hypot(*(found - one.corners).T)[one.seen] / length
    return away


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: train for the given minutes, say now and then how well corners are placed."""
    given = parser("spinepacs.training.tracer.learn", __doc__, ap_share=0.3).parse_args(arguments)
    prepare(given)
    sources, held = _sources(given)
    samplers = [(share, Sampler(films)) for share, films in sources]
    network = begun(TracerNetwork(), FILE, samplers, given)
    trainer = Trainer(network, loss_of, given.out / "tracer.pt", given)
    train(
        trainer,
        samplers,
        lambda network: {name: judged(network, films) for name, films in held.items()},
        given,
    )
    return 0


def _sources(given: argparse.Namespace) -> tuple[list[tuple[float, list[Marked]]], dict[str, list[Marked]]]:
    """Films to learn from with their shares of the crops, and those to look at now and then."""
    sources, held = [], {}
    if given.ap:
        training, validation = real_films(given.ap)
        held["ap"] = usable(validation[::_SHOWN])
        sources.append((given.ap_share, usable(training)))
    synthetic = [film for folder in given.synthetic for film in usable(read_yolo_seg(folder))]
    sources.append((1 - given.ap_share, synthetic))
    if given.lateral:
        held["lateral"] = usable(read_lateral_corners(given.lateral))
    for folder in given.check:
        held[folder.name] = usable(read_yolo_seg(folder)[::_SHOWN])
    held = {name: films for name, films in held.items() if films}
    print({"training": [len(films) for _, films in sources], **{k: len(v) for k, v in held.items()}})  # noqa: T201
    return sources, held


if __name__ == "__main__":
    raise SystemExit(main())
