"""Rows for people and for programs: plain tables, CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import importlib
import io
import json
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from spinepacs.errors import BadSettings

Row = dict[str, Any]

SHOWN = {
    "discs": (
        "study_date", "patient_id", "view_position", "disc", "anterior_mm", "left_mm", "middle_mm", "posterior_mm",
        "right_mm", "spacing_basis", "height_index", "expected_height_index", "height_loss", "stage", "stage_reason",
        "slip_mm", "spondylolisthesis_grade", "osteophytes_grade", "sclerosis_grade", "degeneration_degree",
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
    ),
    "conclusions": (
        "study_date", "patient_id", "area", "span", "scheme", "computed_degree", "published_degree", "reason",
        "for_age", "sentence",
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
    return _table(rows, columns) if rows else "nothing"


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write rows as a Parquet file; dates and times become such, and a column without any value is of type null.

    Raises
    ------
    BadSettings
        If pyarrow is not there: it is the extra ``parquet``.
    """
    try:
        # By name: pyarrow is an extra and has no type information.
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise BadSettings("pyarrow is not there: pip install 'spinepacs[parquet]'") from error
    typed = [{name: _typed(name, value) for name, value in row.items()} for row in rows]
    parquet.write_table(arrow.Table.from_pylist(typed), path)


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, str) and name.endswith("_date"):
        return date.fromisoformat(value)
    if isinstance(value, str) and name.endswith("_at"):
        return datetime.fromisoformat(value)
    return value


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def _table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    shown = [name for name in columns or rows[0] if any(row[name] not in (None, "") for row in rows)]
    table = Table(*shown, box=None, header_style="bold")
    for row in rows:
        table.add_row(*("" if row[name] is None else _cell(row[name]) for name in shown))
    return rendered(table)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def rendered(*parts: Any) -> str:
    """What Rich draws, as text; a pipe has no width, so that it gets what it needs instead of 80 columns."""
    text = io.StringIO()
    terminal = sys.stdout.isatty()
    width = Console().width if terminal else 250
    # No markup: a reason may hold square brackets, and Rich would take them for a style.
    console = Console(file=text, force_terminal=terminal, width=width, highlight=False, markup=False)
    console.print(*parts, sep="\n")
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(lines)
