"""Milliseconds of each step of the pipeline for one 3000 × 2500 film, and what is beside inference as a share of it."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.pipeline import Pipeline
from spinepacs.settings.sections import Destination, OutputSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.benchmarks.work import ingest
from tests.films import make_dx, write

ROWS, COLUMNS = 3000, 2500
ROUNDS = 7
DEMO_FILMS = Path(__file__).parents[2] / "demo" / "films"


def large_film(folder: Path, seed: str = "large") -> Path:
    """A cervical film of the demo, enlarged to 3000 × 2500, 16 bit allocated, uncompressed."""
    source = next(iter(sorted(DEMO_FILMS.glob("*cervical*.dcm"))))
    loaded = read_film(source)
    assert isinstance(loaded, LoadedFilm)
    pixels = cv2.resize(loaded.radiograph.display, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC)
    return write(make_dx(pixels.astype(np.uint16) * 16, seed=seed, study=seed), folder / f"{seed}.dcm")


def main() -> None:
    """Print the median of each step (ms)."""
    settings = Settings()
    steps: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        folder = Path(name)
        spool, ledger = Spool(folder / "spool"), Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
        pipeline = Pipeline.open(settings.model, OutputSettings(), threads=1)
        destinations = (Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104),)
        for number in range(ROUNDS + 1):
            film = large_film(folder, f"film{number}")
            claim = ingest(film, spool, ledger, pipeline.versions)
            result = pipeline.read_study(claim.study_uid, [film])
            start = time.perf_counter()
            objects = result.images[0].objects
            stored = {item.sop_uid: spool.add([item.part10]).sha256 for item in objects}
            ledger.record(claim, result, stored, destinations)
            seconds = dict(result.images[0].reading.seconds) | {"record": time.perf_counter() - start}
            if number:  # the first round warms up
                for step, value in seconds.items():
                    steps.setdefault(step, []).append(value * 1000)
            found = len(result.images[0].reading.spine.vertebrae) if result.images[0].reading.spine else 0
        ledger.close()
    _print(steps, found)


def _print(steps: dict[str, list[float]], found: int) -> None:
    medians = {step: statistics.median(values) for step, values in steps.items()}
    print(f"\npipeline: one {ROWS} × {COLUMNS} film, 1 thread, {found} vertebrae, {ROUNDS} rounds")
    for step, value in medians.items():
        print(f"{step:>14} {value:>8.1f} ms")
    inference = medians.get("infer", 0.0)
    beside = sum(medians.values()) - inference
    if inference:
        print(f"beside inference: {beside:.0f} ms = {beside / inference:.2f} × inference")
