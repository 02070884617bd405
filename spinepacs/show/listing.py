"""Rows for people and for programs: plain tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from spinepacs.language import _

Row = dict[str, Any]

SHOWN = {
    "discs": (
        "study_date", "patient_id", "view_position", "disc", "anterior_mm", "left_mm", "middle_mm", "posterior_mm",
        "right_mm", "spacing_basis", "height_index", "expected_height_index", "height_loss", "stage", "stage_reason",
        "slip_mm", "spondylolisthesis_grade", "osteophytes_grade", "sclerosis_grade", "degeneration_degree",
        "measure_reason",
    ),
    "vertebrae": (
        "study_date", "patient_id", "view_position", "level", "raw_level", "score", "level_reason", "area_mm2",
        "spacing_basis", "finding", "side", "value", "unit", "published_grade", "grade_reason",
    ),
    "findings": (
        "study_date", "patient_id", "place", "side", "finding", "form", "value", "uncertainty", "unit", "basis",
        "scheme", "computed_grade", "published_grade", "grade_reason", "lowest_grade", "highest_grade",
        "reference_scheme", "reference_grade",
    ),
    "measures": (
        "study_date", "patient_id", "view_position", "place", "quantity", "value", "uncertainty", "unit", "basis",
        "reason",
    ),
    "conclusions": (
        "study_date", "patient_id", "area", "span", "scheme", "computed_degree", "published_degree", "reason",
        "for_age", "sentence",
    ),
    "films": (
        "study_date", "patient_id", "view_position", "file_name", "sop_uid", "spacing_basis", "missing_levels", "notes",
        "refusal_code", "author",
    ),
    "follow-up": (
        "patient_id", "disc", "view_position", "study_date", "previous_date", "height_index", "height_index_change",
        "is_beyond_error", "middle_mm", "middle_mm_change", "spacing_basis", "stage", "stage_change",
    ),
}  # fmt: skip
"""What the tables for people show; CSV, JSON and Parquet hold every column."""


def as_text(rows: Sequence[Row], style: str, columns: Sequence[str] = ()) -> str:
    """Rows as a table for people (only ``columns``, if given), as ``csv`` or as ``json``."""
    if style == "json":
        return json.dumps(rows, indent=1, default=str, ensure_ascii=False)
    if style == "csv":
        return _csv(rows)
    return _table(rows, columns) if rows else _("nothing")


def write_csv(columns: Sequence[str], pages: Iterable[Sequence[Row]], file: TextIO) -> None:
    """Write rows, page by page, as CSV; without any row the names of the columns alone."""
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    for page in pages:
        writer.writerows(page)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    from rich.table import Table

    shown = [name for name in columns or rows[0] if any(row[name] not in (None, "") for row in rows)]
    table = Table(*shown, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if row[name] is None else _cell(row[name]) for name in shown))
    return rendered(table)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def rendered(*parts: Any) -> str:
    """What Rich draws, as text; a pipe has no width, so that it gets what it needs instead of 80 columns."""
    from rich.console import Console

    text = io.StringIO()
    terminal = sys.stdout.isatty()
    width = Console().width if terminal else 250
    # No markup: a reason may hold square brackets, and Rich would take them for a style.
    console = Console(file=text, force_terminal=terminal, width=width, highlight=False, markup=False)
    console.print(*parts, sep="\n")
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines)
