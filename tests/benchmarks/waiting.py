"""What it costs to wait: an idle daemon's processor time and memory, its start, and the commands that people type.

``--beside PATH`` measures another checkout in turns with this one.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.benchmarks.work import family, proportional_mb
from tests.peers import free_port

ROUNDS, IDLE_S, SETTLE_S = 3, 10.0, 4.0
HERE = Path(__file__).parents[2]
_READY = ("listener-1 is ready", "listener-2 is ready", "worker-1 is ready")


def processor_s(pids: set[int]) -> float:
    """Processor time of the threads of these processes that live (s)."""
    total_ns = 0
    for pid in pids:
        with suppress(OSError):
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


@contextmanager
def _daemon(build: Path) -> Iterator[tuple[int, float, Path]]:
    """A daemon with two listeners and one worker: process id, seconds until it was ready, its settings."""
    with tempfile.TemporaryDirectory(prefix="spinepacs-waiting-", dir="/var/tmp") as name:
        config, log = Path(name, "spinepacs.toml"), Path(name, "log")
        config.write_text(
            f'[storage]\nspool = "spool"\ndatabase_url = "sqlite:///ledger.sqlite"\nreserve_mb = 0\n'
            f"[listener]\nport = {free_port()}\nprocesses = 2\n[health]\nport = {free_port()}\n[work]\nworkers = 1\n"
        )
        start = time.perf_counter()
        with log.open("wb") as file:
            daemon = subprocess.Popen(
                _command("serve", "--config", str(config)), stderr=file, cwd=build, env=_environment(build)
            )
        try:
            while not all(word in log.read_text() for word in _READY):
                time.sleep(0.02)
            yield daemon.pid, time.perf_counter() - start, config
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spinepacs", *arguments]


def _environment(build: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(build)}


def _seconds(build: Path, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        _command(*arguments), stdout=subprocess.DEVNULL, cwd=build, env=_environment(build), check=True
    )
    return time.perf_counter() - start


def _measure(build: Path) -> dict[str, float]:
    figures = {}
    with _daemon(build) as (pid, ready_s, config):
        figures["start to ready (s)"] = ready_s
        time.sleep(SETTLE_S)
        pids = family(pid)
        before_s = processor_s(pids)
        time.sleep(IDLE_S)
        figures["idle (% of a core)"] = (processor_s(pids) - before_s) / IDLE_S * 100
        figures["memory (MB, PSS)"] = sum(map(proportional_mb, pids))
        figures["spinepacs --help (s)"] = _seconds(build, "--help")
        figures["spinepacs queue (s)"] = _seconds(build, "queue", "--config", str(config))
    return figures


def main(beside: Path | None = None) -> None:
    """Print the median of each figure."""
    builds = [HERE, *([beside.resolve()] if beside else [])]
    found: list[defaultdict[str, list[float]]] = [defaultdict(list) for _ in builds]
    for _ in range(ROUNDS):
        for build, figures in zip(builds, found, strict=True):
            for name, value in _measure(build).items():
                figures[name].append(value)
    print(f"\nwaiting: supervisor, 2 listeners, 1 worker; medians of {ROUNDS} rounds in turns")
    print(" " * 24 + "".join(f"{build.name:>12}" for build in builds))
    for name in found[0]:
        print(f"{name:<24}" + "".join(f"{statistics.median(figures[name]):>12.2f}" for figures in found))
