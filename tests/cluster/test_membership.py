"""Machines that live, die, stand still and come back: by nobody's clock but the looker's own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from spinepacs.cluster.membership import Membership
from spinepacs.cluster.roles import Role, check_role, check_spool
from spinepacs.errors import Permanent, Transient
from spinepacs.settings.sections import ClusterSettings, StorageSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.exclusive import Exclusive
from spinepacs.store.ledger import Ledger
from spinepacs.store.tables import attempts, events, studies
from tests import peers
from tests.peers_postgresql import PostgreSQL
from tests.store import makers

pytestmark = pytest.mark.peer
CLUSTER = ClusterSettings(enabled=True)


class Now:
    """A clock in our hand."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class Quiet:
    """Says nothing, and remembers what it heard."""

    def __init__(self, **traffic: tuple[int, int]) -> None:
        self.said = traffic
        self.heard: list[Any] = []

    def processes(self) -> dict[str, Any]:
        return {}

    def traffic(self) -> dict[str, tuple[int, int]]:
        return self.said

    def elsewhere(self, traffic: list[Any]) -> None:
        self.heard = traffic


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def join(ledger: Ledger, now: Now) -> Callable[[str], Membership]:
    return lambda name: Membership(ledger, CLUSTER, name, Role.ALL, now)


def a_study(ledger: Ledger, number: int = 1) -> str:
    """A study that is ready."""
    uid = f"1.2.{number}"
    ledger.add_arrival(makers.arrival(f"{uid}.1"))
    (arrival,) = ledger.unregistered(10)
    ledger.register(arrival.arrival_id, makers.header(f"{uid}.1", uid), None)
    ledger.mark_ready(uid)
    return uid


def state(ledger: Ledger, uid: str) -> tuple[str, int]:
    (row,) = ledger.rows(select(studies.c.state, studies.c.attempts).where(studies.c.study_uid == uid))
    return row["state"], row["attempts"]


def look(machine: Membership, now: Now, seconds: int) -> None:
    """Let it look once a second."""
    for _ in range(seconds):
        now.s += 1
        machine.turn(Quiet())


def test_what_a_dead_machine_had_in_hand_is_taken_over_and_its_attempt_counts(ledger, join, now):
    dead, other = join("dead"), join("other")
    uid = a_study(ledger)
    claim = ledger.claim(makers.VERSIONS, 3, machine_id=dead.machine_id)
    look(other, now, 6)
    assert state(ledger, uid) == ("working", 1)
    look(other, now, 2)
    assert state(ledger, uid) == ("ready", 1)
    assert [machine.name for machine in ledger.machines.living()] == ["other"]
    again = ledger.claim(makers.VERSIONS, 3, machine_id=other.machine_id)
    assert (again.study_uid, again.attempt_number) == (uid, 2)
    assert not ledger.fail(claim, "LATE", "its machine came back", transient=True)
    kinds = [row["kind"] for row in ledger.rows(select(events.c.kind))]
    assert "machine-lost" in kinds


def test_a_study_whose_machines_die_three_times_is_failed(ledger, join, now):
    watcher = join("watcher")
    uid = a_study(ledger)
    for number in range(3):
        assert ledger.claim(makers.VERSIONS, 3, machine_id=join(f"dead-{number}").machine_id)
        look(watcher, now, 9)
    assert ledger.claim(makers.VERSIONS, 3, machine_id=watcher.machine_id) is None
    assert state(ledger, uid)[0] == "failed"


def test_a_living_machines_claims_are_nobody_elses(ledger, join, now):
    one, two = join("one"), join("two")
    uid = a_study(ledger)
    ledger.claim(makers.VERSIONS, 3, machine_id=one.machine_id)
    for _ in range(20):
        now.s += 1
        one.turn(Quiet())
        two.turn(Quiet())
    assert ledger.return_orphans((), two.machine_id) == 0
    assert state(ledger, uid) == ("working", 1)
    assert ledger.return_orphans([uid], one.machine_id) == 0
    assert ledger.return_orphans((), one.machine_id) == 1, "its own, which it has not in hand"


