"""``spinepacs process``: films per second with one worker and with one for each core, and its memory over many films.

``python -m tests.benchmarks process`` is the former, ``process-memory`` in its place the latter (an hour),
``process-memory-quick`` the same with a pipeline that answers at once.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import generate_uid

from tests import films
from tests.system.load import small_film

DEMO_FILMS = sorted((Path(__file__).parents[2] / "demo" / "films").glob("*.dcm"))
ROUNDS, COPIES = 3, 6
FEW, MANY = 200, 2000
_WINDOW = 60
CORES = len(os.sched_getaffinity(0))


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        yield Path(name)


def _command(folder: Path, out: Path, workers: int, module: str = "spinepacs") -> list[str]:
    return [
        sys.executable, "-m", module, "process", str(folder), "--out", str(out), "--workers", str(workers),
    ]  # fmt: skip


def copies(folder: Path) -> int:
    """Write the demo's films several times, each with UIDs of its own; gives how many."""
    folder.mkdir()
    for number in range(COPIES):
        for source in DEMO_FILMS:
            film = dcmread(source)
            for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
                setattr(film, keyword, generate_uid(entropy_srcs=[source.name, keyword, str(number)]))
            film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
            film.save_as(folder / f"{source.stem}-{number}.dcm")
    return COPIES * len(DEMO_FILMS)


def timed(folder: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds of the clock and of the processors that a run takes."""
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(_command(folder, out, workers), check=True, capture_output=True)
    wall_s, after = time.perf_counter() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(out)
    used_s = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return wall_s, used_s


def main() -> None:
    """Print the medians for one worker and for one a core, in turns, and their ratio."""
    with _scratch() as folder:
        number = copies(folder / "films")
        taken: dict[int, list[tuple[float, float]]] = {1: [], CORES: []}
        for _ in range(ROUNDS):
            for workers, times in taken.items():
                times.append(timed(folder / "films", folder / "out", workers))
    print(
        f"\nprocess: {number} films of the demo, {ROUNDS} rounds in turns, start of the workers included; medians"
    )
    for workers, times in taken.items():
        wall_s, used_s = (statistics.median(each) for each in zip(*times, strict=True))
        print(
            f"{workers} workers   {wall_s:>7.1f} s   {number / wall_s:>6.2f} films/s   {used_s:>7.1f} s of processor"
        )
    ratios = [one[0] / all_[0] for one, all_ in zip(*taken.values(), strict=True)]
    print(
        f"ratio       {statistics.median(ratios):.2f} (of each round: {', '.join(f'{r:.2f}' for r in ratios)})"
    )


def memory_quick() -> None:
    """Do the same with a pipeline that answers at once: all but the network's part of it."""
    memory("tests.batch.scripted")


def memory(module: str = "spinepacs") -> None:
    """Print what the parent and its workers hold (PSS, MB) after some films and after many."""
    with _scratch() as folder:
        (folder / "films").mkdir()
        for number in range(MANY):
            films.write(small_film(2 * number), folder / "films" / f"film-{number:05}.dcm")
        held = _watched(folder, module)
    print(f"\nprocess: memory (PSS, MB), median while the last {_WINDOW} of so many small films were read")
    for count, (parent_mb, workers_mb) in held.items():
        print(f"{count:>6} films   parent {parent_mb:>6.1f}   {CORES} workers {workers_mb:>7.1f}")
    ratio = sum(held[MANY]) / sum(held[FEW])
    print(f"ratio {ratio:.3f}")


def _watched(folder: Path, module: str) -> dict[int, tuple[float, float]]:
    samples: dict[int, list[tuple[float, float]]] = {FEW: [], MANY: []}
    records = folder / "out" / ".spinepacs" / "films"
    with subprocess.Popen(
        _command(folder / "films", folder / "out", 0, module), stderr=subprocess.DEVNULL
    ) as running:
        while running.poll() is None:
            time.sleep(0.5)
            done = (
                sum(entry.name.endswith(".record") for entry in os.scandir(records))
                if records.exists()
                else 0
            )
            for count, found in samples.items():
                if count - _WINDOW <= done < count:
                    found.append(_held_mb(running.pid))
    assert running.returncode == 0
    return {
        count: (
            statistics.median(parent for parent, _ in found),
            statistics.median(rest for _, rest in found),
        )
        for count, found in samples.items()
    }


def _held_mb(pid: int) -> tuple[float, float]:
    """PSS of a process and of its children: what several share is counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _pss_mb(pid), sum(_pss_mb(int(child)) for child in children)


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
