"""Rows as Parquet files whose columns have the same type in every file, whatever rows it holds.

A type that is guessed from the rows is null where none of them has a value, and then two files cannot be read together.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

from spinepacs.errors import BadSettings

Row = dict[str, Any]
_GROUP_ROWS = 10_000

_TYPES = {
    "string": (
        "study_uid patient_id patient_sex accession_number body_part series_uid sop_uid view_position "
        "model_name model_version policy_name policy_version disc upper_level lower_level upper_raw_level "
        "lower_raw_level spacing_basis stage_reason level raw_level level_reason other_level finding unit grade_reason "
        "side scheme basis expected_from form reference_scheme place quantity apex area span statement "
        "sentence reason for_age measure_reason study_description anterior_basis missing_levels notes "
        "refusal_code refusal_reason file_name author previous_sop_uid "
        "film view state reason_code item name sign model policy finding_reason pseudonym results"
    ),
    "int64": (
        "reading_id finding_id conclusion_id disc_order level_order stage computed_stage stage_change computed_grade "
        "published_grade lowest_grade highest_grade reference_grade computed_degree published_degree "
        "spondylolisthesis_grade osteophytes_grade sclerosis_grade degeneration_degree rows_px columns_px"
    ),
    "float64": (
        "patient_age_years anterior_mm middle_mm posterior_mm left_mm right_mm anterior_px middle_px posterior_px "
        "left_px right_px magnification height_index wedge_deg anterior_mm_sd middle_mm_sd posterior_mm_sd "
        "height_index_sd wedge_deg_sd frobin_index dabbs_mm hurxthal_mm slip_mm slip_mm_sd slip_share slip_share_sd "
        "lateral_listhesis_mm height_loss height_loss_sd expected_height_index raw_score score centre_x_px "
        "centre_y_px area_px area_mm2 value uncertainty expected level_margin row_mm column_mm height_index_change "
        "middle_mm_change"
    ),
    "bool": "is_current is_beyond_error convex_left anterior_left",
    "date": "study_date previous_date",
    "time": "read_at",
}
TYPE_OF: Mapping[str, str] = {name: kind for kind, names in _TYPES.items() for name in names.split()}
"""Type of each column of the stable views (docs/sql.md) and of ``process``'s tables, wherever a name stands."""
_AS: Mapping[str, Callable[[Any], Any]] = {
    "string": str,
    "int64": int,
    "float64": float,
    "bool": bool,
    "date": lambda value: value if isinstance(value, date) else date.fromisoformat(value),
    "time": lambda value: _utc(value if isinstance(value, datetime) else datetime.fromisoformat(value)),
}


def write_parquet(columns: Sequence[str], pages: Iterable[Sequence[Row]], file: BinaryIO) -> None:
    """Write rows, page by page, as a Parquet file; without any row it has its columns all the same.

    Raises
    ------
    BadSettings
        If pyarrow is not there: it is the extra ``parquet``.
    """
    with ParquetFile(file, columns) as opened:
        for page in pages:
            opened.write(page)


class ParquetFile:
    """A Parquet file that grows by rows; what is not in a row is null.

    Parameters
    ----------
    file
        To be written.
    columns
        Names from :data:`TYPE_OF`.

    Raises
    ------
    BadSettings
        If pyarrow is not there: it is the extra ``parquet``.
    """

    def __init__(self, file: Path | BinaryIO, columns: Sequence[str]) -> None:
        self._arrow = load_pyarrow()
        self._columns, self._rows = columns, list[Row]()
        types = {
            "string": self._arrow.string(), "int64": self._arrow.int64(), "float64": self._arrow.float64(),
            "bool": self._arrow.bool_(), "date": self._arrow.date32(),
            "time": self._arrow.timestamp("us", tz="UTC"),
        }  # fmt: skip
        self._schema = self._arrow.schema([(name, types[TYPE_OF[name]]) for name in columns])
        parquet = importlib.import_module("pyarrow.parquet")
        self._writer = parquet.ParquetWriter(file, self._schema)

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows; they are written by thousands, as readers like them."""
        self._rows += [{name: _typed(name, row.get(name)) for name in self._columns} for row in rows]
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._writer.write_table(self._arrow.Table.from_pylist(rows, self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Write what is left and end the file."""
        self._flush()
        self._writer.close()


def load_pyarrow() -> Any:
    """The library, which is an extra; by name, since it has no type information.

    Raises
    ------
    BadSettings
        If it is not there.
    """
    try:
        return importlib.import_module("pyarrow")
    except ModuleNotFoundError as error:
        raise BadSettings("pyarrow is not there: pip install 'spinepacs[parquet]'") from error


def _typed(name: str, value: Any) -> Any:
    return None if value is None else _AS[TYPE_OF[name]](value)


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)
