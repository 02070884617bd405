"""Milliseconds of each thing that is written of one 3000 × 2500 film with 24 vertebrae, and of recording it.

``--beside PATH`` runs another checkout's figures in turns with this one's, in processes of their own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import ImageResult, StudyResult
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.page.article import article
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.dicom import readings
from tests.show.test_page import HEADER
from tests.store import makers

ROWS, COLUMNS, ROUNDS, TURNS = 3000, 2500, 7, 3
Figures = dict[str, list[tuple[float, float]]]
"""Wall and processor time (ms) of each round of each step."""


def main(beside: Path | None = None) -> None:
    """Print the median of each step (ms): processor time, which other work hardly changes, and wall time."""
    roots = [Path(__file__).parents[2], *([beside] if beside else [])]
    found: list[Figures] = [defaultdict(list) for _ in roots]
    for _ in range(TURNS):
        for root, figures in zip(roots, found, strict=True):
            for step, rounds in _of(root).items():
                figures[step] += rounds
    print(f"\noutput: one {ROWS} × {COLUMNS} film, 24 vertebrae, {TURNS * ROUNDS} rounds, medians in ms")
    print(f"{'':>18}" + "".join(f"{root.name + ': processor':>24}{'wall':>8}" for root in roots))
    for step in found[0]:
        medians = [
            [statistics.median(each) for each in zip(*figures[step], strict=True)] for figures in found
        ]
        print(f"{step:>18}" + "".join(f"{spent:>24.1f}{wall:>8.1f}" for wall, spent in medians))


def _of(root: Path) -> Figures:
    """The figures of a checkout: this file runs there, be it there or not."""
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", "import sys; exec(compile(sys.stdin.read(), 'output', 'exec')); _tell()"]
    answer = subprocess.run(
        command,
        env=environment,
        cwd=root,
        input=Path(__file__).read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    figures: Figures = json.loads(answer.stdout.splitlines()[-1])
    return figures


def _tell() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(prefix="spinepacs-output-", dir="/var/tmp") as name:
        print(
            json.dumps(
                {step: [_spent(work) for _ in range(ROUNDS)] for step, work in _steps(Path(name)).items()}
            )
        )


def _steps(folder: Path) -> dict[str, Callable[[], Any]]:
    """What is timed, each done once before."""
    header, display, output = (
        readings.header(ROWS, COLUMNS),
        readings.display(ROWS, COLUMNS),
        OutputSettings(),
    )
    reading = readings.reading(header, Level.C2, 24)
    labelmap = output.model_copy(update={"segmentation": "labelmap"})
    segmentation = encode_segmentation(header, reading, output)
    assert segmentation
    report = encode_report(header, reading, segmentation, output)
    picture = draw_overlay(display, reading)
    shown = encode_overlay(header, reading, picture, output)
    steps: dict[str, Callable[[], Any]] = {
        "SEG": lambda: encode_segmentation(header, reading, output),
        "SEG, labelmap": lambda: encode_segmentation(header, reading, labelmap),
        "SR": lambda: encode_report(header, reading, segmentation, output),
        "picture drawn": lambda: draw_overlay(display, reading),
        "Secondary Capture": lambda: encode_overlay(header, reading, picture, output),
        "page": lambda: article(ImageResult(reading, (shown,)), HEADER),
        "record": _recording(folder, ImageResult(reading, (segmentation, report, shown))),
    }
    for step in steps.values():
        step()
    return steps


def _recording(folder: Path, image: ImageResult) -> Callable[[], None]:
    """Objects into the spool, the reading into the ledger, as the worker does it; a study of its own each time."""
    spool, ledger = Spool(folder / "spool"), Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
    ready = iter(_claims(ledger, ROUNDS + 1))

    def record() -> None:
        claim, number = next(ready), f"{time.monotonic_ns()}"
        parts = [bytes(item.part10[:-64]) + number.encode().ljust(64, b"\0") for item in image.objects]
        begin = (time.perf_counter(), time.process_time())
        together = getattr(spool, "add_together", None)  # as an older checkout does it: one after the other
        kept = together(parts) if together else [spool.add([part]) for part in parts]
        renamed = [
            item.__class__(**{**vars(item), "sop_uid": f"{item.sop_uid[:40]}.{number}"})
            for item in image.objects
        ]
        stored = {item.sop_uid: file.sha256 for item, file in zip(renamed, kept, strict=True)}
        reading = image.reading.__class__(**{
            **vars(image.reading), "versions": claim.versions, "sop_uid": claim.arrivals[0].sop_uid,
        })  # fmt: skip
        ledger.record(
            claim,
            StudyResult(claim.study_uid, (ImageResult(reading, tuple(renamed)),)),
            stored,
            (makers.PACS,),
        )
        _ITSELF.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))

    return record


_ITSELF: list[tuple[float, float]] = []
"""What a step has timed itself, where it has to make something ready first."""


def _claims(ledger: Ledger, number: int) -> list[Any]:
    for n in range(number):
        makers.take_in(ledger, f"1.9.{n}", f"1.8.{n}")
        ledger.mark_ready(f"1.8.{n}")
    return [ledger.claim(makers.VERSIONS, 3) for _ in range(number)]


def _spent(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor time (ms)."""
    _ITSELF.clear()
    wall_s, spent_s = time.perf_counter(), time.process_time()
    step()
    wall_s, spent_s = _ITSELF[0] if _ITSELF else (time.perf_counter() - wall_s, time.process_time() - spent_s)
    return 1000 * wall_s, 1000 * spent_s
