"""Urgent studies go first, nobody starves, and the question for the next one stays one look into an index."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, select, text

from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import studies
from spinepacs.store.turns import HEAD_START
from tests.store.makers import VERSIONS, arrival, header


def take_in(
    ledger: Ledger, number: int, *, urgent: bool = False, image: int = 0, sender: str = "MODALITY"
) -> str:
    """One image of study ``2.number``; its study's UID."""
    sop_uid, study_uid = f"1.{number}.{image}", f"2.{number}"
    ledger.add_arrival(replace(arrival(sop_uid), calling_ae=sender))
    (waiting,) = ledger.unregistered(10)
    ledger.register(waiting.arrival_id, header(sop_uid, study_uid), None, urgent)
    return study_uid


def waiting(ledger: Ledger, *urgent: bool) -> list[str]:
    """Studies that are ready, in this order."""
    studies = [take_in(ledger, number, urgent=is_urgent) for number, is_urgent in enumerate(urgent)]
    for study_uid in studies:
        ledger.mark_ready(study_uid)
    return studies


def claimed(ledger: Ledger, count: int) -> list[str]:
    claims = [ledger.claim(VERSIONS, 3) for _ in range(count)]
    return [claim.study_uid if claim else "" for claim in claims]


def test_urgent_studies_go_before_those_that_wait_already(ledger: Ledger) -> None:
    routine, other, first, second = waiting(ledger, False, False, True, True)
    assert claimed(ledger, 5) == [first, second, routine, other, ""]


def test_nobody_starves(ledger: Ledger, url: str) -> None:
    """Whoever has waited longer than the head start goes before the urgent ones that come now."""
    patient, routine, urgent = waiting(ledger, False, False, True)
    database = Database(url)
    with database.transaction() as connection:
        long_ago = datetime.now(UTC) - HEAD_START - timedelta(seconds=10)
        move = "UPDATE studies SET due_at = :then, turn_at = :then WHERE study_uid = :study"
        then = str(long_ago) if database.is_sqlite else long_ago
        connection.execute(text(move), {"then": then, "study": patient})
    database.close()
    assert claimed(ledger, 3) == [patient, urgent, routine]


def test_who_sends_many_at_once_does_not_hold_up_who_sends_one(ledger: Ledger) -> None:
    flood = [take_in(ledger, number, sender="ARCHIVE") for number in range(6)]
    for study_uid in flood:
        ledger.mark_ready(study_uid)
    first = claimed(ledger, 1)
    small = [take_in(ledger, 100 + number, sender="CLINIC") for number in range(2)]
    for study_uid in small:
        ledger.mark_ready(study_uid)
    # In turns: the clinic's second one counts as a minute after its first, as the archive's do.
    assert first == flood[:1]
    assert claimed(ledger, 8) == [small[0], flood[1], small[1], *flood[2:], ""]


def test_nobody_is_put_off_for_ever_by_his_own_sender(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spinepacs.store.turns.LONGEST_WAIT", timedelta(minutes=2))
    flood = [take_in(ledger, number) for number in range(9)]
    for study_uid in flood:
        ledger.mark_ready(study_uid)
    assert claimed(ledger, 9) == flood
    waits = [row["turn_at"] - row["due_at"] for row in ledger.rows(select(studies))]
    assert max(waits) == timedelta(minutes=2)


def test_one_urgent_image_makes_its_study_urgent_even_when_it_waits_already(ledger: Ledger) -> None:
    routine, late = waiting(ledger, False, False)
    take_in(ledger, 1, urgent=True, image=1)
    take_in(ledger, 1, urgent=True, image=2)
    take_in(ledger, 1, urgent=False, image=3)
    assert claimed(ledger, 2) == [late, routine]


def test_an_urgent_study_keeps_its_head_start_after_a_failure_and_a_crash(ledger: Ledger) -> None:
    routine, urgent = waiting(ledger, False, True)
    claim = ledger.claim(VERSIONS, 3)
    assert claim
    ledger.fail(claim, "DEFECT", "of ours", transient=True, retry_at=datetime.now(UTC))
    assert claimed(ledger, 1) == [urgent]
    ledger.return_orphans()
    assert claimed(ledger, 2) == [urgent, routine]


def test_a_failed_urgent_study_is_retried_before_others(ledger: Ledger) -> None:
    routine, urgent = waiting(ledger, False, True)
    claim = ledger.claim(VERSIONS, 3)
    assert claim
    ledger.fail(claim, "DEFECT", "of ours", transient=False, retry_at=None)
    assert ledger.retry() == 1
    assert claimed(ledger, 2) == [urgent, routine]


def test_an_urgent_study_waits_for_its_retry_like_any_other(ledger: Ledger) -> None:
    routine, _ = waiting(ledger, False, True)
    claim = ledger.claim(VERSIONS, 3)
    assert claim
    ledger.fail(
        claim, "DEFECT", "of ours", transient=True, retry_at=datetime.now(UTC) + timedelta(seconds=30)
    )
    assert claimed(ledger, 2) == [routine, ""]


def test_headers_of_urgent_senders_are_read_first_and_others_still_get_half(ledger: Ledger) -> None:
    for number in range(12):
        sender = "EMERGENCY" if number >= 6 else "ROOM1"
        ledger.add_arrival(replace(arrival(f"1.{number}"), calling_ae=sender))

    def order(limit: int, *urgent_aes: str) -> list[int]:
        return [int(waiting.sop_uid[2:]) for waiting in ledger.unregistered(limit, urgent_aes)]

    assert order(4) == [0, 1, 2, 3]
    assert order(4, "EMERGENCY") == [6, 7, 0, 1]
    assert order(100, "EMERGENCY", "ELSEWHERE") == [6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]
    assert order(3, "ROOM1") == [0, 1, 2]


def test_the_next_study_is_found_by_the_index(ledger: Ledger) -> None:
    """Without sorting: whatever the length of the queue, and however it is ordered."""
    waiting(ledger, False, True)
    database = ledger._database
    if not database.is_sqlite:
        pytest.skip("PostgreSQL plans a table of two rows without any index")
    asked: list[tuple[str, object]] = []

    def note(_conn: object, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if "ORDER BY studies.turn_at" in statement:
            asked.append((statement, parameters))

    event.listen(database._engine, "before_cursor_execute", note)
    ledger.claim(VERSIONS, 3)
    (statement, parameters), *_ = asked
    with database.read() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert plan == ["SEARCH studies USING INDEX ix_studies_state_turn_at (state=?)"]
