"""What a reader answers to computed crops, kept in ``reference.json``, and its replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import CROP_PX, to_batch
from spinepacs.analysis.seeing.sessions import open_session
from spinepacs.training.release.pictures import FORMULAS, picture

_TOLERANCE = 0.05
"""Largest difference allowed of logits between one processor and another."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_reader(path: Path) -> Run:
    """Open a reader with ONNX Runtime as a function from crops (n, 1, h, w) to logits (n, 26)."""
    session = open_session(path, path.read_bytes(), 1)
    name = session.get_inputs()[0].name
    return lambda crops: np.asarray(session.run(None, {name: crops})[0], np.float32)


def reader_answers(run: Run) -> dict[str, Any]:
    """What a reader answers to the computed pictures, for :func:`reader_differences`."""
    return {
        "kinds": list(FORMULAS),
        "logits": np.round(run(computed_crops()), 3).tolist(),
        "tolerance": _TOLERANCE,
    }


def reader_differences(run: Run, expected: dict[str, Any]) -> list[str]:
    """What a reader answers otherwise than was noted, by more than the tolerance noted."""
    worst = float(np.abs(run(computed_crops(expected["kinds"])) - np.array(expected["logits"])).max())
    return [f"logits by {worst:.3f}"] if worst > expected["tolerance"] else []


def computed_crops(kinds: Iterable[str] = tuple(FORMULAS)) -> NDArray[np.float32]:
    """The pictures as a batch of crops."""
    return to_batch([picture(kind, *CROP_PX) for kind in kinds])
