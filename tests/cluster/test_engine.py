"""The engine wakes; the ledger decides. What is lost between the two costs nothing but a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from spinepacs.cluster import engine
from spinepacs.cluster.engine import Engine, announce, install
from spinepacs.store.ledger import Ledger
from tests import peers
from tests.cluster.test_membership import a_study, state
from tests.peers_postgresql import PostgreSQL
from tests.store import makers

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    install(url)
    install(url)
    with Ledger.open(url, announce=announce) as opened:
        yield opened


def jobs(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT task_name, args, priority, status FROM procrastinate_jobs ORDER BY priority DESC, id"
        ).fetchall()


@contextmanager
def waking(url: str) -> Iterator[threading.Event]:
    woken, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=Engine(url, woken.set).run, args=(stop,))
    thread.start()
    try:
        yield woken
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_study_that_becomes_ready_is_announced_with_the_change_and_urgent_ones_first(ledger, url):
    a_study(ledger, 1)
    ledger.add_arrival(makers.arrival("1.2.2.1"))
    (arrival,) = ledger.unregistered(10)
    ledger.register(arrival.arrival_id, makers.header("1.2.2.1", "1.2.2"), None, urgent=True)
    ledger.mark_ready("1.2.2")
    assert [(row[1]["study_uid"], row[2]) for row in jobs(url)] == [("1.2.2", 10), ("1.2.1", 0)]


def test_a_transaction_that_is_rolled_back_announces_nothing(ledger, url):
    uid = a_study(ledger)

    def work(connection):
        announce(connection, [uid])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger._database.write(work)
    assert len(jobs(url)) == 1, "that of the study itself"


def test_what_cannot_be_announced_changes_nothing_of_the_ledger(ledger, url, server: PostgreSQL):
    server.run(url, "DROP TABLE procrastinate_jobs CASCADE")
    uid = a_study(ledger)
    assert state(ledger, uid) == ("ready", 0)
    assert ledger.claim(makers.VERSIONS, 3).study_uid == uid


def test_a_machine_is_woken_at_once_and_again_after_an_outage(ledger, url, server: PostgreSQL):
    with waking(url) as woken:
        a_study(ledger, 1)
        assert woken.wait(30)
        peers.wait_until(lambda: not jobs(url), 30, "a job that is done leaves no row")
        server.stop()
        time.sleep(2)
        server.start()
        woken.clear()
        a_study(ledger, 2)
        assert woken.wait(60)


def test_the_job_of_a_worker_that_was_killed_is_put_back(ledger, url, server: PostgreSQL, monkeypatch):
    """Its row is ``doing``, and its worker's last heartbeat was long ago."""
    monkeypatch.setattr(engine, "_STALLED_S", 2.0)
    a_study(ledger)
    server.run(
        url,
        "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour')",
        "UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT max(id) FROM procrastinate_workers)",
    )
    with waking(url) as woken:
        assert woken.wait(60)
