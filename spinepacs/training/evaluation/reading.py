"""Compare what the product publishes of a film with its labels: levels, corners, endplates, discs, S1's plate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.measuring.measure import disc_heights
from spinepacs.domain.findings import Detection, Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Endplate, Spacing, SpacingBasis
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film
from spinepacs.training.evaluation.truth import FilmTruth, Points
from spinepacs.training.metrics.detections import match
from spinepacs.training.metrics.reading import NOWHERE, BodyReading, FilmReading, FoundBody, PlateReading

Floats = NDArray[np.float64]
_SAME_BODY = 0.5
"""Intersection over union of outlines from which a detection is the labelled body."""
_SAME_PLATE = 0.25
"""Mean error of both ends, as a share of the plate's width, up to which an endplate is S1's."""
_POINTS = 200
"""A polyline is compared at so many points."""


def read_as_product(
    spine: Spine | Refusal,
    found: Sequence[Detection],
    overlaps: Floats,
    film: Film,
    truth: FilmTruth,
    seconds: float,
) -> FilmReading:
    """Compare what the product publishes with the labels.

    Parameters
    ----------
    spine
        What the product says of the film.
    found
        The detections of its vertebrae, best first.
    overlaps
        (d, t) intersection over union of their outlines with those of ``film.bodies``.
    seconds
        That the detection took.
    """
    named, holders = _named(found, spine), _holders(overlaps)
    at = {int(column): row for row, column in enumerate(holders) if column >= 0}
    discs = _disc_errors(spine, named, at, truth)
    bodies = tuple(
        _body(found, named, overlaps, at.get(column), film, column, truth, discs.get(column, np.nan))
        for column in range(len(film.bodies))
    )
    everything = tuple(
        FoundBody(
            raw_level=int(one.raw_level),
            published_level=_level(vertebra),
            score=one.score,
            outline_px=one.outline.points,
            is_false=bool(holder < 0 and one.raw_level not in film.unlabelled),
        )
        for one, vertebra, holder in zip(found, named, holders, strict=True)
    )
    said = ("", (spine.code,)) if isinstance(spine, Refusal) else (spine.view.lower(), spine.notes)
    return FilmReading(
        name=film.name,
        group=film.group,
        view=film.view,
        published_view=said[0],
        bodies=bodies,
        found=everything,
        plate=_plate(spine, truth.sacral_plate_px),
        notes=said[1],
        seconds=seconds,
    )


def by_body(spine: Spine | Refusal, found: Sequence[Detection], overlaps: Floats) -> dict[int, Vertebra]:
    """By place in ``film.bodies``: the published vertebra that is that body; for the arguments see above."""
    pairs = zip(_named(found, spine), _holders(overlaps).tolist(), strict=True)
    return {place: vertebra for vertebra, place in pairs if vertebra and place >= 0}


def _holders(overlaps: Floats) -> NDArray[np.int64]:
    """The labelled body of each detection, -1 for none."""
    return match(overlaps, np.ones(overlaps.shape, bool), _SAME_BODY)


def _named(found: Sequence[Detection], spine: Spine | Refusal) -> list[Vertebra | None]:
    """The published vertebra of each detection; they share the very same outline."""
    vertebrae = () if isinstance(spine, Refusal) else spine.vertebrae
    by_outline = {id(vertebra.outline): vertebra for vertebra in vertebrae}
    return [by_outline.get(id(detection.outline)) for detection in found]


def _level(vertebra: Vertebra | None) -> int:
    return NOWHERE if vertebra is None else int(vertebra.level)


def _body(
    found: Sequence[Detection],
    named: Sequence[Vertebra | None],
    overlaps: Floats,
    row: int | None,
    film: Film,
    column: int,
    truth: FilmTruth,
    disc_mm: float,
) -> BodyReading:
    level = film.bodies[column].class_id
    corners = truth.corners_px.get(column)
    size_px = np.nan if corners is None else body_size_px(corners, film.view)
    if row is None:
        missed = (np.full(4, np.nan), size_px, np.full(2, np.nan), np.nan)
        return BodyReading(level, 0.0, 0.0, NOWHERE, NOWHERE, *missed)
    vertebra = named[row]
    return BodyReading(
        level=level,
        score=found[row].score,
        iou=float(overlaps[row, column]),
        raw_level=int(found[row].raw_level),
        published_level=_level(vertebra),
        corners_px=_corner_errors(vertebra, corners),
        size_px=size_px,
        endplates_mm=_endplate_errors(vertebra, truth, column),
        disc_mm=disc_mm,
        level_sure=vertebra is not None and not vertebra.level_is_ambiguous,
    )


def body_size_px(corners: Points, view: str) -> float:
    """Mean height of a labelled body (4, 2) on AP films, mean depth on others."""
    ends = corners[[3, 2]] - corners[[0, 1]] if view == "ap" else corners[[1, 2]] - corners[[0, 3]]
    return float(np.hypot(*ends.T).mean())


def _corner_errors(vertebra: Vertebra | None, corners: Points | None) -> Floats:
    """(4,) px, nan where the product draws no such endplate."""
    if vertebra is None or corners is None:
        return np.full(4, np.nan)
    nowhere = (np.nan, np.nan)
    upper, lower = vertebra.upper, vertebra.lower
    drawn = [
        *((upper.left, upper.right) if upper else (nowhere, nowhere)),
        *((lower.right, lower.left) if lower else (nowhere, nowhere)),
    ]
    return np.hypot(*(np.array(drawn, np.float64) - corners).T)


def _endplate_errors(vertebra: Vertebra | None, truth: FilmTruth, column: int) -> Floats:
    """(2,) mean distance between drawn and true endplates, mm in the patient's plane."""
    if vertebra is None or truth.mm_per_px is None or column not in truth.endplates_px:
        return np.full(2, np.nan)
    pairs = zip((vertebra.upper, vertebra.lower), truth.endplates_px[column], strict=True)
    return truth.mm_per_px * np.array(
        [curve_distance(drawn.curve, true) if drawn else np.nan for drawn, true in pairs]
    )


