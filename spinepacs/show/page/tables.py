"""Tables of a film's page: its discs and its vertebrae, each cell with what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spinepacs.domain import words
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import HALF_95, Measure, Place, Quantity, Reason, Unit
from spinepacs.domain.signs import Finding, Sign
from spinepacs.domain.study import View
from spinepacs.language import N_, _, p_
from spinepacs.show.page.html import NONE, Html, joined, tag

_LENGTHS = {
    N_("Anterior"): Quantity.DISC_HEIGHT_ANTERIOR,
    N_("Middle"): Quantity.DISC_HEIGHT_MIDDLE,
    N_("Posterior"): Quantity.DISC_HEIGHT_POSTERIOR,
}
_AP_LENGTHS = {
    N_("Image left"): Quantity.AP_DISC_HEIGHT_LEFT,
    N_("Middle"): Quantity.AP_DISC_HEIGHT_MIDDLE,
    N_("Image right"): Quantity.AP_DISC_HEIGHT_RIGHT,
}
_BODIES = {
    N_("Ant."): Quantity.VERTEBRA_HEIGHT_ANTERIOR,
    N_("Mid."): Quantity.VERTEBRA_HEIGHT_MIDDLE,
    N_("Post."): Quantity.VERTEBRA_HEIGHT_POSTERIOR,
}
# Heads of columns may be broken at soft hyphens (U+00AD): fifteen columns stand beside each other on A4.
_DIGITS = {Unit.MM: 1, Unit.PX: 0, Unit.DEGREE: 1, Unit.RATIO: 2}


@dataclass(frozen=True)
class Columns:
    """A table by its heads, without rows where there is nothing, and what its letters mean."""

    table: dict[str, list[str]]
    notes: str

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(next(iter(self.table.values()), []))


def discs(reading: Reading) -> Columns:
    """Every disc with its heights and signs; of AP films their AP measures."""
    film = _Film.of(reading)
    places = sorted({place for place, _ in [*film.measures, *film.findings] if isinstance(place, DiscLevel)})
    lateral = reading.spine is not None and reading.spine.view is not View.AP
    cells = _lateral_disc if lateral else _ap_disc
    return film.columns(_("Disc"), places, [cells(film, place) for place in places])


def vertebrae(reading: Reading) -> Columns:
    """Vertebrae with their heights and forms; those without any are left out."""
    film = _Film.of(reading)
    rows = {}
    for vertebra in reading.spine.vertebrae if reading.spine else ():
        level, raw = vertebra.level, vertebra.raw_level
        row = film.lengths(level, _BODIES)
        row[p_("column", "Wedge")] = film.value(Quantity.AP_VERTEBRA_WEDGE, level)
        row[_("Loss")] = film.share(level, Sign.VERTEBRAL_DEFORMITY)
        row[_("Genant")] = film.grade(level, Sign.VERTEBRAL_DEFORMITY)
        row[_("Network says")] = NONE if raw is level else raw.name
        if set(row.values()) != {NONE}:
            rows[level] = row
    return film.columns(_("Level"), list(rows), list(rows.values()))


def single_signs(reading: Reading) -> str:
    """The rims and endplates of single vertebrae that show a sign, in words; empty where none does."""
    said: dict[str, list[str]] = {}
    for finding in reading.findings:
        if finding.level is not None and finding.side and finding.published_grade:
            what = _(
                "{side} {sign} {grade}",
                side=words.SIDES[finding.side],
                sign=words.SIGNS[finding.sign],
                grade=finding.published_grade,
            )
            said.setdefault(finding.place.name, []).append(what)
    listed = "; ".join(f"{place} {', '.join(signs)}" for place, signs in said.items())
    return _("Single rims and endplates: {signs}", signs=listed) if said else ""


def figures(value: float, margin: float | None, digits: int, unit: str = "") -> Html:
    """A value with its interval; what rounds to nothing has no sign."""
    shown = words.number(value, digits).replace("-", "−")
    beside = [" ", tag("small", f"± {margin:.{digits}f}")] if margin is not None else []
    return joined([shown, *beside, unit])


def grade_mark(grade: int, text: str) -> Html:
    """A grade on its colour; the text says it as well."""
    return tag("span", text, class_=f"grade g{min(grade, 4)}" if grade else None)


def _lateral_disc(film: _Film, disc: DiscLevel) -> dict[str, str]:
    lost = film.findings.get((disc, Sign.DISC_HEIGHT_LOSS))
    row = film.lengths(disc, _LENGTHS)
    row[_("Height index")] = film.value(Quantity.DISC_HEIGHT_INDEX, disc)
    row[_("Expec\u00adted")] = NONE if lost is None or lost.expected is None else f"{lost.expected:.2f}"
    row[_("Loss")] = film.share(disc, Sign.DISC_HEIGHT_LOSS)
    row[_("Stage")] = film.grade(disc, Sign.DISC_HEIGHT_LOSS)
    row[_("Refer\u00adence")] = _reference(lost)
    row[_("Slip ({unit})", unit=film.length)] = film.value(Quantity.SLIP, disc)
    row[_("% of depth")] = film.percent(Quantity.SLIP_SHARE, disc)
    row[_("Meyer\u00adding")] = film.grade(disc, Sign.SPONDYLOLISTHESIS)
    row[_("Osteo\u00adphytes")] = film.grade(disc, Sign.OSTEOPHYTES)
    row[_("Scle\u00adrosis")] = film.grade(disc, Sign.SUBCHONDRAL_SCLEROSIS)
    row[p_("column", "Overall")] = film.grade(disc, Sign.DISC_DEGENERATION)
    return row


def _ap_disc(film: _Film, disc: DiscLevel) -> dict[str, str]:
    row = film.lengths(disc, _AP_LENGTHS)
    row[_("Height index")] = film.value(Quantity.AP_DISC_HEIGHT_INDEX, disc)
    row[p_("column", "Wedge")] = film.value(Quantity.AP_DISC_WEDGE, disc)
    row[_("Side slip ({unit})", unit=film.length)] = film.value(Quantity.LATERAL_LISTHESIS, disc)
    row[_("% of width")] = film.percent(Quantity.LATERAL_LISTHESIS_SHARE, disc)
    return row


def _reference(finding: Finding | None) -> str:
    """The published scheme's grade, only where our own is published as it was computed."""
    if finding is None or finding.reference_grade is None or finding.reason:
        return NONE
    scheme = words.SCHEMES[finding.reference_scheme] if finding.reference_scheme else ""
    return f"{scheme} {finding.reference_grade}".strip()


