"""Teach a trained tracer to see spurs; what it says of edges stays as it is. It goes on where it was stopped.

Run as ``python -m spinepacs.training.tracer.spurs --tracer FILE --synthetic DIR --out DIR``: only the film generator
says how far a spur stands out. The checkpoint ``spurs.pt`` holds the tracer, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu
from torch import nn
from torch.nn import functional

from spinepacs.analysis.seeing.crops import EDGES, to_batch
from spinepacs.analysis.seeing.crops import Film as Cutter
from spinepacs.analysis.seeing.tracer import FILE, MAP, MAPS, values_at
from spinepacs.training.data.dataset import read_grey, read_yolo_seg
from spinepacs.training.reader.loop import Trainer, parser, prepare, train
from spinepacs.training.reader.starting import begun
from spinepacs.training.tracer.network import SpursNetwork
from spinepacs.training.tracer.samples import Marked, Sample, Sampler, sample, usable

_SPURRED = 3.0
_UNIT, _MOST = 0.1, 0.5
"""Of the loss; and the longest spur that is told from longer ones."""
_STEPS = (0.05, 0.125, 0.25)
"""Shares of the plate from which the policy grades."""


def loss_of(network: nn.Module, drawn: Sequence[Sample]) -> torch.Tensor:
    """Squared distance of what is said at each corner from how far its spur stands out: what is learnt is the mean."""
    batch = torch.from_numpy(to_batch([one.crop for one in drawn])).to(memory_format=torch.channels_last)
    corners = torch.from_numpy(np.stack([one.corners for one in drawn]))
    known = np.stack([np.isfinite(one.spurs) & one.seen for one in drawn])
    true = np.clip(np.nan_to_num(np.stack([one.spurs for one in drawn])), 0, _MOST)
    told = at_corners(network(batch)[:, MAPS:], corners)
    away = (told - torch.from_numpy(true)).square() / _UNIT**2
    there = torch.from_numpy(known).float()
    return (away * there).sum() / there.sum().clamp(min=1)


def at_corners(map_: torch.Tensor, corners: torch.Tensor) -> torch.Tensor:
    """(n, 4) of (n, 1, 48, 48) at (n, 4, 2) places in cells."""
    places = 2 * corners / torch.tensor(MAP[::-1]) - 1
    return functional.grid_sample(map_, places[:, :, None], align_corners=False)[:, 0, :, 0]


def judged(network: nn.Module, films: Sequence[Marked]) -> dict[str, float]:
    """How often, of two rims, the one with the spur of a grade or more gets the longer one, by grade (area under the
    ROC curve), over all known rims of films, and how many they are."""
    told: list[NDArray[np.float64]] = []
    true: list[NDArray[np.float32]] = []
    for film in films:
        cutter = Cutter(read_grey(film.path))
        crops = [cutter.cut(body.place, EDGES) for body in film.bodies]
        seen = [
            sample(crop, body, EDGES.to_film(body.place), cutter.shape)
            for crop, body in zip(crops, film.bodies, strict=True)
        ]
        with torch.no_grad():
            answer = network(torch.from_numpy(to_batch(crops))).numpy()
        found = values_at(answer[:, MAPS], np.stack([one.corners for one in seen]))
        known = np.stack([np.isfinite(one.spurs) & one.seen for one in seen])
        told.append(found[known])
        true.append(np.stack([one.spurs for one in seen])[known])
    told_all, true_all = np.concatenate(told), np.concatenate(true)
    areas = {f"grade {n}": area_under_roc(told_all, true_all >= step) for n, step in enumerate(_STEPS, 1)}
    return {name: round(value, 4) for name, value in areas.items()} | {"rims": len(true_all)}


def area_under_roc(told: NDArray[np.floating], there: NDArray[np.bool_]) -> float:
    """Mann and Whitney's statistic as a share; NaN where all are there, or none is."""
    both = np.sum(there) * np.sum(~there)
    if not both:
        return float("nan")
    return float(mannwhitneyu(told[there], told[~there]).statistic / both)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: train for the given minutes, say now and then how well spurs are told."""
    made = parser("spinepacs.training.tracer.spurs", __doc__, ap_share=0.0)
    made.add_argument(
        "--tracer", type=Path, help="checkpoint of training.tracer.learn; else --start's is taken"
    )
    given = made.parse_args(arguments)
    if not (given.tracer or given.start):
        made.error("--tracer or --start: spurs are learnt over a trained tracer")
    prepare(given)
    films = [film for folder in given.synthetic for film in _spurs_known(folder)]
    samplers = [(1.0, Sampler(films, spurred=_SPURRED))]
    network = begun(SpursNetwork(), FILE, samplers, given)
    if given.tracer:
        network.tracer.load_state_dict(torch.load(given.tracer, weights_only=True)["average"])
    held = {str(folder): _spurs_known(folder) for folder in given.check}
    print({"training": len(films), **{name: len(kept) for name, kept in held.items()}})  # noqa: T201
    train(
        Trainer(network, loss_of, given.out / "spurs.pt", given),
        samplers,
        lambda averaged: {name: judged(averaged, kept) for name, kept in held.items()},
        given,
    )
    return 0


def _spurs_known(folder: Path) -> list[Marked]:
    """Those films that say of each rim how far its spur stands out."""
    films = usable(read_yolo_seg(folder))
    return [film for film in films if all(np.isfinite(body.spurs).all() for body in film.bodies)]


if __name__ == "__main__":
    raise SystemExit(main())
