"""The labelled marks of a film as a spine of the product's own kind, and the product's vertebrae beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx
from spinepacs.domain.measures import Place
from spinepacs.domain.study import View
from spinepacs.training.data.dataset import Film
from spinepacs.training.evaluation.truth import FilmTruth, Points

_SAME_PLATE = 0.5
"""Of S1's plate where that is all that is labelled: mean error of its ends, as a share of its length."""


def true_spine(film: Film, truth: FilmTruth, view: View) -> Spine:
    """The labelled bodies as the product would hold them, were every mark right.

    A level that comes twice (a sixth lumbar vertebra is labelled L5) and all below the first of them are left out:
    their discs have no name here.
    """
    vertebrae: dict[Level, Vertebra] = {}
    for place, body in enumerate(film.bodies):
        level = Level(body.class_id)
        if level in vertebrae:
            break
        outline = Outline(body.outline_px.astype(np.float64) + 0.5)
        upper, lower = true_plates(truth, place) if place in truth.corners_px else (None, None)
        vertebrae[level] = _vertebra(
            level,
            outline,
            upper if level > Level.C2 else None,
            lower if Level.C1 < level < Level.S1 else None,
        )
    plate = _lone_plate(film, truth)
    if plate is not None:
        vertebrae[Level.S1] = _vertebra(
            Level.S1, Outline(_box(plate)), labelled_plate(plate[0], plate[1], None), None
        )
    found = tuple(vertebrae[level] for level in sorted(vertebrae))
    return Spine(found, (), view, truth.anterior_left if view is View.LATERAL else None)


def _lone_plate(film: Film, truth: FilmTruth) -> Points | None:
    """S1's upper plate where that is all that is labelled of it."""
    return truth.sacral_plate_px if Level.S1 in film.unlabelled else None


def _vertebra(level: Level, outline: Outline, upper: Endplate | None, lower: Endplate | None) -> Vertebra:
    return Vertebra(level, level, 1.0, "", 1.0, outline, upper, lower)


def _box(plate: Points) -> Points:
    """A square under a plate: where only that is labelled, the body's outline is of no account."""
    across = plate[1] - plate[0]
    down = np.array([-across[1], across[0]])
    return np.array([plate[0], plate[1], plate[1] + down, plate[0] + down])


def true_plates(truth: FilmTruth, place: int) -> tuple[Endplate, Endplate]:
    """Upper and lower labelled plate of a body; of one whose course is not labelled the curve is its two corners."""
    upper_left, upper_right, lower_right, lower_left = truth.corners_px[place]
    courses = truth.endplates_px.get(place, (None, None))
    upper = labelled_plate(upper_left, upper_right, courses[0])
    return upper, labelled_plate(lower_left, lower_right, courses[1])


def labelled_plate(left: Points, right: Points, course: Points | None) -> Endplate:
    """An endplate with its two corners, and with its middle where its course (N, 2) is known."""
    ends = (PointPx(*left.tolist()), PointPx(*right.tolist()))
    middle = [] if course is None else [Endplate(*ends, course).middle]
    return Endplate(*ends, np.array([ends[0], *middle, ends[1]]))


def by_label(
    spine: Spine | Refusal, film: Film, truth: FilmTruth, bodies: Mapping[int, Vertebra]
) -> dict[Level, Vertebra]:
    """The product's vertebra of each labelled level, whatever the product calls it.

    Parameters
    ----------
    bodies
        By place in ``film.bodies``: the published vertebra that is that body.
    """
    drawn: dict[Level, Vertebra] = {}
    for place, body in enumerate(film.bodies):
        if place in bodies:
            drawn.setdefault(Level(body.class_id), bodies[place])
    plate = _lone_plate(film, truth)
    if plate is not None and not isinstance(spine, Refusal):
        for vertebra in spine.vertebrae:
            if _is_plate(vertebra.upper, plate):
                drawn[Level.S1] = vertebra
    return drawn


def _is_plate(drawn: Endplate | None, labelled: Points) -> bool:
    if drawn is None:
        return False
    off = np.hypot(*(np.array([drawn.left, drawn.right]) - labelled).T).mean()
    return bool(off < _SAME_PLATE * np.hypot(*(labelled[1] - labelled[0])))


def published_place(place: Place, drawn: Mapping[Level, Vertebra]) -> Place | None:
    """What the product calls a labelled vertebra or disc; None where it has no such vertebra or no such disc."""
    if isinstance(place, Level):
        return drawn[place].level if place in drawn else None
    if isinstance(place, DiscLevel):
        if place.upper not in drawn or place.lower not in drawn:
            return None
        upper, lower = drawn[place.upper].level, drawn[place.lower].level
        return DiscLevel.below(upper) if lower == upper + 1 and upper > Level.C1 else None
    return place


def labelled_discs(levels: Iterable[Level]) -> Sequence[DiscLevel]:
    """The discs between neighbouring levels."""
    there = set(levels)
    return [
        DiscLevel(level, Level(level + 1))
        for level in sorted(there)
        if level > Level.C1 and level + 1 in there
    ]
