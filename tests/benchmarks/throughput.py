"""Studies per second of the whole daemon beside the bare model's rate on the same cores, and its peak memory."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from tests.benchmarks.model import Way, rate
from tests.benchmarks.pipeline import large_film
from tests.benchmarks.work import running_daemon
from tests.peers import require

STUDIES = 40
WORKERS = os.cpu_count() or 1


def resident_mb(root: int) -> float:
    """Resident memory (MB) of a process and all its descendants; pages that they share count for each."""
    table = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True
    ).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    family = {root}
    for _ in range(4):
        family |= {pid for pid, parent, _ in rows if parent in family}
    return sum(rss for pid, _, rss in rows if pid in family) / 1024


def daemon_rate(folder: Path) -> tuple[float, float]:
    """Studies per second from the first byte sent to the last study recorded, and peak memory (MB)."""
    films = [large_film(folder, f"film{number}") for number in range(STUDIES)]
    more = (
        f"[assembly]\nquiet_period_s = 0.5\n"
        f"[work]\nworkers = {WORKERS}\nthreads_per_worker = 1\npoll_s = 0.1\n"
    )
    # The workers load the model while it warms up.
    with running_daemon(folder, more, warm_up_s=5) as (port, daemon_pid):
        start, peak = time.perf_counter(), 0.0
        sender = subprocess.Popen(
            [
                require("storescu"),
                "-pdu",
                "131072",
                "-aec",
                "SPINEPACS",
                "127.0.0.1",
                str(port),
                *map(str, films),
            ]
        )
        with Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
            while ledger.counts().studies.get("delivered", 0) < STUDIES:
                peak = max(peak, resident_mb(daemon_pid))
                time.sleep(0.1)
        seconds = time.perf_counter() - start
        sender.wait()
    return STUDIES / seconds, peak


def main() -> None:
    """Print both rates and their ratio."""
    bare = rate(Settings().model.folder, Way("ONNX Runtime", "auto", WORKERS, 1))
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        studies, peak = daemon_rate(Path(name))
    print(f"\nthroughput: {STUDIES} studies of one 3000 × 2500 film, {WORKERS} workers × 1 thread")
    print(f"bare model      {bare:>7.2f} pictures/s (640 × 640)")
    print(f"whole daemon    {studies:>7.2f} studies/s = {studies / bare:.2f} × the bare model")
    print(f"peak memory     {peak:>7.0f} MB (supervisor and all children)")
