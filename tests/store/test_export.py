"""Rows for files: fixed types, all of them, and a cut that is told."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from spinepacs.show.export import Cut, export
from spinepacs.show.listing import SHOWN
from spinepacs.show.parquet import TYPE_OF, write_parquet
from spinepacs.store import queries
from spinepacs.store.ledger import Ledger
from tests.store.makers import NEWER, recorded, recorded_with_signs, result_of, stored, take_in

KINDS = list(queries.VIEWS)
_TAKEN = {"string": str, "int64": int, "float64": float, "bool": bool, "date": str, "time": str}


def written(ledger: Ledger, what: str, folder: Path, **filters: Any) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / f"{what}-{len(list(folder.iterdir()))}.parquet"
    with path.open("wb") as file:
        write_parquet(queries.columns_of(ledger, what), queries.find_pages(ledger, what, **filters), file)
    return parquet.read_table(path)


def read_again(ledger: Ledger, count: int) -> None:
    for number in range(count):
        take_in(ledger, f"9.{number}.1", f"9.{number}")
        ledger.mark_ready(f"9.{number}")
        claim = ledger.claim(NEWER, 3)
        assert claim is not None
        ledger.record(claim, result_of(claim), stored(result_of(claim)), ())


@pytest.mark.parametrize("what", KINDS)
def test_every_column_has_its_type_and_the_database_agrees(ledger: Ledger, what: str) -> None:
    recorded_with_signs(ledger)
    rows = queries.find(ledger, what)
    assert rows or what == "follow-up"
    for name in queries.columns_of(ledger, what):
        values = [row[name] for row in rows if row[name] is not None]
        wanted = _TAKEN[TYPE_OF[name]]
        assert all(
            isinstance(value, wanted) or (wanted is float and type(value) is int) for value in values
        ), name


@pytest.mark.parametrize("what", KINDS)
def test_files_of_nothing_of_little_and_of_much_are_read_together(
    ledger: Ledger, tmp_path: Path, what: str
) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import concat_tables, null

    empty = written(ledger, what, tmp_path)
    recorded(ledger)  # without signs: whole columns without a value
    little = written(ledger, what, tmp_path)
    recorded_with_signs(ledger, "1.2.3.7", "1.2.3.8")
    much = written(ledger, what, tmp_path)
    assert empty.schema == little.schema == much.schema
    assert not [field for field in empty.schema if field.type == null()]
    together = concat_tables([empty, little, much])
    assert together.num_rows == little.num_rows + much.num_rows
    assert str(empty.schema.field("study_date").type) == "date32[day]"
    if what != "follow-up":
        assert str(empty.schema.field("read_at").type) == "timestamp[us, tz=UTC]"


def exported(ledger: Ledger, what: str | None, style: str, limit: int | None = None) -> tuple[str, bool]:
    file, cut = io.StringIO(), Cut(limit)
    export(ledger, what, style, file, cut, {})
    return file.getvalue(), cut.is_cut


@pytest.mark.parametrize("what", [None, *SHOWN])
def test_csv_and_json_hold_every_row(ledger: Ledger, what: str | None) -> None:
    recorded_with_signs(ledger)
    read_again(ledger, 3)
    found = queries.find(ledger, what or "discs")
    text, is_cut = exported(ledger, what, "csv")
    assert [*csv.DictReader(io.StringIO(text))][-1]["sop_uid"] == found[-1]["sop_uid"]
    assert len([*csv.DictReader(io.StringIO(text))]) == len(found)
    assert not is_cut
    text, _ = exported(ledger, what, "json")
    assert len(json.loads(text)) == len(found if what else queries.find_films(ledger))


def test_csv_of_nothing_names_its_columns(ledger: Ledger) -> None:
    text, _ = exported(ledger, "discs", "csv")
    assert text.strip().split(",") == queries.columns_of(ledger, "discs")


@pytest.mark.parametrize("what", [None, "discs"])
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_a_cut_is_told_and_what_just_fits_is_none(ledger: Ledger, what: str | None, style: str) -> None:
    read_again(ledger, 2)
    whole = 2 if what is None and style != "csv" else 4
    assert exported(ledger, what, style, whole)[1] is False
    text, is_cut = exported(ledger, what, style, whole - 1)
    assert is_cut
    if style == "csv":
        assert len(text.splitlines()) == whole
