"""The cells of the sheet: a film's rows as values with their intervals, grades in words, and why there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from spinepacs.domain import words
from spinepacs.domain.anatomy import ALL_DISCS
from spinepacs.domain.measures import HALF_95, Quantity, Reason
from spinepacs.domain.sentences import sentence, statement
from spinepacs.domain.signs import Sign
from spinepacs.language import N_, _, spoken
from spinepacs.store.queries import ALL_FINDINGS
from spinepacs.store.rebuilding import conclusion_of

Row = dict[str, Any]

HEIGHTS = {
    "anterior": Quantity.DISC_HEIGHT_ANTERIOR, "middle": Quantity.DISC_HEIGHT_MIDDLE,
    "posterior": Quantity.DISC_HEIGHT_POSTERIOR,
}  # fmt: skip
AP_HEIGHTS = {
    "left": Quantity.AP_DISC_HEIGHT_LEFT, "middle": Quantity.AP_DISC_HEIGHT_MIDDLE,
    "right": Quantity.AP_DISC_HEIGHT_RIGHT,
}  # fmt: skip
WITHHELD = N_("withheld")
"""To be said in the language spoken."""
NONE = "–"
"""Stands where there is nothing to say."""
_NOT_GRADED, _AS_NONE = N_("not graded"), N_("published as 0")
_DIGITS = {"mm": 1, "px": 0, "deg": 1, "1": 2}


@dataclass(frozen=True)
class Film:
    """A film's rows by what they are asked for."""

    row: Row
    measures: dict[tuple[str, str], Row]
    findings: dict[tuple[str, str], Row]
    """By sign and place, those without a side that names a rim or an endplate."""

    @classmethod
    def of(cls, row: Row) -> Film:
        """Sort the rows of one film as :func:`spinepacs.store.queries.find_films` gives them."""
        measures = {(m["quantity"], m["place"]): m for disc in row["discs"] for m in _plain_heights(disc)}
        measures |= {(m["quantity"], m["place"]): m for m in row["measures"]}
        return cls(row, measures, {(f["kind"], f["place"]): f for f in row["findings"] if not is_part(f)})

    def value(self, quantity: Quantity, place: str, *, unit: bool = True) -> str:
        """A measure with its 95 % interval; a dash where there is none."""
        measure = self.measures.get((quantity.value, place))
        return value(measure, unit=unit) if measure else NONE

    def lengths(self, quantities: Iterable[Quantity], place: str) -> str:
        """Lengths beside each other, with the greatest of their intervals."""
        found = [self.measures.get((quantity.value, place)) for quantity in quantities]
        known = [row for row in found if row and row["value"] is not None]
        if not known:
            return NONE
        if any(row.get("reason") for row in known):
            return _(WITHHELD)
        shown = (value({**row, "uncertainty": None}, unit=False) if row else NONE for row in found)
        margins = [HALF_95 * row["uncertainty"] for row in known if row["uncertainty"] is not None]
        digits = _DIGITS.get(known[0]["unit"], 2)
        return " / ".join(shown) + (f" ± {max(margins):.{digits}f}" if margins else "")

    @property
    def length_unit(self) -> str:
        """Millimetres where the film states a spacing, else pixels."""
        return words.unit("mm" if self.row["spacing_basis"] else "px")


def slip(film: Film, disc: str, length: Quantity, share: Quantity) -> str:
    """A displacement with its interval and its share of the plate."""
    of_depth = film.measures.get((share.value, disc))
    stated = of_depth and not of_depth.get("reason")
    percent = f" ({words.number(100 * of_depth['value'], 0)} %)" if of_depth and stated else ""
    return film.value(length, disc) + percent


def grade(finding: Row | None) -> str:
    """Published grade in words, with the range that the value's uncertainty leaves."""
    if finding is None or (finding["published_grade"] is None and finding["computed_grade"] is None):
        return NONE
    if finding["published_grade"] is None:
        return _(WITHHELD)
    low, high = finding["lowest_grade"], finding["highest_grade"]
    return named(finding, finding["published_grade"]) + (f" ({low}–{high})" if low != high else "")


def expected(finding: Row | None) -> str:
    """What the height index of a disc was compared with."""
    return NONE if finding is None or finding["expected"] is None else words.number(finding["expected"], 2)


def reference(finding: Row | None) -> str:
    """The published scheme's grade, only where our own is published as it was computed."""
    if finding is None or finding["reference_grade"] is None or finding["reason"]:
        return NONE
    return f"{str(finding['reference_scheme']).title()} {finding['reference_grade']}"


def named(finding: Row, grade: int) -> str:
    """A grade in words, of a slip with its way; none is 0."""
    if not grade or finding["kind"] not in set(Sign):
        return str(grade)
    slipped = finding["kind"] == Sign.SPONDYLOLISTHESIS and finding["side"] in words.SLIPS
    way = f"{words.SLIPS[finding['side']]} " if slipped else ""
    return way + words.grade_words(Sign(finding["kind"]), grade)


