"""Kill -9 of every process of a daemon under load, and then the question whether anything is missing.

::

    python -m tests.system.kills --kills 1000            # an hour; --postgresql: with that database
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests import peers
from tests.daemons import Daemon, daemon, destination
from tests.peers_postgresql import postgresql
from tests.system.account import Account, settle_account
from tests.system.load import Load

SUPERVISOR = "supervisor"
PARTS = ("listener-1", "listener-2", "watcher", "delivery", "worker-1", "worker-2")
WEIGHTS = {
    SUPERVISOR: 2,
    "watcher": 2,
    "delivery": 2,
    "listener-1": 1,
    "listener-2": 1,
    "worker-1": 1,
    "worker-2": 1,
}
"""Each kind of process is killed as often as any other."""
_LOOK_S = 0.02
_RESTART_S = 0.1
_BEHIND_FILMS = 60
_READY = re.compile(r"(\S+) is ready, pid (\d+)")


@dataclass
class Kills:
    """What was killed and how long it took, from its last kill, until the same part said that it was ready."""

    count: Counter[str] = field(default_factory=Counter)
    recovered_s: dict[str, list[float]] = field(default_factory=dict)
    refused_starts: int = 0
    """How often a new supervisor ended because its predecessor's children still held the port."""

    def note(self, part: str, seconds: float) -> None:
        """Write down one recovery."""
        self.recovered_s.setdefault(kind(part), []).append(seconds)


def kind(part: str) -> str:
    """``worker-2`` is a worker."""
    return part.partition("-")[0]


class Killer:
    """Kills, restarts the supervisor as systemd would, and reads in the log who is up again."""

    def __init__(self, running: Daemon, seed: int) -> None:
        self._running = running
        self._random = random.Random(seed)
        self._log = running.log.open(errors="replace")
        self._rest = ""
        self._up: dict[str, int] = {}
        self._down: dict[str, float] = {}
        """Killed parts and since when (s, monotonic)."""
        self._restart_at_s = 0.0
        self._victim = self._choose()
        self.kills = Kills()

    @property
    def is_whole(self) -> bool:
        """Whether every part is up."""
        return set(PARTS) <= set(self._up)  # others, such as the campaigns, are ready too

    def look(self) -> None:
        """Read what the log says, and start the daemon if it is not there."""
        self._start_again()
        self._rest += self._log.read()
        *lines, self._rest = self._rest.split("\n")
        for line in lines:
            if found := _READY.search(line):
                self._up[found[1]] = int(found[2])
                self._note(found[1])
        if SUPERVISOR in self._down and self.is_whole:
            self._note(SUPERVISOR)

    def kill(self) -> bool:
        """Kill the next victim if it is up; False if it is not: then it is killed as soon as it is."""
        part = self._victim
        if part not in self._up and part != SUPERVISOR:
            return False
        self._down[part] = time.monotonic()
        self.kills.count[kind(part)] += 1
        if part == SUPERVISOR:
            self._running.kill()
            self._log.seek(0, os.SEEK_END)
            self._rest = ""
            self._up.clear()
        else:
            os.kill(self._up.pop(part), signal.SIGKILL)
        self._victim = self._choose()
        return True

    def _choose(self) -> str:
        return self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]

    def pause_s(self, mean_s: float) -> float:
        """Random time until the next kill: none too short, some long enough for work to be done."""
        return self._random.uniform(0.1, 2 * mean_s)

    def _start_again(self) -> None:
        process = self._running.process
        if process.poll() is None or time.monotonic() < self._restart_at_s:
            return
        if process.returncode != -signal.SIGKILL:
            self.kills.refused_starts += 1
        self._restart_at_s = time.monotonic() + _RESTART_S
        self._running.start()

    def _note(self, part: str) -> None:
        since_s = self._down.pop(part, None)
        if since_s is not None:
            self.kills.note(part, time.monotonic() - since_s)

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()


@dataclass(frozen=True)
class Outcome:
    """All that a run found out."""

    kills: Kills
    account: Account
    acknowledged: int
    dropped: int
    broken: int
    associations: int
    seconds: float
    failed: dict[str, int]
    """Studies by a state other than delivered."""


