"""Estimate a model's localisation error on labelled films, for its manifest, and check the intervals that follow.

Run as ``python -m spinepacs.training.release.localise --model DIR --lateral DIR --ap DIR --synthetic DIR
--check DIR``: it prints the tables for ``manifest.toml`` (``analysis.seeing.localisation``) and, for the synthetic
films of ``--check``, how often the 95 % intervals hold the truth. Films to estimate from must be none that the model
has seen in training, films to check with none of either.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.measuring.plates import BACK, FRONT, MIDDLE, Plates, along, dot, footwards, length
from spinepacs.analysis.naming.spine import find_spine
from spinepacs.analysis.seeing.localisation import MODES, Localisation, doubts
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.domain.anatomy import Level, Region
from spinepacs.domain.findings import Spine, Vertebra
from spinepacs.domain.geometry import Endplate
from spinepacs.domain.measures import Quantity
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.evaluation.evaluate import film_sets
from spinepacs.training.evaluation.film import outline_iou, radiograph_of
from spinepacs.training.evaluation.marks import labelled_plate, true_plates
from spinepacs.training.evaluation.reading import header_view
from spinepacs.training.evaluation.segmenters import open_segmenter
from spinepacs.training.evaluation.truth import FilmTruth, Points, film_truth

Floats = NDArray[np.float64]
Pair = tuple[Spine, Spine]
"""What the product drew and what is true of the same vertebrae, both at the labelled levels."""

_SAME_BODY = 0.5
_SAME_PLATE = 0.5
"""Of S1's plate where that is all that is labelled: mean error of its ends, share of its length."""
_LEAST_PLATES = 60
"""A level with fewer takes the figures of its region."""
_DOUBTS = np.concatenate([np.arange(0, 30.5, 0.5), np.geomspace(32, 128, 13)])
"""Of scores the former; spreads are smaller, and errors nearly proportional to them."""


def read_pair(segmenter: Segmenter, film: Film) -> Pair | None:
    """Read a film as the product does and put the labelled endplates beside the drawn ones; None: there are none."""
    display, view = read_grey(film.path), header_view(film)
    spine, _ = find_spine(segmenter, radiograph_of(display, view))
    if not isinstance(spine, Spine) or (view is View.LATERAL and spine.anterior_left is None):
        return None
    return pair(spine, film, film_truth(film))


def pair(spine: Spine, film: Film, truth: FilmTruth) -> Pair | None:
    """The vertebrae of a spine that are labelled bodies, as drawn and as labelled, both at their labelled levels."""
    outlines = [body.outline_px.astype(np.float64) + 0.5 for body in film.bodies]
    both: dict[Level, tuple[Vertebra, Vertebra]] = {}
    for vertebra in spine.vertebrae:
        overlaps = [outline_iou(vertebra.outline.points, outline) for outline in outlines]
        place = int(np.argmax(overlaps)) if overlaps else -1
        true: tuple[Endplate | None, Endplate | None] = (None, None)
        level = vertebra.level
        if place >= 0 and overlaps[place] >= _SAME_BODY and place in truth.corners_px:
            level = Level(film.bodies[place].class_id)
            true = true_plates(truth, place)
        elif level is Level.S1 and truth.sacral_plate_px is not None:
            true = (_same_plate(vertebra.upper, truth.sacral_plate_px), None)
        drawn = replace(vertebra, level=level)
        both[level] = (drawn, replace(drawn, upper=drawn.upper and true[0], lower=drawn.lower and true[1]))
    if not both:
        return None
    found, true_spine = zip(*(both[level] for level in sorted(both)), strict=True)
    return replace(spine, vertebrae=found), replace(spine, vertebrae=true_spine)


def _same_plate(drawn: Endplate | None, labelled: Points) -> Endplate | None:
    if drawn is None:
        return None
    off = np.hypot(*(np.array([drawn.left, drawn.right]) - labelled).T).mean()
    near = off < _SAME_PLATE * np.hypot(*(labelled[1] - labelled[0]))
    return labelled_plate(labelled[0], labelled[1], None) if near else None


def errors(both: Pair) -> Floats:
    """(25, 2, 5) errors of the plates by level, side and mode, shares of the true plates' lengths; NaN: not known."""
    found, true = (Plates.of(spine, None).points for spine in both)
    for vertebra in both[1].vertebrae:
        for side, plate in enumerate((vertebra.upper, vertebra.lower)):
            if plate and len(plate.curve) == 2:  # only its ends are labelled
                true[vertebra.level, side, MIDDLE] = np.nan
    off = (found - true) / length(true)[..., None, None]
    backwards = along(true)
    away = footwards(backwards) * np.array([-1.0, 1.0])[:, None]
    front, middle, back = np.moveaxis(dot(off, away[..., None, :]), -1, 0)
    slides = dot(off, backwards[..., None, :])
    ends = (front + back) / 2
    # Where the middle is not labelled, the plate is taken as moved by what its ends are.
    shift = np.where(np.isnan(middle), ends, (front + middle + back) / 3)
    return np.stack(
        [
            shift,
            front - back,
            middle - ends,
            (slides[..., FRONT] + slides[..., BACK]) / 2,
            slides[..., BACK] - slides[..., FRONT],
        ],
        axis=-1,
    )


