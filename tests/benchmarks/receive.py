"""Receiving: our daemon (fsync and ledger) beside DCMTK's storescp (neither), Orthanc, and the bare disk (fsync).

``--beside PATH`` adds the daemon of another checkout as the row "before"; ``--rounds N`` sets how often.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.receivers import Receiver, daemon, orthanc_archive, storescp
from tests.films import make_dx, write
from tests.peers import require

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


@dataclass(frozen=True)
class Load:
    """So many senders at once, each with so many images of one size."""

    senders: int
    each: int
    side_px: int

    @property
    def images(self) -> int:
        """Of all senders."""
        return self.senders * self.each

    def films(self, folder: Path) -> list[list[Path]]:
        """What each sender sends: images that nobody else sends, noise so that nothing can be saved on them."""
        shape, name = (self.side_px, self.side_px), f"{self.senders}-{self.side_px}"
        noise = np.random.default_rng(0).integers(0, 4096, shape, dtype=np.uint16)
        paths = [
            write(make_dx(noise, seed=f"{name}-{n}", study=f"{name}-{n}"), folder / f"{name}-{n}.dcm")
            for n in range(self.images)
        ]
        return [paths[i * self.each : (i + 1) * self.each] for i in range(self.senders)]


@dataclass(frozen=True)
class Taken:
    """What one load cost one receiver, in seconds: by the clock, of all its processes, of those that receive."""

    wall_s: float
    family_s: float
    listeners_s: float


LOADS = (Load(1, 24, 2450), Load(8, 6, 2450), Load(50, 1, 2450), Load(8, 50, 500))
"""12 MB at 16 bit, and 0.5 MB."""


def _send(receiver: Receiver, batches: list[list[Path]]) -> Taken:
    """Send with DCMTK's storescu, until all senders are done."""
    to = [require("storescu"), "-pdu", "131072", "-aec", "SPINEPACS", "127.0.0.1", str(receiver.port)]
    family_s, listeners_s = receiver.cost_s()
    start_s = time.perf_counter()
    senders = [subprocess.Popen([*to, *map(str, batch)]) for batch in batches]
    statuses = [sender.wait() for sender in senders]
    if any(statuses):
        raise SystemExit(f"{sum(map(bool, statuses))} senders failed at port {receiver.port}")
    wall_s = time.perf_counter() - start_s
    time.sleep(0.2)  # so that the last children are buried
    after = receiver.cost_s()
    return Taken(wall_s, after[0] - family_s, after[1] - listeners_s)


def _copy(folder: Path, batches: list[list[Path]]) -> Taken:
    """Write the same files with fsync, by as many threads as there are senders."""

    def one(batch: list[Path]) -> None:
        for path in batch:
            with (folder / path.name).open("xb", buffering=0) as file:
                file.write(path.read_bytes())
                os.fsync(file)

    start_s, spent_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(batches)) as pool:
        list(pool.map(one, batches))
    cost_s = time.process_time() - spent_s
    return Taken(time.perf_counter() - start_s, cost_s, cost_s)


def _show(load: Load, size_mb: float, rounds: dict[str, list[Taken]]) -> None:
    def median(label: str, of: str) -> float:
        return statistics.median(getattr(taken, of) for taken in rounds[label]) / load.images

    print(f"\n{load.senders} senders × {load.each} images of {size_mb:.1f} MB")
    print(
        f"{'receiver':>10} {'MB/s':>6} {'images/s':>9} {'ms/image':>9} {'family':>7}    rate  ms/image  × storescp"
    )
    for label in rounds:
        wall_s, family_s, listeners_s = (median(label, of) for of in ("wall_s", "family_s", "listeners_s"))
        rate = median("storescp", "wall_s") / wall_s
        cost = listeners_s / median("storescp", "listeners_s")
        print(
            f"{label:>10} {size_mb / wall_s:>6.0f} {1 / wall_s:>9.1f} {listeners_s * 1e3:>9.1f}"
            f" {family_s * 1e3:>7.1f}    {rate:>4.2f}  {cost:>8.2f}"
        )


def _run(receivers: dict[str, Callable[[Path], AbstractContextManager[Receiver]]], rounds: int) -> None:
    taken: dict[Load, dict[str, list[Taken]]] = {load: defaultdict(list) for load in LOADS}
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        (films := Path(name) / "films").mkdir()
        batches = {load: load.films(films) for load in LOADS}
        for _ in range(rounds):
            for label, receiver in receivers.items():
                with tempfile.TemporaryDirectory(dir=name) as out, receiver(Path(out)) as running:
                    for load in LOADS:
                        taken[load][label].append(_send(running, batches[load]))
            with tempfile.TemporaryDirectory(dir=name) as out:
                for load in LOADS:
                    taken[load]["disk"].append(_copy(Path(out), batches[load]))
        for load in LOADS:
            _show(load, batches[load][0][0].stat().st_size / 1e6, taken[load])


def main(beside: Path | None = None, rounds: int = 5) -> None:
    """Print rates and processor time for each load and receiver, medians of interleaved rounds."""
    receivers = {"storescp": storescp, "Orthanc": orthanc_archive, "ours": daemon()}
    if beside:
        receivers["before"] = daemon(beside.resolve())
    print("\nreceive: DCMTK storescu, PDU 131072; ms/image: processor time, of the processes that receive")
    _run(receivers, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="receive", description=__doc__)
    parser.add_argument("--beside", type=Path, metavar="PATH", help="another checkout, shown as 'before'")
    parser.add_argument("--rounds", type=int, default=5)
    main(**vars(parser.parse_args()))
