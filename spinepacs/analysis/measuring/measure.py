"""Measures of a film: all that its view allows in one list, and disc heights on their own.

The formulas of the list are in ``sagittal`` (lateral films) and ``coronal`` (AP films), their uncertainties in
``uncertainty``.

Disc heights: both endplates are taken as lines through their corners. A height is measured at right angles to the
bisectrix of the two lines: the sum of the distances of the two facing corners (or curve middles) from it. That is the
construction of Frobin et al. 1997 (Clin Biomech 12, suppl), here with the endplates' bisectrix instead of the
midplanes'; it is symmetric in the two vertebrae, and a slip along the disc does not change it. The mean of anterior
and posterior height (Dabbs and Dabbs 1990, Spine 15: 1366) over the mean depth of the endplates is the height index.

Pixels that are not square: everything is computed in a plane of isotropic length, where a length in px is that in mm
divided by √(row spacing × column spacing); with square pixels these are the film's own px.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.measuring import coronal, sagittal
from spinepacs.analysis.measuring.lines import lines_of
from spinepacs.analysis.measuring.plates import Plates
from spinepacs.analysis.measuring.uncertainty import Formula, standard_deviations
from spinepacs.analysis.seeing.localisation import Localisation
from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Span
from spinepacs.domain.findings import DiscHeight, Spine
from spinepacs.domain.geometry import Endplate, Spacing, SpacingBasis
from spinepacs.domain.measures import Measure, Place, Quantity, Unit
from spinepacs.domain.study import View

Vector = NDArray[np.float64]

_LENGTHS = frozenset(
    {
        Quantity.DISC_HEIGHT_ANTERIOR, Quantity.DISC_HEIGHT_MIDDLE, Quantity.DISC_HEIGHT_POSTERIOR,
        Quantity.DISC_HEIGHT_DABBS, Quantity.DISC_HEIGHT_HURXTHAL, Quantity.SLIP,
        Quantity.VERTEBRA_HEIGHT_ANTERIOR, Quantity.VERTEBRA_HEIGHT_MIDDLE, Quantity.VERTEBRA_HEIGHT_POSTERIOR,
        Quantity.VERTEBRA_DEPTH, Quantity.AP_DISC_HEIGHT_LEFT, Quantity.AP_DISC_HEIGHT_MIDDLE,
        Quantity.AP_DISC_HEIGHT_RIGHT, Quantity.LATERAL_LISTHESIS,
    }
)  # fmt: skip
_DEGREES = frozenset(
    {
        Quantity.DISC_ANGLE, Quantity.SEGMENT_ANGLE, Quantity.CERVICAL_LORDOSIS, Quantity.THORACIC_KYPHOSIS,
        Quantity.LUMBAR_LORDOSIS, Quantity.AP_DISC_WEDGE, Quantity.AP_VERTEBRA_WEDGE, Quantity.COBB_MAIN,
        Quantity.COBB_OTHER,
    }
)  # fmt: skip
_WITHOUT_FRONT = frozenset(
    {
        Quantity.DISC_HEIGHT_MIDDLE, Quantity.DISC_HEIGHT_DABBS, Quantity.DISC_HEIGHT_HURXTHAL,
        Quantity.DISC_HEIGHT_INDEX, Quantity.VERTEBRA_HEIGHT_MIDDLE, Quantity.VERTEBRA_DEPTH,
    }
)  # fmt: skip
"""What can be measured on a lateral film whose front is not known."""
_NEVER_NEGATIVE = frozenset(
    {
        Quantity.DISC_HEIGHT_ANTERIOR, Quantity.DISC_HEIGHT_MIDDLE, Quantity.DISC_HEIGHT_POSTERIOR,
        Quantity.DISC_HEIGHT_FROBIN, Quantity.DISC_HEIGHT_INDEX, Quantity.AP_DISC_HEIGHT_LEFT,
        Quantity.AP_DISC_HEIGHT_MIDDLE, Quantity.AP_DISC_HEIGHT_RIGHT, Quantity.AP_DISC_HEIGHT_INDEX,
        Quantity.VERTEBRA_HEIGHT_LOSS,
    }
)  # fmt: skip
"""Endplates that overlap have no negative height between them, and a body that is higher than expected no loss."""


@dataclass(frozen=True)
class _Film:
    """What the values of a film have in common; ``deviations`` (25, 2, 5) are those of its plates."""

    plates: Plates
    basis: SpacingBasis | None
    localisation: Localisation | None
    deviations: Vector | None

    @classmethod
    def of(cls, spine: Spine, spacing: Spacing | None, localisation: Localisation | None) -> _Film:
        deviations = localisation.deviations(spine) if localisation else None
        return cls(Plates.of(spine, spacing), spacing.basis if spacing else None, localisation, deviations)

    def taken(
        self,
        formula: Formula,
        places: Sequence[tuple[Place, Sequence[tuple[int, int]]]],
        links: Sequence[str],
    ) -> Iterator[Measure]:
        """Evaluate a formula at places, each given with the level and side of its plates; nothing where plates lack."""
        levels = np.array([[level for level, _ in which] for _, which in places])
        sides = [side for _, side in places[0][1]]
        stack = _picked(self.plates.points, levels, sides)
        values = formula(stack)
        there = np.any(np.isfinite(list(values.values())), axis=0)
        places = [place for place, is_there in zip(places, there, strict=True) if is_there]
        levels, stack = levels[there], stack[there]
        values = {quantity: value[there] for quantity, value in values.items()}
        deviations = {quantity: np.full(len(places), np.nan) for quantity in values}
        if places and self.localisation and self.deviations is not None:
            # Beyond the spine's ends nothing counts.
            spread = self.deviations[np.clip(levels, 0, len(Level) - 1), sides]
            correlation = self.localisation.correlation(links)
            deviations = standard_deviations(formula, stack, sides, spread, correlation)
        columns = [
            (quantity, value.tolist(), deviations[quantity].tolist(), self._lines(quantity, stack))
            for quantity, value in values.items()
        ]
        for n, (place, _) in enumerate(places):
            for quantity, value, deviation, lines in columns:
                if isfinite(value[n]):
                    drawn = tuple(line[n] for line in lines)
                    yield self._measure(quantity, place, value[n], deviation[n], drawn)

    def _lines(self, quantity: Quantity, stack: Vector) -> list[Vector]:
        """(N, 2, 2) segments of the quantity at each of N places, native px."""
        return [self.plates.to_film(line) for line in lines_of(quantity, stack)]

    def _measure(
        self, quantity: Quantity, place: Place, value: float, deviation: float, lines: tuple[Vector, ...]
    ) -> Measure:
        unit, scale = Unit.RATIO, 1.0
        if quantity in _DEGREES:
            unit = Unit.DEGREE
        elif quantity in _LENGTHS:
            unit, scale = (Unit.MM, self.plates.px_mm) if self.plates.px_mm else (Unit.PX, 1.0)
        return Measure(
            quantity,
            place,
            scale * (max(value, 0.0) if quantity in _NEVER_NEGATIVE else value),
            unit,
            scale * deviation if isfinite(deviation) else None,
            self.basis if unit is Unit.MM else None,
            lines,
        )


def _picked(points: Vector, levels: NDArray[np.int_], sides: Sequence[int]) -> Vector:
    """(N, K, 3, 2) plates at (N, K) levels, (K,) sides; NaN beyond the ends of the spine."""
    missing = np.full((1, *points.shape[1:]), np.nan)
    is_level = (levels >= 0) & (levels < len(points))
    return np.concatenate([points, missing])[np.where(is_level, levels, len(points)), sides]


def measure(
    spine: Spine, spacing: Spacing | None, localisation: Mapping[View, Localisation] | None = None
) -> tuple[Measure, ...]:
    """Everything that the view of a film allows to measure, discs before bodies before regions, from head to foot.

    Parameters
    ----------
    spine
        The named vertebrae. On lateral films whose front is not known only what needs no front is measured, on films
        that are neither lateral nor AP nothing.
    spacing
        Of the film; without it lengths are in px.
    localisation
        The model's error by view; without it there are no uncertainties.
    """
    film = _Film.of(spine, spacing, (localisation or {}).get(spine.view))
    if spine.view is View.LATERAL:
        front_known = spine.anterior_left is not None
        return tuple(m for m in _lateral(film) if front_known or m.quantity in _WITHOUT_FRONT)
    return tuple(_coronal(film)) if spine.view is View.AP else ()


def _lateral(film: _Film) -> Iterator[Measure]:
    yield from film.taken(sagittal.disc, _places(ALL_DISCS, sagittal.DISC_PLATES), sagittal.DISC_LINKS)
    for body in film.taken(sagittal.body, _places(Level, sagittal.BODY_PLATES), sagittal.BODY_LINKS):
        if body.quantity is not Quantity.VERTEBRA_HEIGHT_LOSS or sagittal.is_graded(body.levels[0]):
            yield body
    for quantity, tries in sagittal.REGIONS.items():
        yield from _region(film, quantity, tries)


def _region(
    film: _Film, quantity: Quantity, tries: Sequence[Sequence[tuple[Level, int]]]
) -> Iterator[Measure]:
    """The angle between the first pair of plates that shows; kyphosis counts the other way round."""
    sign = -1.0 if quantity is Quantity.THORACIC_KYPHOSIS else 1.0
    for ends in tries:
        span = Span(ends[0][0], ends[1][0])
        if found := list(
            film.taken(lambda plates: {quantity: sign * sagittal.lordosis(plates)}, [(span, ends)], [""])
        ):
            yield from found
            return


def _coronal(film: _Film) -> Iterator[Measure]:
    yield from film.taken(coronal.disc, _places(ALL_DISCS, coronal.DISC_PLATES), coronal.DISC_LINKS)
    yield from film.taken(coronal.body, _places(Level, coronal.BODY_PLATES), coronal.BODY_LINKS)
    for number, curve in enumerate(coronal.curves(film.plates.points)):
        name = Quantity.COBB_OTHER if number else Quantity.COBB_MAIN
        ends = [(level, side) for level in (curve.first, curve.last) for side in (0, 1)]
        span = Span(curve.first, curve.last)
        angles = film.taken(coronal.cobb, [(span, ends)], coronal.CURVE_LINKS)
        yield from (
            replace(angle, quantity=name, apex=curve.apex, convex_left=curve.convex_left) for angle in angles
        )


def _places(
    places: Sequence[Place] | type[Level], plates: Sequence[tuple[int, int]]
) -> list[tuple[Place, list[tuple[int, int]]]]:
    """Each place with the level and side of the plates that its formula takes, counted from its upper level."""
    uppers = [(place, place if isinstance(place, Level) else place.upper) for place in places]
    return [(place, [(upper + step, side) for step, side in plates]) for place, upper in uppers]


class _Plane(NamedTuple):
    """Native px → isotropic px: ``factor`` (2,) for points; ``mm`` for lengths, None without a spacing."""

    factor: Vector
    mm: float | None


def disc_heights(spine: Spine, spacing: Spacing | None) -> tuple[DiscHeight, ...]:
    """Heights of all discs between neighbouring levels that show both endplates, from head to foot.

    Parameters
    ----------
    spine
        The named vertebrae; ``anterior_left`` decides whether a side is called anterior, posterior, left or right.
    spacing
        Of the film; without it there are no mm.

    Notes
    -----
    A height below 0 (endplates that overlap) is given as 0.
    """
    plane = _plane(spacing)
    discs = []
    for above, below in pairwise(spine.vertebrae):
        neighbours = below.level == above.level + 1 and above.level > Level.C1
        if neighbours and above.lower and below.upper:
            disc = DiscLevel.below(above.level)
            discs.append(_disc(disc, above.lower, below.upper, plane, spine.anterior_left))
    return tuple(discs)


def _plane(spacing: Spacing | None) -> _Plane:
    if spacing is None:
        return _Plane(np.ones(2), None)
    side_mm = float(np.sqrt(spacing.row_mm * spacing.column_mm))
    return _Plane(spacing.xy_mm / side_mm, side_mm)


def _disc(
    disc: DiscLevel, upper: Endplate, lower: Endplate, plane: _Plane, anterior_left: bool | None
) -> DiscHeight:
    along, down, wedge_deg = _frame(upper, lower, plane.factor)
    heights: dict[str, float] = {}
    lines: dict[str, Vector] = {}
    for side, name in _names(anterior_left).items():
        above, below = (np.asarray(getattr(endplate, side)) * plane.factor for endplate in (upper, lower))
        heights[name], lines[name] = _height(above, below, along, down)
    edges = [heights[name] for name in heights if name != "middle"]
    index = 2 * float(np.mean(edges)) / (_length(upper, plane.factor) + _length(lower, plane.factor))
    lengths = {f"{name}_px": height for name, height in heights.items()}
    if plane.mm is not None:
        lengths |= {f"{name}_mm": height * plane.mm for name, height in heights.items()}
    return DiscHeight(
        disc=disc,
        height_index=index,
        wedge_deg=-wedge_deg if anterior_left is False else wedge_deg,
        lines_px={name: line / plane.factor for name, line in lines.items()},
        **lengths,
    )


def _names(anterior_left: bool | None) -> dict[str, str]:
    """Side of an endplate → name of the height measured there."""
    if anterior_left is None:
        return {"left": "left", "middle": "middle", "right": "right"}
    front, back = ("left", "right") if anterior_left else ("right", "left")
    return {front: "anterior", "middle": "middle", back: "posterior"}


def _frame(upper: Endplate, lower: Endplate, factor: Vector) -> tuple[Vector, Vector, float]:
    """Bisectrix from left to right, its normal towards the foot, and the wedge (°), positive if open to the left."""
    first, second = (
        np.subtract(endplate.right, endplate.left) * factor / _length(endplate, factor)
        for endplate in (upper, lower)
    )
    along = (first + second) / np.hypot(*(first + second))
    turn = np.arctan2(second[0] * first[1] - second[1] * first[0], first @ second)
    return along, np.array([-along[1], along[0]]), float(np.degrees(turn))


def _length(endplate: Endplate, factor: Vector) -> float:
    return float(np.hypot(*(np.subtract(endplate.right, endplate.left) * factor)))


def _height(above: Vector, below: Vector, along: Vector, down: Vector) -> tuple[float, Vector]:
    """Height between two points, and the (2, 2) line of that length half-way between them along the disc."""
    height = max(float((below - above) @ down), 0.0)
    start = above + along * ((below - above) @ along) / 2
    return height, np.stack([start, start + height * down])
