"""A study as a table for a radiologist: per film and region the levels, the discs, their signs, and the conclusion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from spinepacs.anatomy import ALL_DISCS, Level
from spinepacs.listing import rendered
from spinepacs.measures import Quantity
from spinepacs.signs import GRADE_NAMES, Area, Sign

Row = dict[str, Any]

_REGIONS = (
    ("Cervical", Level.C1, Level.C7, (Area.CERVICAL,)),
    ("Thoracic", Level.T1, Level.T11, (Area.THORACIC,)),
    ("Lumbar", Level.T12, Level.S1, (Area.LUMBAR, Area.LUMBOSACRAL)),
)
"""Title, first and last level whose discs (below them) belong to it, and the areas that conclude about it."""
_HEIGHTS = {
    "anterior": Quantity.DISC_HEIGHT_ANTERIOR, "middle": Quantity.DISC_HEIGHT_MIDDLE,
    "posterior": Quantity.DISC_HEIGHT_POSTERIOR,
}  # fmt: skip
_AP_HEIGHTS = {
    "left": Quantity.AP_DISC_HEIGHT_LEFT, "middle": Quantity.AP_DISC_HEIGHT_MIDDLE,
    "right": Quantity.AP_DISC_HEIGHT_RIGHT,
}  # fmt: skip
_SPANS = (
    Quantity.CERVICAL_LORDOSIS, Quantity.THORACIC_KYPHOSIS, Quantity.LUMBAR_LORDOSIS, Quantity.COBB_MAIN,
    Quantity.COBB_OTHER,
)  # fmt: skip
_DIGITS = {"mm": 1, "px": 0, "deg": 1, "1": 2}
_SUFFIX = {"mm": " mm", "px": " px", "deg": "°", "1": ""}


@dataclass(frozen=True)
class _Film:
    """A film's rows by what they are asked for."""

    row: Row
    measures: dict[tuple[str, str], Row]
    findings: dict[tuple[str, str], Row]
    """By sign and place, those without a side that names a rim or an endplate."""

    @classmethod
    def of(cls, row: Row) -> _Film:
        measures = {(m["quantity"], m["place"]): m for disc in row["discs"] for m in _plain_heights(disc)}
        measures |= {(m["quantity"], m["place"]): m for m in row["measures"]}
        return cls(row, measures, {(f["kind"], f["place"]): f for f in row["findings"] if not _is_part(f)})

    def value(self, quantity: Quantity, place: str, *, unit: bool = True) -> str:
        """A measure with its 95 % interval; a dash where there is none."""
        measure = self.measures.get((quantity.value, place))
        return _value(measure, unit=unit) if measure else "–"

    @property
    def length_unit(self) -> str:
        return "mm" if self.row["spacing_basis"] else "px"


def draw(films: Sequence[Row]) -> str:
    """Films as :func:`spinepacs.store.queries.find_films` gives them, as text; ± is the 95 % interval."""
    if not films:
        return "nothing"
    return rendered(*(part for film in films for part in _film(_Film.of(film))))


def _film(film: _Film) -> Iterator[RenderableType]:
    yield from _head(film.row)
    if film.row["refusal_code"]:
        yield Text(f"not read: {film.row['refusal_code']}: {film.row['refusal_reason']}\n")
        return
    for title, first, last, areas in _REGIONS:
        yield from _region(film, title, first, last, areas)
    for title, lines in (
        ("Angles", list(_angles(film))),
        ("Withheld or changed", list(_footnotes(film.row["findings"]))),
        ("Overall", list(_conclusions(film.row["conclusions"], (Area.COMBINED,)))),
    ):
        if lines:
            yield Text(title, style="bold")
            yield Padding(Group(*map(Text, lines)), (0, 2))
    yield Text("")


def _head(row: Row) -> Iterator[Text]:
    age = row["patient_age_years"]
    about = [row["patient_id"], row["patient_sex"], f"{age:.0f} years" if age is not None else ""]
    study = [
        f"Study {row['study_date'] or 'without date'}",
        row["accession_number"],
        row["study_description"],
        *about,
    ]
    yield Text(" · ".join(word for word in study if word), style="bold")
    yield Text(f"Film {row['sop_uid']}")
    if row["refusal_code"]:
        return
    front = {True: "front at the image's left", False: "front at the image's right", None: ""}[
        row["anterior_left"]
    ]
    view = [
        f"{row['view_position']} view",
        f"{front} (by {row['anterior_basis']})" if front else "",
        _basis(row),
    ]
    yield Text(" · ".join(word for word in view if word))
    yield Text(
        f"{row['model_name']} {row['model_version']} · policy {row['policy_name']} {row['policy_version']}"
        f" · read {row['read_at'][:16]} UTC"
    )
    if row["notes"]:
        yield Text("Notes: " + ", ".join(_words(code) for code in row["notes"].split()), style="yellow")