def run(
    folder: Path, *, kills: int, mean_s: float, senders: int = 4, seed: int = 0, database_url: str = ""
) -> Outcome:
    """Kill so often, one every ``mean_s`` seconds on average, under load; then let it finish and count."""
    started_s = time.monotonic()
    with peers.orthanc(folder) as orthanc, _daemon(folder, orthanc, database_url) as (running, watched):
        held = {"films": 0.0}

        def is_near() -> bool:
            return len(load.acknowledged) + len(load.dropped) - held["films"] < _BEHIND_FILMS

        def look_at_pacs() -> float:
            held["films"] = orthanc.get("/statistics")["CountInstances"] / 3
            return held["films"]

        load = Load(folder / "films", running.port, watched, is_near)
        running.start()
        running.wait_ready()
        killer = Killer(running, seed)
        load.start(senders)
        with suppress(KeyboardInterrupt):  # enough: what has been done is counted
            _kill(killer, kills, mean_s, look_at_pacs)
        _let_finish(killer, load, look_at_pacs)
        taken = load.acknowledged | load.dropped
        with running.ledger() as ledger:
            account = settle_account(taken, ledger, orthanc)
            states = {
                state: number for state, number in ledger.counts().studies.items() if state != "delivered"
            }
        assert running.terminate() == 0
        killer.close()
    spent_s = time.monotonic() - started_s
    numbers = (len(load.acknowledged), len(load.dropped), load.broken, load.associations)
    return Outcome(killer.kills, account, *numbers, spent_s, states)


def _kill(killer: Killer, kills: int, mean_s: float, look_at_pacs) -> None:
    next_s = time.monotonic() + killer.pause_s(mean_s)
    looked_s = 0.0
    while killer.kills.count.total() < kills:
        killer.look()
        now_s = time.monotonic()
        if now_s - looked_s > 1:
            look_at_pacs()
            looked_s = now_s
        if now_s > next_s and killer.kill():
            _progress(killer.kills)
            next_s = now_s + killer.pause_s(mean_s)
        time.sleep(_LOOK_S)


def _progress(kills: Kills) -> None:
    if kills.count.total() % 25 == 0:
        print(f"{time.strftime('%X')} {dict(kills.count)}", file=sys.stderr, flush=True)


def _let_finish(killer: Killer, load: Load, look_at_pacs, timeout_s: float = 300) -> None:
    """Wait until all is up, sent, taken and delivered; what is not by then is found by the account."""
    until_s = time.monotonic() + timeout_s
    while not (load.finish(0) and killer.is_whole and not load.waiting_in_folder()):
        killer.look()
        look_at_pacs()
        if time.monotonic() > until_s:
            return
        time.sleep(0.1)
    while look_at_pacs() < len(load.acknowledged) + len(load.dropped) and time.monotonic() < until_s:
        time.sleep(0.1)
    time.sleep(1)  # what comes too often comes now


@contextmanager
def _daemon(folder: Path, orthanc: peers.Orthanc, database_url: str) -> Iterator[tuple[Daemon, Path]]:
    watched = folder / "watched"
    watched.mkdir()
    storage = {
        "spool": str(folder / "spool"),
        "database_url": database_url or f"sqlite:///{folder / 'ledger.sqlite'}",
        "reserve_mb": 0,
    }
    # As many attempts as no film can meet by chance: each kill of a worker counts, and rightly, as the film's own.
    work = {"workers": 2, "maximum_attempts": 20}
    to = [destination(orthanc.dicom_port, maximum_attempts=1000)]
    with daemon(folder, to, storage=storage, watch={"folder": str(watched)}, work=work) as running:
        yield running, watched


def table(outcome: Outcome) -> str:
    """The outcome as lines of Markdown."""
    lines = ["| process | kills | up again, median (s) | longest (s) |", "|---|---:|---:|---:|"]
    for part, number in sorted(outcome.kills.count.items()):
        seconds = outcome.kills.recovered_s.get(part, [float("nan")])
        lines.append(f"| {part} | {number} | {statistics.median(seconds):.1f} | {max(seconds):.1f} |")
    account = outcome.account
    lines += [
        f"| all | {outcome.kills.count.total()} | | |",
        "",
        f"{outcome.acknowledged} images acknowledged and {outcome.dropped} taken from the folder; "
        f"{outcome.broken} of {outcome.associations} associations broken; {outcome.seconds:.0f} s",
        f"lost {len(account.lost)}, doubled {len(account.doubled)}, strange {len(account.strange)}; "
        f"studies not delivered: {outcome.failed or 0}; starts refused: {outcome.kills.refused_starts}",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run it from the command line; 0 when the promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=float, default=3.0, help="mean time between kills (s)")
    parser.add_argument("--senders", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--postgresql", action="store_true", help="with a PostgreSQL of its own instead of SQLite"
    )
    parser.add_argument("--keep", type=Path, help="folder to work in, and to leave as it is at the end")
    options = parser.parse_args()
    with ExitStack() as stack:
        url = stack.enter_context(postgresql()).create_database() if options.postgresql else ""
        folder = options.keep
        if folder is None:
            folder = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="spinepacs-kills-", dir="/var/tmp"))
            )
        folder.mkdir(parents=True, exist_ok=True)
        outcome = run(
            folder,
            kills=options.kills,
            mean_s=options.every,
            senders=options.senders,
            seed=options.seed,
            database_url=url,
        )
    print(table(outcome), flush=True)
    return 0 if outcome.account.is_settled and not outcome.failed else 1


if __name__ == "__main__":
    sys.exit(main())