def test_after_an_outage_of_the_database_nobody_is_dead(ledger, join, now, monkeypatch):
    one, two = join("one"), join("two")
    look(two, now, 5)
    now.s += 60  # nobody could beat: neither could we look
    look(two, now, 1)
    one.turn(Quiet())
    look(two, now, 5)
    assert len(ledger.machines.living()) == 2
    look(two, now, 3)
    assert [machine.name for machine in ledger.machines.living()] == ["two"]


def test_a_machine_that_was_taken_for_dead_finds_out_gets_no_claim_and_comes_back(ledger, join, now, caplog):
    paused, other = join("paused"), join("other")
    a_study(ledger)
    look(other, now, 9)
    assert ledger.claim(makers.VERSIONS, 3, machine_id=paused.machine_id) is None
    before = paused.machine_id
    with caplog.at_level(logging.WARNING):
        paused.turn(Quiet())
    assert "silent for too long" in caplog.text
    assert paused.machine_id != before
    assert ledger.claim(makers.VERSIONS, 3, machine_id=paused.machine_id) is not None


def test_a_machine_that_ends_in_order_leaves_nothing_in_hand(ledger, join):
    one = join("one")
    uid = a_study(ledger)
    ledger.claim(makers.VERSIONS, 3, machine_id=one.machine_id)
    one.leave()
    assert state(ledger, uid)[0] == "ready"
    assert ledger.machines.living() == []


def test_a_machine_that_beats_at_that_very_moment_is_not_buried(ledger, join):
    one = join("one")
    (seen,) = ledger.machines.living()
    one.turn(Quiet())
    assert ledger.machines.bury(seen) is None
    assert len(ledger.machines.living()) == 1


def test_each_hears_who_visits_the_others(ledger, join, now):
    one, two, listening = join("one"), join("two"), Quiet()
    one.turn(Quiet(**{"10.0.0.1": (3, 40)}))
    two.turn(listening)
    assert listening.heard == [{"10.0.0.1": [3, 40]}]


def test_what_one_machine_does_no_other_does_until_it_ends(url, server):
    one, two = Exclusive(url, "delivery to pacs"), Exclusive(url, "delivery to pacs")
    other = Exclusive(url, "delivery to archive")
    assert one.take()
    assert one.take()
    assert not two.take()
    assert other.take()
    one.release()
    assert two.take()
    assert not one.take()
    two.close()  # as when it dies
    peers.wait_until(one.take, 10, "the server to notice")
    one.close()
    other.close()


def test_a_turn_is_lost_with_the_server_and_taken_again(server: PostgreSQL, url):
    one = Exclusive(url, "delivery to pacs")
    assert one.take()
    server.stop()
    with pytest.raises(Transient):
        one.take()
    server.start()
    assert one.take()
    one.close()


def test_a_second_spool_on_one_database_is_refused_until_a_person_says_so(ledger):
    settings = Settings(storage=StorageSettings(spool="/nowhere/spool"))
    check_spool(ledger, "first", settings)
    check_spool(ledger, "first", settings)
    with pytest.raises(Permanent, match="another spool than /nowhere/spool"):
        check_spool(ledger, "second", settings)
    check_spool(ledger, "second", settings, is_new=True)
    with pytest.raises(Permanent, match="--new-spool"):
        check_spool(ledger, "first", settings)


def test_a_part_of_the_work_needs_others():
    with pytest.raises(Permanent, match=r"cluster\.enabled is off"):
        check_role(Settings(), Role.LISTENER)
    check_role(Settings(), Role.ALL)
    with pytest.raises(ValueError, match="needs PostgreSQL"):
        Settings(cluster=CLUSTER)
    with pytest.raises(ValueError, match="three times"):
        ClusterSettings(heartbeat_s=3, dead_after_s=5)


def test_whose_an_attempt_is_stands_in_its_row(ledger, join):
    one = join("one")
    a_study(ledger)
    ledger.claim(makers.VERSIONS, 3, machine_id=one.machine_id)
    assert [row["machine_id"] for row in ledger.rows(select(attempts.c.machine_id))] == [one.machine_id]
