"""What two readings of one film say differently: names, discs, angles, grades, conclusions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from spinepacs.domain import words
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import DiscHeight, Reading, Vertebra
from spinepacs.domain.measures import Measure, Unit
from spinepacs.domain.refusals import refusal_words
from spinepacs.domain.sentences import sentence
from spinepacs.domain.signs import Area, Finding
from spinepacs.language import NP_, _

NONE = "–"
"""What stands where one of the readings says nothing."""
_SIDES = words.Words(
    {
        "anterior": NP_("height", "anterior"),
        "left": NP_("height", "left"),
        "middle": NP_("height", "middle"),
        "posterior": NP_("height", "posterior"),
        "right": NP_("height", "right"),
    },
    "height",
)


_AREAS = words.Words(
    {
        Area.CERVICAL: NP_("area", "cervical"),
        Area.THORACIC: NP_("area", "thoracic"),
        Area.LUMBAR: NP_("area", "lumbar"),
        Area.LUMBOSACRAL: NP_("area", "lumbosacral"),
        Area.COMBINED: NP_("area", "combined"),
    },
    "area",
)


@dataclass(frozen=True)
class Change:
    """One thing that differs.

    Parameters
    ----------
    what
        ``name``, ``disc``, ``measure``, ``grade``, ``conclusion`` or ``reading``.
    place
        Where: a level, a disc, a span, an area; of a name, that of before, or of after where it is new.
    before, after
        In words; :data:`NONE` where there is nothing.
    """

    what: str
    place: str
    before: str
    after: str


def changes(before: Reading, after: Reading) -> tuple[Change, ...]:
    """All differences between what two readings of one film publish, from head to foot."""
    found = [
        _names(before, after),
        _unlike("disc", _discs(before), _discs(after)),
        _unlike("measure", _angles(before), _angles(after)),
        _unlike("grade", _grades(before), _grades(after)),
        _unlike("conclusion", _conclusions(before), _conclusions(after)),
        _unlike("reading", _refusal(before), _refusal(after)),
    ]
    return tuple(chain.from_iterable(found))


def _unlike(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Change]:
    for place in dict.fromkeys([*before, *after]):
        was, now = before.get(place, NONE), after.get(place, NONE)
        if was != now:
            yield Change(what, place, was, now)


def _names(before: Reading, after: Reading) -> Iterator[Change]:
    """Vertebrae that have another name, are gone or new; the same body lies in the same place."""
    left = list(after.spine.vertebrae if after.spine else ())
    for vertebra in before.spine.vertebrae if before.spine else ():
        same = next((one for one in left if _are_one(vertebra, one)), None)
        if same:
            left.remove(same)
        if same is None or same.level is not vertebra.level:
            now = same.level.name if same else NONE
            yield Change("name", vertebra.level.name, vertebra.level.name, now)
    for new in left:
        yield Change("name", new.level.name, NONE, new.level.name)


def _are_one(first: Vertebra, second: Vertebra) -> bool:
    apart = np.subtract(first.outline.centroid, second.outline.centroid)
    return bool(np.hypot(*apart) < np.sqrt(min(first.outline.area_px, second.outline.area_px)) / 3)


def _discs(reading: Reading) -> dict[str, str]:
    return {height.disc.name: _heights(height) for height in reading.discs}


def _heights(height: DiscHeight) -> str:
    for unit in ("mm", "px"):
        values = {side: getattr(height, f"{side}_{unit}") for side in _SIDES}
        known = [f"{_SIDES[side]} {value:.1f}" for side, value in values.items() if value is not None]
        if known and (unit == "px" or height.middle_mm is not None):
            return f"{', '.join(known)} {words.unit(unit)}"
    return NONE


def _angles(reading: Reading) -> dict[str, str]:
    """Angles and curves; what is measured at single discs and bodies follows from names and heights."""
    return {
        f"{words.ANGLES[one.quantity]} {one.place.name}": _value(one)
        for one in reading.measures
        if one.quantity in words.ANGLES
    }


def _value(measure: Measure) -> str:
    unit = "°" if measure.unit is Unit.DEGREE else f" {words.unit(measure.unit.value)}"
    held = _(" (withheld: {why})", why=words.REASONS[measure.reason]) if measure.reason else ""
    return f"{words.number(measure.value, 1)}{unit}{held}"


def _grades(reading: Reading) -> dict[str, str]:
    return {_at(finding): _grade(finding) for finding in reading.findings if _says_something(finding)}


def _says_something(finding: Finding) -> bool:
    return finding.computed_grade is not None or finding.published_grade is not None


def _at(finding: Finding) -> str:
    side = f" {words.SIDES[finding.side]}" if finding.side and isinstance(finding.place, Level) else ""
    return f"{finding.place.name}{side}: {words.SIGNS[finding.sign]}"


def _grade(finding: Finding) -> str:
    why = f" ({words.REASONS[finding.reason]})" if finding.reason else ""
    if finding.published_grade is None:
        return _("withheld") + why
    return f"{finding.published_grade} {words.grade_name(finding.sign, finding.published_grade)}{why}"


def _conclusions(reading: Reading) -> dict[str, str]:
    return {_AREAS[one.area]: sentence(one) for one in reading.conclusions}


def _refusal(reading: Reading) -> dict[str, str]:
    refusal = reading.refusal
    said = f"{refusal.code}: {refusal_words(refusal.code, refusal.reason)}" if refusal else _("read")
    return {_("film"): said}
