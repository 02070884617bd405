"""Receive rate: our daemon (with fsync and ledger) beside DCMTK's storescp (without), same senders, same images."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.work import running_daemon
from tests.films import make_dx, write
from tests.peers import free_port, require

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES_PER_SENDER = {1: 40, 8: 8}
ROWS = COLUMNS = 2450  # 12 MB at 16 bit
ROUNDS = 3


@contextmanager
def our_daemon(folder: Path) -> Iterator[int]:
    """The daemon with its defaults; the quiet period is so long that no study is read meanwhile."""
    with running_daemon(folder, "[assembly]\nquiet_period_s = 3600\n", warm_up_s=3) as (port, _):
        yield port


@contextmanager
def storescp(folder: Path) -> Iterator[int]:
    """DCMTK's storescp, one process for each association, bit-preserving."""
    port = free_port()
    command = [require("storescp"), "--fork", "+B", "-od", str(folder), "-pdu", "131072", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _films(folder: Path, count: int) -> list[Path]:
    """Distinct 12-MB images, noise so that nothing can be saved on them."""
    noise = np.random.default_rng(0).integers(0, 4096, (ROWS, COLUMNS), dtype=np.uint16)
    return [write(make_dx(noise, seed=str(n), study=str(n)), folder / f"{n:03}.dcm") for n in range(count)]


def _send(port: int, batches: list[list[Path]]) -> float:
    """Seconds until all senders are done."""
    program = require("storescu")
    start = time.perf_counter()
    senders = [
        subprocess.Popen(
            [program, "-pdu", "131072", "-aec", "SPINEPACS", "127.0.0.1", str(port), *map(str, batch)]
        )
        for batch in batches
    ]
    if any(sender.wait() for sender in senders):
        raise SystemExit("a sender failed")
    return time.perf_counter() - start


def main() -> None:
    """Print MB/s and images/s for 1 and 8 senders, rounds interleaved, with the ratio of the medians."""
    print("\nreceive: 12-MB images, DCMTK storescu, PDU 131072; ours with fsync and ledger, storescp without")
    print(f"{'senders':>8} {'receiver':>10} {'MB/s':>8} {'images/s':>9}   ratio")
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        root = Path(name)
        (root / "films").mkdir()
        films = _films(root / "films", max(n * per for n, per in IMAGES_PER_SENDER.items()))
        size_mb = films[0].stat().st_size / 1e6
        for senders, each in IMAGES_PER_SENDER.items():
            batches = [films[i * each : (i + 1) * each] for i in range(senders)]
            times: dict[str, list[float]] = {"ours": [], "storescp": []}
            for _ in range(ROUNDS):
                for label, receiver in (("storescp", storescp), ("ours", our_daemon)):
                    with tempfile.TemporaryDirectory(dir=root) as out, receiver(Path(out)) as port:
                        times[label].append(_send(port, batches))
            count = senders * each
            ratio = statistics.median(times["storescp"]) / statistics.median(times["ours"])
            for label in ("storescp", "ours"):
                seconds = statistics.median(times[label])
                shown = f"{ratio:.2f} ×" if label == "ours" else ""
                print(
                    f"{senders:>8} {label:>10} {count * size_mb / seconds:>8.0f} {count / seconds:>9.1f}   {shown}"
                )
