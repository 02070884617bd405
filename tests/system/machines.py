"""Several machines, one PostgreSQL, one spool: kill -9 of parts and of whole machines, and then the account.

::

    python -m tests.system.machines --kills 300 --restarts 10 --outages 10 --s3
    python -m tests.system.machines --kills 20 --cuts 40 --s3

A machine is a process tree of its own with settings, scratch folder and ports of its own; with ``--cuts`` also with a
network namespace of its own, whose cable to PostgreSQL, storage, PACS and senders is pulled for a while. What that does
not prove: clocks that differ, a shared folder over NFS (it is one file system here, which no cut reaches), and a real
S3 (moto's server holds its objects in memory).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from spinepacs.store.machines import TAKEN_FOR_DEAD
from spinepacs.store.tables import machines
from tests.system.account import Account, settle_account
from tests.system.load import Load
from tests.system.site import ROLES, Site, site

WHOLE = "machine"
_BEHIND_FILMS = 30
_LONGEST_ABSENCE_S = 12.0
_LONGEST_CUT_S = 20.0


@dataclass
class Outcome:
    """All that a run found out."""

    count: Counter[str] = field(default_factory=Counter)
    """Kills by part, and other faults."""
    taken_over_s: list[float] = field(default_factory=list)
    """From the death of a machine, or its cut, until another one had taken over what it had in hand."""
    acknowledged: int = 0
    account: Account = field(default_factory=Account)
    unfinished: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rest_s: float = 0.0
    """From the last fault until everything was delivered."""

    def __str__(self) -> str:
        over = self.taken_over_s or [float("nan")]
        return (
            f"{dict(self.count)}; {self.acknowledged} images acknowledged; lost {len(self.account.lost)}, doubled "
            f"{len(self.account.doubled)}, strange {len(self.account.strange)}; not delivered {self.unfinished or 0}; "
            f"taken over {len(self.taken_over_s)} times after {statistics.median(over):.1f} s "
            f"(median; longest {max(over):.1f}); all delivered {self.rest_s:.1f} s after the last fault; "
            f"{self.seconds:.0f} s"
        )


class Faults:
    """Kills parts and machines, restarts the database, takes the storage away; and measures the taking over."""

    def __init__(self, there: Site, seed: int) -> None:
        self._site = there
        self._random = random.Random(seed)
        self._deaths: dict[str, list[float]] = {}
        self.outcome = Outcome()

    def turn(self) -> None:
        """Let come back what is to come back."""
        for machine in self._site.machines:
            machine.start_again()

    def kill(self) -> bool:
        """Kill a part, or a whole machine, chosen among those that live; False: none does at the moment."""
        up = [machine for machine in self._site.machines if machine.is_up]
        choices = [(WHOLE, machine, 0) for machine in up if len(up) > 1]
        choices += [(part, machine, pid) for machine in up for part, pid in machine.processes()]
        if not choices:
            return False
        kind = self._random.choice(sorted({part for part, _, _ in choices}))
        part, machine, pid = self._random.choice([each for each in choices if each[0] == kind])
        if part == WHOLE:
            machine.kill()
            machine.back_at_s = time.monotonic() + self._random.uniform(0, _LONGEST_ABSENCE_S)
            self._deaths.setdefault(machine.name, []).append(time.time())
        else:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.outcome.count[part] += 1
        return True

    def restart_database(self) -> bool:
        """PostgreSQL ends, cuts everybody off, and is started again."""
        self._site.server.stop()
        time.sleep(self._random.uniform(0, 2))
        self._site.server.start()
        self.outcome.count["PostgreSQL restarted"] += 1
        return True

    def cut_storage(self) -> bool:
        """The object storage answers nobody for a while; its objects stay."""
        if self._site.storage:
            with self._site.storage.away():
                time.sleep(self._random.uniform(1, 4))
            self.outcome.count["storage away"] += 1
        return True

    def cut_off(self) -> bool:
        """Pull the cable of a machine, for less or for longer than the others wait before they take it for dead.

        False: only one machine has its cable.
        """
        choices = [
            (machine, machine.cable)
            for machine in self._site.machines
            if machine.cable and machine.is_up and machine.plugged_at_s == float("inf")
        ]
        if len(choices) < 2:
            return False
        machine, cable = self._random.choice(choices)
        self._deaths.setdefault(machine.name, []).append(time.time())  # as the others see it
        machine.cut(cable, self._random.uniform(0.5, _LONGEST_CUT_S))
        self.outcome.count["cut off"] += 1
        return True

    def measure(self) -> None:
        """Find in the database when each machine that died was taken over from."""
        ended = select(machines.c.name, machines.c.ended_at).where(machines.c.ended_how == TAKEN_FOR_DEAD)
        with self._site.ledger() as ledger:
            rows = ledger.rows(ended.order_by(machines.c.ended_at))
        for row in rows:
            deaths = [
                at_s for at_s in self._deaths.get(row["name"], ()) if at_s < row["ended_at"].timestamp()
            ]
            if deaths:
                self.outcome.taken_over_s.append(row["ended_at"].timestamp() - deaths[-1])


def run(
    folder: Path,
    *,
    kills: int,
    mean_s: float,
    on_s3: bool = False,
    restarts: int = 0,
    outages: int = 0,
    cuts: int = 0,
    senders: int = 2,
    behind: int = _BEHIND_FILMS,
    seed: int = 0,
) -> Outcome:
    """Do all that to the machines under load, let them finish, and count."""
    started_s = time.monotonic()
    with site(folder, on_s3=on_s3, is_wired=cuts > 0) as there:
        for machine in there.machines:
            machine.daemon.start()
        for machine in there.machines:
            machine.daemon.wait_ready(300)
        taking = [machine.daemon for machine in there.machines if ROLES[machine.name] != "worker"]
        listeners = [(daemon.host, daemon.port) for daemon in taking]
        held = {"films": 0.0}
        load = Load(
            folder / "films", listeners, None, lambda: len(load.acknowledged) - held["films"] < behind
        )

        def look_at_pacs() -> float:
            held["films"] = there.orthanc.get("/statistics")["CountInstances"] / 3
            return held["films"]

        faults = Faults(there, seed)
        load.start(senders)
        plan = [faults.kill] * kills + [faults.restart_database] * restarts + [faults.cut_storage] * outages
        plan += [faults.cut_off] * cuts
        random.Random(seed).shuffle(plan)
        _harm(faults, plan, mean_s, look_at_pacs, seed)
        last_s = time.monotonic()
        outcome = faults.outcome
        _let_finish(faults, load, look_at_pacs)
        for machine in there.machines:
            machine.mend()
        outcome.rest_s = time.monotonic() - last_s
        faults.measure()
        outcome.acknowledged = len(load.acknowledged)
        with there.ledger() as ledger:
            outcome.account = settle_account(load.acknowledged, ledger, there.orthanc)
            states = ledger.counts().studies
        outcome.unfinished = {state: number for state, number in states.items() if state != "delivered"}
        for machine in there.machines:
            assert not machine.is_up or machine.daemon.terminate(60) == 0
    outcome.seconds = time.monotonic() - started_s
    return outcome


def _harm(
    faults: Faults,
    plan: list[Callable[[], bool]],
    mean_s: float,
    look_at_pacs: Callable[[], float],
    seed: int,
) -> None:
    chance = random.Random(seed + 1)
    for number, harm in enumerate(plan):
        until_s = time.monotonic() + chance.uniform(0.2, 2 * mean_s)
        while time.monotonic() < until_s or not harm():
            faults.turn()
            look_at_pacs()
            time.sleep(0.1)
        if number % 25 == 24:
            print(f"{time.strftime('%X')} {dict(faults.outcome.count)}", file=sys.stderr, flush=True)


def _let_finish(
    faults: Faults, load: Load, look_at_pacs: Callable[[], float], timeout_s: float = 900
) -> None:
    """Wait until all is sent and delivered; what is not by then is found by the account."""
    until_s = time.monotonic() + timeout_s
    while not load.finish(0) or look_at_pacs() < len(load.acknowledged):
        faults.turn()
        if time.monotonic() > until_s:
            return
        time.sleep(0.1)
    time.sleep(1)  # what comes too often comes now


def main() -> int:
    """Run it from the command line; 0 when the promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=0, help="of PostgreSQL")
    parser.add_argument("--outages", type=int, default=0, help="of the object storage")
    parser.add_argument("--cuts", type=int, default=0, help="of a machine from the network; needs root")
    parser.add_argument("--every", type=float, default=3.0, help="mean time between faults (s)")
    parser.add_argument("--senders", type=int, default=8)
    parser.add_argument("--behind", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--s3", action="store_true", help="object storage (moto) instead of a shared folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="spinepacs-machines-", dir="/var/tmp") as name:
        outcome = run(
            Path(name),
            kills=options.kills,
            mean_s=options.every,
            on_s3=options.s3,
            restarts=options.restarts,
            outages=options.outages,
            cuts=options.cuts,
            senders=options.senders,
            behind=options.behind,
            seed=options.seed,
        )
    print(outcome, flush=True)
    return 0 if outcome.account.is_settled and not outcome.unfinished else 1


if __name__ == "__main__":
    sys.exit(main())
