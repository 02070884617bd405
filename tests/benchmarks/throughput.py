"""Studies per second of the whole daemon, beside what its networks alone would do with the same films and cores.

``--beside PATH`` runs another checkout's daemon in turns with this one's.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2

from spinepacs.pipeline import Pipeline
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from tests.benchmarks.pipeline import large_film
from tests.benchmarks.work import family, proportional_mb, running_daemon
from tests.peers import require

STUDIES, ROUNDS, FILMS = 40, 3, 8
CORES = os.cpu_count() or 1
HERE = Path(__file__).parents[2]
_SENDER = ("-pdu", "131072", "-aec", "SPINEPACS", "127.0.0.1")


def networks_rate(folder: Path) -> float:
    """Films per second of the networks alone: one process a core reads films, and only their time is counted."""
    film = large_film(folder, "alone")
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(CORES), context.SimpleQueue()
    readers = [context.Process(target=_read, args=(film, ready, answers)) for _ in range(CORES)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return sum(1 / answers.get() for _ in readers)


def _read(film: Path, ready: Barrier, answers: SimpleQueue[float]) -> None:
    settings = Settings()
    cv2.setNumThreads(1)
    pipeline = Pipeline.open(settings.model, settings.output, threads=1)
    pipeline.read_film(film)
    ready.wait()
    spent = [pipeline.read_film(film).reading.seconds for _ in range(FILMS)]
    answers.put(statistics.median(each["infer"] for each in spent))


def daemon_rate(folder: Path, workers: int, build: Path) -> tuple[float, float]:
    """Studies per second from the first byte sent to the last study recorded, and the most memory (MB, PSS)."""
    films = [large_film(folder, f"film{number}") for number in range(STUDIES)]
    more = (
        f"[assembly]\nquiet_period_s = 0.5\n"
        f"[work]\nworkers = {workers}\nthreads_per_worker = 1\npoll_s = 0.1\n"
    )
    # The workers load the model while it warms up.
    with running_daemon(folder, more, warm_up_s=5, build=build) as (port, daemon_pid):
        start, most_mb = time.perf_counter(), 0.0
        sender = subprocess.Popen([require("storescu"), *_SENDER, str(port), *map(str, films)])
        with Ledger.open_to_read(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
            while ledger.counts().studies.get("delivered", 0) < STUDIES:
                most_mb = max(most_mb, sum(map(proportional_mb, family(daemon_pid))))
                time.sleep(0.25)
        seconds = time.perf_counter() - start
        sender.wait()
    return STUDIES / seconds, most_mb


def main(beside: Path | None = None) -> None:
    """Print rates and their ratios, medians of rounds in turns."""
    ways = [("daemon, one worker", 1, HERE), (f"daemon, {CORES} workers", CORES, HERE)]
    ways += [(f"{beside.name}, {CORES} workers", CORES, beside.resolve())] if beside else []
    alone, found = [], [[] for _ in ways]
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
            alone.append(networks_rate(Path(name)))
        for (_, workers, build), figures in zip(ways, found, strict=True):
            with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
                figures.append(daemon_rate(Path(name), workers, build))
    bare = statistics.median(alone)
    print(f"\nthroughput: {STUDIES} studies of one 3000 × 2500 film; {CORES} cores, 1 thread a worker")
    print(f"{'networks alone':<24}{bare:>7.2f} films/s")
    for (label, _, _), figures in zip(ways, found, strict=True):
        studies, most_mb = (statistics.median(each) for each in zip(*figures, strict=True))
        print(
            f"{label:<24}{studies:>7.2f} studies/s = {studies / bare:.2f} × networks;{most_mb:>6.0f} MB at most"
        )
