"""Overload: many parallel senders, thousands of small images, nothing read meanwhile, so that all of them queue.

    python -m tests.system.overload --senders 50 --images 10000

Reports what was accepted and what had to be sent again, images a second, how fairly the senders were served, the peak
memory of each process, and what was lost: acknowledged, but not in the ledger or not whole in the spool.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import select

from spinepacs.store.spool import Spool
from spinepacs.store.tables import arrivals
from tests import films, peers
from tests.daemons import Daemon, daemon

BATCH = 20
"""Images of one association, as modalities send a few studies at a time."""

_PLACES = {"sop": "1.2.3.4.5.6.7.8.90000000", "study": "1.2.3.4.5.6.7.8.80000000"}
_IMAGES_A_STUDY = 3


@dataclass
class Sender:
    """One of them: its batches, and how it went."""

    batches: list[list[Path]]
    seconds: float = 0.0
    failures: int = 0
    """Associations that did not bring every image through; all its images were sent again."""

    @property
    def rate(self) -> float:
        """Images a second over the time that it took."""
        return sum(map(len, self.batches)) / self.seconds

    def run(self, port: int) -> None:
        """Send everything, each batch until all of it is acknowledged."""
        started = time.monotonic()
        for batch in self.batches:
            while _storescu(port, batch) != 0:
                self.failures += 1
                time.sleep(0.5)
        self.seconds = time.monotonic() - started


def _storescu(port: int, batch: list[Path]) -> int:
    command = [peers.require("storescu"), "-aec", "SPINEPACS", "127.0.0.1", str(port), *map(str, batch)]
    return subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    ).returncode


@dataclass
class Outcome:
    """What came of it."""

    images: int
    senders: list[Sender]
    seconds: float
    lost: int
    registered_seconds: float
    """From the first image until the last header was read."""
    peak_mb: dict[str, float] = field(default_factory=dict)
    turned_away: dict[str, float] = field(default_factory=dict)
    slowest_answer_s: float = 0.0
    """Of the health page, asked all the while."""

    @property
    def unfairness(self) -> float:
        """Rate of the sender that was served best ÷ that of the one served worst."""
        rates = [sender.rate for sender in self.senders]
        return max(rates) / min(rates)


def make_films(folder: Path, count: int, side_px: int) -> list[Path]:
    """Write square films that differ in their UIDs only, three to a study."""
    pixels = films.spine_like(side_px, side_px).astype(np.uint16)
    template = films.make_dx(pixels, SOPInstanceUID=_PLACES["sop"], StudyInstanceUID=_PLACES["study"])
    data = films.write(template, folder / "template").read_bytes()
    (folder / "template").unlink()
    paths = []
    for number in range(count):
        study = f"{_PLACES['study'][:-8]}{80000000 + number // _IMAGES_A_STUDY}"
        film = data.replace(_PLACES["study"].encode(), study.encode())
        path = folder / f"{number:05}.dcm"
        path.write_bytes(film.replace(_PLACES["sop"].encode(), sop_uid(number).encode()))
        paths.append(path)
    return paths


def sop_uid(number: int) -> str:
    """SOP Instance UID of the film of this number."""
    return f"{_PLACES['sop'][:-8]}{90000000 + number}"


def overload(folder: Path, senders: int, images: int, side_px: int = 64, **listener: int) -> Outcome:
    """Run the daemon, with settings of its listener, and the senders, and compare."""
    (folder / "films").mkdir()
    paths = make_films(folder / "films", images, side_px)
    lots = [paths[number::senders] for number in range(senders)]
    crowd = [Sender([lot[n : n + BATCH] for n in range(0, len(lot), BATCH)]) for lot in lots]
    # All senders of the test share one address: what one address may do is another test's matter.
    listener = {"maximum_associations_per_peer": 0, "associations_per_minute": 0, **listener}
    listener["port"] = peers.free_port()
    with daemon(folder, listener=listener, assembly={"quiet_period_s": 3600}) as running:
        running.start()
        running.wait_ready(300)
        started, asked = time.monotonic(), _AskHealth(running)
        threads = [threading.Thread(target=sender.run, args=(running.port,)) for sender in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - started
        with running.ledger() as ledger:
            peers.wait_until(lambda: not ledger.unregistered(1), 600, "every header to be read")
            registered_seconds = time.monotonic() - started
            rows = ledger.rows(select(arrivals.c.sop_uid, arrivals.c.sha256))
        spool = Spool(Path(running.settings["storage"]["spool"]))
        kept = {row["sop_uid"] for row in rows if is_whole(spool, row["sha256"])}
        lost = len({sop_uid(number) for number in range(images)} - kept)
        return Outcome(
            images,
            crowd,
            seconds,
            lost,
            registered_seconds,
            _peaks(running),
            _turned_away(running),
            asked.stop(),
        )


def is_whole(spool: Spool, sha256: str) -> bool:
    """Whether the spool holds what the ledger says."""
    path = spool.path_of(sha256)
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


class _AskHealth:
    """Asks the health page all the while, and remembers the slowest answer."""

    def __init__(self, running: Daemon) -> None:
        self._running = running
        self._slowest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(1.0):
            started = time.monotonic()
            status, _ = self._running.http("/metrics")
            assert status == 200
            self._slowest_s = max(self._slowest_s, time.monotonic() - started)

    def stop(self) -> float:
        """End it, and give the slowest answer (s)."""
        self._stop.set()
        self._thread.join()
        return self._slowest_s


def _peaks(running: Daemon) -> dict[str, float]:
    """Peak resident memory (MB) of each process of the daemon since its start (proc(5): VmHWM)."""
    log = running.log.read_text()
    named = {name: int(pid) for name, pid in re.findall(r"([\w-]+) is ready, pid (\d+)", log)}
    return {name: _peak_mb(pid) for name, pid in {"supervisor": running.process.pid, **named}.items()}


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 / 1e6


def _turned_away(running: Daemon) -> dict[str, float]:
    """By reason, as the metrics tell."""
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(running.http("/metrics")[1])
        for sample in family.samples
        if sample.name == "spinepacs_turned_away_total" and sample.value
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--senders", type=int, default=50)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side-px", type=int, default=64, help="2000: 8 MB an image")
    asked = parser.parse_args()
    # A child of the daemon may still close its database while the folder goes.
    made = tempfile.TemporaryDirectory(
        prefix="spinepacs-overload-", dir="/var/tmp", ignore_cleanup_errors=True
    )
    with made as name:
        outcome = overload(Path(name), asked.senders, asked.images, asked.side_px)
    rates = sorted(sender.rate for sender in outcome.senders)
    print(f"accepted          {outcome.images} images of {len(outcome.senders)} senders, lost {outcome.lost}")
    print(f"sent again        {sum(sender.failures for sender in outcome.senders)} associations")
    print(f"turned away       {outcome.turned_away or 'nobody'}")
    print(f"images/s          {outcome.images / outcome.seconds:.1f} over {outcome.seconds:.0f} s")
    print(f"all headers read  after {outcome.registered_seconds:.0f} s")
    print(f"images/s a sender {rates[0]:.2f} to {rates[-1]:.2f}, ratio {outcome.unfairness:.2f}")
    print(f"health page       slowest answer {outcome.slowest_answer_s:.2f} s")
    for process, peak_mb in sorted(outcome.peak_mb.items()):
        print(f"peak memory       {process:12} {peak_mb:6.0f} MB")


if __name__ == "__main__":
    main()
