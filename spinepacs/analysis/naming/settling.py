"""How an endplate in doubt lies: its neighbours know.

The tracer says of each plate how widely its answers are scattered, and that foretells how far it is off: a plate with a
spread of 0.07 by 2°, one with 0.3 by 12°. The spine as a whole is known better than that: it bends smoothly, the plates
of a body are nearly parallel, the sacrum inclines to L5 by some 22°, bodies and discs change little from one to the
next. So the tilts of all plates, and then their centres, are estimated together, by least squares, each measured and
each usual value weighted by its own variance. Plates in doubt are turned and moved to where that has them; those that
show well stay as they were drawn, so that nothing that is seen is made usual. On lateral films only: a scoliosis, seen
from the front, bends too sharply for what is usual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spinepacs.domain.anatomy import Level, Region
from spinepacs.domain.findings import Vertebra
from spinepacs.domain.geometry import Endplate, Move, Outline, Points
from spinepacs.domain.study import View

_FIRST = Level.C3
_LEAST = 6
"""Bodies from which the others tell anything."""
_IN_DOUBT = 0.12
"""Spread from which a plate is turned and moved."""
_PER_SPREAD, _LESS, _LEAST_DEG = 45.0, 1.0, 1.0
"""Standard deviation of a drawn tilt, degrees: so much for its spread, less so much, and at least so much; measured on
15 lateral films."""
_LEVEL_SACRUM = 1.6
"""So many times that of S1's plate: nine of ten in doubt on those films were drawn too level, by 16° on average."""
_BEND_SD, _WEDGE_SD = 4.0, 4.0
"""Degrees by which the third difference of the bodies' tilts, and a body's wedge, are off what is usual."""
_THORACIC_WEDGE = 3.0
"""Degrees by which the plates of a thoracic body converge to the front (Goh et al. 1999, Clin Biomech 14: 439)."""
_SACRUM, _SACRUM_SD = 21.6, 7.7
"""Lordosis from L5's upper plate to S1's, degrees: mean and standard deviation of 324 people (Sci Rep 2022, article
s41598-022-21840-x, table 2)."""
_PER_SPREAD_OFF, _LESS_OFF, _LEAST_OFF = 2.0, 0.1, 0.02
"""Standard deviation of a plate's centre, as of its tilt, in usual heights of a body."""
_CHANGE_SD = 0.2
"""Usual heights of a body by which the ways across bodies, and across discs, are off the line of their neighbours."""
_MOST_OFF = 0.1
"""Usual heights of a body by which a plate is moved at most: what lies further off is something else."""

_Place = tuple[int, int]
"""Of a plate: its level and 0 or 1, upper or lower."""


def settled(
    vertebrae: tuple[Vertebra, ...], view: View, anterior_left: bool | None, size: tuple[int, int]
) -> tuple[Vertebra, ...]:
    """The same bodies with plates in doubt turned, each about a point nearer to the corner that shows better, and
    moved, outlines with them; the very tuple that was given where none settles.

    Parameters
    ----------
    vertebrae
        Named and traced, from head to foot, each level at most once, on a picture with square pixels of a ``size``
        (width, height).
    view, anterior_left
        Of the spine: nothing settles but on a lateral film; only where its front is known, a usual kyphosis and a
        sacrum that inclines are known too.
    """
    plates = {
        (int(body.level), side): plate
        for body in vertebrae
        for side, plate in enumerate((body.upper, body.lower))
        if body.level >= _FIRST and plate and plate.spread is not None
    }
    spreads = {place: plate.spread or 0.0 for place, plate in plates.items()}
    doubtful = [place for place, spread in spreads.items() if spread > _IN_DOUBT]
    if view is not View.LATERAL or not doubtful or len({level for level, _ in plates}) < _LEAST:
        return vertebrae
    # Tilts are positive where a plate falls to the back, where the front is not known to the right.
    sign = -1 if anterior_left is False else 1
    tilts = {place: sign * _tilt(plate) for place, plate in plates.items()}
    likely = _likely_tilts(tilts, spreads, has_front=anterior_left is not None)
    turns = {
        place: _Settling.of(plates[place], sign * (likely[place][0] - tilts[place])) for place in doubtful
    }
    moves = _moved(turns, plates, spreads)
    return tuple(_settled(body, moves, size) for body in vertebrae)