def curve_distance(first: Points, second: Points) -> float:
    """Mean distance of two open polylines (n, 2) and (m, 2): of each one's points to the other, both ways."""
    one, other = _even(first), _even(second)
    apart = np.hypot(*np.moveaxis(one[:, None] - other[None], 2, 0))
    return float((apart.min(axis=0).mean() + apart.min(axis=1).mean()) / 2)


def _even(line: Points) -> Points:
    """Points at even distances along a polyline."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.linspace(0, along[-1], _POINTS)
    return np.stack([np.interp(at, along, line[:, axis]) for axis in (0, 1)], axis=1)


def _disc_errors(
    spine: Spine | Refusal,
    named: Sequence[Vertebra | None],
    at: dict[int, int],
    truth: FilmTruth,
) -> dict[int, float]:
    """By column of the upper body: product's mean disc height minus the true one, mm.

    A disc counts where the product's two neighbours are the labelled ones, even if both are named one level off.
    """
    if isinstance(spine, Refusal) or truth.mm_per_px is None:
        return {}
    spacing = Spacing(truth.mm_per_px, truth.mm_per_px, SpacingBasis.MAGNIFICATION_CORRECTED)
    heights = {}
    for disc in disc_heights(spine, spacing):
        ends = [disc.anterior_mm, disc.posterior_mm, disc.left_mm, disc.right_mm]
        heights[disc.disc.upper] = float(np.mean([end for end in ends if end is not None]))
    errors = {}
    for (above, below), true_mm in truth.disc_mm.items():
        upper, lower = (named[at[column]] if column in at else None for column in (above, below))
        if upper and lower and lower.level == upper.level + 1 and upper.level in heights:
            errors[above] = heights[upper.level] - true_mm
    return errors


def _plate(spine: Spine | Refusal, labelled: Points | None) -> PlateReading | None:
    """S1's upper plate as the published upper endplate nearest to it."""
    if labelled is None:
        return None
    vertebrae = () if isinstance(spine, Refusal) else spine.vertebrae
    width = float(np.hypot(*(labelled[1] - labelled[0])))
    errors = [
        (plate_error(vertebra.upper, labelled) / width, int(vertebra.level))
        for vertebra in vertebrae
        if vertebra.upper
    ]
    error, level = min(errors, default=(np.nan, NOWHERE))
    return PlateReading(error, level, bool(error <= _SAME_PLATE))


def plate_error(drawn: Endplate, labelled: Points) -> float:
    """Mean distance of both ends of an endplate from the labelled ones, px."""
    return float(np.hypot(*(np.array([drawn.left, drawn.right]) - labelled).T).mean())


def header_view(film: Film) -> View:
    """View as a film's header would state it; a word that no header knows is UNKNOWN."""
    return {"ap": View.AP, "lateral": View.LATERAL, "oblique": View.OBLIQUE}.get(film.view, View.UNKNOWN)
