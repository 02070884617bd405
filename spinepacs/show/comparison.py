"""What a second reading of the same films says otherwise: levels and grades that have changed, by region."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from spinepacs.domain.anatomy import Level
from spinepacs.store.progress import Pair

Row = dict[str, Any]

SAME_BODY = 0.5
"""Two outlines are of one vertebra if their centres lie within so much of the side of a square of its area."""

COLUMNS = (
    "study_uid", "sop_uid", "region", "what", "place", "side", "before", "after", "change", "read_before", "read_after",
)  # fmt: skip


@dataclass
class Comparison:
    """Counts over many films: of each region and kind, how many were compared, and how many have changed how."""

    films: int = 0
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """By region, what, and change (``same`` among them)."""
    others: set[str] = field(default_factory=set)
    """Models and policies that the campaign's are compared with."""

    def add(self, pair: Pair) -> list[Row]:
        """Count one film; its changes."""
        self.films += 1
        self.others.add(pair.before.versions)
        rows = list(compared(pair))
        self.counts.update((row["region"], row["what"], row["change"]) for row in rows)
        return [row for row in rows if row["change"] != "same"]

    def table(self) -> list[Row]:
        """One row for each region and kind."""
        places = dict.fromkeys((region, what) for region, what, _ in sorted(self.counts, key=_order))
        changes = sorted({change for _, _, change in self.counts} - {"same"})
        return [
            {
                "region": region,
                "what": what,
                "compared": sum(self.counts[region, what, change] for change in ("same", *changes)),
                **{change: self.counts[region, what, change] or None for change in changes},
            }
            for region, what in places
        ]


_REGIONS = ("film", "cervical", "thoracic", "lumbar", "sacral")


def _order(key: tuple[str, str, str]) -> tuple[int, str, str]:
    return _REGIONS.index(key[0]), key[1], key[2]


def changes(pairs: Iterable[Pair], into: Comparison) -> Iterator[Row]:
    """Every change, film by film, counted on the way."""
    for pair in pairs:
        yield from into.add(pair)


def compared(pair: Pair) -> Iterator[Row]:
    """Everything that both readings of a film, or one of them, speak of, with what has changed."""
    about = {
        "study_uid": pair.study_uid, "sop_uid": pair.sop_uid, "read_before": pair.before.versions,
        "read_after": pair.after.versions,
    }  # fmt: skip
    before, after = pair.before.refusal_code, pair.after.refusal_code
    verdict = "same" if bool(before) == bool(after) else "now read" if before else "now refused"
    rows = [("film", "reading", "", "", before or "read", after or "read", verdict)]
    if not before and not after:
        rows += _levels(pair)
        rows += _grades(pair)
    for region, what, place, side, old, new, change in rows:
        found = dict(zip(COLUMNS[2:9], (region, what, place, side, old, new, change), strict=True))
        yield {name: (about | found)[name] for name in COLUMNS}


_Found = tuple[str, str, str, str, Any, Any, str]


def _levels(pair: Pair) -> Iterator[_Found]:
    """Vertebrae, matched by where they are and not by what they are called."""
    left = list(pair.after.vertebrae)
    for old in pair.before.vertebrae:
        new = min(left, key=lambda each: _distance_px(old, each), default=None)
        region = Level[old["level"]].region.value
        if new is None or not _distance_px(old, new) <= SAME_BODY * math.sqrt(old["area_px"] or 0):
            yield region, "level", old["level"], "", old["level"], None, "lost"
            continue
        left.remove(new)
        change = "same" if new["level"] == old["level"] else "renamed"
        yield region, "level", old["level"], "", old["level"], new["level"], change
    for new in left:
        yield Level[new["level"]].region.value, "level", new["level"], "", None, new["level"], "found"


def _distance_px(one: Row, other: Row) -> float:
    values = [each[name] for name in ("centre_x_px", "centre_y_px") for each in (one, other)]
    if any(value is None for value in values):
        return math.inf
    return math.hypot(values[0] - values[1], values[2] - values[3])


def _grades(pair: Pair) -> Iterator[_Found]:
    """Published stages and grades of the same sign at the same place."""
    old, new = (
        {(row["kind"], row["place"], row["side"]): row["published_grade"] for row in sight.findings}
        for sight in (pair.before, pair.after)
    )
    for key in sorted(old.keys() | new.keys()):
        kind, place, side = key
        before, after = old.get(key), new.get(key)
        if before is None and after is None:
            continue
        region = Level[place.partition("/")[0].partition("-")[0]].region.value
        yield region, kind, place, side, before, after, _change(before, after)


def _change(before: int | None, after: int | None) -> str:
    if before is None:
        return "now published"
    if after is None:
        return "now withheld"
    return "same" if before == after else "higher" if after > before else "lower"
