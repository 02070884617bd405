"""Notices on both databases: what there is to tell is found once, told together, and never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from spinepacs.store.ledger import Ledger
from spinepacs.store.notices import NewNotice
from spinepacs.store.occasions import LAG, Wanted
from spinepacs.store.records import OutboxState
from spinepacs.store.tables import notices, outbox
from tests.store import makers

ALL = Wanted(("study-failed", "machine-missing", "sign"), {"disc_height_loss": 2})


def now_and_here(ledger: Ledger, channel: str = "ops", **changes: float) -> object:
    times = {"gather_s": 0.0, "interval_s": 0.0, **changes}
    return ledger.notices.begin(
        channel, times["gather_s"], times["interval_s"], lambda attempts: 60.0 * attempts
    )


def fail_one(ledger: Ledger, number: int) -> None:
    study = f"9.{number}"
    makers.take_in(ledger, f"{study}.1", study)
    ledger.mark_ready(study)
    claim = ledger.claim(makers.VERSIONS, 3)
    assert claim is not None
    assert ledger.fail(claim, "TIMEOUT", "too slow", transient=False)


def test_a_failed_study_is_told_of_once_and_only_if_it_failed_after_the_first_look(ledger: Ledger) -> None:
    fail_one(ledger, 1)
    assert ledger.occasions.look("ops", ALL) == 0
    fail_one(ledger, 2)
    fail_one(ledger, 3)
    assert ledger.occasions.look("ops", Wanted(("machine-missing",))) == 0
    assert ledger.occasions.look("ops", ALL) == 2
    assert ledger.occasions.look("ops", ALL) == 0
    later = datetime.now(UTC) + LAG + timedelta(minutes=1)
    assert ledger.occasions.look("ops", ALL, later) == 0
    assert ledger.occasions.look("others", ALL) == 0, "each channel has marks of its own"
    fail_one(ledger, 4)
    assert ledger.occasions.look("ops", ALL, later) == 1
    batch = now_and_here(ledger)
    assert batch is not None
    assert [(each.kind, each.study_uid, each.detail["reason_code"]) for each in batch.items] == [
        ("study-failed", "9.2", "TIMEOUT"), ("study-failed", "9.3", "TIMEOUT"), ("study-failed", "9.4", "TIMEOUT"),
    ]  # fmt: skip


def test_a_channel_that_was_away_for_a_week_is_not_told_of_old_things(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    ledger.occasions.look("ops", ALL, now - timedelta(days=20))
    fail_one(ledger, 1)
    assert ledger.occasions.look("ops", ALL, now - timedelta(days=14)) == 1, "after six days it is"
    fail_one(ledger, 2)
    assert ledger.occasions.look("ops", ALL, now) == 0
    fail_one(ledger, 3)
    assert ledger.occasions.look("ops", ALL, now) == 1


def test_a_row_that_commits_late_is_still_found(ledger: Ledger) -> None:
    """The mark keeps its distance, so an event of a smaller key that shows later is not passed over."""
    ledger.occasions.look("ops", ALL)
    fail_one(ledger, 1)
    fail_one(ledger, 2)
    assert ledger.occasions.look("ops", ALL) == 2
    with ledger._database.transaction() as connection:  # as if the first had not been visible yet
        connection.execute(notices.delete().where(notices.c.study_uid == "9.1"))
    assert ledger.occasions.look("ops", ALL) == 1


def test_signs_are_told_from_the_grade_that_was_asked_for(ledger: Ledger) -> None:
    grades = {"low": 2, "high": 3}
    wanted = {name: Wanted(("sign",), {"disc_height_loss": grade}) for name, grade in grades.items()}
    wanted["elsewhere"] = Wanted(("sign",), {"disc_height_loss": 1}, senders=("OTHER",))
    wanted["neck"] = Wanted(("sign",), {"disc_height_loss": 1}, body_parts=("CSPINE",))
    for name, each in wanted.items():
        ledger.occasions.look(name, each)
    claim = makers.claimed(ledger)
    result = makers.result_of(claim)
    assert ledger.record(claim, result, makers.stored(result), ())
    found = {name: ledger.occasions.look(name, each) for name, each in wanted.items()}
    assert found == {"low": 1, "high": 0, "elsewhere": 0, "neck": 0}
    batch = now_and_here(ledger, "low")
    assert batch is not None
    [notice] = batch.items
    assert notice.study_uid == makers.STUDY
    assert [(sign["sign"], sign["grade"]) for sign in notice.detail["signs"]] == [("disc_height_loss", 2)]
    assert ledger.notices.whose([makers.STUDY])[makers.STUDY]["patient_id"] == "PAT-0001"


def test_what_happens_meanwhile_goes_into_one_message(ledger: Ledger) -> None:
    ledger.notices.add("ops", [NewNotice("study-failed", "1", {"reason_code": "X"})])
    assert now_and_here(ledger, gather_s=3600) is None
    first = now_and_here(ledger)
    assert first is not None
    ledger.notices.add("ops", [NewNotice("study-failed", str(number), {}) for number in range(2, 502)])
    ledger.notices.add("ops", [NewNotice("study-failed", "2", {})])
    assert now_and_here(ledger) is None, "the first batch waits for its next attempt, and the others for it"
    ledger.notices.not_sent(first, "no answer")
    assert ledger.notices.standing(["ops"])["ops"].message == "no answer"
    with ledger._database.transaction() as connection:
        connection.execute(update(notices).values(next_attempt_at=datetime.now(UTC)))
    again = now_and_here(ledger)
    assert again is not None
    assert (again.batch, again.attempt, len(again.items)) == (first.batch, 2, 1), "the same message once more"
    ledger.notices.sent(again)
    assert now_and_here(ledger, interval_s=3600) is None
    rest = now_and_here(ledger)
    assert rest is not None
    assert rest.counts == {"study-failed": 500}
    assert len(rest.items) == 200
    ledger.notices.not_sent(rest, "gone", is_over=True)
    standing = ledger.notices.standing(["ops"])["ops"]
    assert (standing.waiting, standing.failed) == (0, 500)
    assert standing.sent_at is not None
    assert ledger.notices.forget(datetime.now(UTC)) == 501


def test_what_lasts_is_told_when_it_begins_and_when_it_ends(ledger: Ledger) -> None:
    down = {"pacs": {"objects": 3, "oldest_at": "then", "message": ""}}
    for _ in range(3):
        ledger.notices.lasts("ops", "destination-down", down)
    began = now_and_here(ledger)
    assert began is not None
    assert began.counts == {"destination-down": 1}
    ledger.notices.sent(began)
    ledger.notices.lasts("ops", "destination-down", down)
    assert now_and_here(ledger) is None
    ledger.notices.lasts("ops", "destination-down", {})
    ended = now_and_here(ledger)
    assert ended is not None
    assert ended.items[0].detail["over"] is True
    ledger.notices.sent(ended)
    ledger.notices.lasts("ops", "destination-down", down)
    again = now_and_here(ledger)
    assert again is not None
    assert "over" not in again.items[0].detail
    ledger.notices.sent(again)
    assert ledger.notices.forget(datetime.now(UTC)) == 2, "what lasts is remembered"


@pytest.mark.parametrize("sent_ago_min", [None, 30, 90])
def test_a_destination_is_stuck_that_takes_nothing_while_something_waits(
    ledger: Ledger, sent_ago_min: int | None
) -> None:
    claim = makers.claimed(ledger)
    result = makers.result_of(claim)
    assert ledger.record(claim, result, makers.stored(result), (makers.PACS, makers.VIEWER))
    now = datetime.now(UTC)
    assert ledger.occasions.stuck("pacs", now - timedelta(minutes=60)) is None, "it has not waited for long"
    old = {"created_at": now - timedelta(hours=3)}
    with ledger._database.transaction() as connection:
        connection.execute(update(outbox).values(**old))
    if sent_ago_min is not None:
        row = ledger.due("pacs")[0].outbox_id
        ledger.begin_delivery([row], now + timedelta(seconds=10))
        ledger.finish_delivery(row, OutboxState.SENT, 0)
        at = now - timedelta(minutes=sent_ago_min)
        with ledger._database.transaction() as connection:
            is_it = outbox.c.outbox_id == row
            connection.execute(
                update(outbox).where(is_it).values(sent_at=at, next_attempt_at=at + timedelta(seconds=9))
            )
    ledger.postpone_delivery([item.outbox_id for item in ledger.due("pacs")], now, "nobody there")
    stuck = ledger.occasions.stuck("pacs", now - timedelta(minutes=60))
    if sent_ago_min == 30:
        assert stuck is None
        return
    assert stuck is not None
    assert (stuck.objects, stuck.message) == (3 if sent_ago_min is None else 2, "nobody there")
