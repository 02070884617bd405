"""Computed pictures and what a model answers to them: ``reference.json`` of a model folder, and its replay.

The pictures follow ``pictures.FORMULAS``, so no film has to be stored; the answers tell a file that was altered, or a
runtime that computes otherwise, from the one that was exported.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spinepacs.analysis.seeing.decode import Candidates, decode
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.sessions import open_session
from spinepacs.training.data.dataset import CLASS_NAMES
from spinepacs.training.learning.checkpoint import Floats, Network
from spinepacs.training.release.crop_reference import FRAMES, crop_answers, crop_differences, open_network
from spinepacs.training.release.crop_reference import TOLERANCE as CROP_TOLERANCE
from spinepacs.training.release.crop_reference import TOLERANCE_INT8 as CROP_TOLERANCE_INT8
from spinepacs.training.release.pictures import picture


class ReferenceInput(NamedTuple):
    """One batch: which pictures, and their size in px (multiples of 32)."""

    kinds: tuple[str, ...]
    height_px: int
    width_px: int

    def tensor(self) -> Floats:
        """The network's input, float32 (n, 3, height, width) in 0 … 1."""
        pictures = np.stack([picture(kind, self.height_px, self.width_px) for kind in self.kinds])
        tensor: Floats = np.repeat(pictures[:, None].astype(np.float32) / np.float32(255), 3, axis=1)
        return tensor


SQUARES = (ReferenceInput(("ladder",), 640, 640), ReferenceInput(("waves",), 640, 640))
COMPARED = (
    *SQUARES,
    ReferenceInput(("ladder",), 640, 256),
    ReferenceInput(("ladder", "waves", "ladder"), 640, 320),
)
"""Inputs on which an exported network is compared with the one in torch."""
REPLAYED = (*SQUARES, ReferenceInput(("ladder", "waves"), 640, 320))
"""Inputs whose answers are kept."""

TOLERANCE = {"box_px": 0.5, "score": 0.01, "highest_by_channel": 0.5, "prototype_means": 0.005}
TOLERANCE_INT8 = {"box_px": 4.0, "score": 0.05, "highest_by_channel": 4.0, "prototype_means": 0.02}
"""Wider: processors round the integers differently between layers."""


def open_onnx(path: Path) -> Network:
    """Open a model with ONNX Runtime as a function from input to both outputs."""
    session = open_session(path, path.read_bytes(), 0)
    name = session.get_inputs()[0].name

    def run(tensor: Floats) -> tuple[Floats, Floats]:
        heads, prototypes = session.run(None, {name: tensor})[:2]
        return heads, prototypes

    return run


def answers(
    run: Network,
    score_threshold: float,
    iou_threshold: float,
    tolerance: dict[str, float],
    inputs: Sequence[ReferenceInput] = REPLAYED,
) -> dict[str, Any]:
    """What a network answers to the reference inputs, for :func:`differences` to compare.

    For each picture of each input: every detection of at least ``score_threshold`` as product code decodes it, and
    for each head channel the highest value, which also guards pictures on which nothing is found.
    """
    replies = [_reply(run, given, score_threshold, iou_threshold) for given in inputs]
    return {
        "score_threshold": score_threshold,
        "iou_threshold": iou_threshold,
        "tolerance": tolerance,
        "answers": replies,
    }


def _reply(
    run: Network, given: ReferenceInput, score_threshold: float, iou_threshold: float
) -> dict[str, Any]:
    pictures = [
        _answer(heads, prototypes, score_threshold, iou_threshold)
        for heads, prototypes in zip(*run(given.tensor()), strict=True)
    ]
    sums = [int(picture(kind, given.height_px, given.width_px).sum()) for kind in given.kinds]
    return {**given._asdict(), "grey_sums": sums, "pictures": pictures}


