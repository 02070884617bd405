"""Contract of the ledger, both databases: what is to be sent, how it went, and what is counted and listed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from spinepacs.domain.findings import ObjectKind, Refusal
from spinepacs.domain.study import StudyState
from spinepacs.errors import BadSettings
from spinepacs.store import queries, queue
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.queries import Filters
from spinepacs.store.records import OutboxItem, OutboxState
from spinepacs.store.tables import outbox
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    NOT_A_SPINE,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    VIEWER,
    arrival,
    claimed,
    digest,
    encoded,
    recorded,
    result_of,
    stored,
    take_in,
)


def send_all(ledger: Ledger, destination: str) -> None:
    """Deliver everything that is due."""
    for item in ledger.due(destination):
        ledger.begin_delivery([item.outbox_id])
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0x0000)


def test_due_objects_say_all_that_sending_needs(ledger: Ledger) -> None:
    recorded(ledger)
    items = ledger.due("pacs")
    assert [item.kind for item in items] == [ObjectKind.SEG, ObjectKind.SR, ObjectKind.OVERLAY]
    expected = encoded(SOP, ObjectKind.SEG)
    assert (items[0].sop_uid, items[0].sop_class_uid) == (expected.sop_uid, expected.sop_class_uid)
    assert items[0].transfer_syntax_uid == expected.transfer_syntax_uid
    assert items[0].sha256 == digest(expected.sop_uid)
    assert (items[0].study_uid, items[0].destination, items[0].attempts) == (STUDY, "pacs", 0)
    assert ledger.due("pacs", limit=2) == items[:2]
    assert ledger.due("elsewhere") == []


def test_a_study_is_delivered_when_every_destination_has_everything(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "pacs")
    assert ask("studies", "state") == ["recorded"]
    send_all(ledger, "viewer")
    assert ask("studies", "state") == ["delivered"]
    assert ledger.due("pacs") == []
    assert ask("outbox", "status") == [0] * 4


def test_attempts_are_counted_before_they_are_made(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    item = ledger.due("pacs")[0]
    ledger.begin_delivery([item.outbox_id])
    assert [found.attempts for found in ledger.due("pacs")] == [1, 0, 0], "a killed sender leaves it pending"


def test_what_was_refused_waits_for_its_time(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(VIEWER,))
    [item] = ledger.due("viewer")
    later = datetime.now(UTC) + timedelta(minutes=10)
    ledger.begin_delivery([item.outbox_id])
    ledger.finish_delivery(item.outbox_id, OutboxState.PENDING, 0xA700, "out of resources", later)
    assert ledger.due("viewer") == []
    assert [found.attempts for found in ledger.due("viewer", now=later)] == [1]
    assert ask("deliveries", "status") == [0xA700]
    assert ask("deliveries", "message") == ["out of resources"]


def test_a_failed_object_keeps_its_study_open_until_it_is_retried(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    first, *others = ledger.due("pacs")
    ledger.finish_delivery(first.outbox_id, OutboxState.FAILED, 0xA900, "data set does not match")
    send_all(ledger, "pacs")
    assert len(others) == 2
    assert ask("studies", "state") == ["recorded"]
    assert [row["status"] for row in queue.queued_objects(ledger)] == [0xA900]
    assert ledger.retry(STUDY) == 1
    assert [item.attempts for item in ledger.due("pacs")] == [0]
    send_all(ledger, "pacs")
    assert ask("studies", "state") == ["delivered"]


def test_a_sent_object_stays_sent(ledger: Ledger, ask: Ask) -> None:
    """Two answers to one attempt, the second from an attempt that was thought lost."""
    recorded(ledger, destinations=(VIEWER,))
    [item] = ledger.due("viewer")
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)
    ledger.finish_delivery(item.outbox_id, OutboxState.FAILED, None, "timeout")
    assert ask("outbox", "state") == ["sent"]


def test_deliveries_go_on_while_the_study_is_read_again(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(VIEWER,))
    take_in(ledger, "1.2.3.1.2")
    send_all(ledger, "viewer")
    assert ask("studies", "state") == ["arriving"]
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [])
    assert ask("studies", "state") == ["delivered"]


def test_counts(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    take_in(ledger, "5.1", "5", refusal=NOT_A_SPINE)
    ledger.add_arrival(arrival("6.1"))
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, Refusal("NOT_DICOM", "no preamble"))
    counts = ledger.counts()
    assert counts.studies == {"recorded": 1, "arriving": 1}
    assert counts.arrivals == {"selected": 1, "refused": 1, "unreadable": 1}
    assert counts.outbox == {("pacs", "pending"): 3, ("viewer", "sent"): 1}
    assert counts.refused == {"NOT_SELECTED": 1, "NOT_DICOM": 1}


def test_counts_of_nothing(ledger: Ledger) -> None:
    assert ledger.counts().studies == {}
    assert queries.step_seconds(ledger) == {}


def test_the_queue_lists_what_is_not_done_and_what_is_kept(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, "5.1", "5", refusal=NOT_A_SPINE)
    ledger.mark_ready("5")
    ledger.add_arrival(arrival(content="other bytes"))
    assert [row["study_uid"] for row in queue.queued_studies(ledger)] == [STUDY]
    [kept] = queue.kept_arrivals(ledger)
    assert (kept["state"], kept["reason_code"], kept["sha256"]) == (
        "conflict",
        "CONFLICT",
        digest("other bytes"),
    )
    assert kept["received_at"] == "2026-11-23 12:00:00.000000+00:00"
    [refused] = queries.find_studies(ledger, [StudyState.REFUSED])
    assert (refused["study_uid"], refused["reason_code"]) == ("5", "NOT_SELECTED")


def test_a_study_in_one_row(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    take_in(ledger, "1.2.3.1.9", refusal=NOT_A_SPINE)
    [row] = queries.find_studies(ledger, patient="PAT-0001")
    expected = {
        "study_uid": STUDY, "state": "recorded", "study_date": "2026-11-20", "images": 2, "images_selected": 1,
        "images_read": 1, "vertebrae": 3, "discs": 2, "highest_grade": 2, "objects_pending": 3, "objects_sent": 1,
        "objects_failed": 0, "attempts": 1,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["L4/L5", "L5/S1"]),
        ({"study": STUDY}, ["L4/L5", "L5/S1"]),
        ({"study": "9"}, []),
        ({"patient": "PAT-0001"}, ["L4/L5", "L5/S1"]),
        ({"patient": "PAT-%"}, []),
        ({"grade": 1}, ["L5/S1"]),
        ({"level": "l5"}, ["L4/L5", "L5/S1"]),
        ({"level": "L4"}, ["L4/L5"]),
        ({"level": "L5/S1"}, ["L5/S1"]),
        ({"date_from": "2026-11-20", "date_to": "2026-11-20"}, ["L4/L5", "L5/S1"]),
        ({"date_from": "2026-11-21"}, []),
        ({"date_to": "2026-11-19"}, []),
    ],
)
def test_discs_are_found(ledger: Ledger, filters: Filters, found: list[str]) -> None:
    recorded(ledger)
    assert [row["disc"] for row in queries.find(ledger, "discs", **filters)] == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["L4", "L5", "S1"]),
        ({"level": "L5"}, ["L5"]),
        ({"level": "L5/S1"}, ["L5", "S1"]),
        ({"grade": 0}, []),
    ],
)
def test_vertebrae_are_found(ledger: Ledger, filters: Filters, found: list[str]) -> None:
    recorded(ledger)
    assert [row["level"] for row in queries.find(ledger, "vertebrae", **filters)] == found


@pytest.mark.parametrize(
    "wrong", [{"level": "L9"}, {"level": "L3/L5"}, {"level": "L4/X"}, {"date_to": "20.11.2026"}]
)
def test_what_is_no_level_or_date_is_refused_with_an_example(ledger: Ledger, wrong: Filters) -> None:
    for what in ("discs", "vertebrae"):
        with pytest.raises(BadSettings, match="give"):
            queries.find(ledger, what, **wrong)


def test_the_queue_in_one_list(ledger: Ledger) -> None:
    recorded(ledger, destinations=(VIEWER,))
    [item] = ledger.due("viewer")
    ledger.begin_delivery([item.outbox_id])
    ledger.finish_delivery(item.outbox_id, OutboxState.FAILED, None, "cannot be reached")
    ledger.add_arrival(arrival(content="other bytes"))
    rows = queue.queue(ledger)
    assert [(row["what"], row["state"], row["where"], row["attempts"]) for row in rows] == [
        ("study", "recorded", "viewer", 1),
        ("object", "failed", "viewer", 1),
        ("file", "conflict", "MODALITY", 0),
    ]
    assert [row["uid"] for row in rows] == [STUDY, item.sop_uid, SOP]
    assert rows[1]["reason"] == "cannot be reached"
    assert rows[2]["reason"].startswith("CONFLICT: another file")
    assert json.loads(json.dumps(rows)) == rows


def test_a_row_says_how_it_came_about(ledger: Ledger) -> None:
    recorded(ledger)
    row = queries.find(ledger, "discs", level="L4/L5")[0]
    assert (row["upper_level"], row["upper_raw_level"]) == ("L4", "L3")
    assert (row["middle_px"], row["middle_mm"], row["spacing_basis"]) == (60.0, 9.0, "detector-plane")
    assert (row["height_loss"], row["stage"], row["is_current"]) == (0.6, 0, True)
    assert (row["model_name"], row["model_version"]) == ("spine-v0", "0.1.0")
    assert (row["policy_name"], row["policy_version"]) == ("disc-height", "1.0")
    vertebra = queries.find(ledger, "vertebrae", level="L4")[0]
    assert (vertebra["raw_level"], vertebra["level_reason"]) == ("L3", "made consistent along the chain")
    assert (vertebra["level_margin"], vertebra["other_level"]) == (2.5, "L3")
    assert queries.find(ledger, "vertebrae", level="L5")[0]["level_margin"] is None
    assert vertebra["area_mm2"] == pytest.approx(8000 * 0.15**2)


def test_readings_of_older_versions_are_found_when_asked_for(ledger: Ledger) -> None:
    recorded(ledger)
    take_in(ledger, "1.2.3.1.2")
    ledger.mark_ready(STUDY)
    claim = ledger.claim(NEWER, 3)
    assert claim is not None
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [])
    assert {row["model_name"] for row in queries.find(ledger, "discs")} == {"spine-v1"}
    assert len(queries.find(ledger, "discs", all_versions=True)) == 6
    assert len(queries.find(ledger, "discs", limit=4, all_versions=True)) == 4


def test_mean_seconds_of_the_steps(ledger: Ledger) -> None:
    claimed(ledger)
    assert queries.step_seconds(ledger) == {}
    ledger.return_orphans()
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    result = result_of(claim)
    ledger.record(claim, result, stored(result), [])
    assert queries.step_seconds(ledger) == {"read": 0.5, "segment": 0.25}


# ---- storage commitment ------------------------------------------------------------------------------------

SOON = timedelta(seconds=10)


def sent_to_be_committed(ledger: Ledger) -> OutboxItem:
    """The viewer's one object is accepted, and its commitment is due."""
    recorded(ledger, destinations=(VIEWER,))
    [item] = ledger.due("viewer")
    ledger.begin_delivery([item.outbox_id])
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0, commitment_due_at=datetime.now(UTC))
    return item