@dataclass(frozen=True)
class _Film:
    """A reading by what its cells ask for; ``reasons`` gathers those that got a letter."""

    measures: Mapping[tuple[Place, Quantity], Measure]
    findings: Mapping[tuple[Place, Sign], Finding]
    length: str
    reasons: dict[Reason, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reading: Reading) -> _Film:
        parts = [f for f in reading.findings if f.level is not None and f.side]
        whole = {(f.place, f.sign): f for f in reading.findings if f not in parts}
        measures = {(m.place, m.quantity): m for m in reading.measures}
        return cls(measures, whole, words.unit("mm" if reading.spacing else "px"))

    def columns(self, name: str, places: Sequence[Level | DiscLevel], rows: list[dict[str, str]]) -> Columns:
        heads = rows[0] if rows else {}
        table = {name: [place.name for place in places]} | {
            head: [row[head] for row in rows] for head in heads
        }
        said = [f"{letter}: {words.REASONS[reason]}" for reason, letter in self.reasons.items()]
        return Columns(table if rows else {}, "; ".join(said))

    def lengths(self, place: Place, quantities: Mapping[str, Quantity]) -> dict[str, str]:
        """Three lengths, and once the greatest of their intervals."""
        found = [self.measures.get((place, quantity)) for quantity in quantities.values()]
        row: dict[str, str] = {
            f"{_(head)} ({self.length})": self._figures(m, None)
            for head, m in zip(quantities, found, strict=True)
        }
        widest = max(
            (m for m in found if m and not m.reason and m.margin is not None),
            key=lambda m: m.margin or 0,
            default=None,
        )
        return row | {"±": f"{widest.margin:.{_DIGITS[widest.unit]}f}" if widest else NONE}

    def value(self, quantity: Quantity, place: Place) -> str:
        m = self.measures.get((place, quantity))
        return self._figures(m, m.margin) if m else NONE

    def _figures(self, m: Measure | None, margin: float | None) -> str:
        """A measure; of one that is withheld a letter for why."""
        if m is None:
            return NONE
        if m.reason:
            return joined([NONE, self._letter(m.reason)])
        return figures(m.value, margin, _DIGITS[m.unit], "°" if m.unit is Unit.DEGREE else "")

    def share(self, place: Place, sign: Sign) -> str:
        """The value of a finding in percent."""
        finding = self.findings.get((place, sign))
        if finding is None or finding.value is None or finding.published_grade is None:
            return NONE
        margin = None if finding.uncertainty is None else 100 * HALF_95 * finding.uncertainty
        return figures(100 * finding.value, margin, 0, " %")

    def percent(self, quantity: Quantity, place: Place) -> str:
        m = self.measures.get((place, quantity))
        return figures(100 * m.value, None, 0) if m and not m.reason else NONE

    def grade(self, place: Place, sign: Sign) -> str:
        """A published grade with the range that its value leaves; of one that is not published a letter for why."""
        finding = self.findings.get((place, sign))
        if finding is None or (finding.computed_grade is None and finding.published_grade is None):
            return NONE
        if finding.published_grade is None:
            return joined([_("withheld"), self._letter(finding.reason)])
        text = _named(finding, finding.published_grade)
        return joined(
            [grade_mark(finding.published_grade, text), self._letter(finding.reason), _range(finding)]
        )

    def _letter(self, reason: Reason | None) -> Html:
        if reason is None:
            return Html("")
        return tag("sup", self.reasons.setdefault(reason, chr(ord("a") + len(self.reasons))))


def _named(finding: Finding, grade: int) -> str:
    """A grade above 0 in words: with the way of a slip, or the form of a body."""
    if not grade:
        return "0"
    if finding.form:
        return f"{grade} {words.FORMS[finding.form]}"
    slipped = finding.sign is Sign.SPONDYLOLISTHESIS and finding.side
    way = f"{words.SLIPS[finding.side]} " if slipped and finding.side else ""
    return way + words.grade_words(finding.sign, grade)


def _range(finding: Finding) -> Html:
    if not finding.grade_range or not finding.is_borderline:
        return Html("")
    low, high = finding.grade_range
    return joined([" ", tag("small", f"{low}–{high}")])