def shown(finding: Row) -> str:
    """What was graded, with its interval; empty where that is not known."""
    if finding["value"] is None:
        return ""
    return percent(finding) if finding["unit"] == "1" else value(finding)


def percent(row: Row) -> str:
    """A ratio with its interval in percent."""
    if row["value"] is None:
        return NONE
    if _is_withheld(row):
        return _(WITHHELD)
    margin = f" ± {100 * HALF_95 * row['uncertainty']:.0f}" if row["uncertainty"] is not None else ""
    return f"{words.number(100 * row['value'], 0)}{margin} %"


def value(row: Row, *, unit: bool = True) -> str:
    """A value with its 95 % interval; a dash where there is none, a word where it is withheld."""
    if row["value"] is None:
        return NONE
    if _is_withheld(row):
        return _(WITHHELD)
    digits = _DIGITS.get(row["unit"], 2)
    margin = f" ± {HALF_95 * row['uncertainty']:.{digits}f}" if row["uncertainty"] is not None else ""
    return words.number(row["value"], digits) + margin + (_suffix(row["unit"]) if unit else "")


def _suffix(unit: str) -> str:
    if unit in words.UNITS:
        return f" {words.unit(unit)}"
    return "°" if unit == "deg" else ""


def _is_withheld(row: Row) -> bool:
    """Whether a measure, or the grade of a finding, is withheld."""
    if "quantity" in row:
        return bool(row.get("reason"))
    return row["published_grade"] is None and row["computed_grade"] is not None


def concluded(conclusion: Row, film: Row, *, whole: bool = False) -> str:
    """What a conclusion of a film says, in the language that is spoken; ``whole``: and who is to judge it."""
    if spoken() == "en":
        said = str(conclusion["sentence"])
        return said if whole else said.removesuffix(words.TO_PHYSICIAN)
    found = conclusion_of(conclusion, film.get(ALL_FINDINGS) or film["findings"])
    return sentence(found) if whole else statement(found)


def words_of(code: str) -> str:
    """A code that has no words of its own, in lower case."""
    return code.replace("_", " ").lower()


def is_part(finding: Row) -> bool:
    """Whether a finding is about one rim or endplate of a vertebra."""
    return bool(finding["side"]) and finding["level"] is not None


def footnotes(findings: Sequence[Row], measures: Sequence[Row] = ()) -> Iterator[str]:
    """What is not published as it was computed, and what is not graded, by reason: a line for each."""
    lines: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for measure in measures:
        if measure.get("reason"):
            places = lines[WITHHELD, measure["reason"]][_("measures")]
            places += [measure["place"]] * (measure["place"] not in places)
    for finding in findings:
        if finding["reason"]:
            computed, published = finding["computed_grade"], finding["published_grade"]
            outcome = _NOT_GRADED if computed is None else WITHHELD if published is None else _AS_NONE
            grade = "" if computed is None else f" ({named(finding, computed)})"
            side = f" {words.SIDES[finding['side']]}" if is_part(finding) else ""
            lines[outcome, finding["reason"]][_sign_words(finding["kind"])].append(
                f"{finding['place']}{side}{grade}"
            )
    for (outcome, reason), signs in lines.items():
        why = words.REASONS[Reason(reason)] if reason in set(Reason) else words_of(reason)
        where = "; ".join(f"{sign} {', '.join(_run_together(places))}" for sign, places in signs.items())
        yield f"{_(outcome)}, {why}: {where}"


def _run_together(places: Sequence[str]) -> Iterator[str]:
    """Discs that follow each other as one: ``T1/T2 to L5/S1``."""
    order = {disc.name: n for n, disc in enumerate(ALL_DISCS)}
    first = 0
    for n, place in enumerate(places):
        following = places[n + 1] if n + 1 < len(places) else ""
        if order.get(following, -9) != order.get(place, -5) + 1:
            yield from (
                places[first : n + 1]
                if n - first < 2
                else (_("{first} to {last}", first=places[first], last=place),)
            )
            first = n + 1


def _sign_words(kind: str) -> str:
    return words.SIGNS[Sign(kind)] if kind in set(Sign) else words_of(kind)


def _plain_heights(disc: Row) -> Iterator[Row]:
    """Heights, index and angle of a row of ``discs`` in the form of measures: all that older readings have."""
    for name, quantity in (*HEIGHTS.items(), *AP_HEIGHTS.items()):
        unit = "px" if disc[f"{name}_mm"] is None else "mm"
        yield _as_measure(disc, quantity, disc[f"{name}_{unit}"], unit)
    for index in (Quantity.DISC_HEIGHT_INDEX, Quantity.AP_DISC_HEIGHT_INDEX):
        yield _as_measure(disc, index, disc["height_index"], "1")
    for angle in (Quantity.DISC_ANGLE, Quantity.AP_DISC_WEDGE):
        yield _as_measure(disc, angle, disc["wedge_deg"], "deg")


def _as_measure(disc: Row, quantity: Quantity, value: float | None, unit: str) -> Row:
    row = {"quantity": quantity.value, "place": disc["disc"], "value": value, "unit": unit}
    return row | {"uncertainty": None}