def asked(ledger: Ledger, item: OutboxItem, transaction_uid: str = "2.25.1") -> None:
    ledger.commitments.begin(transaction_uid, "viewer", [item.outbox_id], datetime.now(UTC) + SOON)
    ledger.commitments.asked(transaction_uid, [item.outbox_id], 0x0000)


def test_a_study_is_delivered_when_its_objects_are_committed(ledger: Ledger, ask: Ask) -> None:
    item = sent_to_be_committed(ledger)
    assert ask("studies", "state") == ["recorded"]
    assert [(due.sop_uid, due.commitment_requests) for due in ledger.commitments.due("viewer")] == [
        (item.sop_uid, 0)
    ]
    assert ledger.counts().uncommitted == {"viewer": 1}
    asked(ledger, item)
    assert ledger.commitments.due("viewer") == []
    assert not ledger.commitments.is_answered("2.25.1")
    assert ledger.commitments.answer("2.25.1", [item.sop_uid], {}, "PACS")
    assert ledger.commitments.is_answered("2.25.1")
    assert ask("outbox", "state") == ["committed"]
    assert ask("studies", "state") == ["delivered"]
    assert ledger.counts().uncommitted == {}
    assert (ask("commitments", "committed"), ask("commitments", "answered_by")) == ([1], ["PACS"])
    [row] = queries.find_studies(ledger)
    assert [row[f"objects_{name}"] for name in ("pending", "sent", "committed", "uncommitted")] == [
        0,
        1,
        1,
        0,
    ]


