"""docs/sql.md tells the truth: every column is there, and every query gives what it promises."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from spinepacs.domain.findings import Refusal
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from spinepacs.store.tables import metadata
from tests.peers import require
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    NOT_A_SPINE,
    PACS,
    VERSIONS,
    VIEWER,
    arrival,
    result_of,
    stored,
    take_in,
    with_signs,
)

PAGE = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"^### (\d+)\. .*?^```sql\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
VIEWS = (
    "study_summary", "disc_measures", "disc_follow_up", "study_findings", "study_measures", "study_conclusions",
    "film_readings", "disc_findings", "vertebra_findings", "deliveries",
)  # fmt: skip


def documented(name: str) -> list[str]:
    """Columns in the section of a table or view."""
    section = re.search(rf"^### `{name}`\n(.*?)(?=^##|\Z)", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/sql.md has no section for {name}"
    return re.findall(r"^\| `(\w+)` \|", section[1], flags=re.MULTILINE)


@pytest.mark.parametrize("name", list(metadata.tables))
def test_every_column_of_every_table_is_explained(name: str) -> None:
    assert documented(name) == list(metadata.tables[name].columns.keys())


@pytest.mark.parametrize("name", VIEWS)
def test_every_column_of_every_view_is_explained(filled: Database, name: str) -> None:
    with filled.read() as connection:
        columns = connection.execute(text(f"SELECT * FROM {name}")).keys()  # noqa: S608 - a name of ours
    assert documented(name) == list(columns)


def read(ledger: Ledger, study_uid: str, versions: Any = VERSIONS, refusal: Refusal | None = None) -> None:
    """Read a study and record it."""
    ledger.mark_ready(study_uid)
    claim = ledger.claim(versions, 3)
    assert claim is not None
    result = result_of(claim, refusal)
    if not refusal:
        signed = tuple(replace(image, reading=with_signs(image.reading)) for image in result.images)
        result = replace(result, images=signed)
    ledger.record(claim, result, stored(result), (PACS, VIEWER))


@pytest.fixture
def filled(ledger: Ledger, url: str) -> Iterator[Database]:
    """A week in a hospital: two studies of one patient, one of another, and all that can go wrong."""
    take_in(ledger, "1.1", "1", study_date="20260110")
    read(ledger, "1")
    take_in(ledger, "2.1", "2", accession_number="ACC-2")
    read(ledger, "2")
    take_in(ledger, "2.2", "2", accession_number="ACC-2")
    read(ledger, "2", NEWER)
    take_in(ledger, "3.1", "3", patient_id="PAT-0002", patient_sex="M", study_date="20250101")
    read(ledger, "3", refusal=NO_VERTEBRA)
    take_in(ledger, "4.1", "4", refusal=NOT_A_SPINE)
    ledger.mark_ready("4")
    take_in(ledger, "5.1", "5", accession_number="ACC-5")
    ledger.mark_ready("5")
    poison = ledger.claim(VERSIONS, 3)
    assert poison is not None
    ledger.fail(poison, "CRASH", "the worker died", transient=False)
    ledger.add_arrival(arrival("1.1", content="other bytes"))
    sent, refused, *_ = ledger.due("pacs")
    ledger.finish_delivery(sent.outbox_id, OutboxState.SENT, 0)
    ledger.finish_delivery(refused.outbox_id, OutboxState.FAILED, 0xA900, "data set does not match SOP class")
    database = Database(url)
    yield database
    database.close()


def rows_of(database: Database, number: int) -> list[dict[str, Any]]:
    """Run the query of this number as it stands on the page."""
    with database.read() as connection:
        rows = connection.execute(text(dict(QUERIES)[str(number)])).mappings()
        return [dict(row) for row in rows]


def picked(rows: list[dict[str, Any]], *names: str) -> list[tuple[Any, ...]]:
    """Some columns; dates as text."""
    return [tuple(str(row[name]) if "date" in name else row[name] for name in names) for row in rows]


def test_there_are_thirteen() -> None:
    assert [int(number) for number, _ in QUERIES] == list(range(1, 14))


def test_1_heights_of_one_patient(filled: Database) -> None:
    rows = rows_of(filled, 1)
    assert len({row["sop_uid"] for row in rows}) == 3
    assert picked(rows, "study_date", "disc", "middle_mm", "spacing_basis", "stage")[-2:] == [
        ("2026-01-10", "L4/L5", 9.0, "detector-plane", 0),
        ("2026-01-10", "L5/S1", 4.5, "detector-plane", 2),
    ]


def test_2_high_grades(filled: Database) -> None:
    assert picked(rows_of(filled, 2), "study_date", "accession_number", "disc", "published_grade") == [
        ("2026-01-10", "ACC-1", "L5/S1", 2),
        ("2026-11-20", "ACC-2", "L5/S1", 2),
        ("2026-11-20", "ACC-2", "L5/S1", 2),
    ]


def test_3_change(filled: Database) -> None:
    rows = picked(rows_of(filled, 3), "disc", "study_date", "height_index", "change")
    assert rows[0] == ("L4/L5", "2026-01-10", 0.6, None)
    assert rows[1] == ("L4/L5", "2026-11-20", 0.6, None), "another model: no change of the disc"
    assert rows[2] == ("L4/L5", "2026-11-20", 0.6, 0.0)
    assert [row[0] for row in rows] == ["L4/L5"] * 3 + ["L5/S1"] * 3


def test_4_levels_that_were_changed(filled: Database) -> None:
    rows = rows_of(filled, 4)
    assert picked(rows, "sop_uid", "level", "raw_level") == [
        (uid, "L4", "L3") for uid in ("1.1", "2.1", "2.2")
    ]
    assert {row["level_reason"] for row in rows} == {"made consistent along the chain"}


def test_5_means(filled: Database) -> None:
    rows = rows_of(filled, 5)
    assert picked(rows, "disc", "patient_sex", "spacing_basis", "discs") == [
        ("L4/L5", "F", "detector-plane", 3),
        ("L5/S1", "F", "detector-plane", 3),
    ]
    assert [float(row["mean_middle_mm"]) for row in rows] == [9.0, 4.5]


def test_6_two_models(filled: Database) -> None:
    assert picked(rows_of(filled, 6), "sop_uid", "disc", "older_version", "newer_version", "newer_stage") == [
        ("2.1", "L4/L5", "0.1.0", "1.0.0", 0),
        ("2.1", "L5/S1", "0.1.0", "1.0.0", 2),
    ]


def test_7_for_a_person(filled: Database) -> None:
    rows = picked(rows_of(filled, 7), "study_uid", "accession_number", "state", "reason_code")
    assert sorted(rows) == [("1", "ACC-1", "recorded", ""), ("5", "ACC-5", "failed", "CRASH")]


def test_8_not_accepted_yet(filled: Database) -> None:
    rows = rows_of(filled, 8)
    assert [row["destination"] for row in rows] == ["pacs"] * 11 + ["viewer"] * 4
    assert [(row["status"], row["attempts"]) for row in rows if row["state"] == "failed"] == [(0xA900, 0)]


def test_9_not_read(filled: Database) -> None:
    assert picked(rows_of(filled, 9), "decided", "state", "reason_code", "images") == [
        ("by reading", "refused", "NO_VERTEBRA_FOUND", 1),
        ("on arrival", "conflict", "CONFLICT", 1),
        ("on arrival", "refused", "NOT_SELECTED", 1),
    ]


def test_10_senders(filled: Database) -> None:
    rows = rows_of(filled, 10)
    assert picked(rows, "calling_ae", "state", "images") == [
        ("MODALITY", "conflict", 1),
        ("MODALITY", "refused", 1),
        ("MODALITY", "selected", 5),
    ]
    assert [float(row["megabytes"]) for row in rows] == [12, 12, 60]


def test_11_conclusions(filled: Database) -> None:
    rows = picked(rows_of(filled, 11), "study_date", "area", "published_degree", "reason")
    assert rows[:2] == [
        ("2026-01-10", "lumbosacral", 2, ""),
        ("2026-01-10", "combined", None, "TOO_FEW_DISCS"),
    ]
    assert len(rows) == 6


def test_12_slips(filled: Database) -> None:
    rows = picked(rows_of(filled, 12), "place", "side", "published_grade", "share", "uncertainty")
    assert rows == [("L5/S1", "anterior", 1, 0.2, 0.02)] * 3


def test_13_lordosis(filled: Database) -> None:
    rows = picked(rows_of(filled, 13), "study_date", "place", "lordosis_deg", "uncertainty")
    assert rows[0] == ("2026-01-10", "L1-S1", 48.25, 1.5)
    assert len(rows) == 3


@pytest.mark.peer
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_the_sqlite3_program_answers_them_all(filled: Database) -> None:
    path = filled.url.removeprefix("sqlite:///")
    for number, query in QUERIES:
        asked = [require("sqlite3"), "-readonly", "-header", "-csv", path, query]
        said = subprocess.run(asked, check=True, capture_output=True, text=True)
        assert len(said.stdout.splitlines()) == 1 + len(rows_of(filled, int(number)))
        assert said.stderr == ""


def test_times_are_what_the_page_says(filled: Database) -> None:
    with filled.read() as connection:
        question = text("SELECT received_at, date(received_at) AS day FROM arrivals WHERE sop_uid = '1.1'")
        row = connection.execute(question).first()
    assert row is not None
    at = row.received_at if isinstance(row.received_at, datetime) else datetime.fromisoformat(row.received_at)
    assert at == datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert str(row.day) == "2026-11-23", "the database's own functions read it"
