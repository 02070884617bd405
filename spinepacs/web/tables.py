"""A film's tables as the study page shows them: heads and cells, from the rows of the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spinepacs.domain import words
from spinepacs.domain.anatomy import ALL_DISCS
from spinepacs.domain.measures import Quantity
from spinepacs.domain.signs import Sign
from spinepacs.language import N_, NP_, _, p_
from spinepacs.show.sheet import cells

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A caption, the heads of its columns, and its rows, the first cell of which names each."""

    caption: str
    heads: list[str]
    rows: list[list[str]]


def tables(film: Row) -> list[Table]:
    """Discs, vertebrae and angles of a film of :func:`spinepacs.store.queries.find_films`; those that are not empty."""
    sheet = cells.Film.of(film)
    is_ap = film["view_position"] == "AP"
    found = [_table(_("Discs"), _("Disc"), _AP_DISC if is_ap else _LATERAL_DISC, sheet, _discs(sheet))]
    found.append(
        _table(_("Vertebrae"), _("Level"), _VERTEBRA, sheet, [row["level"] for row in film["vertebrae"]])
    )
    found.append(_angles(film))
    return [table for table in found if table.rows]


def basis(film: Row) -> str:
    """On what ground its millimetres stand."""
    if not film["spacing_basis"]:
        return words.why_no_mm((film["notes"] or "").split())
    known = {basis.value: said for basis, said in words.BASES.items()}
    factor = film["magnification"] or 1
    said = known.get(film["spacing_basis"]) or str(film["spacing_basis"])
    return said + (_(", divided by {factor}", factor=f"{factor:.3g}") if factor != 1 else "")


WEDGE = NP_("angle", "Wedge")
_Cell = Callable[[cells.Film, str], str]


def _graded(sign: Sign) -> _Cell:
    return lambda film, place: cells.grade(film.findings.get((sign.value, place)))


def _valued(quantity: Quantity) -> _Cell:
    return lambda film, place: film.value(quantity, place)


_LATERAL_DISC: dict[str, _Cell] = {
    N_("Front / middle / back"): lambda film, disc: film.lengths(cells.HEIGHTS.values(), disc),
    N_("Height index"): _valued(Quantity.DISC_HEIGHT_INDEX),
    N_("Expected"): lambda film, disc: cells.expected(film.findings.get((Sign.DISC_HEIGHT_LOSS.value, disc))),
    N_("Stage"): _graded(Sign.DISC_HEIGHT_LOSS),
    N_("Slip"): lambda film, disc: cells.slip(film, disc, Quantity.SLIP, Quantity.SLIP_SHARE),
    N_("Meyerding"): _graded(Sign.SPONDYLOLISTHESIS),
    N_("Osteophytes"): _graded(Sign.OSTEOPHYTES),
    N_("Sclerosis"): _graded(Sign.SUBCHONDRAL_SCLEROSIS),
    N_("Overall"): _graded(Sign.DISC_DEGENERATION),
}
_AP_DISC: dict[str, _Cell] = {
    N_("Left / middle / right"): lambda film, disc: film.lengths(cells.AP_HEIGHTS.values(), disc),
    N_("Height index"): _valued(Quantity.AP_DISC_HEIGHT_INDEX),
    WEDGE: _valued(Quantity.AP_DISC_WEDGE),
    N_("Side slip"): lambda film, disc: cells.slip(
        film, disc, Quantity.LATERAL_LISTHESIS, Quantity.LATERAL_LISTHESIS_SHARE
    ),
}
_VERTEBRA: dict[str, _Cell] = {
    N_("Found with"): lambda film, level: _number(_vertebra(film, level)["score"]),
    N_("Network says"): lambda film, level: _raw(_vertebra(film, level)),
    N_("Why it differs"): lambda film, level: _why(_vertebra(film, level)) or cells.NONE,
    WEDGE: _valued(Quantity.AP_VERTEBRA_WEDGE),
    N_("Deformity"): _graded(Sign.VERTEBRAL_DEFORMITY),
}


def _table(caption: str, first: str, columns: dict[str, _Cell], film: cells.Film, places: list[str]) -> Table:
    """A row for each place; columns that say nothing anywhere are left out."""
    found = {head: [cell(film, place) for place in places] for head, cell in columns.items()}
    kept = {head: texts for head, texts in found.items() if set(texts) - {cells.NONE, ""}}
    unit = f" ({film.length_unit})"
    heads = [_(head) + unit if "/" in head else _head(head) for head in kept]
    rows = [[place, *(texts[number] for texts in kept.values())] for number, place in enumerate(places)]
    return Table(caption, [first, *heads], rows)


def _head(text: str) -> str:
    return p_("angle", text) if text == WEDGE else _(text)


def _discs(film: cells.Film) -> list[str]:
    places = {place for _, place in (*film.measures, *film.findings)}
    return [disc.name for disc in ALL_DISCS if disc.name in places]


def _angles(film: Row) -> Table:
    shown = {quantity.value: name for quantity, name in words.ANGLES.items()}
    side = {None: cells.NONE, 1: _("image left"), 0: _("image right")}
    rows = [
        [shown[m["quantity"]], m["place"], cells.value(m), m["apex"] or cells.NONE, side[m["convex_left"]]]
        for m in film["measures"]
        if m["quantity"] in shown
    ]
    heads = [_("Angle"), _("From – to"), _("Value"), _("Apex"), _("Convex")]
    return Table(_("Angles"), heads, rows)


def _vertebra(film: cells.Film, level: str) -> Row:
    found: Row = next(row for row in film.row["vertebrae"] if row["level"] == level)
    return found


def _raw(vertebra: Row) -> str:
    """What the network says, where that is another level."""
    return cells.NONE if vertebra["raw_level"] == vertebra["level"] else str(vertebra["raw_level"])


def _why(vertebra: Row) -> str:
    reason = str(vertebra["level_reason"])
    return words.LEVEL_REASONS.get(reason, reason)


def _number(value: float | None) -> str:
    return cells.NONE if value is None else f"{value:.2f}"
