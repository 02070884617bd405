"""What a reading found, as shapes on top of the film: from the rows of the database, in px of the film."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from spinepacs.dicom.codes import colour_of
from spinepacs.domain import words
from spinepacs.domain.anatomy import Level, either
from spinepacs.domain.measures import Quantity, Reason
from spinepacs.domain.signs import Sign
from spinepacs.language import N_, _
from spinepacs.show.sheet import cells

Row = dict[str, Any]
LAYERS = words.Words({
    "outlines": N_("Outlines"), "plates": N_("Endplates"), "discs": N_("Discs"), "angles": N_("Angles and slips"),
    "signs": N_("Signs"), "names": N_("Names"),
})  # fmt: skip
"""What can be shown and hidden, from below to above."""
_SLIPS = words.Words(
    {Quantity.SLIP.value: N_("slip"), Quantity.LATERAL_LISTHESIS.value: N_("lateral listhesis")}
)


@dataclass(frozen=True)
class Shape:
    """One thing that is drawn.

    Parameters
    ----------
    layer
        One of :data:`LAYERS`.
    lines
        Points of polylines, as SVG writes them.
    colour
        CSS colour; empty: that of its layer.
    label
        Text at ``at``; empty: none.
    about
        What is said of it when it is pointed at.
    """

    layer: str
    lines: tuple[str, ...]
    colour: str = ""
    label: str = ""
    at: tuple[float, float] = (0.0, 0.0)
    about: str = ""
    is_closed: bool = False


@dataclass(frozen=True)
class Drawing:
    """A film's size and the height of its letters (px), and its shapes by layer."""

    columns: int
    rows: int
    letters_px: float
    shapes: dict[str, list[Shape]]


def drawn(film: Row, shapes: dict[str, list[Row]]) -> Drawing:
    """Draw a film.

    Parameters
    ----------
    film
        Of :func:`spinepacs.store.queries.find_films`.
    shapes
        Of :func:`spinepacs.store.story.shapes`.
    """
    sheet = cells.Film.of(film)
    found = [
        *_vertebrae(shapes["vertebrae"], sheet),
        *_discs(shapes["discs"], sheet),
        *_measures(shapes["measures"]),
        *_signs(shapes["findings"]),
    ]
    by_layer = {layer: [shape for shape in found if shape.layer == layer] for layer in LAYERS}
    return Drawing(film["columns_px"], film["rows_px"], _letters_px(film, shapes["vertebrae"]), by_layer)


def _letters_px(film: Row, rows: Sequence[Row]) -> float:
    """As high as a name may be without covering its neighbours: on whole spines bodies are small."""
    sides = [row["area_px"] ** 0.5 for row in rows if row["area_px"]]
    of_film = max(film["columns_px"], film["rows_px"]) / 50
    return float(min(of_film, 0.42 * median(sides)) if sides else of_film)


def _vertebrae(rows: Sequence[Row], sheet: cells.Film) -> Iterator[Shape]:
    for row in rows:
        level = row["level"]
        about = _about_vertebra(row, sheet)
        colour = f"rgb{colour_of(Level[level])}"
        yield Shape("outlines", _lines([row["outline_px"]]), colour, about=about, is_closed=True)
        at = (row["centre_x_px"] or 0.0, row["centre_y_px"] or 0.0)
        yield Shape("names", (), colour, "/".join(_names(row)), at)
        plates = [plate["curve"] for plate in (row["upper_px"], row["lower_px"]) if plate]
        yield Shape("plates", _lines(plates), colour)


def _names(row: Row) -> tuple[str, ...]:
    return either(Level[row["level"]], Level[row["other_level"]] if row["other_level"] else None)


def _about_vertebra(row: Row, sheet: cells.Film) -> str:
    names = _names(row)
    said = [_("{level} or {other}", level=names[0], other=names[-1]) if len(names) > 1 else names[0]]
    if row["score"] is not None:
        said.append(_("found with a score of {score}", score=f"{row['score']:.2f}"))
    if row["raw_level"] != row["level"]:
        said.append(
            _(
                "the network says {level}: {why}",
                level=row["raw_level"],
                why=words.LEVEL_REASONS.get(row["level_reason"], row["level_reason"]),
            )
        )
    for sign in Sign:
        finding = sheet.findings.get((sign.value, row["level"]))
        if finding:
            said.append(_finding(finding))
    return "; ".join(said)


def _discs(rows: Sequence[Row], sheet: cells.Film) -> Iterator[Shape]:
    heights = cells.AP_HEIGHTS if sheet.row["view_position"] == "AP" else cells.HEIGHTS
    for row in rows:
        disc, lines = row["disc"], list((row["lines_px"] or {}).values())
        names = (
            _("left / middle / right") if heights is cells.AP_HEIGHTS else _("anterior / middle / posterior")
        )
        said = [f"{disc}: {names} {sheet.lengths(heights.values(), disc)} {sheet.length_unit}"]
        for quantity, name in ((Quantity.DISC_HEIGHT_INDEX, _("height index")), (Quantity.SLIP, _("slip"))):
            if (shown := sheet.value(quantity, disc)) != cells.NONE:
                said.append(f"{name} {shown}")
        findings = [sheet.findings.get((sign.value, disc)) for sign in Sign]
        said += [_finding(finding) for finding in findings if finding]
        withheld = {
            m["reason"] for (_, place), m in sheet.measures.items() if place == disc and m.get("reason")
        }
        said += [_("measures withheld: {why}", why=_reason(reason)) for reason in sorted(withheld)]
        yield Shape("discs", _lines(lines), about="; ".join(said))


def _finding(finding: Row) -> str:
    kind = finding["kind"]
    said = f"{words.SIGNS[Sign(kind)] if kind in set(Sign) else kind}: {cells.grade(finding)}"
    if value := cells.shown(finding):
        said += f" ({value})" if value != _(cells.WITHHELD) else ""
    return said + (f", {_reason(finding['reason'])}" if finding["reason"] else "")


def _reason(code: str) -> str:
    return words.REASONS[Reason(code)] if code in set(Reason) else cells.words_of(code)


def _measures(rows: Sequence[Row]) -> Iterator[Shape]:
    """Angles and slips that are published; heights are drawn with their discs, and of bodies not at all."""
    shown = {*words.ANGLES, Quantity.SLIP, Quantity.LATERAL_LISTHESIS}
    for row in rows:
        if row["quantity"] in shown and not row["reason"] and row["lines_px"]:
            name = _SLIPS.get(row["quantity"]) or words.ANGLES[Quantity(row["quantity"])]
            yield Shape("angles", _lines(row["lines_px"]), about=f"{name} {row['place']}: {cells.value(row)}")


def _signs(rows: Sequence[Row]) -> Iterator[Shape]:
    for row in rows:
        if row["marks_px"] and row["published_grade"]:
            side = words.SIDES.get(row["side"], "")
            where = f"{row['place']} {side}".strip()
            yield Shape("signs", _lines(row["marks_px"]), about=f"{where}: {_finding(row)}")


def _lines(lines: Sequence[Sequence[Sequence[float | None]]]) -> tuple[str, ...]:
    """Polylines as SVG writes them; points that are none are left out."""
    made = (
        " ".join(f"{x:.1f},{y:.1f}" for x, y in line or () if x is not None and y is not None)
        for line in lines
    )
    return tuple(filter(None, made))
