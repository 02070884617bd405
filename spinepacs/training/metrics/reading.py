"""Figures of the product's own reading: bodies found and named, corners, endplates, discs, S1's plate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.training.metrics.bootstrap import mean, median, per_film, ratio
from spinepacs.training.metrics.grades import GradedSign
from spinepacs.training.metrics.values import ComparedValue

Floats = NDArray[np.float64]
NOWHERE = -1
"""Level of a body that was not found, or whose detection the chain dropped."""


@dataclass(frozen=True)
class BodyReading:
    """One labelled body beside the detection that overlaps it by IoU 0.5 or more.

    Parameters
    ----------
    level
        Labelled class.
    score, iou
        Of the detection; 0 where the body was missed.
    raw_level, published_level
        The network's class and the one after the chain; ``NOWHERE`` where the body was missed or dropped.
    corners_px
        (4,) distance of each corner from its label; nan where not both are known.
    size_px
        What corner errors are a share of: labelled height of the body on AP films, depth (width) on others.
    endplates_mm
        (2,) mean distance of the upper and lower endplate from the true one; nan where there is no truth.
    disc_mm
        Error of the height of the disc below, product minus truth; nan where not both are known.
    level_sure
        Whether the level is published without a doubt.
    """

    level: int
    score: float
    iou: float
    raw_level: int
    published_level: int
    corners_px: Floats
    size_px: float
    endplates_mm: Floats
    disc_mm: float
    level_sure: bool = False

    @property
    def found(self) -> bool:
        """Whether a detection overlaps it."""
        return self.score > 0


@dataclass(frozen=True)
class PlateReading:
    """S1's labelled upper plate: the mean error of its two ends as a share of its width, and the level it was given.

    ``error`` is that of the nearest endplate that was published; ``found`` if it is at most a quarter.
    """

    error: float
    published_level: int
    found: bool


@dataclass(frozen=True)
class FoundBody:
    """One detection: its classes as in :class:`BodyReading`, its outline (N, 2) and what it is by the labels.

    ``is_false``: it overlaps no labelled body, and its class has labels on this film.
    """

    raw_level: int
    published_level: int
    score: float
    outline_px: Floats
    is_false: bool


@dataclass(frozen=True)
class FilmReading:
    """What the product publishes of one film, compared with its labels.

    ``view`` is the label's word, ``published_view`` the product's; ``bodies`` are in the order of the labels, ``found``
    best first; ``notes`` are the spine's, or the refusal's code; ``seconds`` is the time that the detection took;
    ``values`` and ``grades``: measures and signs beside the true ones, as far as these are known.
    """

    name: str
    group: str
    view: str
    published_view: str
    bodies: tuple[BodyReading, ...]
    found: tuple[FoundBody, ...]
    plate: PlateReading | None
    notes: tuple[str, ...]
    seconds: float
    values: tuple[ComparedValue, ...] = ()
    grades: tuple[GradedSign, ...] = ()

    @property
    def false(self) -> tuple[FoundBody, ...]:
        """Detections that are no labelled body."""
        return tuple(one for one in self.found if one.is_false)

    @property
    def all_found(self) -> bool:
        """Whether every labelled body was detected."""
        return all(body.found for body in self.bodies)

    @property
    def levels_right(self) -> bool:
        """Whether every body that was found is published at its level."""
        return all(body.published_level == body.level for body in self.bodies if body.found)

    @property
    def levels_doubted(self) -> bool:
        """Whether the product says that levels may be shifted."""
        return "LEVEL_AMBIGUOUS" in self.notes


class BodyTable:
    """The bodies of a set of films as columns: ``film`` (n,) and what :class:`BodyReading` holds."""

    def __init__(self, readings: Sequence[FilmReading], levels: range = range(25)) -> None:
        rows = [
            (film, body)
            for film, reading in enumerate(readings)
            for body in reading.bodies
            if body.level in levels
        ]
        self.n_films = len(readings)
        self.film = np.array([film for film, _ in rows], np.int64)
        bodies = [body for _, body in rows]
        self.level, self.raw, self.published = (
            np.array([getattr(body, name) for body in bodies], np.int64)
            for name in ("level", "raw_level", "published_level")
        )
        self.found, self.sure = (
            np.array([getattr(body, name) for body in bodies], bool) for name in ("found", "level_sure")
        )
        self.iou, self.disc_mm = (
            np.array([getattr(body, name) for body in bodies], np.float64) for name in ("iou", "disc_mm")
        )
        self.corners_px = np.array([body.corners_px for body in bodies], np.float64).reshape(-1, 4)
        self.size_px = np.array([body.size_px for body in bodies], np.float64)
        self.endplates_mm = np.array([body.endplates_mm for body in bodies], np.float64).reshape(-1, 2)

    def share(self, weights: Floats, fulfilled: NDArray[np.bool_], among: NDArray[np.bool_]) -> Floats:
        """Share of the bodies ``among`` (n,) that are ``fulfilled`` (n,), for each row of the weights."""
        above, below = (per_film(self.film, chosen, self.n_films) for chosen in (fulfilled & among, among))
        return ratio(weights, above, below)


def body_figures(table: BodyTable, weights: Floats) -> dict[str, Floats]:
    """Figures that are counted over bodies, by name: (R,) each. Levels are judged over the bodies found."""
    found, everything = table.found, np.ones(len(table.found), bool)
    figures = {
        "recall": table.share(weights, found, everything),
        "dice_mean": mean(weights, table.film[found], 2 * table.iou[found] / (1 + table.iou[found])),
        "mask_iou_mean": mean(weights, table.film[found], table.iou[found]),
    }
    for name, levels in (("raw", table.raw), ("chain", table.published)):
        offset = np.abs(levels - table.level)
        given = levels >= 0
        figures[f"level_exact_{name}"] = table.share(weights, given & (offset == 0), found)
        figures[f"level_within_one_{name}"] = table.share(weights, given & (offset <= 1), found)
    figures["level_exact_sure"] = table.share(weights, table.published == table.level, found & table.sure)
    return figures | _distances(table, weights)


def _distances(table: BodyTable, weights: Floats) -> dict[str, Floats]:
    corner_film, plate_film = np.repeat(table.film, 4), np.repeat(table.film, 2)
    lengths = {
        "corner_px": (corner_film, table.corners_px.ravel()),
        "corner_share": (corner_film, (table.corners_px / table.size_px[:, None]).ravel()),
        "endplate_mm": (plate_film, table.endplates_mm.ravel()),
        "disc_height_mm": (table.film, np.abs(table.disc_mm)),
    }
    kinds: dict[str, Callable[[Floats, NDArray[np.int64], Floats], Floats]] = {
        "median": median,
        "mean": mean,
    }
    return {
        f"{name}_{kind}": formula(weights, films, values)
        for name, (films, values) in lengths.items()
        for kind, formula in kinds.items()
    }


def reading_figures(readings: Sequence[FilmReading], weights: Floats) -> dict[str, Floats]:
    """Every figure of the product's readings, by name: (R,) each, in the order of the weights' rows."""
    if not readings:
        return {}
    return body_figures(BodyTable(readings), weights) | _film_figures(readings, weights)


def _film_figures(readings: Sequence[FilmReading], weights: Floats) -> dict[str, Floats]:
    def counted(number: Callable[[FilmReading], float]) -> Floats:
        return np.array([number(reading) for reading in readings], np.float64)

    films, hits = counted(lambda _: 1), counted(lambda one: sum(body.found for body in one.bodies))
    extra = counted(lambda one: len(one.false))
    anything = counted(lambda one: any(body.found for body in one.bodies))
    right = counted(lambda one: one.levels_right) * anything
    doubted = counted(lambda one: one.levels_doubted)
    plates = counted(lambda one: one.plate is not None)
    views = counted(lambda one: one.view in ("ap", "lateral", "oblique"))
    errors = np.array([one.plate.error if one.plate and one.plate.found else np.nan for one in readings])
    return {
        "precision": ratio(weights, hits, hits + extra),
        "false_per_film": ratio(weights, extra, films),
        "films_with_all_bodies": ratio(weights, counted(lambda one: one.all_found), films),
        "films_with_levels_right": ratio(weights, right, anything),
        "wrong_films_doubted": ratio(weights, doubted * (anything - right), anything - right),
        "right_films_doubted": ratio(weights, doubted * right, right),
        "films_wholly_right": ratio(weights, counted(lambda one: one.all_found and one.levels_right), films),
        "films_with_view_right": ratio(
            weights, counted(lambda one: one.view == one.published_view) * views, views
        ),
        "s1_plate_found": ratio(
            weights, counted(lambda one: one.plate is not None and one.plate.found), plates
        ),
        "s1_plate_found_as_s1": ratio(
            weights,
            counted(
                lambda one: (
                    one.plate is not None and one.plate.found and one.plate.published_level == Level.S1
                )
            ),
            plates,
        ),
        "s1_plate_error_median": median(weights, np.arange(len(readings)), errors),
    }