def test_what_is_not_committed_yet_is_in_the_queue(ledger: Ledger) -> None:
    item = sent_to_be_committed(ledger)
    study, row = queue.queue(ledger)
    assert (study["state"], study["reason"]) == ("recorded", "1 objects not committed yet")
    assert (row["uid"], row["state"], row["reason"]) == (item.sop_uid, "sent", "its commitment is awaited")


def test_without_an_answer_it_is_due_again(ledger: Ledger) -> None:
    item = sent_to_be_committed(ledger)
    asked(ledger, item)
    [again] = ledger.commitments.due("viewer", now=datetime.now(UTC) + 2 * SOON)
    assert again.commitment_requests == 1


def test_an_answer_to_the_first_request_counts_after_the_second(ledger: Ledger, ask: Ask) -> None:
    item = sent_to_be_committed(ledger)
    asked(ledger, item, "2.25.1")
    asked(ledger, item, "2.25.2")
    assert ledger.commitments.answer("2.25.1", [item.sop_uid], {}, "PACS")
    assert ask("outbox", "state") == ["committed"]
    assert ledger.commitments.answer("2.25.2", [], {item.sop_uid: 0x0112}, "PACS")
    assert ask("outbox", "state") == ["committed"], "a promise is a promise"


def test_what_is_refused_is_due_for_a_decision_and_sent_again(ledger: Ledger, ask: Ask) -> None:
    item = sent_to_be_committed(ledger)
    asked(ledger, item)
    assert ledger.commitments.answer("2.25.1", [], {item.sop_uid: 0x0112}, "PACS")
    [refused] = ledger.commitments.due("viewer")
    assert refused.commitment_failure == 0x0112
    ledger.commitments.send_again(refused, OutboxState.PENDING, "not kept", datetime.now(UTC))
    [due] = ledger.due("viewer")
    assert (due.losses, due.attempts, due.commitment_requests, due.commitment_failure) == (1, 1, 0, None)
    assert ask("events", "kind") == ["not-kept"]
    assert ask("studies", "state") == ["recorded"]