def _basis(row: Row) -> str:
    if not row["spacing_basis"]:
        return "lengths in px: the film has no spacing"
    factor = row["magnification"] or 1
    return f"mm: {row['spacing_basis']}" + (f", ÷ {factor:.2f}" if factor != 1 else "")


def _region(
    film: _Film, title: str, first: Level, last: Level, areas: Sequence[Area]
) -> Iterator[RenderableType]:
    names = {level.name for level in Level if first <= level <= last}
    found = [row["level"] for row in film.row["vertebrae"] if row["level"] in names]
    missing = [name for name in film.row["missing_levels"].split() if name in names]
    if not found and not missing:
        return
    levels = f"{title}  found {' '.join(found) or 'none'}" + (
        f" · missing {' '.join(missing)}" if missing else ""
    )
    yield Text(levels, style="bold")
    discs = [disc.name for disc in ALL_DISCS if first <= disc.upper <= last and _has(film, disc.name)]
    if discs:
        yield Padding(_discs(film, discs), (0, 2))
    said = [*_bodies(film.row["findings"], names), *_conclusions(film.row["conclusions"], areas)]
    if said:
        yield Padding(Group(*map(Text, said)), (0, 2))


def _has(film: _Film, disc: str) -> bool:
    return any(place == disc for _, place in (*film.measures, *film.findings))


def _discs(film: _Film, discs: Sequence[str]) -> Table:
    """One line for each disc; columns that would stay empty are left out."""
    lateral = film.row["view_position"] != "AP"
    heights = _HEIGHTS if lateral else _AP_HEIGHTS
    index = Quantity.DISC_HEIGHT_INDEX if lateral else Quantity.AP_DISC_HEIGHT_INDEX
    angle = Quantity.DISC_ANGLE if lateral else Quantity.AP_DISC_WEDGE
    columns = {"": list(discs)}
    for name, quantity in heights.items():
        columns[f"{name} ({film.length_unit})"] = [film.value(quantity, disc, unit=False) for disc in discs]
    columns["height index"] = [film.value(index, disc) for disc in discs]
    columns["angle"] = [film.value(angle, disc) for disc in discs]
    columns["slip" if lateral else "side slip"] = [_slip(film, disc, lateral) for disc in discs]
    for name, sign in (
        ("height loss", Sign.DISC_HEIGHT_LOSS), ("slip grade", Sign.SPONDYLOLISTHESIS),
        ("osteophytes", Sign.OSTEOPHYTES), ("sclerosis", Sign.SUBCHONDRAL_SCLEROSIS),
        ("degeneration", Sign.DISC_DEGENERATION),
    ):  # fmt: skip
        columns[name] = [_grade(film.findings.get((sign.value, disc))) for disc in discs]
    kept = {name: cells for name, cells in columns.items() if set(cells) != {"–"}}
    table = Table(*kept, box=None, header_style="dim", pad_edge=False)
    for cells in zip(*kept.values(), strict=True):
        table.add_row(*cells)
    return table


def _slip(film: _Film, disc: str, lateral: bool) -> str:
    length, share = (
        (Quantity.SLIP, Quantity.SLIP_SHARE) if lateral
        else (Quantity.LATERAL_LISTHESIS, Quantity.LATERAL_LISTHESIS_SHARE)
    )  # fmt: skip
    of_depth = film.measures.get((share.value, disc))
    percent = f" ({_number(100 * of_depth['value'], 0)} %)" if of_depth else ""
    return film.value(length, disc) + percent


def _grade(finding: Row | None) -> str:
    """Published grade in words, with the range that the value's uncertainty leaves and the other scheme's grade."""
    if finding is None:
        return "–"
    if finding["published_grade"] is None:
        return "withheld" if finding["computed_grade"] is not None else "not graded"
    lost = finding["kind"] == Sign.DISC_HEIGHT_LOSS and (finding["value"] or 0) > 0
    return (
        (f"{_percent(finding)}, " if lost else "")
        + _named(finding["kind"], finding["published_grade"])
        + _beside(finding)
    )


