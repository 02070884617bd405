"""Machines that die under load, in `make test`; `python -m tests.system.machines --kills 300 --s3` is the long run."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select

from spinepacs.settings.settings import load
from spinepacs.status import find_out
from spinepacs.store.tables import arrivals
from tests import films, peers
from tests.balancers import haproxy
from tests.daemons import daemon, film
from tests.system.machines import run
from tests.system.site import site
from tests.test_privacy import send
from tests.wires import may_wire

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("on_s3", [False, True], ids=["shared folder", "object storage"])
def test_nothing_acknowledged_is_lost_or_doubled_whatever_dies(tmp_path, on_s3):
    faults = {"kills": 6, "restarts": 1}
    if on_s3:
        faults |= {"outages": 1, "cuts": 2 if may_wire() else 0}
    outcome = run(tmp_path, mean_s=1.2, on_s3=on_s3, senders=2, behind=10, seed=4, **faults)
    print(outcome)
    assert outcome.account.is_settled, f"{outcome}\n{outcome.account}"
    assert outcome.unfinished == {}
    assert outcome.acknowledged > 0


def test_each_role_does_its_part_a_study_from_two_listeners_is_one_and_strangers_are_refused(tmp_path):
    roles = {"in-1": "listener", "in-2": "listener", "reading": "worker", "out": "delivery"}
    with site(tmp_path, on_s3=False, roles=roles) as there:
        for machine in there.machines:
            machine.daemon.start()
        for machine in there.machines:
            machine.daemon.wait_ready(300)
        checks = {machine.name: json.loads(machine.daemon.http("/readyz")[1]) for machine in there.machines}
        assert set(checks["in-1"]) == {"database", "disk", "listener"}
        assert set(checks["reading"]) == {"database", "disk", "model"}
        assert set(checks["out"]) == {"database", "disk", "delivery"}
        shown = films.make_dx(film(1).pixel_array, seed="second", study="study-1", BodyPartExamined="LSPINE")
        one, two, reading, _ = (machine.daemon for machine in there.machines)
        assert send(one.port, [films.write(film(1), tmp_path / "1.dcm")]) == [0]
        assert send(two.port, [films.write(shown, tmp_path / "2.dcm")]) == [0]
        peers.wait_until(lambda: reading.states() == {"delivered": 1}, 120, "one study, delivered")
        peers.wait_until(lambda: len(there.orthanc.sop_uids()) == 6, 60, "its six objects")
        living = {machine["name"] for machine in _living(there)}
        assert living == set(roles)
        told = find_out(load(one.config))
        assert told.running
        assert {(row["machine"], row["process"], row["state"]) for row in told.processes} == {
            ("in-1", "listener-1", "up"),
            ("in-2", "listener-1", "up"),
            ("reading", "worker-1", "up"),
            ("reading", "campaign", "up"),
            ("out", "delivery", "up"),
        }
        assert told.problems == []
        strangers_are_refused(tmp_path, one)
        for machine in there.machines:
            assert machine.daemon.terminate(60) == 0
        assert _living(there) == []


def strangers_are_refused(tmp_path, one):
    """A machine with a spool of its own, and a daemon that knows of no machines."""
    (tmp_path / "other").mkdir()
    storage = {**one.settings["storage"], "spool": str(tmp_path / "own")}
    (tmp_path / "alone").mkdir()
    with (
        daemon(tmp_path / "other", storage=storage, cluster={"enabled": True}) as other,
        daemon(tmp_path / "alone", storage=one.settings["storage"]) as alone,
    ):
        other.start()
        alone.start()
        assert other.process.wait(60) == alone.process.wait(60) == 2
        assert "belongs to another spool" in other.log.read_text()
        assert "another spinepacs daemon works on" in alone.log.read_text()


def _living(there):
    with there.ledger() as ledger:
        return [vars(machine) for machine in ledger.machines.living()]


def test_behind_a_balancer_senders_keep_their_address_and_notice_no_death(tmp_path):
    balancer, sender = "127.0.0.9", "127.0.0.1"
    listener = {"proxies": [balancer], "networks": [sender]}
    with site(
        tmp_path, on_s3=False, roles={"in-1": "listener", "in-2": "listener"}, listener=listener
    ) as there:
        machines = [machine.daemon for machine in there.machines]
        for machine in machines:
            machine.start()
        for machine in machines:
            machine.wait_ready(300)
        sent = [films.write(film(number), tmp_path / f"{number}.dcm") for number in range(6)]
        pairs = [(machine.port, machine.settings["health"]["port"]) for machine in machines]
        with haproxy(tmp_path, pairs, source=balancer) as port:
            assert [send(port, [each]) for each in sent[:4]] == [[0]] * 4
            assert [machine.log.read_text().count("association accepted") for machine in machines] == [2, 2]
            machines[0].kill()
            assert [send(port, [each]) for each in sent[4:]] == [[0]] * 2
        with there.ledger() as ledger:
            assert ledger.rows(select(arrivals.c.peer)) == [{"peer": sender}] * 6
        assert machines[1].terminate(60) == 0


def test_a_part_of_the_work_alone_is_refused(tmp_path):
    with daemon(tmp_path, arguments=("--role", "worker")) as running:
        running.start()
        assert running.process.wait(60) == 2
        assert "cluster.enabled is off" in running.log.read_text()