def test_an_answer_about_an_earlier_sending_says_nothing(ledger: Ledger, ask: Ask) -> None:
    """It was sent again since: the PACS's 'yes' may be about the one that it lost."""
    item = sent_to_be_committed(ledger)
    asked(ledger, item)
    [due] = ledger.commitments.due("viewer", now=datetime.now(UTC) + 2 * SOON)
    ledger.commitments.send_again(due, OutboxState.PENDING, "never answered", datetime.now(UTC))
    assert ledger.commitments.answer("2.25.1", [item.sop_uid], {}, "PACS")
    assert ask("outbox", "state") == ["pending"]
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0, commitment_due_at=datetime.now(UTC))
    assert ledger.commitments.answer("2.25.1", [item.sop_uid], {}, "PACS")
    assert ask("outbox", "state") == ["sent"]


def test_only_what_was_asked_for_and_by_us_is_taken(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "pacs")
    [item] = ledger.due("viewer")
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0, commitment_due_at=datetime.now(UTC))
    assert not ledger.commitments.answer("2.25.9", [item.sop_uid], {}, "STRANGER")
    assert ask("outbox", "state", destination="viewer") == ["sent"]
    asked(ledger, item)
    assert ledger.commitments.answer("2.25.1", [item.sop_uid, "1.2.3.4"], {}, "PACS")
    assert ask("outbox", "state", destination="viewer") == ["committed"]
    assert set(ask("outbox", "state", destination="pacs")) == {"sent"}, "the same object elsewhere"


def test_a_request_that_was_not_accepted_waits_uncounted(ledger: Ledger, ask: Ask) -> None:
    item = sent_to_be_committed(ledger)
    later = datetime.now(UTC) + SOON
    ledger.commitments.begin("2.25.1", "viewer", [item.outbox_id], later)
    ledger.commitments.asked("2.25.1", [item.outbox_id], 0x0213)
    ledger.commitments.postpone([item.outbox_id], later, "refused")
    assert ledger.commitments.due("viewer") == []
    [due] = ledger.commitments.due("viewer", now=later)
    assert due.commitment_requests == 0
    assert (ask("deliveries", "message"), ask("commitments", "status")) == (["refused"], [0x0213])
    assert ledger.hurry(destination="viewer") == 1
    assert len(ledger.commitments.due("viewer")) == 1