def _tilt(plate: Endplate) -> float:
    """Of the line from the left corner to the right one, degrees, positive where that lies further down."""
    across, down = np.subtract(plate.right, plate.left)
    return float(np.degrees(np.arctan2(down, across)))


class _Estimate:
    """Least squares over the plates of a spine; sums over plates are known, each by a variance of its own."""

    def __init__(self, plates: Iterable[_Place]) -> None:
        self._plates = list(plates)
        self._first = min(self._plates)[0]
        self._terms: list[Mapping[_Place, float]] = []
        self._values: list[Sequence[float] | Points] = []
        self._deviations: list[float] = []

    @property
    def bodies(self) -> range:
        """Levels from the first one to the last that has two plates, missing ones too."""
        return range(self._first, min(max(self._plates)[0], Level.L5) + 1)

    def add(self, terms: Mapping[_Place, float], value: Sequence[float] | Points, deviation: float) -> None:
        """What a sum over plates is, each taken so many times."""
        self._terms.append(terms)
        self._values.append(value)
        self._deviations.append(deviation)

    def solved(self) -> dict[_Place, Points]:
        """What that makes of each plate that a sum holds: (k,) numbers."""
        columns = {
            place: n
            for n, place in enumerate(dict.fromkeys(place for terms in self._terms for place in terms))
        }
        matrix = np.zeros((len(self._terms), len(columns)))
        for row, terms in enumerate(self._terms):
            for place, times in terms.items():
                matrix[row, columns[place]] = times
        weights = 1 / np.array(self._deviations)[:, None]
        matrix, values = matrix * weights, np.array(self._values, np.float64) * weights
        # Plates that nobody saw may be left open: then any place will do for them.
        found = np.linalg.lstsq(matrix, values)[0]
        return {place: found[column] for place, column in columns.items()}


def _likely_tilts(
    tilts: Mapping[_Place, float], spreads: Mapping[_Place, float], *, has_front: bool
) -> dict[_Place, Points]:
    """Degrees."""
    estimate = _Estimate(tilts)
    for place, tilt in tilts.items():
        deviation = max(_PER_SPREAD * spreads[place] - _LESS, _LEAST_DEG)
        estimate.add({place: 1}, [tilt], deviation * (_LEVEL_SACRUM if place[0] == Level.S1 else 1))
    for level in estimate.bodies:
        wedge = _THORACIC_WEDGE if has_front and Level(level).region is Region.THORACIC else 0.0
        estimate.add({(level, 1): 1, (level, 0): -1}, [wedge], _WEDGE_SD)
    for level in estimate.bodies[:-3]:
        bend = {(level + n, side): times / 2 for n, times in enumerate((1, -3, 3, -1)) for side in (0, 1)}
        estimate.add(bend, [0.0], _BEND_SD)
    if has_front and (Level.S1, 0) in tilts:
        estimate.add({(Level.S1, 0): 1, (Level.L5, 0): -1}, [-_SACRUM], _SACRUM_SD)
    return estimate.solved()


class _Settling(NamedTuple):
    """How a plate settles: it turns about a ``pivot`` (2,) by an ``angle``, radians, then moves by ``way`` (2,)."""

    pivot: Points
    angle: float
    way: Points

    @classmethod
    def of(cls, plate: Endplate, degrees: float) -> _Settling:
        """By a turn of so many degrees."""
        left, right = plate.spreads or (1.0, 1.0)
        share = left**2 / (left**2 + right**2)
        pivot = (1 - share) * np.array(plate.left) + share * np.array(plate.right)
        return cls(pivot, float(np.radians(degrees)), np.zeros(2))

    def __call__(self, points: Points) -> Points:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turned = (points - self.pivot) @ np.array([[cos, sin], [-sin, cos]])
        return np.asarray(turned + self.pivot + self.way)


