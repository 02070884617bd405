"""A reading, from its rows.

Lossless but for: coordinates, which are stored to a thousandth of a pixel; the order of notes, and which of them came
from the spine; values that were NaN; the findings that support a conclusion, of which the place is kept, and
``seconds``. Left out: ``seconds``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Table, select

from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Span
from spinepacs.domain.findings import DiscHeight, Reading, Refusal, Spine, Versions, Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx, Points, Spacing, SpacingBasis
from spinepacs.domain.measures import Measure, Place, Quantity, Reason, Unit
from spinepacs.domain.signs import (
    Area,
    Conclusion,
    Deformity,
    ExpectedFrom,
    Finding,
    ForAge,
    Scheme,
    Side,
    Sign,
    Statement,
)
from spinepacs.domain.study import View
from spinepacs.later import Later
from spinepacs.store.tables import conclusions, discs, findings, measures, readings, vertebrae

if TYPE_CHECKING:
    import numpy as np
else:
    np = Later("numpy")

_DISCS = {disc.name: disc for disc in ALL_DISCS}
_SIGNS = frozenset(sign.value for sign in Sign)


def reading_of(connection: Connection, reading_id: int) -> Reading:
    """Rebuild a reading; raises LookupError where there is none of this key.

    ``correction`` and ``turn`` are left to whoever knows them; the notes of the spine are all of the reading's.
    """
    row = connection.execute(select(readings).where(readings.c.reading_id == reading_id)).first()
    if row is None:
        raise LookupError(f"no reading {reading_id}")
    found = tuple(map(_finding, _parts(connection, findings, "finding_id", reading_id)))
    return Reading(
        study_uid=row.study_uid,
        series_uid=row.series_uid,
        sop_uid=row.sop_uid,
        versions=Versions(row.model_name, row.model_version, row.policy_name, row.policy_version),
        rows=row.rows_px,
        columns=row.columns_px,
        spacing=_spacing(row),
        spine=_spine(row, _parts(connection, vertebrae, "level_order", reading_id)),
        discs=tuple(map(_disc, _parts(connection, discs, "disc_order", reading_id))),
        findings=found,
        refusal=Refusal(row.refusal_code, row.refusal_reason) if row.refusal_code else None,
        notes=tuple(row.notes.split()),
        measures=tuple(map(_measure, _parts(connection, measures, "measure_id", reading_id))),
        conclusions=tuple(
            _conclusion(one, found) for one in _parts(connection, conclusions, "conclusion_id", reading_id)
        ),
    )


def _parts(connection: Connection, table: Table, order: str, reading_id: int) -> list[Row[Any]]:
    rows = select(table).where(table.c.reading_id == reading_id).order_by(table.c[order])
    return list(connection.execute(rows))


def conclusion_of(row: Mapping[str, Any], found: Iterable[Mapping[str, Any]]) -> Conclusion:
    """Rebuild a conclusion of plain rows, as :func:`spinepacs.store.queries.find_films` gives them.

    Parameters
    ----------
    found
        Findings of its film; those that support it must be among them.
    """
    signs = tuple(_finding(SimpleNamespace(**one, marks_px=None)) for one in found if one["kind"] in _SIGNS)
    return _conclusion(SimpleNamespace(**row), signs)


def _spacing(row: Row[Any]) -> Spacing | None:
    if row.row_mm is None:
        return None
    return Spacing(row.row_mm, row.column_mm, SpacingBasis(row.spacing_basis), row.magnification)


def _spine(row: Row[Any], parts: Iterable[Row[Any]]) -> Spine | None:
    if row.view_position is None:
        return None
    return Spine(
        vertebrae=tuple(map(_vertebra, parts)),
        missing=tuple(Level[name] for name in row.missing_levels.split()),
        view=View(row.view_position),
        anterior_left=row.anterior_left,
        anterior_basis=row.anterior_basis,
        notes=tuple(row.notes.split()),
    )


def _vertebra(row: Row[Any]) -> Vertebra:
    return Vertebra(
        level=Level[row.level],
        raw_level=Level[row.raw_level],
        raw_score=_number(row.raw_score),
        level_reason=row.level_reason,
        score=_number(row.score),
        outline=Outline(_points(row.outline_px)),
        upper=_endplate(row.upper_px),
        lower=_endplate(row.lower_px),
        level_margin=row.level_margin,
        other_level=Level[row.other_level] if row.other_level else None,
    )


def _endplate(stored: dict[str, Any] | None) -> Endplate | None:
    if stored is None:
        return None
    left, right = _points([stored["left"], stored["right"]]).tolist()
    spreads, spurs = (tuple(stored[name]) if name in stored else None for name in ("spreads", "spurs"))
    if "spread" in stored:  # as spinepacs wrote it until model 1.4.0: of both corners together
        spreads = (stored["spread"], stored["spread"])
    return Endplate(PointPx(*left), PointPx(*right), _points(stored["curve"]), spreads, spurs)


def _disc(row: Row[Any]) -> DiscHeight:
    heights = {
        name: value for name, value in row._mapping.items() if name.endswith(("_mm", "_px")) and name != "lines_px"
    }  # fmt: skip
    return DiscHeight(
        disc=_DISCS[row.disc],
        **{**heights, "middle_px": _number(row.middle_px)},
        height_index=_number(row.height_index),
        wedge_deg=_number(row.wedge_deg),
        lines_px={where: _points(line) for where, line in row.lines_px.items()},
    )


def _finding(row: Row[Any] | SimpleNamespace) -> Finding:
    reach = None if row.lowest_grade is None else (row.lowest_grade, row.highest_grade)
    return Finding(
        sign=Sign(row.kind),
        place=_place(row.place),
        scheme=Scheme(row.scheme),
        value=row.value,
        unit=Unit(row.unit),
        computed_grade=row.computed_grade,
        published_grade=row.published_grade,
        reason=Reason(row.reason) if row.reason else None,
        uncertainty=row.uncertainty,
        basis=SpacingBasis(row.basis) if row.basis else None,
        grade_range=reach,
        expected=row.expected,
        expected_from=ExpectedFrom(row.expected_from) if row.expected_from else None,
        side=Side(row.side) if row.side else None,
        form=Deformity(row.form) if row.form else None,
        reference_scheme=Scheme(row.reference_scheme) if row.reference_scheme else None,
        reference_grade=row.reference_grade,
        marks_px=_lines(row.marks_px),
    )


def _measure(row: Row[Any]) -> Measure:
    apex = row.apex and _place(row.apex)
    return Measure(
        quantity=Quantity(row.quantity),
        place=_place(row.place),
        value=_number(row.value),
        unit=Unit(row.unit),
        uncertainty=row.uncertainty,
        basis=SpacingBasis(row.basis) if row.basis else None,
        lines_px=_lines(row.lines_px),
        apex=apex if isinstance(apex, Level | DiscLevel) else None,
        convex_left=row.convex_left,
        reason=Reason(row.reason) if row.reason else None,
    )


def _conclusion(row: Row[Any] | SimpleNamespace, found: tuple[Finding, ...]) -> Conclusion:
    by_key = {(one.sign.value, one.place.name, one.side or ""): one for one in found}
    span = _place(row.span) if row.span else None
    supports = ((one["finding"], one["place"], one["side"]) for one in row.support)
    return Conclusion(
        area=Area(row.area),
        span=span if isinstance(span, Span) else None,
        scheme=Scheme(row.scheme),
        computed_degree=row.computed_degree,
        published_degree=row.published_degree,
        statement=Statement(row.statement),
        sentence=row.sentence,
        support=tuple(by_key[key] for key in supports if key in by_key),
        reason=Reason(row.reason) if row.reason else None,
        for_age=ForAge(row.for_age) if row.for_age else None,
    )


def _place(name: str) -> Place:
    """``L4``, ``L4/L5`` or ``L1-S1``."""
    if name in _DISCS:
        return _DISCS[name]
    first, _, last = name.partition("-")
    return Span(Level[first], Level[last]) if last else Level[first]


def _lines(lines: list[Any] | None) -> tuple[Points, ...]:
    return tuple(_points(line) for line in lines or ())


def _points(stored: list[Any]) -> Points:
    """(N, 2) px; what was no number is NaN again."""
    return np.array(stored, np.float64).reshape(-1, 2)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
