"""What is known of a labelled film beyond outlines and levels: corners, endplates, S1's plate, scale, disc heights.

Everything is given in the product's coordinates (origin at the film's corner; see :mod:`spinepacs.domain.geometry`).
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import Film, LabelledBody

Points = NDArray[np.float64]


@dataclass(frozen=True)
class FilmTruth:
    """What can be measured against; bodies are given by their place in ``Film.bodies``.

    Parameters
    ----------
    corners_px
        By body: (4, 2) float64, upper left, upper right, lower right, lower left as seen on the film.
    endplates_px
        By body: the upper and the lower endplate as (N, 2) polylines, where the label knows their course.
    sacral_plate_px
        (2, 2) float64: both ends of S1's upper plate, the left one first; None where it is not labelled.
    mm_per_px
        Size of a pixel in the patient's plane; None for real films.
    disc_mm
        By the bodies above and below it: mean height of a disc, mm.
    anterior_left
        On lateral films: whether the patient looks to the image's left; None where that is not known.
    """

    corners_px: Mapping[int, Points] = field(default_factory=dict)
    endplates_px: Mapping[int, tuple[Points, Points]] = field(default_factory=dict)
    sacral_plate_px: Points | None = None
    mm_per_px: float | None = None
    disc_mm: Mapping[tuple[int, int], float] = field(default_factory=dict)
    anterior_left: bool | None = None


def film_truth(film: Film) -> FilmTruth:
    """Read what stands beside a film: ``truth/NAME.json`` of a synthetic one, ``corners.csv`` of a real one.

    A film with neither (any YOLO-seg folder) has outlines only.
    """
    if record := truth_record(film):
        return _from_record(record, film)
    if (film.path.parent / "corners.csv").is_file():
        return _from_quads(film)
    return FilmTruth()


def truth_record(film: Film) -> Mapping[str, Any] | None:
    """What the film generator wrote of a film (docs/synthetic-films.md); None for every other film."""
    path = film.path.parent.parent / "truth" / f"{film.path.stem}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _from_quads(film: Film) -> FilmTruth:
    quads = {
        place: body.outline_px.astype(np.float64) + 0.5
        for place, body in enumerate(film.bodies)
        if len(body.outline_px) == 4
    }
    plate = _sacral_plates(film.path.parent / "corners.csv").get(film.name)
    rightwards = sum(float(quad[1, 0] - quad[0, 0] + quad[2, 0] - quad[3, 0]) for quad in quads.values())
    if rightwards < 0:  # lateral labels go from back to front, and this patient looks to the left
        quads = {place: quad[[1, 0, 3, 2]] for place, quad in quads.items()}
        plate = plate if plate is None else plate[::-1]
    # Labels of AP films go from left to right.
    looks_left = rightwards < 0 if film.view == "lateral" else None
    return FilmTruth(corners_px=quads, sacral_plate_px=plate, anterior_left=looks_left)


@lru_cache(maxsize=4)
def _sacral_plates(table: Path) -> dict[str, Points]:
    """By film: back and front end of S1's upper plate, (2, 2); empty for a table of quads."""
    ends: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row.get("corner") in ("S1TB", "S1TF"):
                ends[row["film"]][row["corner"]] = (float(row["x"]) + 0.5, float(row["y"]) + 0.5)
    return {film: np.array([both["S1TB"], both["S1TF"]]) for film, both in ends.items() if len(both) == 2}


def _from_record(record: Mapping[str, Any], film: Film) -> FilmTruth:
    rows = record["vertebrae"]
    row_of = {place: _row_of(body, rows) for place, body in enumerate(film.bodies)}
    corners, endplates = {}, {}
    for place, row in row_of.items():
        quad = np.array(rows[row]["corners_px"], np.float64)
        if _within(quad, film):
            outline = np.array(rows[row]["outline_px"], np.float64)
            corners[place] = quad
            endplates[place] = (_between(outline, quad[0], quad[1]), _between(outline, quad[3], quad[2]))
    sacrum = next((corners[place] for place in corners if film.bodies[place].class_id == Level.S1), None)
    heights = {name.split("/")[0]: float(mm) for name, mm in record.get("disc_heights_mm", {}).items()}
    place_of = {row: place for place, row in row_of.items()}
    return FilmTruth(
        corners_px=corners,
        endplates_px=endplates,
        sacral_plate_px=None if sacrum is None else sacrum[:2],
        mm_per_px=float(record["spacing_mm"]) / float(record["magnification"]),
        disc_mm={
            (place_of[row], place_of[row + 1]): heights[rows[row]["level"]]
            for row in place_of
            if row + 1 in place_of and rows[row]["level"] in heights
        },
        anterior_left={"left": True, "right": False}.get(record.get("facing", "")),
    )


def _row_of(body: LabelledBody, rows: Sequence[Mapping[str, Any]]) -> int:
    """The vertebra of the record that a label was made of: the nearest one of its class."""
    centre = body.outline_px.mean(axis=0)
    apart = [
        float(np.hypot(*(np.mean(row["outline_px"], axis=0) - centre)))
        if _class_of(row["level"]) == body.class_id
        else np.inf
        for row in rows
    ]
    return int(np.argmin(apart))


def _class_of(level: str) -> Level:
    """Class of a level of the film generator, which labels a sixth lumbar vertebra as L5."""
    return Level["L5" if level == "L6" else level]


def _within(quad: Points, film: Film) -> bool:
    """Whether a body's corners all lie on the film; the labels of one that is cut off are no corners."""
    return bool((quad >= 0).all() and (quad <= [film.width_px, film.height_px]).all())


def _between(outline: Points, first: Points, second: Points) -> Points:
    """The shorter way along a closed outline between its points nearest to two corners."""
    start, end = (int(np.hypot(*(outline - corner).T).argmin()) for corner in (first, second))
    count = len(outline)
    ways = [
        outline[(start + sign * np.arange((sign * (end - start)) % count + 1)) % count] for sign in (1, -1)
    ]
    return min(ways, key=lambda way: float(np.hypot(*np.diff(way, axis=0).T).sum()))
