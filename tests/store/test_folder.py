"""What lies in ``failed/`` of the watched folder, as rows: once each, until it is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from spinepacs.store import queue
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import FailedFile
from tests.store.conftest import Ask

AT = datetime(2026, 11, 20, 6, tzinfo=UTC)
LETTER = FailedFile("letter.txt", "NOT_DICOM", "no DICOM file", AT)
CUT = FailedFile("sub/film.dcm", "TRUNCATED", "it ends too early", AT + timedelta(hours=1))


def test_each_is_a_row_an_event_and_a_line_of_the_trail_once(ledger: Ledger, ask: Ask) -> None:
    for there in ([LETTER], [LETTER, CUT], [LETTER, CUT]):
        ledger.note_failed_files(there)
    assert ask("failed_files", "file_name") == ["letter.txt", "sub/film.dcm"]
    assert ask("events", "detail", kind="not-taken") == ["NOT_DICOM", "TRUNCATED"]
    assert ask("audit_events", "detail", action="not-taken") == ["NOT_DICOM", "TRUNCATED"]
    assert ledger.counts().folder_failed == {"NOT_DICOM": 1, "TRUNCATED": 1}


def test_what_is_gone_is_kept_as_a_row_and_may_come_again(ledger: Ledger, ask: Ask) -> None:
    ledger.note_failed_files([LETTER, CUT])
    ledger.note_failed_files([CUT])
    assert ledger.counts().folder_failed == {"TRUNCATED": 1}
    ledger.note_failed_files([CUT, LETTER])
    assert ask("failed_files", "file_name", gone_at=None) == ["letter.txt", "sub/film.dcm"]
    assert ledger.counts().folder_failed == {"NOT_DICOM": 1, "TRUNCATED": 1}
    assert len(ask("failed_files", "file_name")) == 3


def test_a_share_whose_clock_is_ahead_fails_nothing_in_the_future(ledger: Ledger) -> None:
    ledger.note_failed_files([FailedFile("a", "X", "", datetime.now(UTC) + timedelta(days=400))])
    (row,) = queue.failed_in_folder(ledger)
    assert datetime.fromisoformat(row["since"]) <= datetime.now(UTC)


def test_the_queue_shows_them_by_reason_and_without_names(ledger: Ledger) -> None:
    ledger.note_failed_files([LETTER, CUT, FailedFile("by hand.dcm", "", "", AT)])
    rows = queue.queue(ledger)
    assert [(row["what"], row["reason"]) for row in rows] == [
        ("folder", "no reason: 1 files, the reason beside each"),
        ("folder", "NOT_DICOM: 1 files, the reason beside each"),
        ("folder", "TRUNCATED: 1 files, the reason beside each"),
    ]
    assert rows[2]["since"].startswith("2026-11-20 07:00")
    assert "letter" not in str(rows)
