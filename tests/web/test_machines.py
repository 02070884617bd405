"""Machines: plots of what was counted, made on the server; and a destination's rate."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from spinepacs.serve import sampling
from spinepacs.store.ledger import Ledger
from spinepacs.store.samples import Sample
from spinepacs.store.tables import samples
from spinepacs.web.course import HEIGHT, SPANS, Series, draw, recent_rate
from tests.peers import wait_until
from tests.web.consoles import Console

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
RECEIVED = Series("Images received", "by the hour", lambda sample: sample.counted["received"])
UNREAD = Series("To be read", "studies", lambda sample: sample.unread, is_rate=False)


def sample(minutes_ago: float, received: int = 0, seconds: float = 60, unread: float = 0) -> Sample:
    counted = {"received": received, "read": 0, "studies": 0, "failed": 0}
    return Sample(NOW - timedelta(minutes=minutes_ago), seconds, counted, {"pacs": received}, unread, {})


def test_a_rate_is_by_the_hour_and_a_gap_is_no_line() -> None:
    steady = [sample(minutes, received=2) for minutes in range(1, 1440) if not 300 <= minutes < 400]
    course = draw(RECEIVED, sorted(steady, key=lambda each: each.taken_at), SPANS[0], NOW)
    assert (course.now, course.most) == ("120", "120")
    assert len(course.lines) == 2, "nobody looked for a while"
    heights = {float(point.split(",")[1]) for line in course.lines for point in line.split()}
    assert heights == {8.0}
    assert max(float(point.split(",")[1]) for point in course.areas[0].split()) == HEIGHT - 12


def test_what_waits_is_a_mean_and_nothing_is_drawn_as_nothing() -> None:
    course = draw(UNREAD, [sample(2, unread=1), sample(1, unread=2)], SPANS[0], NOW)
    assert course.now == "1.5"
    assert len(course.lines[0].split()) == 2, "one piece is drawn too"
    empty = draw(UNREAD, [], SPANS[1], NOW)
    assert (empty.now, empty.most, empty.lines) == ("–", "–", [])
    assert recent_rate([], lambda each: 1.0, NOW) is None
    assert recent_rate([sample(1, 5), sample(90, 500)], lambda each: each.sent["pacs"], NOW) == 300


def test_the_page_shows_what_was_counted(site: Console) -> None:
    visitor = site.visitor()
    assert "Nothing was counted yet" in visitor.get("/machines").text
    now = datetime.now(UTC)
    rows = [
        {
            "taken_at": now - timedelta(minutes=minutes), "seconds": 60.0, "reached": {},
            "counted": {"received": 3, "read": 1, "studies": 1, "failed": 0, "sent": {"pacs": 2}},
            "waiting": {"unread": 4, "outbox": {"pacs": 7}},
        }
        for minutes in range(1, 50)
    ]  # fmt: skip
    with site.ledger._database.transaction() as connection:
        connection.execute(insert(samples), rows)
    text = visitor.get("/machines").text
    for name, value in (("Images received", "180"), ("Studies read", "60"), ("Waiting for pacs", "7")):
        assert re.search(rf'aria-label="{name}, [^"]*: now {value}, at most {value}"', text), name
    assert "<polyline" in text
    assert 'aria-current="true"' in text
    assert "30 days: now 60" in visitor.get("/machines?span=month").text
    assert '<td class="n">120</td>' in visitor.get("/destinations").text, "sent by the hour"


def test_samples_are_taken_while_the_daemon_runs(ledger: Ledger) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=sampling.run, args=(ledger, ["pacs"], stop, None, 0.05))
    thread.start()
    try:
        wait_until(lambda: len(ledger.samples.since(NOW - timedelta(days=999))) > 2, 30, "samples")
    finally:
        stop.set()
        thread.join(10)