def _moved(
    turns: Mapping[_Place, _Settling], plates: Mapping[_Place, Endplate], spreads: Mapping[_Place, float]
) -> dict[_Place, _Settling]:
    """The turns with the ways of the plates. Not of S1's: it does not carry on the line of the discs above."""
    centres = {place: np.add(plate.left, plate.right) / 2 for place, plate in plates.items()}
    centres |= {place: turn(centres[place]) for place, turn in turns.items()}
    across = [
        centres[level, 1] - centres[level, 0] for level, side in centres if not side and (level, 1) in centres
    ]
    if not across:
        return dict(turns)
    height = float(np.median(np.hypot(*np.transpose(across))))
    likely = _likely_centres(centres, spreads, height)
    moved = dict(turns)
    for place, turn in turns.items():
        if place[0] != Level.S1:
            way = likely[place] - centres[place]
            far = float(np.hypot(*way)) / (_MOST_OFF * height)
            moved[place] = turn._replace(way=way / max(far, 1.0))
    return moved


def _likely_centres(
    centres: Mapping[_Place, Points], spreads: Mapping[_Place, float], height: float
) -> dict[_Place, Points]:
    """Px of the picture, on which a body is usually so high."""
    estimate = _Estimate(centres)
    for place, centre in centres.items():
        deviation = height * max(_PER_SPREAD_OFF * spreads[place] - _LESS_OFF, _LEAST_OFF)
        estimate.add({place: 1}, centre, deviation)
    for level in estimate.bodies[:-2]:
        estimate.add(_bent(level, (0, 0), (0, 1)), [0.0, 0.0], height * _CHANGE_SD)
    for level in estimate.bodies[:-3]:
        estimate.add(_bent(level, (0, 1), (1, 0)), [0.0, 0.0], height * _CHANGE_SD)
    return estimate.solved()


def _bent(level: int, start: _Place, end: _Place) -> dict[_Place, float]:
    """Second difference, over three levels from ``level``, of the way from one plate to another: each by its level,
    counted from there, and its side."""
    terms: dict[_Place, float] = {}
    for step, times in enumerate((1.0, -2.0, 1.0)):
        for (further, side), sign in ((start, -1.0), (end, 1.0)):
            place = (level + step + further, side)
            terms[place] = terms.get(place, 0.0) + sign * times
    return terms


def _settled(body: Vertebra, moves: Mapping[_Place, _Settling], size: tuple[int, int]) -> Vertebra:
    """A body whose plates settle; its outline goes with the nearer one, half-way down with both."""
    above, below = (moves.get((body.level, side)) for side in (0, 1))
    if above is None and below is None:
        return body

    def outline(points: Points) -> Points:
        share = _share_of_lower(body, points)[:, None]
        upper, lower = (move(points) if move else points for move in (above, below))
        return (1 - share) * upper + share * lower

    def kept(points: Points) -> Points:
        return np.asarray(np.clip(points, 0, size))

    return replace(
        body,
        outline=Outline(kept(outline(body.outline.points))),
        upper=_plate(body.upper, above, kept),
        lower=_plate(body.lower, below, kept),
    )


def _share_of_lower(body: Vertebra, points: Points) -> Points:
    """(N,) from 0 at the upper plate to 1 at the lower one, as far as a body has both."""
    if body.upper is None or body.lower is None:
        return np.full(len(points), float(body.upper is None))
    below_upper = np.maximum(_footwards(body.upper, points), 0)
    above_lower = np.maximum(-_footwards(body.lower, points), 0)
    return np.asarray(below_upper / np.maximum(below_upper + above_lower, 1e-9))


def _footwards(plate: Endplate, points: Points) -> Points:
    """(N,) distances of points from a plate's line, times its width, px²: positive towards the foot."""
    across, down = np.subtract(plate.right, plate.left)
    return np.asarray((points - np.asarray(plate.left)) @ np.array([-down, across]))


def _plate(plate: Endplate | None, move: _Settling | None, kept: Move) -> Endplate | None:
    if plate is None or move is None:
        return plate
    return plate.moved(lambda points: kept(move(points)))
