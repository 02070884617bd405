"""Destinations that misbehave again and again, and then the question whether anything is missing.

::

    python -m tests.system.destinations --rounds 20       # minutes
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from spinepacs.delivery import commitment
from spinepacs.intake.listener import Listener
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.sections import ListenerSettings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import daemons, films, liars, peers
from tests.delivery.test_bad_destinations import BAD
from tests.liars import Call
from tests.outboxes import courier_to, deliveries, delivering, destination, fill_outbox, outbox

IMAGES = 30
"""Each with three objects."""

_FILMS = 15
_RESTARTS = 8
"""The supervisor waits twice as long before each, up to half a minute."""

_PATIENCE_S = 500.0


@dataclass(frozen=True)
class Row:
    """A fault: how often, what was lost of how many objects, and seconds until each was where it belongs."""

    fault: str
    times: int
    objects: int
    lost: int
    seconds: Sequence[float]

    def __str__(self) -> str:
        median, longest = statistics.median(self.seconds), max(self.seconds)
        return (
            f"| {self.fault} | {self.times} | {self.lost} of {self.objects} | {median:.1f}, {longest:.1f} |"
        )


@contextmanager
def at_work(folder: Path, *targets: DicomDestination, images: int) -> Iterator[tuple[Ledger, set[str]]]:
    """Couriers to these destinations, with a study of so many images to deliver; gives the SOP UIDs of its objects."""
    spool = Spool(folder / "spool")
    with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        made = fill_outbox(ledger, spool, *targets, images=images)
        with delivering(*targets, spool=spool, ledger=ledger):
            yield ledger, {item.sop_uid for item in made}


def settled(ledger: Ledger, name: str, state: str) -> bool:
    """Whether everything for a destination is in this state."""
    return {key[1] for key in outbox(ledger) if key[0] == name} == {state}


def misbehaving(folder: Path, rounds: int) -> Iterator[Row]:
    """Each destination is bad on so many connections, in its own way, and then good; all of them at once."""
    with ExitStack() as stack:
        scripts = {script.__name__.replace("_", "-"): script for script in BAD}
        there: dict[str, liars.Liar] = {}
        good_since: dict[str, tuple[float, int]] = {}
        for name, script in scripts.items():
            good = _noting(good_since, name, Call.serve)
            there[name] = stack.enter_context(liars.raw(*[script] * rounds, good))
        targets = [
            destination(
                name, liar.port, ae_title="BAD", timeout_s=0.5, retry_longest_s=0.1, maximum_attempts=10_000
            )
            for name, liar in there.items()
        ]
        done: dict[str, float] = {}
        with at_work(folder, *targets, images=1) as (ledger, _):

            def all_done() -> bool:
                for name in set(there) - set(done):
                    if settled(ledger, name, "sent"):
                        done[name] = time.monotonic()
                return len(done) == len(there)

            peers.wait_until(all_done, _PATIENCE_S, "every destination")
        for name, liar in there.items():
            since_s, before = good_since.get(
                name, (done[name], len(liar.datasets))
            )  # not there: it was believed
            # All three must have come while it was good, and nothing in other bytes than before.
            lost = 3 - len(set(liar.datasets[before:]))
            changed = len(set(liar.datasets)) - 3
            yield Row(name, rounds, 3, lost + changed, [done[name] - since_s])


def _noting(
    began: dict[str, tuple[float, int]], name: str, script: Callable[[Call], None]
) -> Callable[[Call], None]:
    """Write down when a destination becomes good, and how many objects it had been sent by then."""

    def noted(call: Call) -> None:
        began.setdefault(name, (time.monotonic(), len(call.datasets)))
        script(call)

    return noted


def killed(folder: Path, kills: int, seed: int) -> Row:
    """DCMTK's storescp is killed with SIGKILL at random moments while it takes objects, and started again."""
    chance, seconds = random.Random(seed), []
    port = peers.free_port()
    target = destination("pacs", port, timeout_s=5, retry_longest_s=0.1, maximum_attempts=10_000)
    with at_work(folder, target, images=IMAGES) as (ledger, sop_uids):
        for _ in range(kills):
            with peers.dcmtk_storescp(folder, port=port) as scp:
                started_s = time.monotonic()
                before = outbox(ledger).get(("pacs", "sent"), 0)
                while before < len(sop_uids) and outbox(ledger).get(("pacs", "sent"), 0) == before:
                    time.sleep(0.01)
                seconds.append(time.monotonic() - started_s)
                time.sleep(chance.uniform(0, 0.05))
                scp.process.kill()
        with peers.dcmtk_storescp(folder, port=port) as scp:
            peers.wait_until(lambda: settled(ledger, "pacs", "sent"), _PATIENCE_S, "the rest")
            got = [str(dcmread(path).SOPInstanceUID) for path in scp.received()]
    return Row("PACS killed (storescp)", kills, len(sop_uids), len(sop_uids - set(got)), seconds)