def _beside(finding: Row) -> str:
    low, high, other = finding["lowest_grade"], finding["highest_grade"], finding["reference_grade"]
    notes = [f"{low}–{high}" if low != high else ""]
    notes.append(f"{str(finding['reference_scheme']).title()} {other}" if other is not None else "")
    said = ", ".join(note for note in notes if note)
    return f" ({said})" if said else ""


def _named(kind: str, grade: int) -> str:
    names = GRADE_NAMES.get(Sign(kind), ()) if kind in set(Sign) else ()
    if grade >= len(names):
        return str(grade)
    return names[grade] if kind == Sign.SPONDYLOLISTHESIS or not grade else f"{grade} {names[grade]}"


def _bodies(findings: Sequence[Row], names: set[str]) -> Iterator[str]:
    """Deformed vertebrae, and the single rims and endplates that show a sign."""
    for finding in findings:
        if finding["level"] in names and finding["published_grade"]:
            what = _words(finding["form"] or finding["side"]) + " " + _words(finding["kind"])
            yield f"{finding['level']}: {what.strip()}, {_grade(finding)}, {_shown(finding)}".rstrip(", ")


def _shown(finding: Row) -> str:
    if finding["value"] is None:
        return ""
    return _percent(finding) if finding["unit"] == "1" else _value(finding)


def _angles(film: _Film) -> Iterator[str]:
    for measure in film.row["measures"]:
        if measure["quantity"] in _SPANS:
            apex = f", apex {measure['apex']}" if measure["apex"] else ""
            side = {None: "", True: ", convex to the image's left", False: ", convex to the image's right"}
            name = _words(measure["quantity"]).capitalize()
            yield f"{name} {measure['place']}: {_value(measure)}{apex}{side[measure['convex_left']]}"


def _footnotes(findings: Sequence[Row]) -> Iterator[str]:
    """Each grade that is not published as it was computed, with the reason."""
    for finding in findings:
        if finding["reason"]:
            computed, published = finding["computed_grade"], finding["published_grade"]
            grades = [] if computed is None else [f"computed {_named(finding['kind'], computed)}"]
            grades += [] if published is None else [f"published {_named(finding['kind'], published)}"]
            where = " ".join(word for word in (finding["place"], _words(finding["side"])) if word)
            outcome = ", ".join(grades) or "not graded"
            yield f"{where} {_words(finding['kind'])}: {outcome}; {_words(finding['reason'])}"


def _conclusions(conclusions: Sequence[Row], areas: Sequence[Area]) -> Iterator[str]:
    for conclusion in conclusions:
        if conclusion["area"] in areas:
            reason = f" ({_words(conclusion['reason'])})" if conclusion["reason"] else ""
            yield f"→ {conclusion['sentence']}{reason}"


def _is_part(finding: Row) -> bool:
    """Whether a finding is about one rim or endplate of a vertebra."""
    return bool(finding["side"]) and finding["level"] is not None


def _plain_heights(disc: Row) -> Iterator[Row]:
    """Heights, index and angle of a row of ``discs`` in the form of measures: all that older readings have."""
    for name, quantity in (*_HEIGHTS.items(), *_AP_HEIGHTS.items()):
        unit = "px" if disc[f"{name}_mm"] is None else "mm"
        yield _as_measure(disc, quantity, disc[f"{name}_{unit}"], unit)
    for index in (Quantity.DISC_HEIGHT_INDEX, Quantity.AP_DISC_HEIGHT_INDEX):
        yield _as_measure(disc, index, disc["height_index"], "1")
    for angle in (Quantity.DISC_ANGLE, Quantity.AP_DISC_WEDGE):
        yield _as_measure(disc, angle, disc["wedge_deg"], "deg")


def _as_measure(disc: Row, quantity: Quantity, value: float | None, unit: str) -> Row:
    row = {"quantity": quantity.value, "place": disc["disc"], "value": value, "unit": unit}
    return row | {"uncertainty": None}


def _value(row: Row, *, unit: bool = True) -> str:
    if row["value"] is None:
        return "–"
    digits = _DIGITS.get(row["unit"], 2)
    margin = f" ± {1.96 * row['uncertainty']:.{digits}f}" if row["uncertainty"] is not None else ""
    return _number(row["value"], digits) + margin + (_SUFFIX.get(row["unit"], "") if unit else "")


def _percent(row: Row) -> str:
    margin = f" ± {196 * row['uncertainty']:.0f}" if row["uncertainty"] is not None else ""
    return f"{_number(100 * row['value'], 0)}{margin} %"


def _number(value: float, digits: int) -> str:
    """Rounded; what rounds to nothing has no sign."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def _words(code: str) -> str:
    return code.replace("_", " ").lower()
