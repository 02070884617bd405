"""What the networks that look at crops answer to computed ones, kept in ``reference.json``, and its replay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing import reader, tracer
from spinepacs.analysis.seeing.crops import EDGES, NAMES, Frame, to_batch
from spinepacs.analysis.seeing.sessions import open_session
from spinepacs.training.release.pictures import FORMULAS, picture

FRAMES = {reader.FILE: NAMES, tracer.FILE: EDGES}
"""By the file of a network: what its crops are like."""
TOLERANCE = 0.05
"""Largest difference allowed of logits between one processor and another."""
TOLERANCE_INT8 = 1.0
"""Wider: processors round the integers differently between layers."""

Floats = NDArray[np.float32]
Run = Callable[[Floats], Floats]


def open_network(path: Path) -> Run:
    """Open one of these networks with ONNX Runtime as a function from crops (n, 1, h, w) to logits."""
    session = open_session(path, path.read_bytes(), 1)
    name = session.get_inputs()[0].name
    return lambda crops: np.asarray(session.run(None, {name: crops})[0], np.float32)


def crop_answers(run: Run, frame: Frame, tolerance: float = TOLERANCE) -> dict[str, Any]:
    """What a network answers to the computed pictures, for :func:`crop_differences`."""
    logits = np.round(_told(run(computed_crops(frame))), 3).tolist()
    return {"kinds": list(FORMULAS), "logits": logits, "tolerance": tolerance}


def crop_differences(run: Run, frame: Frame, expected: dict[str, Any]) -> list[str]:
    """What a network answers otherwise than was noted, by more than the tolerance noted."""
    found = _told(run(computed_crops(frame, expected["kinds"])))
    worst = float(np.abs(found - np.array(expected["logits"])).max())
    return [f"logits by {worst:.3f}"] if worst > expected["tolerance"] else []


def _told(logits: Floats) -> Floats:
    """(n, answers) as they are; of maps (n, m, h, w) the mean and the greatest of each: there are too many to keep."""
    if logits.ndim == 2:
        return logits
    return np.concatenate([logits.mean(axis=(2, 3)), logits.max(axis=(2, 3))], axis=1)


def computed_crops(frame: Frame, kinds: Iterable[str] = tuple(FORMULAS)) -> Floats:
    """The pictures as a batch of crops."""
    return to_batch([picture(kind, *frame.shape) for kind in kinds])
