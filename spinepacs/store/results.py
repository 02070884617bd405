"""What was found in a study, as the readings that it came from: for documents made of what is in the database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, select

from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level, Span
from spinepacs.domain.findings import Reading, Versions
from spinepacs.domain.geometry import Spacing, SpacingBasis
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
from spinepacs.domain.study import FilmOwner
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import arrivals, conclusions, findings, measures, readings

_DISCS = {disc.name: disc for disc in ALL_DISCS}


def owners_of(ledger: Ledger, study_uid: str) -> dict[str, FilmOwner]:
    """Whose each film of a study is, by SOP Instance UID."""
    columns = (
        arrivals.c.sop_uid,
        arrivals.c.patient_id,
        arrivals.c.accession_number,
        arrivals.c.study_date,
    )
    chosen = select(*columns).where(arrivals.c.study_uid == study_uid).order_by(arrivals.c.arrival_id)
    return {
        row["sop_uid"]: FilmOwner(
            row["patient_id"],
            row["accession_number"],
            row["study_date"].strftime("%Y%m%d") if row["study_date"] else "",
        )
        for row in ledger.rows(chosen)
    }


def readings_of(ledger: Ledger, study_uid: str) -> list[Reading]:
    """The newest reading of each film of a study that was not refused, without its outlines and lines.

    They are in the order in which the films came.
    """
    chosen = select(readings).where(readings.c.study_uid == study_uid, readings.c.refusal_code == "")
    newest = {row["arrival_id"]: row for row in ledger.rows(chosen.order_by(readings.c.reading_id))}
    return [_reading(ledger, row) for _, row in sorted(newest.items())]


def _reading(ledger: Ledger, row: dict[str, Any]) -> Reading:
    parts = {table: _rows_of(ledger, table, row["reading_id"]) for table in (measures, findings, conclusions)}
    names = ("model_name", "model_version", "policy_name", "policy_version")
    return Reading(
        study_uid=row["study_uid"],
        series_uid=row["series_uid"],
        sop_uid=row["sop_uid"],
        versions=Versions(*(row[name] for name in names)),
        rows=row["rows_px"],
        columns=row["columns_px"],
        spacing=_spacing(row),
        spine=None,
        discs=(),
        findings=tuple(map(_finding, parts[findings])),
        refusal=None,
        notes=tuple(row["notes"].split()),
        measures=tuple(map(_measure, parts[measures])),
        conclusions=tuple(map(_conclusion, parts[conclusions])),
    )


def _rows_of(ledger: Ledger, table: Table, reading_id: int) -> Sequence[dict[str, Any]]:
    chosen = select(table).where(table.c.reading_id == reading_id)
    return ledger.rows(chosen.order_by(next(iter(table.primary_key.columns))))


def _spacing(row: dict[str, Any]) -> Spacing | None:
    if not row["spacing_basis"]:
        return None
    basis = SpacingBasis(row["spacing_basis"])
    return Spacing(row["row_mm"], row["column_mm"], basis, row["magnification"] or 1.0)


def _place(name: str) -> Place:
    if name in _DISCS:
        return _DISCS[name]
    upper, _, lower = name.partition("-")
    return Span(Level[upper], Level[lower]) if lower else Level[upper]


def _measure(row: dict[str, Any]) -> Measure:
    apex = _place(row["apex"]) if row["apex"] else None
    return Measure(
        quantity=Quantity(row["quantity"]),
        place=_place(row["place"]),
        value=_value(row["value"]),
        unit=Unit(row["unit"]),
        uncertainty=row["uncertainty"],
        basis=SpacingBasis(row["basis"]) if row["basis"] else None,
        apex=apex if isinstance(apex, (Level, DiscLevel)) else None,
        convex_left=row["convex_left"],
        reason=Reason(row["reason"]) if row["reason"] else None,
    )


def _value(stored: float | None) -> float:
    """A value that is no number is stored as none."""
    return float("nan") if stored is None else stored


def _finding(row: dict[str, Any]) -> Finding:
    ends = row["lowest_grade"], row["highest_grade"]
    return Finding(
        sign=Sign(row["kind"]),
        place=_place(row["place"]),
        scheme=Scheme(row["scheme"]),
        value=row["value"],
        unit=Unit(row["unit"]),
        computed_grade=row["computed_grade"],
        published_grade=row["published_grade"],
        reason=Reason(row["reason"]) if row["reason"] else None,
        uncertainty=row["uncertainty"],
        basis=SpacingBasis(row["basis"]) if row["basis"] else None,
        grade_range=None if None in ends else ends,
        expected=row["expected"],
        expected_from=ExpectedFrom(row["expected_from"]) if row["expected_from"] else None,
        side=Side(row["side"]) if row["side"] else None,
        form=Deformity(row["form"]) if row["form"] else None,
        reference_scheme=Scheme(row["reference_scheme"]) if row["reference_scheme"] else None,
        reference_grade=row["reference_grade"],
    )


def _conclusion(row: dict[str, Any]) -> Conclusion:
    span = _place(row["span"]) if row["span"] else None
    return Conclusion(
        area=Area(row["area"]),
        span=span if isinstance(span, Span) else None,
        scheme=Scheme(row["scheme"]),
        computed_degree=row["computed_degree"],
        published_degree=row["published_degree"],
        statement=Statement(row["statement"]),
        sentence=row["sentence"],
        reason=Reason(row["reason"]) if row["reason"] else None,
        for_age=ForAge(row["for_age"]) if row["for_age"] else None,
    )