def _answer(
    heads: Floats, prototypes: Floats, score_threshold: float, iou_threshold: float
) -> dict[str, Any]:
    found = decode(heads, len(CLASS_NAMES), score_threshold, iou_threshold)
    return {
        "detections": [_row(found, index) for index in range(len(found))],
        "highest_by_channel": _rounded(heads.max(axis=1), 3),
        "prototype_means": _rounded(prototypes.mean(axis=(1, 2)), 4),
    }


def _row(found: Candidates, index: int) -> dict[str, Any]:
    return {
        "box_px": _rounded(found.boxes_px[index], 2),
        "score": round(float(found.scores[index]), 4),
        "level": CLASS_NAMES[int(found.class_scores[index].argmax())],
    }


def _rounded(values: Floats, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def answers_of(path: Path, manifest: Manifest) -> dict[str, Any]:
    """What any network of a model folder answers to its reference, with the tolerance of its form."""
    network, int8 = _of_network(path.name)
    if network in FRAMES:
        tolerance = CROP_TOLERANCE_INT8 if int8 else CROP_TOLERANCE
        return crop_answers(open_network(path), FRAMES[network], tolerance)
    limits = TOLERANCE_INT8 if int8 else TOLERANCE
    return answers(open_onnx(path), manifest.score_threshold / 2, manifest.iou_threshold, limits)


def _of_network(name: str) -> tuple[str, bool]:
    """The fp32 file that one of a folder is a form of, and whether it is the 8-bit one."""
    return name.replace("-int8", ""), "-int8" in name


def replay(folder: Path) -> list[str]:
    """Ask every network of a model folder again; what it answers otherwise than ``reference.json``, in words."""
    reference = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    told = []
    for name, expected in reference["files"].items():
        network, _ = _of_network(name)
        changes = (
            crop_differences(open_network(folder / name), FRAMES[network], expected)
            if network in FRAMES
            else differences(open_onnx(folder / name), expected)
        )
        told += [f"{name}: {change}" for change in changes]
    return told


def differences(run: Network, expected: dict[str, Any]) -> list[str]:
    """What a network answers otherwise than :func:`answers` noted, by more than the tolerance noted there."""
    inputs = [
        ReferenceInput(tuple(reply["kinds"]), reply["height_px"], reply["width_px"])
        for reply in expected["answers"]
    ]
    limits = expected["tolerance"]
    found = answers(run, expected["score_threshold"], expected["iou_threshold"], limits, inputs)
    told = []
    for given, was, now in zip(inputs, expected["answers"], found["answers"], strict=True):
        if was["grey_sums"] != now["grey_sums"]:
            told.append(f"{given}: the computed pictures differ")
        for kind, old, new in zip(given.kinds, was["pictures"], now["pictures"], strict=True):
            told += [
                f"{given}, {kind}: {what}" for what in _changes(old, new, expected["score_threshold"], limits)
            ]
    return told


def _changes(
    old: dict[str, Any], new: dict[str, Any], score_threshold: float, limits: dict[str, float]
) -> list[str]:
    told = []
    for key in ("highest_by_channel", "prototype_means"):
        furthest = float(np.abs(np.subtract(old[key], new[key])).max())
        if furthest > limits[key]:
            told.append(f"{key} by {furthest:.3f}")
    # What scores about the threshold may be found one time and not the other.
    sure = score_threshold + limits["score"]
    before, after = old["detections"], new["detections"]
    for word, rows, others in (("lost", before, after), ("new", after, before)):
        for row in rows:
            if row["score"] >= sure and not any(_alike(row, other, limits) for other in others):
                told.append(f"{word} {row['level']} at {row['box_px']}, score {row['score']}")
    return told


def _alike(row: dict[str, Any], other: dict[str, Any], limits: dict[str, float]) -> bool:
    apart = np.abs(np.subtract(row["box_px"], other["box_px"])).max()
    return bool(
        row["level"] == other["level"]
        and apart <= limits["box_px"]
        and abs(row["score"] - other["score"]) <= limits["score"]
    )
