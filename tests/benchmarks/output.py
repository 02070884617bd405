"""Milliseconds of processor time for each thing that is written of one 3000 × 2500 film with 24 vertebrae."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import cv2

from spinepacs.dicom.overlay.picture import draw_overlay, encode_overlay
from spinepacs.dicom.report.document import encode_report
from spinepacs.dicom.segmentation import encode_segmentation
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import ImageResult
from spinepacs.settings.sections import OutputSettings
from spinepacs.show.page.article import article
from tests.dicom import readings
from tests.show.test_page import HEADER

ROWS, COLUMNS, ROUNDS = 3000, 2500, 15


def main() -> None:
    """Print the least and the median of each (ms of processor time, so that other work hardly counts)."""
    cv2.setNumThreads(1)
    header, display, output = (
        readings.header(ROWS, COLUMNS),
        readings.display(ROWS, COLUMNS),
        OutputSettings(),
    )
    reading = readings.reading(header, Level.C2, 24)
    labelmap = output.model_copy(update={"segmentation": "labelmap"})
    segmentation = encode_segmentation(header, reading, output)
    picture = draw_overlay(display, reading)
    result = ImageResult(reading, (encode_overlay(header, reading, picture, output),))
    steps: dict[str, Callable[[], Any]] = {
        "SEG": lambda: encode_segmentation(header, reading, output),
        "SEG, labelmap": lambda: encode_segmentation(header, reading, labelmap),
        "SR": lambda: encode_report(header, reading, segmentation, output),
        "picture drawn": lambda: draw_overlay(display, reading),
        "Secondary Capture": lambda: encode_overlay(header, reading, picture, output),
        "page": lambda: article(result, HEADER),
    }
    print(
        f"\noutput: one {ROWS} × {COLUMNS} film, 24 vertebrae, {ROUNDS} rounds: least, median (ms of processor)"
    )
    for name, step in steps.items():
        step()
        spent = [_spent_ms(step) for _ in range(ROUNDS)]
        print(f"{name:>18}  {min(spent):6.1f}  {statistics.median(spent):6.1f}")


def _spent_ms(step: Callable[[], Any]) -> float:
    start = time.process_time()
    step()
    return 1000 * (time.process_time() - start)
