"""Hours of the day and objects a minute, by clocks in our hand."""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
from pydantic import ValidationError

from spinepacs.delivery.courier import Courier
from spinepacs.delivery.pace import Pace, open_for_s
from spinepacs.settings.destinations import DicomDestination
from tests import peers
from tests.outboxes import fill_outbox

NIGHT = ("22:00-06:00",)


def target(**values: object) -> DicomDestination:
    return DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104, **values)


def at(time_of_day: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-30 {time_of_day}")


@pytest.mark.parametrize(
    ("time_of_day", "hours", "open_s"),
    [
        ("21:59:59", NIGHT, 0),
        ("22:00:00", NIGHT, 1),
        ("23:00:00", NIGHT, 3601),
        ("00:00:00", NIGHT, 7201),
        ("05:59:59", NIGHT, 8 * 3600),
        ("06:00:00", NIGHT, 0),
        ("12:30:00", NIGHT, 0),
        ("12:30:00", ("12:00-13:00", *NIGHT), 1801),
        ("12:30:00", (), float("inf")),
    ],
)
def test_how_long_it_has_been_open(time_of_day, hours, open_s):
    assert open_for_s(hours, at(time_of_day)) == open_s


@pytest.mark.parametrize("hours", ["22-6", "24:00-06:00", "22:00-22:00", "22:60-06:00", "at night", ""])
def test_what_are_no_hours_is_refused(hours):
    with pytest.raises(ValidationError, match="22:00-06:00"):
        target(hours=(hours,))


def test_no_more_than_so_many_a_minute():
    now_s = [0.0]
    pace = Pace(target(objects_per_minute=60), clock=lambda: now_s[0])
    sent = 0
    for _ in range(600):
        for _ in range(pace.allowance(50)):
            pace.sent()
            sent += 1
        now_s[0] += 0.1
    assert sent == 60 + 9, "ten seconds' worth may be sent ahead"


def test_a_slow_rate_sends_one_at_a_time():
    now_s = [0.0]
    pace = Pace(target(objects_per_minute=2), clock=lambda: now_s[0])
    assert pace.allowance(50) == 1
    pace.sent()
    now_s[0] = 29.0
    assert pace.allowance(50) == 0
    now_s[0] = 31.0
    assert pace.allowance(50) == 1


@pytest.mark.peer
def test_a_courier_waits_for_its_hours_and_keeps_to_its_limit(tmp_path, spool, ledger):
    with peers.dcmtk_storescp(tmp_path) as scp:
        to = target(hours=NIGHT, objects_per_minute=12).model_copy(update={"port": scp.port})
        assert len(fill_outbox(ledger, spool, to, images=2)) == 6
        courier, time_of_day = Courier(to, "SPINEPACS", spool, ledger), ["21:30:00"]
        courier._pace = Pace(to, lambda: at(time_of_day[0]))
        assert courier.deliver_due(threading.Event())
        assert scp.received() == []
        time_of_day[0] = "22:30:00"
        assert courier.deliver_due(threading.Event())
        assert len(scp.received()) == 2


class Turned:
    """A turn that is ours for so many questions."""

    def __init__(self, times: int) -> None:
        self.times = times

    def take(self) -> bool:
        self.times -= 1
        return self.times >= 0

    def release(self) -> None:
        raise AssertionError("a courier keeps its turn")

    def close(self) -> None:
        self.times = 0


@pytest.mark.peer
def test_a_courier_whose_turn_it_no_longer_is_sends_nothing_more(tmp_path, spool, ledger):
    with peers.dcmtk_storescp(tmp_path) as scp:
        to = target().model_copy(update={"port": scp.port})
        fill_outbox(ledger, spool, to, images=2)
        Courier(to, "SPINEPACS", spool, ledger, Turned(0)).deliver_due(threading.Event())
        assert scp.received() == []
        # One question before the batch, and one before each object.
        Courier(to, "SPINEPACS", spool, ledger, Turned(3)).deliver_due(threading.Event())
        assert len(scp.received()) == 2
