"""The audit trail says who sent what, what was done, what was sent where; and nothing takes a row back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from spinepacs.audit import trail
from spinepacs.domain.findings import Refusal
from spinepacs.errors import Permanent, SpinepacsError
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from tests.store.makers import (
    NOT_A_SPINE,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    arrival,
    digest,
    header,
    result_of,
    stored,
    take_in,
)


def rows_of(ledger: Ledger, **where: Any) -> list[dict[str, Any]]:
    return [row for page in trail.pages(ledger, **where) for row in page]


def actions(ledger: Ledger) -> list[str]:
    return [row["action"] for row in rows_of(ledger)]


def test_a_study_from_its_sender_to_its_destination(ledger: Ledger) -> None:
    take_in(ledger)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [PACS])
    items = ledger.due(PACS.name)
    ledger.finish_delivery(items[0].outbox_id, OutboxState.SENT, 0)
    ledger.finish_delivery(items[1].outbox_id, OutboxState.FAILED, 0xA900, "refused, status 0xA900")

    rows = rows_of(ledger)
    made = len(items)
    assert [row["action"] for row in rows] == [
        "received", "selected", "read", *["made"] * made, "sent", "not-sent",
    ]  # fmt: skip
    received, selected, read, *_, sent, refused = rows
    assert (received["calling_ae"], received["called_ae"], received["peer"]) == (
        "MODALITY", "SPINEPACS", "192.0.2.7",
    )  # fmt: skip
    assert (received["sop_uid"], received["sha256"], received["study_uid"]) == (SOP, digest(SOP), "")
    assert (selected["study_uid"], selected["calling_ae"], selected["peer"]) == (
        STUDY,
        "MODALITY",
        "192.0.2.7",
    )
    assert selected["patient_id"] == "PAT-0001"
    assert read["detail"] == "spine-v0 0.1.0, disc-height 1.0"
    assert (sent["destination"], sent["sop_uid"], sent["study_uid"]) == ("pacs", items[0].sop_uid, STUDY)
    assert sent["sha256"] == items[0].sha256
    assert refused["detail"] == "refused, status 0xA900"
    now = datetime.now(UTC)
    assert all(timedelta(0) <= now - row["happened_at"] < timedelta(minutes=5) for row in rows)
    assert sorted(row["happened_at"] for row in rows) == [row["happened_at"] for row in rows]


def test_what_comes_beside_the_plain_path(ledger: Ledger) -> None:
    ledger.add_arrival(arrival())
    ledger.add_arrival(arrival())
    ledger.add_arrival(arrival(content="other bytes"))
    ledger.register(1, header(), NOT_A_SPINE)
    ledger.add_arrival(arrival("1.2.3.1.9"))
    ledger.mark_unreadable(3, Refusal("NOT_DICOM", "no DICOM file"))
    ledger.add_event("started")
    rows = rows_of(ledger)
    assert [row["action"] for row in rows] == [
        "received", "duplicate", "received", "conflict", "refused", "received", "unreadable", "started",
    ]  # fmt: skip
    assert (rows[1]["calling_ae"], rows[1]["peer"], rows[1]["sha256"]) == (
        "MODALITY",
        "192.0.2.7",
        digest(SOP),
    )
    assert rows[2]["detail"] == "network, conflict"
    assert (rows[4]["detail"], rows[6]["detail"]) == ("NOT_SELECTED", "NOT_DICOM")


def test_a_file_that_is_deleted(ledger: Ledger) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    ledger.mark_ready(STUDY)
    assert ledger.files.discard(STUDY) == 1
    assert ledger.files.discard(STUDY) == 0
    (deleted,) = (row for row in rows_of(ledger) if row["action"] == "file-deleted")
    assert (deleted["study_uid"], deleted["sop_uid"], deleted["sha256"]) == (STUDY, SOP, digest(SOP))
    assert deleted["detail"] == "original"


def test_what_is_rolled_back_leaves_no_row(ledger: Ledger) -> None:
    take_in(ledger)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    before = actions(ledger)
    with pytest.raises(Permanent, match="not in the spool"):
        ledger.record(claim, result_of(claim), {}, [PACS])
    assert actions(ledger) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET calling_ae = 'NOBODY'",
        "DELETE FROM audit_events",
        "INSERT INTO audit_events (audit_id, happened_at, action) VALUES (1, '2026-01-01 00:00:00+00:00', 'x') "
        "ON CONFLICT (audit_id) DO UPDATE SET action = 'x'",
    ],
)
def test_no_row_is_changed_or_removed(ledger: Ledger, url: str, statement: str) -> None:
    _is_refused(ledger, url, statement)


def test_no_row_is_replaced_or_truncated(ledger: Ledger, url: str) -> None:
    replace = "REPLACE INTO audit_events (audit_id, happened_at, action) VALUES (1, '2026-01-01', 'x')"
    _is_refused(ledger, url, replace if url.startswith("sqlite") else "TRUNCATE audit_events")


def _is_refused(ledger: Ledger, url: str, statement: str) -> None:
    ledger.add_arrival(arrival())
    before = rows_of(ledger)
    database = Database(url)
    refused = pytest.raises((SpinepacsError, IntegrityError), match="audit_events: rows are only added")
    with refused, database.transaction() as connection:
        connection.execute(text(statement))
    database.close()
    assert rows_of(ledger) == before


def test_the_trail_is_given_from_a_time_on_and_page_by_page(ledger: Ledger, monkeypatch) -> None:
    for number in range(5):
        ledger.add_event("started", detail=str(number))
    rows = rows_of(ledger)
    middle = rows[2]["happened_at"]
    assert [row["detail"] for row in rows_of(ledger, since=middle)][-3:] == ["2", "3", "4"]
    assert all(row["happened_at"] < middle for row in rows_of(ledger, until=middle))
    assert [row["detail"] for row in rows_of(ledger, after=rows[3]["audit_id"])] == ["4"]
    monkeypatch.setattr(trail, "PAGE_ROWS", 2)
    assert [len(page) for page in trail.pages(ledger)] == [2, 2, 1]


def test_how_far_it_was_exported_is_kept_for_each_target(ledger: Ledger) -> None:
    assert ledger.audit_exported("udp://log:514") == 0
    for audit_id in (3, 7):
        ledger.mark_audit_exported("udp://log:514", audit_id)
    assert ledger.audit_exported("udp://log:514") == 7
    assert ledger.audit_exported("tls://log:6514") == 0
