"""Studies per second of the whole daemon, beside what its networks alone would do with the same films and cores.

Two ways to ask. **Sent**: films are sent to a daemon that has just started, and the clock runs from the first byte to
the last study, so it counts the sending, the wait for more images of a study, and what each worker does once only.
**Backlog**: all films are there already, and the clock runs once each worker has read two: what a busy daemon keeps up.

Processor time is that of all the daemon's processes; other work on the machine changes it less than the clock's.
``--beside PATH`` runs another checkout's daemon in turns with this one's.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import cv2

from spinepacs import pipeline
from spinepacs.settings.settings import Settings
from tests.benchmarks.pipeline import NETWORKS, Clock, large_film
from tests.benchmarks.receivers import Receiver
from tests.benchmarks.work import family, proportional_mb, running_daemon
from tests.peers import require

STUDIES, BACKLOG, ROUNDS, FILMS = 40, 40, 3, 8
CORES = os.cpu_count() or 1
HERE = Path(__file__).parents[2]
_SENDER = ("-pdu", "131072", "-aec", "SPINEPACS", "127.0.0.1")
_LOOK_S, _CALM_S, _FOR_EVER_S = 0.1, 1, 3600
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Rate:
    """What one run took for each study: seconds by the clock, ms of processor time; the share of all cores idle."""

    seconds: float
    spent_ms: float
    idle: float


def networks(folder: Path) -> Rate:
    """Films through the networks alone, all three: one process a core reads films, and only that part is counted."""
    film = large_film(folder, "alone")
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(CORES), context.SimpleQueue()
    readers = [context.Process(target=_read, args=(film, ready, answers)) for _ in range(CORES)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    found = [answers.get() for _ in readers]
    return Rate(
        1 / sum(1 / wall_s for wall_s, _ in found),
        1000 * statistics.median(spent_s for _, spent_s in found),
        0.0,
    )


def _read(film: Path, ready: Barrier, answers: SimpleQueue[tuple[float, float]]) -> None:
    Clock.stand_in()
    settings = Settings()
    cv2.setNumThreads(1)
    reader = pipeline.Pipeline.open(settings.model, settings.output, threads=1)
    reader.read_film(film)
    ready.wait()
    times = []
    for _ in range(FILMS):
        reader.read_film(film)
        times.append(Clock.last.times[NETWORKS])
    wall_s, spent_s = (statistics.median(each) for each in zip(*times, strict=True))
    answers.put((wall_s, spent_s))


@contextmanager
def _daemon(folder: Path, workers: int, build: Path, quiet_period_s: float) -> Iterator[Receiver]:
    """A daemon whose workers have loaded their model."""
    more = (
        f"[assembly]\nquiet_period_s = {quiet_period_s}\n"
        f"[work]\nworkers = {workers}\nthreads_per_worker = 1\npoll_s = 0.1\n"
    )
    with running_daemon(folder, more, warm_up_s=0, build=build) as (port, pid):
        while len(re.findall(r"worker-\d+ is ready", (folder / "daemon.log").read_text())) < workers:
            time.sleep(_LOOK_S)
        time.sleep(_CALM_S)
        yield Receiver(port, pid, ())


def _send(port: int, films: list[Path]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([require("storescu"), *_SENDER, str(port), *map(str, films)])


def _wait_for(folder: Path, studies: int) -> int:
    """Wait until so many are delivered, with a question that costs next to nothing; how many it are then."""
    question = "SELECT count(*) FROM studies WHERE state = 'delivered'"
    with closing(sqlite3.connect(f"file:{folder / 'ledger.sqlite'}?mode=ro", uri=True)) as ledger:
        while (count := int(ledger.execute(question).fetchone()[0])) < studies:
            time.sleep(_LOOK_S)
    return count


def _memory_mb(running: Receiver) -> float:
    return sum(map(proportional_mb, family(running.root)))


def _idle_s() -> float:
    """Time that cores of this machine had nothing to do or waited for the disk (s, proc_stat(5))."""
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    return (int(fields[4]) + int(fields[5])) / _TICKS


class _Watch:
    """Begins when it is made."""

    def __init__(self, running: Receiver) -> None:
        self._running = running
        self._start = time.perf_counter(), running.cost_s()[0], _idle_s()

    def rate(self, studies: int) -> Rate:
        """What happened since, for each of so many studies."""
        wall_s = time.perf_counter() - self._start[0]
        spent_s = self._running.cost_s()[0] - self._start[1]
        idle = (_idle_s() - self._start[2]) / wall_s / CORES
        return Rate(wall_s / studies, 1000 * spent_s / studies, idle)


def sent(folder: Path, workers: int, build: Path) -> Rate:
    """From the first byte sent, to a daemon that has just started, to the last study recorded."""
    films = [large_film(folder, f"film{number}") for number in range(STUDIES)]
    with _daemon(folder, workers, build, quiet_period_s=0.5) as running:
        watch = _Watch(running)
        sender = _send(running.port, films)
        _wait_for(folder, STUDIES)
        rate = watch.rate(STUDIES)
        sender.wait()
    return rate


def backlog(folder: Path, workers: int, build: Path) -> tuple[Rate, float]:
    """What has been received reads the next daemon; and the memory of all its processes (MB, PSS)."""
    first = 2 * workers
    films = [large_film(folder, f"film{number}") for number in range(BACKLOG + first)]
    with _daemon(folder, workers, build, quiet_period_s=_FOR_EVER_S) as running:
        _send(running.port, films).wait()
    with _daemon(folder, workers, build, quiet_period_s=0.5) as running:
        done = _wait_for(folder, first)
        watch = _Watch(running)
        done = _wait_for(folder, len(films)) - done
        return watch.rate(done), _memory_mb(running)


def main(beside: Path | None = None) -> None:
    """Print rates and their ratios, medians of rounds in turns."""
    builds = [("daemon", HERE), *([(beside.name, beside.resolve())] if beside else [])]
    ways = [
        (f"{name}, {number} worker{'s' * (number > 1)}", number, build)
        for number in sorted({1, CORES})
        for name, build in builds
    ]
    alone: list[Rate] = []
    found: list[tuple[list[Rate], list[Rate], list[float]]] = [([], [], []) for _ in ways]
    for _ in range(ROUNDS):
        with _folder() as folder:
            alone.append(networks(folder))
        for (_, workers, build), (cold, steady, memory_mb) in zip(ways, found, strict=True):
            with _folder() as folder:
                cold.append(sent(folder, workers, build))
            with _folder() as folder:
                rate, mb = backlog(folder, workers, build)
            steady.append(rate)
            memory_mb.append(mb)
    _show(_median(alone), ways, found)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        yield Path(name)


def _median(rates: list[Rate]) -> Rate:
    return Rate(*(statistics.median(each) for each in zip(*map(astuple, rates), strict=True)))


def _show(
    bare: Rate, ways: list[tuple[str, int, Path]], found: list[tuple[list[Rate], list[Rate], list[float]]]
) -> None:
    print(f"\nthroughput: studies of one 3000 × 2500 film; {CORES} cores, 1 thread a worker, {ROUNDS} rounds")
    print(f"{'networks alone':<40}{1 / bare.seconds:>7.2f} films/s, {bare.spent_ms:.0f} ms of a core each")
    for (label, _, _), (cold, steady, memory_mb) in zip(ways, found, strict=True):
        for how, rate in (("sent", _median(cold)), ("backlog", _median(steady))):
            times, share = bare.seconds / rate.seconds, bare.spent_ms / rate.spent_ms
            print(
                f"{label + ', ' + how:<40}{1 / rate.seconds:>7.2f} studies/s = {times:.2f} × networks; "
                f"{rate.spent_ms:.0f} ms of a core, networks {share:.0%}; cores idle {rate.idle:.0%}"
            )
        print(f"{'':<40}{statistics.median(memory_mb):>7.0f} MB after the backlog")
