"""Pictures per second of the bare network: fp32 and int8, one session on all cores or a process for each; OpenVINO.

A model folder other than the default one: ``python -c "from pathlib import Path; from tests.benchmarks.model import
main; main(Path('FOLDER'))"``.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import product
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.analysis.seeing.sessions import multiplies_int8
from spinepacs.settings.settings import Settings

SHAPES = ((1, 640, 640), (1, 640, 256), (4, 640, 320))
SECONDS = 2.0
ROUNDS = 2
CORES = os.cpu_count() or 1


class Way(NamedTuple):
    """How the network is run."""

    runtime: str
    precision: str
    processes: int
    threads: int

    def __str__(self) -> str:
        word = "thread" if self.threads == 1 else "threads"
        return f"{self.runtime:<12} {self.precision}  {self.processes} × {self.threads} {word}"


FIRST = Way("ONNX Runtime", "fp32", CORES, 1)
"""What the others are compared with: how the daemon's workers run it."""


def network(folder: Path, way: Way) -> Callable[[Any], object]:
    """The network as a function of its input."""
    if way.runtime == "ONNX Runtime":
        return Segmenter.open(folder, way.threads, way.precision).infer
    import openvino

    file = folder / ("model-int8.onnx" if way.precision == "int8" else "model.onnx")
    # Pinned, the only threads of several processes would share the first core.
    options = {"INFERENCE_NUM_THREADS": way.threads, "ENABLE_CPU_PINNING": False}
    return openvino.Core().compile_model(file, "CPU", options)


def _run(
    folder: Path, way: Way, shape: tuple[int, int, int], ready: Barrier, rates: SimpleQueue[float]
) -> None:
    run, count = network(folder, way), 0
    noise = np.random.default_rng(0).random((shape[0], 1, *shape[1:]), np.float32)
    tensor = np.repeat(noise, 3, axis=1)
    run(tensor)
    ready.wait()
    start = time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS or not count:
        run(tensor)
        count += shape[0]
    rates.put(count / seconds)


def rate(folder: Path, way: Way = FIRST, shape: tuple[int, int, int] = SHAPES[0]) -> float:
    """Pictures per second of all processes together, for batches of ``shape`` (pictures, height, width)."""
    context = multiprocessing.get_context("spawn")
    ready, rates = context.Barrier(way.processes), context.SimpleQueue()
    processes = [
        context.Process(target=_run, args=(folder, way, shape, ready, rates)) for _ in range(way.processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return sum(rates.get() for _ in processes)


def ways(folder: Path) -> list[Way]:
    """Every way in which the folder's networks can be run here."""
    runtimes = ["ONNX Runtime"] + ["OpenVINO"] * bool(importlib.util.find_spec("openvino"))
    precisions = ["fp32"] + ["int8"] * bool(Manifest.load(folder).int8_sha256)
    return [
        Way(runtime, precision, *shares)
        for runtime in runtimes
        for precision in precisions
        for shares in ((CORES, 1), (1, CORES))
    ]


def main(folder: Path | None = None) -> None:
    """Print pictures per second, the best of some rounds, and their ratio to fp32 in one process for each core."""
    folder = folder or Settings().model.folder
    best: defaultdict[tuple[Way, tuple[int, int, int]], float] = defaultdict(float)
    for way, shape in ROUNDS * list(product(ways(folder), SHAPES)):
        best[way, shape] = max(best[way, shape], rate(folder, way, shape))
    print(f"\nmodel: {folder.name}, pictures/s and × {FIRST}; int8 instructions: {multiplies_int8()}")
    for file in sorted(folder.glob("*.onnx")):
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")
    print(" " * 34 + "".join(f"{'{} × {} × {}'.format(*shape):>18}" for shape in SHAPES))
    for way in ways(folder):
        cells = [
            f"{best[way, shape]:>8.1f}  {best[way, shape] / best[FIRST, shape]:.2f} ×" for shape in SHAPES
        ]
        print(f"{way!s:<34}" + "".join(f"{cell:>18}" for cell in cells))
