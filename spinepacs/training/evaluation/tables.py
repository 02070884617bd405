"""Measures and graded signs on the terminal and as CSV."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from spinepacs.training.evaluation.report import Row, cell, write_csv
from spinepacs.training.metrics.cobb import ANGLES
from spinepacs.training.metrics.grades import UNKNOWN
from spinepacs.training.metrics.reading import FilmReading

Told = Mapping[str, Any]
_VALUES = {
    "disc_height_patient": "disc height, of the patient",
    "disc_height_of_depth": "disc height ÷ depth",
    "ap_disc_height_patient": "AP disc height, of the patient",
    "slip_share": "slip ÷ depth",
    "vertebra_height_loss": "vertebral height lost",
    "cervical_lordosis": "lordosis C2–C7",
    "thoracic_kyphosis": "kyphosis T4–T12",
    "lumbar_lordosis": "lordosis L1–S1",
    "cobb_main": "Cobb, largest curve",
    **{name: name.replace("cobb_aasce_", "Cobb, AASCE, ") for name in ANGLES},
}
_VALUE_COLUMNS = ("mean_error", "median_error", "bias", "limit_low", "limit_high", "covered")
_GRADE_COLUMNS = {
    "kappa_published": "kappa",
    "exact_published": "exact",
    "false_1_published": "false ≥ 1",
    "false_2_published": "false ≥ 2",
    "caught_1_published": "caught ≥ 1",
    "caught_2_published": "caught ≥ 2",
    "withheld": "withheld",
    "kappa_computed": "kappa, computed",
    "kappa_marks": "kappa, true marks",
}


def write_agreement(out: Path, readings: Mapping[str, Sequence[FilmReading]]) -> None:
    """Write ``values.csv`` and ``grades.csv`` into ``out``, as far as there are any."""
    each = [(name, reading) for name, part in readings.items() for reading in part]
    write_csv(out / "values.csv", (row for name, reading in each for row in value_rows(name, reading)))
    write_csv(out / "grades.csv", (row for name, reading in each for row in grade_rows(name, reading)))


def tables(set_name: str, told: Told) -> Iterator[Table]:
    """The tables of one set's measures and signs; none where it has none."""
    if values := told.get("values"):
        yield _values(set_name, values, told.get("cobb"))
    if "disc_height_patient" in told.get("values", {}):
        yield _heights(set_name, told["values"]["disc_height_patient"], told.get("grades", {}))
    if grades := told.get("grades"):
        yield _grades(set_name, grades)


def _values(set_name: str, values: Told, cobb: Told | None) -> Table:
    table = _table(f"{set_name}: measures beside the true ones", ("", "unit", "n", *_VALUE_COLUMNS))
    for name, words in _VALUES.items():
        if name in values:
            part = values[name]
            cells = (cell(part["figures"][column]) for column in _VALUE_COLUMNS)
            table.add_row(words, part["unit"], str(part["count"]), *cells)
    if cobb:
        figures, films = cobb["figures"], str(cobb["films"])
        table.add_row("Cobb, AASCE, all three", "deg", films, cell(figures["mean_error"]))
        table.add_row("… SMAPE", "%", films, cell(figures["smape_percent"]))
        table.add_row("… SMAPE of the main one", "%", films, cell(figures["smape_main_percent"]))
    return table


def _heights(set_name: str, heights: Told, grades: Told) -> Table:
    columns = ("mean error, mm", "bias, mm", "kappa", "false ≥ 2", "caught ≥ 2")
    table = _table(f"{set_name}: disc heights and their stages by level", ("", "n", *columns))
    stages = grades.get("disc_height_loss", {}).get("by_level", {})
    for place, part in heights["by_level"].items():
        stage = stages.get(place, {}).get("figures", {})
        cells = [cell(part["figures"][name]) for name in ("mean_error", "bias")]
        cells += [cell(stage.get(f"{name}_published")) for name in ("kappa", "false_2", "caught_2")]
        table.add_row(place, str(part["count"]), *cells)
    return table


def _grades(set_name: str, grades: Told) -> Table:
    columns = ("", "", "n", "drawn", *_GRADE_COLUMNS.values())
    table = _table(f"{set_name}: published signs against what was drawn, or is labelled", columns)
    for sign, whole in grades.items():
        for region, part in {"all": whole, **whole["by_region"]}.items():
            drawn = str(sum(part["drawn"][1:]))
            cells = (cell(part["figures"][name], 2) for name in _GRADE_COLUMNS)
            table.add_row(sign if region == "all" else "", region, str(part["count"]), drawn, *cells)
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    return table


def value_rows(set_name: str, reading: FilmReading) -> Iterator[Row]:
    """One row for each measure with a true one."""
    for one in reading.values:
        yield {"set": set_name, "film": reading.name, "group": reading.group, **_known(asdict(one))}


def grade_rows(set_name: str, reading: FilmReading) -> Iterator[Row]:
    """One row for each sign with a drawn one; what was not graded or not published is empty."""
    for one in reading.grades:
        given = {name: "" if value == UNKNOWN else value for name, value in _known(asdict(one)).items()}
        yield {"set": set_name, "film": reading.name, "group": reading.group, **given}


def _known(row: Row) -> Row:
    numbers = {name: value for name, value in row.items() if isinstance(value, float)}
    return row | {name: round(value, 4) if math.isfinite(value) else "" for name, value in numbers.items()}