def test_a_clock_that_was_set_back_delays_no_commitment(ledger: Ledger, url: str, ask: Ask) -> None:
    item = sent_to_be_committed(ledger)
    ahead = datetime.now(UTC) + timedelta(days=400)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(update(outbox).values(sent_at=ahead, commitment_due_at=ahead))
    database.close()
    assert len(ledger.commitments.due("viewer")) == 1
    asked(ledger, item)
    assert ledger.commitments.due("viewer") == []
    assert ledger.commitments.answer("2.25.1", [item.sop_uid], {}, "PACS")
    assert ask("outbox", "state") == ["committed"]


def test_commitment_switched_off_ends_the_waiting(ledger: Ledger, ask: Ask) -> None:
    sent_to_be_committed(ledger)
    assert ledger.commitments.waive("viewer") == 1
    assert ask("outbox", "state") == ["sent"]
    assert ask("studies", "state") == ["delivered"]


# ---- what an administrator decides -------------------------------------------------------------------------


def test_what_waits_for_a_destination_that_is_gone_is_a_stray(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    assert ledger.strays(["pacs", "viewer"]) == {}
    assert ledger.strays(["viewer"]) == {"pacs": 3}
    assert ledger.strays([]) == {"pacs": 3}, "what was sent is done with"


def test_what_waits_for_an_old_name_goes_to_the_new_one(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS,))
    first, *_ = ledger.due("pacs")
    ledger.finish_delivery(first.outbox_id, OutboxState.FAILED, None, "not reachable")
    assert ledger.redirect("pacs", "archive") == 3
    assert [(item.destination, item.attempts) for item in ledger.due("archive")] == [("archive", 0)] * 3
    send_all(ledger, "archive")
    assert ask("studies", "state") == ["delivered"]
    assert ask("events", "detail", kind="redirected") == ["pacs → archive"]


def test_what_the_new_one_has_been_given_before_is_not_sent_to_it_twice(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    assert ledger.redirect("pacs", "viewer") == 3
    assert len(ledger.due("viewer")) == 2
    assert ask("outbox", "state", destination="pacs") == ["withdrawn"]


def test_what_is_withdrawn_is_not_sent_and_its_study_is_done(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    send_all(ledger, "viewer")
    assert ledger.withdraw("pacs") == 3
    assert ledger.due("pacs") == []
    assert ask("studies", "state") == ["delivered"]
    assert ledger.retry() == 0
    assert ask("events", "kind") == ["withdrawn"]


def test_retry_of_one_destination(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    for item in [*ledger.due("pacs"), *ledger.due("viewer")]:
        ledger.finish_delivery(item.outbox_id, OutboxState.FAILED, 0xA900, "refused")
    assert ledger.retry(destination="viewer") == 1
    assert ledger.due("pacs") == []
    assert ledger.retry() == 3


def test_what_waits_long_may_be_hurried(ledger: Ledger) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    for item in [*ledger.due("pacs"), *ledger.due("viewer")]:
        ledger.finish_delivery(item.outbox_id, OutboxState.PENDING, None, "", datetime.now(UTC) + SOON)
    assert ledger.hurry(STUDY, "viewer") == 1
    assert (len(ledger.due("viewer")), len(ledger.due("pacs"))) == (1, 0)
    assert ledger.hurry("another study") == 0
    assert ledger.hurry(STUDY) == 3


def test_an_attempt_that_never_ends_is_not_due_at_once(ledger: Ledger) -> None:
    """Its sender died of it, perhaps: the others go first."""
    recorded(ledger)
    first, *_ = ledger.due("pacs")
    ledger.begin_delivery([first.outbox_id], not_before=datetime.now(UTC) + SOON)
    assert first.outbox_id not in [item.outbox_id for item in ledger.due("pacs")]
    assert len(ledger.due("pacs", now=datetime.now(UTC) + 2 * SOON)) == 3


def test_an_attempt_that_turned_out_to_be_none_is_given_back(ledger: Ledger) -> None:
    recorded(ledger)
    first, *others = ledger.due("pacs")
    ledger.begin_delivery([first.outbox_id])
    later = datetime.now(UTC) + timedelta(hours=1)
    ledger.postpone_delivery([first.outbox_id], later, "log in first", gives_back=True)
    assert [item.outbox_id for item in ledger.due("pacs")] == [item.outbox_id for item in others]
    (again,) = (item for item in ledger.due("pacs", later) if item.outbox_id == first.outbox_id)
    assert again.attempts == 0
