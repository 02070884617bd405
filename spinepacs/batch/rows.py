"""What the tables and readings.json say of one film, before its patient is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from spinepacs.batch.folder import TABLES
from spinepacs.batch.records import Outcome, Row
from spinepacs.domain.findings import Reading, Refusal, Versions
from spinepacs.domain.study import StudyHeader
from spinepacs.show import tables

_MADE_BY: Mapping[str, tuple[Sequence[str], Callable[[str, Reading], list[Row]]]] = {
    "readings": (tables.COLUMNS, tables.reading_to_rows),
    "measures": (tables.MEASURE_COLUMNS, tables.measures_to_rows),
    "findings": (tables.FINDING_COLUMNS, tables.findings_to_rows),
    "conclusions": (tables.CONCLUSION_COLUMNS, tables.conclusions_to_rows),
}
COLUMNS: Mapping[str, Sequence[str]] = {table: _MADE_BY[table][0] for table in TABLES}
"""Columns of each table, without those of the patient."""


def rows_of(film: str, reading: Reading, outcome: Outcome) -> Row:
    """Rows of each table, without names that have no value, and under ``json`` the entry in readings.json."""
    name = film.encode(errors="backslashreplace").decode()  # bytes that are no text
    rows: Row = {
        table: [_with_values(row, outcome) for row in to_rows(name, reading)]
        for table, (_, to_rows) in _MADE_BY.items()
    }
    return rows | {"json": tables.reading_to_json(name, reading) | {"state": outcome}}


def unread(versions: Versions, refusal: Refusal, header: StudyHeader | None) -> Reading:
    """A reading that says only why there is none."""
    uids = (header.study_uid, header.series_uid, header.sop_uid) if header else ("", "", "")
    return Reading(
        *uids, versions=versions, rows=0, columns=0, spacing=None, spine=None, discs=(), findings=(), refusal=refusal
    )  # fmt: skip


def _with_values(row: Row, outcome: Outcome) -> Row:
    state = {"state": outcome} if "state" in row else {}
    return {name: value for name, value in (row | state).items() if value not in (None, "")}
