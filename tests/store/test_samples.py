"""Samples on both databases: what is new is counted once, and a month of them stays small."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from spinepacs.store.ledger import Ledger
from spinepacs.store.records import OutboxState
from spinepacs.store.tables import samples
from tests.store import makers


def test_each_sample_counts_what_is_new(ledger: Ledger) -> None:
    names = ["pacs", "viewer"]
    ledger.samples.take(names)
    claim = makers.claimed(ledger, "9.1", "9.2")
    result = makers.result_of(claim)
    assert ledger.record(claim, result, makers.stored(result), (makers.PACS, makers.VIEWER))
    item = ledger.due("pacs")[0]
    ledger.begin_delivery([item.outbox_id], datetime.now(UTC) + timedelta(seconds=10))
    ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)
    makers.take_in(ledger, "8.1", "8")
    ledger.mark_ready("8")
    failed = ledger.claim(makers.VERSIONS, 3)
    assert failed
    ledger.fail(failed, "X", "broken", transient=False)
    ledger.add_arrival(makers.arrival("7.1"))
    ledger.samples.take(names)
    ledger.samples.take(names, datetime.now(UTC) - timedelta(hours=1))  # a clock that was set back
    ledger.samples.take(names)
    first, second, third = ledger.samples.since(datetime.now(UTC) - timedelta(minutes=5))
    assert first.counted == third.counted == {"received": 0, "read": 0, "studies": 0, "failed": 0}
    assert second.counted == {"received": 4, "read": 2, "studies": 1, "failed": 1}
    assert (second.sent, third.sent) == ({"pacs": 1, "viewer": 0}, {"pacs": 0, "viewer": 0})
    assert second.unread == third.unread == 1
    assert second.outbox["viewer"] == 2
    assert second.seconds > 0


@pytest.mark.parametrize("rounds", [1, 2])
def test_what_is_old_is_put_together_and_in_the_end_deleted(ledger: Ledger, rounds: int) -> None:
    now = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)
    rows = [
        {
            "taken_at": now - timedelta(minutes=minutes), "seconds": 60.0, "reached": {"events": -minutes},
            "counted": {"received": 2, "read": 0, "studies": 0, "failed": 0, "sent": {"pacs": 1}},
            "waiting": {"unread": minutes % 2, "outbox": {"pacs": 3}},
        }
        for minutes in (*range(0, 27 * 60), 31 * 24 * 60)
    ]  # fmt: skip
    with ledger._database.transaction() as connection:
        connection.execute(insert(samples), rows)
    for _ in range(rounds):
        ledger.samples.thin(now)
    found = ledger.samples.since(now - timedelta(days=60))
    hours = [sample for sample in found if sample.seconds > 60]
    assert sum(sample.seconds for sample in found) == 27 * 3600
    assert sum(sample.counted["received"] for sample in found) == 2 * 27 * 60
    assert len(hours) == 3
    assert hours[1].sent == {"pacs": 60}
    assert hours[1].unread == 0.5
    assert hours[1].outbox == {"pacs": 3}
    assert len(found) == 3 + 24 * 60 + 30
