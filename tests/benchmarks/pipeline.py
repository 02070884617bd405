"""Wall and processor time of each step of the pipeline, beside its networks, for a 3000 × 2500 film and a whole spine.

``--beside PATH`` runs another checkout too, round by round in turns, so that both meet the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import generate_uid

from spinepacs import pipeline
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.settings.destinations import DicomDestination
from spinepacs.settings.sections import OutputSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.benchmarks.work import ingest
from tests.films import make_dx, write

ROWS, COLUMNS = 3000, 2500
ROUNDS = 9
HERE = Path(__file__).parents[2]
DEMO_FILMS = HERE / "demo" / "films"

NETWORKS = "networks"
"""The step that is what ONNX Runtime takes of the others."""

Times = dict[str, tuple[float, float]]
"""Step → ms by the wall clock, ms of processor time."""


def large_film(folder: Path, seed: str = "large") -> Path:
    """A cervical film of the demo, enlarged to 3000 × 2500, 16 bit allocated, uncompressed."""
    source = next(iter(sorted(DEMO_FILMS.glob("*cervical*.dcm"))))
    loaded = read_film(source)
    assert isinstance(loaded, LoadedFilm)
    pixels = cv2.resize(loaded.radiograph.display, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC)
    return write(make_dx(pixels.astype(np.uint16) * 16, seed=seed, study=seed), folder / f"{seed}.dcm")


def whole_spine(folder: Path, seed: str) -> Path:
    """The demo's full-spine lateral (JPEG 2000) as one more film."""
    film = dcmread(DEMO_FILMS / "3-full-spine-lateral.dcm")
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(film, keyword, generate_uid(entropy_srcs=[keyword, seed]))
    film.file_meta.MediaStorageSOPInstanceUID = film.SOPInstanceUID
    film.save_as(folder / f"{seed}.dcm")
    return folder / f"{seed}.dcm"


FILMS = {f"one {ROWS} × {COLUMNS} film": large_film, "the demo's full-spine lateral": whole_spine}


@dataclass
class Clock:
    """Stands in for the pipeline's own clock, which takes wall time only; knows the networks apart."""

    seconds: dict[str, float] = field(default_factory=dict)
    times: dict[str, tuple[float, float]] = field(default_factory=lambda: {NETWORKS: (0.0, 0.0)})
    last: Any = None

    def __post_init__(self) -> None:
        type(self).last = self

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the block to a step, but for what the networks took."""
        networks, start = np.array(self.times[NETWORKS]), _now()
        yield
        spent = _now() - start - (0 if name == NETWORKS else np.array(self.times[NETWORKS]) - networks)
        wall, processor = spent + self.times.get(name, (0.0, 0.0))
        self.seconds[name], self.times[name] = wall, (wall, processor)

    @classmethod
    def stand_in(cls) -> None:
        """Take the pipeline's times, and those of ONNX Runtime."""
        pipeline._Clock, run = cls, ort.InferenceSession.run

        def timed(*arguments: Any) -> Any:
            with cls.last.step(NETWORKS):
                return run(*arguments)

        ort.InferenceSession.run = timed


def _now() -> NDArray[np.float64]:
    return np.array([time.perf_counter(), time.process_time()])


def rounds(make: Callable[[Path, str], Path]) -> Iterator[Times]:
    """Film after film, through the whole pipeline and into a ledger; the first ones warm up."""
    Clock.stand_in()
    with tempfile.TemporaryDirectory(prefix="spinepacs-benchmark-", dir="/var/tmp") as name:
        folder = Path(name)
        spool, ledger = Spool(folder / "spool"), Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
        reader = pipeline.Pipeline.open(Settings().model, OutputSettings(), threads=1)
        destinations = (DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104),)
        number = 0
        while True:
            film = make(folder, f"film{number}")
            claim = ingest(film, spool, ledger, reader.versions)
            result = reader.read_study(claim.study_uid, [film])
            clock = Clock.last
            with clock.step("record"):
                made = result.images[0].objects
                kept = spool.add_together([item.part10 for item in made])  # as a worker does
                stored = {item.sop_uid: file.sha256 for item, file in zip(made, kept, strict=True)}
                ledger.record(claim, result, stored, destinations)
            assert result.images[0].reading.spine, "the film shows a spine"
            film.unlink()
            number += 1
            yield {step: (1000 * wall, 1000 * spent) for step, (wall, spent) in clock.times.items()}


def serve(make: Callable[[Path, str], Path]) -> None:
    """Answer each line of standard input with the times of one more film."""
    times = rounds(make)
    for _ in sys.stdin:
        print(json.dumps(next(times)), flush=True)


class _Checkout:
    """A process that reads films with the code of one checkout."""

    def __init__(self, folder: Path, film: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(folder)}
        command = [sys.executable, "-P", __file__, "--serve", film]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, text=True
        )

    def next(self) -> Times:
        """Read one film."""
        assert self._process.stdin
        assert self._process.stdout
        print(file=self._process.stdin, flush=True)
        return {
            step: (wall, spent) for step, (wall, spent) in json.loads(self._process.stdout.readline()).items()
        }

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(beside: Path | None = None) -> None:
    """Print the median of each step, of this checkout and of the one beside it."""
    for film in FILMS:
        _compare(film, beside)


def _compare(film: str, beside: Path | None) -> None:
    checkouts = [_Checkout(folder, film) for folder in (*filter(None, [beside]), HERE)]
    taken: list[list[Times]] = [[] for _ in checkouts]
    for number in range(ROUNDS + 2):
        for checkout, times in zip(checkouts, taken, strict=True):
            times.append(checkout.next())
            if number < 2:  # these warm up
                times.clear()
    for checkout in checkouts:
        checkout.close()
    print(f"\npipeline: {film}, 1 thread, {ROUNDS} rounds; ms (ms of processor time)")
    _print([_medians(times) for times in taken])


def _medians(times: list[Times]) -> Times:
    def median(step: str, which: int) -> float:
        return statistics.median(one[step][which] for one in times)

    return {step: (median(step, 0), median(step, 1)) for step in times[0]}


def _print(columns: list[Times]) -> None:
    names = ("before", "now")[-len(columns) :]
    print(" " * 20 + "".join(f"{name:>18}" for name in names))
    sums = [[sum(ms[which] for ms in medians.values()) for which in (0, 1)] for medians in columns]
    for step in columns[-1]:
        cells = (medians.get(step, (0.0, 0.0)) for medians in columns)
        print(f"{step:>20}" + "".join(f"{wall:>9.1f} ({spent:>6.1f})" for wall, spent in cells))
    shares = [
        [(total - ms) / ms for total, ms in zip(both, medians[NETWORKS], strict=True)]
        for both, medians in zip(sums, columns, strict=True)
    ]
    print(f"{'all':>20}" + "".join(f"{wall:>9.1f} ({spent:>6.1f})" for wall, spent in sums))
    print(f"{'beside ÷ networks':>20}" + "".join(f"{wall:>9.2f} ({spent:>6.2f})" for wall, spent in shares))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--serve", choices=FILMS, help="read such a film for each line (internal)")
    options.add_argument("--beside", type=Path, help="another checkout, read in turns")
    chosen = options.parse_args()
    serve(FILMS[chosen.serve]) if chosen.serve else main(chosen.beside)
