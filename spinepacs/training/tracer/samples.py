"""Labelled films → crops with the outline and the four corners of the body in their middle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import EDGES, Place, places
from spinepacs.analysis.seeing.crops import Film as Cutter
from spinepacs.analysis.seeing.tracer import MAP, MAP_STRIDE
from spinepacs.training.data.augment import change_greys, veiled
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.reader.samples import centroid, shaken

_FINE = 8
"""Of a cell of the map along each axis, for its share inside an outline."""
_MIRRORED = [1, 0, 3, 2]
_TURNED_DEG = 6.0
_SIDES = ("anterior", "posterior")
_SPUR = 0.05
"""Share of a plate from which a rim counts as one with a spur."""

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]


class Body(NamedTuple):
    """A labelled body, px of the film: where to cut, its outline (N, 2) and its corners (4, 2), clockwise on the film
    from the upper left one; how far the spur at each of them stands out (4,), as a share of its plate, or NaN."""

    place: Place
    outline: Floats
    corners: Floats
    spurs: Floats


@dataclass(frozen=True)
class Marked:
    """A film and its bodies from head to foot."""

    path: Path
    view: str
    bodies: tuple[Body, ...]


class Sample(NamedTuple):
    """A crop (96, 96) uint8; the share of each cell of the map inside the outline, (48, 48) float32; the corners,
    (4, 2) float32 in cells; whether each one lies on film and map, (4,) bool; their spurs as a body has them, (4,)."""

    crop: Grey
    inside: NDArray[np.float32]
    corners: NDArray[np.float32]
    seen: NDArray[np.bool_]
    spurs: NDArray[np.float32]


def marked(film: Film) -> Marked | None:
    """The bodies of a film whose corners are known; None where there is none."""
    known = _from_truth(film)
    known = _from_quads(film) if known is None else known
    if not known:
        return None
    known.sort(key=lambda marks: float(marks[0][:, 1].mean()))
    centres = np.array([centroid(outline) for outline, *_ in known])
    sizes = np.sqrt([cv2.contourArea(outline.astype(np.float32)) for outline, *_ in known])
    way = centres[-1] - centres[0] if len(known) > 1 else np.array([0.0, 1.0])
    where = places(centres, sizes, way / np.hypot(*way))[1:-1]
    bodies = tuple(Body(place, *marks) for place, marks in zip(where, known, strict=True))
    return Marked(film.path, film.view, bodies)


Marks = tuple[Floats, Floats, Floats]
"""Outline, corners and spurs of a body, as :class:`Body` has them."""


def _from_truth(film: Film) -> list[Marks] | None:
    """What the film generator wrote of the bodies that are to be seen; None for other films."""
    path = film.path.parent.parent / "truth" / f"{film.path.stem}.json"
    if not path.is_file():
        return None
    truth = json.loads(path.read_text(encoding="utf-8"))
    return [
        (
            np.array(row["outline_px"], np.float64),
            np.array(row["corners_px"], np.float64),
            _spurs(row, truth),
        )
        for row in truth.get("vertebrae", [])
        if row["seen"]
    ]


def _spurs(row: Mapping[str, Any], truth: Mapping[str, Any]) -> Floats:
    """Of a body on a lateral film of the generator; on others they lie elsewhere, or it does not say."""
    if truth["view"] != "lateral" or "osteophytes_mm" not in row:
        return np.full(4, np.nan)
    corners = np.array(row["corners_px"], np.float64)
    plates_px = np.hypot(*(corners[[1, 2]] - corners[[0, 3]]).T)
    mm = np.array([[row["osteophytes_mm"][plate][side] for side in _SIDES] for plate in ("upper", "lower")])
    shares = mm / (plates_px * truth["spacing_mm"] / truth["magnification"])[:, None]
    if truth["facing"] == "right":
        shares = shares[:, ::-1]
    return np.concatenate([shares[0], shares[1, ::-1]])


def _from_quads(film: Film) -> list[Marks]:
    """Labels of four corners, which have the centres of pixels at whole numbers."""
    quads = [body.outline_px.astype(np.float64) + 0.5 for body in film.bodies if len(body.outline_px) == 4]
    rightwards = sum(float(quad[1, 0] - quad[0, 0] + quad[2, 0] - quad[3, 0]) for quad in quads)
    if rightwards < 0:  # labels of lateral films go from back to front, and this patient looks to the left
        quads = [quad[_MIRRORED] for quad in quads]
    return [(quad, quad, np.full(4, np.nan)) for quad in quads]


class Sampler:
    """Draws crops for training from films that are kept in memory.

    Parameters
    ----------
    spurred
        So many times as often are bodies drawn that have a spur.
    """

    def __init__(self, films: Iterable[Marked], spurred: float = 1.0) -> None:
        self._films = [(film, Cutter(read_grey(film.path))) for film in films]
        often = [
            np.array([spurred if (body.spurs > _SPUR).any() else 1.0 for body in film.bodies])
            for film, _ in self._films
        ]
        self._often = [one / one.sum() for one in often]

    def draw(self, rng: np.random.Generator) -> Sample:
        """One crop with its truth, placed as inexactly as a detector places it."""
        row = int(rng.integers(len(self._films)))
        film, cutter = self._films[row]
        body = film.bodies[int(rng.choice(len(film.bodies), p=self._often[row]))]
        place = shaken(body.place, rng)
        stretch = np.exp(rng.normal(0, 0.3 if rng.random() < 0.1 else 0.08) / 2)
        change = np.diag([rng.choice([-1.0, 1.0]) * stretch, 1 / stretch])
        crop = veiled(change_greys(cutter.cut(place, EDGES, change), rng), rng)
        return sample(crop, body, EDGES.to_film(place, change), cutter.shape)


def sample(crop: Grey, body: Body, to_film: Floats, shape: tuple[int, int]) -> Sample:
    """A crop with the truth of its body; ``to_film`` from its px to those of a film of ``shape``."""
    turn, shift = to_film[:, :2], to_film[:, 2]
    back = np.linalg.inv(turn).T / MAP_STRIDE
    corners, spurs = (body.corners - shift) @ back, body.spurs
    if np.linalg.det(turn) < 0:
        corners, spurs = corners[_MIRRORED], spurs[_MIRRORED]
    on_film = (body.corners >= 0) & (body.corners <= shape[::-1])
    seen = np.all(on_film & (corners > 0) & (corners < MAP[::-1]), axis=1)
    inside = share_inside((body.outline - shift) @ back)
    return Sample(crop, inside, corners.astype(np.float32), seen, spurs.astype(np.float32))


def share_inside(outline: Floats) -> NDArray[np.float32]:
    """Share of each cell of the map inside an outline given in cells."""
    fine = np.zeros((MAP[0] * _FINE, MAP[1] * _FINE), np.uint8)
    # OpenCV has the centres of pixels at whole numbers, and four bits after the point here. It fills the line, too, of
    # which half lies inside.
    points = np.round((outline * _FINE - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(fine, [points], 255, shift=4)
    cv2.polylines(fine, [points], True, 128, shift=4)
    return np.asarray(cv2.resize(fine, MAP[::-1], interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)


def usable(films: Sequence[Film]) -> list[Marked]:
    """Those films that have marks to learn from."""
    return [found for film in films if (found := marked(film))]