def fit(pairs: Sequence[Pair]) -> Localisation:
    """Estimate shares, doubt and correlations; the doubt is the one that makes the errors likeliest.

    Raises
    ------
    ValueError
        If there is nothing to estimate from.
    """
    if not pairs:
        raise ValueError("no labelled vertebra was found on these films: there is no error to estimate")
    table = np.stack([errors(both) for both in pairs])
    doubted = np.stack([doubts(found) for found, _ in pairs])
    doubt = max(_DOUBTS, key=lambda value: _likelihood(table, doubted, value))
    scaled = table / (1 + doubt * doubted)[..., None]
    even = scaled / _by_level(scaled)[None, :, None]
    return Localisation(
        shares=_shares(scaled),
        doubt=float(doubt),
        body=_correlations(even[:, :, 0], even[:, :, 1]),
        disc=_correlations(even[:, :-1, 1], even[:, 1:, 0]),
    )


def _likelihood(table: Floats, doubted: Floats, doubt: float) -> float:
    """Log-likelihood of the errors as normal ones whose deviations grow with doubt."""
    growth = (1 + doubt * doubted)[..., None]
    deviation = growth * _by_level(table / growth)[None, :, None]
    return -float(
        np.nansum(np.where(np.isnan(table), np.nan, np.log(deviation) + (table / deviation) ** 2 / 2))
    )


def _by_level(scaled: Floats) -> Floats:
    """(25, 5) shares of each level, its own or its region's; NaN where neither is known."""
    shares = _shares(scaled)
    nothing = (np.nan,) * len(MODES)
    table = [shares.get(level.name, shares.get(level.region, nothing)) for level in Level]
    return np.maximum(np.array(table), 1e-6)


def _shares(scaled: Floats) -> dict[str, tuple[float, ...]]:
    """Root mean squares of the regions that were seen, and of the levels that were seen often."""
    places: dict[str, list[Level]] = {
        region: [level for level in Level if level.region is region] for region in Region
    }
    places |= {level.name: [level] for level in Level}
    shares = {}
    for name, levels in places.items():
        seen = scaled[:, levels].reshape(-1, len(MODES))
        count = int(np.isfinite(seen[:, 0]).sum())
        if count >= (_LEAST_PLATES if name in Level.__members__ else 1):
            roots = [_root_mean_square(seen[:, mode]) for mode in range(len(MODES))]
            # Films that do not label the middle: it errs like the rest of the plate.
            shares[name] = tuple(roots[0] if np.isnan(root) else root for root in roots)
    return shares


def _root_mean_square(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if len(known) else float("nan")


def _correlations(one: Floats, other: Floats) -> tuple[float, ...]:
    found = []
    for mode in range(len(MODES)):
        known = np.isfinite(one[..., mode]) & np.isfinite(other[..., mode])
        first, second = one[..., mode][known], other[..., mode][known]
        size = np.sqrt((first**2).sum() * (second**2).sum())
        found.append(float((first * second).sum() / size) if size > 0 else 0.0)
    return tuple(found)


def coverage(pairs: Iterable[Pair], localisation: Localisation) -> dict[Quantity, tuple[int, float]]:
    """By quantity: number of values with truth and uncertainty, and the share whose 95 % interval holds the truth."""
    held: dict[Quantity, list[bool]] = defaultdict(list)
    for found, true in pairs:
        truths = {(m.quantity, m.place): m.value for m in measure(true, None)}
        for one in measure(found, None, {found.view: localisation}):
            truth = truths.get((one.quantity, one.place))
            if truth is not None and one.margin is not None:
                held[one.quantity].append(abs(one.value - truth) <= one.margin)
    return {quantity: (len(each), float(np.mean(each))) for quantity, each in held.items()}


def as_toml(view: View, localisation: Localisation) -> str:
    """One view's tables of a manifest."""

    def numbers(values: Iterable[float]) -> str:
        return "[" + ", ".join(f"{value:.4g}" for value in values) + "]"

    lines = [f"[localisation.{view}]", f"doubt = {localisation.doubt:.1f}"]
    lines += [f"body = {numbers(localisation.body)}", f"disc = {numbers(localisation.disc)}"]
    lines += [f"[localisation.{view}.shares]  # {', '.join(MODES)}"]
    lines += [f"{name} = {numbers(modes)}" for name, modes in localisation.shares.items()]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: print the manifest's tables, then the coverage on the films to check with."""
    parser = argparse.ArgumentParser(
        prog="spinepacs.training.release.localise", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("--model", type=Path, required=True, help="model folder or checkpoint (.pt)")
    add("--ap", type=Path, help="AP folder with corner tables: its validation groups are used")
    add("--lateral", type=Path, help="lateral folder with corners.csv")
    add("--synthetic", type=Path, nargs="+", default=[], help="YOLO-seg folders with truth/ to estimate from")
    add(
        "--check",
        type=Path,
        nargs="+",
        default=[],
        help="YOLO-seg folders with truth/ to check the intervals with",
    )
    given = parser.parse_args(arguments)
    segmenter = open_segmenter(given.model)
    pairs = _pairs(segmenter, film_sets(given.ap, given.lateral, given.synthetic))
    held = _pairs(segmenter, film_sets(None, None, given.check))
    for view, each in pairs.items():
        localisation = fit(each)
        sys.stdout.write(f"# {view}: {len(each)} films\n{as_toml(view, localisation)}\n")
        for quantity, (count, share) in coverage(held.get(view, ()), localisation).items():
            sys.stdout.write(
                f"# {view} {quantity}: {100 * share:.1f} % of {count} intervals hold the truth\n"
            )
    return 0


def _pairs(segmenter: Segmenter, sets: Mapping[str, Sequence[Film]]) -> dict[View, list[Pair]]:
    found: dict[View, list[Pair]] = defaultdict(list)
    films = [film for each in sets.values() for film in each]
    for film in track(films, "films", disable=not sys.stderr.isatty()):
        if both := read_pair(segmenter, film):
            found[both[0].view].append(both)
    return {view: each for view, each in found.items() if view in (View.AP, View.LATERAL)}


if __name__ == "__main__":
    raise SystemExit(main())