def losing(folder: Path, seed: int) -> Row:
    """Orthanc accepts everything; a third of it is deleted there before it is asked for commitment."""
    spool, never = Spool(folder / "spool"), threading.Event()
    with peers.orthanc(folder) as orthanc, Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        target = destination(
            "pacs",
            orthanc.dicom_port,
            ae_title="ORTHANC",
            commitment=True,
            commitment_delay_s=0,
            timeout_s=10,
        )
        sop_uids = {item.sop_uid for item in fill_outbox(ledger, spool, target, images=IMAGES)}
        courier, listener = courier_to(target, spool, ledger), _listening(spool, ledger)
        orthanc.add_modality("spinepacs", "SPINEPACS", listener.port)
        assert courier.deliver_due(never)
        lost = random.Random(seed).sample(orthanc.get("/instances"), len(sop_uids) // 3)
        for instance in lost:
            orthanc.delete(f"/instances/{instance}")
        deleted_s = time.monotonic()
        while not settled(ledger, "pacs", "committed"):
            assert courier.deliver_due(never)
            courier.commit_due(never)
        seconds = [time.monotonic() - deleted_s]
        missing = len(sop_uids - orthanc.sop_uids())
        again = sum(row["losses"] for row in deliveries(ledger))
        listener.stop()
    fault = f"accepted and lost (Orthanc); {again} sent again"
    return Row(fault, len(lost), len(sop_uids), missing, seconds)


def restarted(folder: Path, kills: int, seed: int) -> Row:
    """A daemon's delivery process is killed with SIGKILL while it sends to Orthanc and asks for commitment."""
    chance, seconds = random.Random(seed), []
    with peers.orthanc(folder) as orthanc:
        to = daemons.destination(
            orthanc.dicom_port, ae_title="ORTHANC", commitment=True, commitment_delay_s=0.2
        )
        with daemons.daemon(folder, [to | {"commitment_wait_s": 3.0}]) as running:
            running.start()
            running.wait_ready()
            orthanc.add_modality("spinepacs", "SPINEPACS", running.port)
            paths = [films.write(daemons.film(number), folder / f"{number}.dcm") for number in range(_FILMS)]
            store = [peers.require("storescu"), "-aec", "SPINEPACS", "127.0.0.1", str(running.port)]
            subprocess.run([*store, *paths], check=True)
            peers.wait_until(lambda: bool(running.states().get("recorded")), _PATIENCE_S, "the first results")
            for _ in range(kills):
                before = running.pids("delivery")
                os.kill(before[-1], signal.SIGKILL)
                killed_s = time.monotonic()
                while running.pids("delivery") == before:
                    time.sleep(0.02)
                seconds.append(time.monotonic() - killed_s)
                time.sleep(chance.uniform(0, 1))
            peers.wait_until(lambda: running.states() == {"delivered": _FILMS}, _PATIENCE_S, "every promise")
            with running.ledger() as ledger:
                kept = {row["sop_uid"] for row in deliveries(ledger) if row["state"] == "committed"}
            lost = 3 * _FILMS - len(kept & orthanc.sop_uids())
    return Row("delivery killed while it sends and asks", kills, 3 * _FILMS, lost, seconds)


def _listening(spool: Spool, ledger: Ledger) -> Listener:
    made = Listener(
        ListenerSettings(port=0),
        spool,
        ledger,
        on_report=lambda event: commitment.take_report(event, ledger),
    )
    made.start()
    return made


def experiments(folder: Path, rounds: int, seed: int) -> Iterator[Row]:
    """All of them, one after the other, each in a folder of its own."""
    folders = [folder / name for name in ("misbehaving", "killed", "losing", "restarted")]
    for each in folders:
        each.mkdir()
    yield from misbehaving(folders[0], rounds)
    yield killed(folders[1], rounds, seed)
    yield losing(folders[2], seed)
    yield restarted(folders[3], min(rounds, _RESTARTS), seed)


def main() -> int:
    """Run all of it from the command line; 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lost = 0
    print("| fault | times | lost | seconds, median and longest |\n|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="spinepacs-destinations-", dir="/var/tmp") as name:
        for row in experiments(Path(name), options.rounds, options.seed):
            lost += row.lost
            print(row, flush=True)
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
