"""Labelled films → crops with the level that they show: of bodies, of what lies beyond both ends, of no vertebra.

Some of the crops show only what lies below (:func:`~spinepacs.analysis.seeing.crops.hidden_above`), most of them by the
sacrum: there the same network has to tell a level without the ribs.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import Film as Cutter
from spinepacs.analysis.seeing.crops import Place, hidden_above, places
from spinepacs.domain.anatomy import Level
from spinepacs.training.data.augment import change_greys, veiled
from spinepacs.training.data.dataset import Film, read_grey

NOTHING = len(Level)
"""Class of a crop whose middle is no vertebra; those before it are the levels."""
_NONE = 0.1
"""Share of the crops that are cut beside the bodies or between two."""
_OFTEN = dict.fromkeys((Level.C1, Level.C2, Level.C7, Level.T1, Level.T11, Level.T12, Level.L1), 2.0)
_OFTEN |= dict.fromkeys((Level.L4, Level.L5, Level.S1), 3.0)
"""How many times as often as others are shown the levels that can be told by what lies there, not by counting."""
_LEAST_BODIES = 3
_HIDDEN, _HIDDEN_BY_THE_SACRUM = 0.15, 0.5
"""Shares of the crops whose upper part is hidden; by the sacrum: from L2 downwards."""
_HIDDEN_FROM = 0.5, 0.8
"""How far above the body's middle, in its own size, that begins."""

Floats = NDArray[np.float64]
Grey = NDArray[np.uint8]


@dataclass(frozen=True)
class Spine:
    """A labelled spine: its film, a place for each body and beyond both ends, the class of each, and how often it is
    shown beside the others."""

    path: Path
    view: str
    places: tuple[Place, ...]
    classes: tuple[int, ...]
    often: tuple[float, ...]


def labelled_spine(film: Film, known: Container[int] = range(NOTHING + 1)) -> Spine | None:
    """The places of a film; None where it has too few labels in a row, or not the usual number of vertebrae.

    known: only these classes are shown, on a film whose other names are a matter of counting.
    """
    bodies = sorted(film.bodies, key=lambda body: float(body.outline_px[:, 1].mean()))
    levels = [body.class_id for body in bodies]
    if len(bodies) < _LEAST_BODIES or np.any(np.diff(levels) != 1) or is_unusual(film):
        return None
    centres = np.array([centroid(body.outline_px) + 0.5 for body in bodies])
    sizes = np.sqrt([cv2.contourArea(body.outline_px) for body in bodies])
    way = centres[-1] - centres[0]
    above = levels[0] - 1 if levels[0] > 0 else NOTHING
    classes = (above, *levels, levels[-1] + 1)  # below S1 comes NOTHING
    where = places(centres, sizes, way / np.hypot(*way))
    often = tuple(_OFTEN.get(Level(kind), 1.0) if kind < NOTHING else 1.0 for kind in classes)
    shown = tuple(share if kind in known else 0.0 for share, kind in zip(often, classes, strict=True))
    return Spine(film.path, film.view, tuple(where), classes, shown) if any(shown) else None


def is_unusual(film: Film) -> bool:
    """Whether a synthetic patient has no twelve ribs and five lumbar vertebrae: what is a level's right name then?"""
    truth = film.path.parent.parent / "truth" / f"{film.path.stem}.json"
    if not truth.is_file():
        return False
    patient = json.loads(truth.read_text(encoding="utf-8"))["patient"]
    # Of films projected from a CT nothing is said: the donor has the usual number.
    known = {"lumbar_vertebrae": 5, "rib_pairs": 12, "transitional": False} | patient
    return bool(known["lumbar_vertebrae"] != 5 or known["rib_pairs"] != 12 or known["transitional"])


def centroid(outline: NDArray[np.floating]) -> Floats:
    """(2,) centre of the area that an outline (N, 2) encloses."""
    moments = cv2.moments(outline.reshape(-1, 1, 2).astype(np.float32))
    return np.array([moments["m10"], moments["m01"]]) / moments["m00"]


class Sampler:
    """Draws crops for training from films that are kept in memory."""

    def __init__(self, spines: Iterable[Spine]) -> None:
        self._spines = [(spine, Cutter(read_grey(spine.path))) for spine in spines]

    def draw(self, rng: np.random.Generator) -> tuple[Grey, int]:
        """One crop and its class, placed as inexactly as a detector places it."""
        spine, film = self._spines[int(rng.integers(len(self._spines)))]
        place, kind = _chosen(spine, rng)
        stretch = np.exp(rng.normal(0, 0.3 if rng.random() < 0.1 else 0.08) / 2)
        change = np.diag([rng.choice([-1.0, 1.0]) * stretch, 1 / stretch])
        crop = veiled(change_greys(film.cut(shaken(place, rng), change=change), rng), rng)
        if rng.random() < (_HIDDEN_BY_THE_SACRUM if kind >= Level.L2 else _HIDDEN):
            crop = hidden_above(crop, rng.uniform(*_HIDDEN_FROM))
        return crop, kind


def _chosen(spine: Spine, rng: np.random.Generator) -> tuple[Place, int]:
    if rng.random() < _NONE:
        return _beside(spine, rng), NOTHING
    row = int(rng.choice(len(spine.often), p=np.array(spine.often) / sum(spine.often)))
    return spine.places[row], spine.classes[row]


def _beside(spine: Spine, rng: np.random.Generator) -> Place:
    """The middle of a disc, or a place beside the spine."""
    row = int(rng.integers(1, len(spine.places) - 2))
    place, below = spine.places[row], spine.places[row + 1]
    if rng.random() < 0.5:
        return place._replace(centre=(place.centre + below.centre) / 2)
    aside = np.array([place.footwards[1], -place.footwards[0]])
    return place._replace(
        centre=place.centre + aside * place.size_px * rng.choice([-1, 1]) * rng.uniform(1.2, 3)
    )


def shaken(place: Place, rng: np.random.Generator) -> Place:
    """The place as inexactly as a detector gives it."""
    angle = np.radians(rng.normal(0, 6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return Place(
        place.centre + rng.normal(0, 0.1 * place.size_px, 2),
        place.size_px * float(np.exp(rng.normal(0, 0.12))),
        turn @ place.footwards,
    )


def crops_of(spine: Spine) -> list[Grey]:
    """The crops of a spine's places as the product would cut them."""
    film = Cutter(read_grey(spine.path))
    return [film.cut(place) for place in spine.places]


def usable(films: Sequence[Film], known: Container[int] = range(NOTHING + 1)) -> list[Spine]:
    """The spines of those films that can be learnt from; ``known`` as in :func:`labelled_spine`."""
    return [spine for film in films if (spine := labelled_spine(film, known))]
