"""How an endplate in doubt is tilted: its neighbours know.

The tracer says of each plate how widely its answers are scattered, and that foretells how far it is off: a plate with a
spread of 0.07 by 2°, one with 0.3 by 12°. The spine as a whole is known better than that: it bends smoothly, the plates
of a body are nearly parallel, the sacrum inclines to L5 by some 22°. So the tilts of all plates are estimated together,
by least squares, each measured and each usual value weighted by its own variance. Plates in doubt are turned to where
that has them; those that show well stay as they were drawn, so that nothing that is seen is made usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
"""Spread from which a plate is turned."""
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

_Place = tuple[int, int]
"""Of a plate: its level and 0 or 1, upper or lower."""


def settled(
    vertebrae: Sequence[Vertebra], view: View, anterior_left: bool | None, size: tuple[int, int]
) -> tuple[Vertebra, ...]:
    """The same bodies with plates in doubt turned, each about a point nearer to the corner that shows better, and with
    their outlines.

    Parameters
    ----------
    vertebrae
        Named and traced, from head to foot, each level at most once, on a picture with square pixels of a ``size``
        (width, height).
    view, anterior_left
        Of the spine: only a lateral one whose front is known has a kyphosis and a sacrum that inclines.
    """
    plates = {
        (int(body.level), side): plate
        for body in vertebrae
        for side, plate in enumerate((body.upper, body.lower))
        if body.level >= _FIRST and plate and plate.spread is not None
    }
    spreads = {place: plate.spread or 0.0 for place, plate in plates.items()}
    doubtful = [place for place, spread in spreads.items() if spread > _IN_DOUBT]
    if not doubtful or len({level for level, _ in plates}) < _LEAST:
        return tuple(vertebrae)
    # Tilts are positive where a plate falls to the back, on films of unknown front and on AP films to the right.
    sign = -1 if view is View.LATERAL and anterior_left is False else 1
    tilts = {place: sign * _tilt(plate) for place, plate in plates.items()}
    likely = _likely(tilts, spreads, has_front=view is View.LATERAL and anterior_left is not None)
    turns = {
        place: _Turn.of(plates[place], sign * (likely[place].tilt - tilts[place]), likely[place].deviation)
        for place in doubtful
    }
    return tuple(_turned(body, turns, size) for body in vertebrae)


def _tilt(plate: Endplate) -> float:
    """Of the line from the left corner to the right one, degrees, positive where that lies further down."""
    across, down = np.subtract(plate.right, plate.left)
    return float(np.degrees(np.arctan2(down, across)))


def _deviation(spread: float) -> float:
    """Of a drawn tilt, degrees."""
    return max(_PER_SPREAD * spread - _LESS, _LEAST_DEG)


class _Likely(NamedTuple):
    """A tilt and its standard deviation, degrees."""

    tilt: float
    deviation: float


def _likely(
    tilts: Mapping[_Place, float], spreads: Mapping[_Place, float], *, has_front: bool
) -> dict[_Place, _Likely]:
    """What all plates together say of each one."""
    first, last = min(tilts)[0], max(tilts)[0]

    def column(place: _Place) -> int:
        return 2 * (place[0] - first) + place[1]

    rows: list[tuple[dict[_Place, float], float, float]] = [
        ({place: 1.0}, tilt, _deviation(spreads[place]) * (_LEVEL_SACRUM if place[0] == Level.S1 else 1.0))
        for place, tilt in tilts.items()
    ]
    whole = range(first, min(last, Level.L5) + 1)
    for level in whole:
        is_thoracic = Level(level).region is Region.THORACIC
        rows.append(
            ({(level, 1): 1.0, (level, 0): -1.0}, _THORACIC_WEDGE * (has_front and is_thoracic), _WEDGE_SD)
        )
    for level in whole[:-3]:
        bend = {(level + n, side): times / 2 for n, times in enumerate((1, -3, 3, -1)) for side in (0, 1)}
        rows.append((bend, 0.0, _BEND_SD))
    if has_front and last == Level.S1:
        rows.append(({(Level.S1, 0): 1.0, (Level.L5, 0): -1.0}, -_SACRUM, _SACRUM_SD))
    matrix, values = np.zeros((len(rows), 2 * (last + 1 - first))), np.zeros(len(rows))
    for n, (terms, value, deviation) in enumerate(rows):
        values[n] = value / deviation
        for place, times in terms.items():
            matrix[n, column(place)] = times / deviation
    # Of S1's lower plate nothing is known: it takes no part.
    covariance = np.linalg.pinv(matrix.T @ matrix, hermitian=True)
    found = covariance @ matrix.T @ values
    deviations = np.sqrt(np.diag(covariance))
    return {place: _Likely(float(found[column(place)]), float(deviations[column(place)])) for place in tilts}


class _Turn(NamedTuple):
    """A plate that turns about a ``pivot`` (2,) by an ``angle``, radians, and whose ``spreads`` are then those."""

    pivot: Points
    angle: float
    spreads: tuple[float, float]

    @classmethod
    def of(cls, plate: Endplate, degrees: float, deviation: float) -> _Turn:
        """How a plate in doubt turns by so many degrees, to a tilt of that standard deviation."""
        left, right = plate.spreads or (1.0, 1.0)
        before = np.hypot(left, right) / np.sqrt(2)
        share = left**2 / (left**2 + right**2)
        pivot = (1 - share) * np.array(plate.left) + share * np.array(plate.right)
        surer = min(1.0, (deviation + _LESS) / _PER_SPREAD / before)
        return cls(pivot, float(np.radians(degrees)), (float(left * surer), float(right * surer)))

    def __call__(self, points: Points) -> Points:
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.asarray((points - self.pivot) @ np.array([[cos, sin], [-sin, cos]]) + self.pivot)


def _turned(body: Vertebra, turns: Mapping[_Place, _Turn], size: tuple[int, int]) -> Vertebra:
    """A body whose plates turn; its outline goes with the nearer one, half-way down with both."""
    above, below = (turns.get((body.level, side)) for side in (0, 1))
    if above is None and below is None:
        return body

    def outline(points: Points) -> Points:
        share = _share_of_lower(body, points)[:, None]
        return (1 - share) * (above(points) if above else points) + share * (
            below(points) if below else points
        )

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


def _plate(plate: Endplate | None, turn: _Turn | None, kept: Move) -> Endplate | None:
    if plate is None or turn is None:
        return plate
    return replace(plate.moved(lambda points: kept(turn(points))), spreads=turn.spreads)
