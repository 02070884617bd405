"""The tables of a batch: they grow while films are read, one writer at a time, and are whole at every moment."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from spinepacs.batch import tables
from spinepacs.batch.folder import INNER, try_out
from spinepacs.batch.records import Head, Record, Records
from spinepacs.batch.rows import rows_of, unread
from spinepacs.batch.sharing import Sharer, Terms
from spinepacs.batch.tables import Tables
from spinepacs.batch.task import Task
from spinepacs.domain.findings import Refusal, Versions
from tests import peers

TERMS = Terms("v1", "nobody")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    try_out(tmp_path)
    return tmp_path


def record(film: str) -> Record:
    reading = unread(Versions("m", "1", "p", "1"), Refusal("NO_VERTEBRA", "none, found"), None)
    return Record.of(
        Head("refused", "NO_VERTEBRA", "none"), {"pseudonym": "P1"}, rows_of(film, reading, "refused")
    )


def films(out: Path) -> list[str]:
    with (out / "readings.csv").open(newline="", encoding="utf-8") as file:
        return [row["film"] for row in csv.DictReader(file)]


def test_tables_grow_while_films_are_read(out: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "FIRST_S", 0.0)
    with Sharer(out, TERMS) as sharer:
        records = Records(out / INNER / "films", sharer.part("record"))
        kept = Tables(Task(out), records, sharer)
        for stem in ("b", "a"):
            records.write(stem, record(f"{stem}.dcm"))

            def grown(stem: str = stem) -> bool:
                kept.keep_up()
                return (out / "readings.csv").exists() and f"{stem}.dcm" in films(out)

            peers.wait_until(grown, 20, "the row")
        kept.finish()
    assert films(out) == ["a.dcm", "b.dcm"]
    assert [item["film"] for item in json.loads((out / "readings.json").read_text())] == ["a.dcm", "b.dcm"]


def test_who_ends_last_writes_what_all_have_read(out: Path):
    with Sharer(out, TERMS) as one, Sharer(out, TERMS) as other:
        for stem, sharer in (("a", one), ("b", other)):
            Records(out / INNER / "films", sharer.part("record")).write(stem, record(f"{stem}.dcm"))
        assert one.claim("tables")
        kept = Tables(Task(out), Records(out / INNER / "films", other.part("record")), other)
        kept.keep_up()
        assert not (out / "readings.csv").exists(), "two write at once"
        one.release("tables")
        kept.finish()
    assert films(out) == ["a.dcm", "b.dcm"]


def test_a_batch_of_nothing_has_empty_tables(out: Path):
    with Sharer(out, TERMS) as sharer:
        Tables(Task(out), Records(out / INNER / "films", sharer.part("record")), sharer).finish()
    assert films(out) == json.loads((out / "readings.json").read_text()) == []


def test_what_a_power_cut_left_of_a_record_is_none(out: Path):
    with Sharer(out, TERMS) as sharer:
        records = Records(out / INNER / "films", sharer.part("record"))
        records.write("a", record("a.dcm"))
        whole = record("b.dcm").pack()
        for number, torn in enumerate((b"", whole[:20], b"\0" * 500, b"[1]\n{}\n", b'{"x": 1}\n{}\n')):
            (out / INNER / "films" / f"torn-{number}.record").write_bytes(torn)
            assert records.head(f"torn-{number}") is None
        assert [stem for stem, _ in records.all()] == ["a"]


def test_bytes_that_are_no_text_are_spelt_out(out: Path):
    with Sharer(out, TERMS) as sharer:
        records = Records(out / INNER / "films", sharer.part("record"))
        records.write("a\udcff", record("a\udcff.dcm"))
        Tables(Task(out), records, sharer).finish()
    assert films(out) == ["a\\udcff.dcm"]
