"""Evaluate a model on labelled films as the product reads them: letterbox, network, decoding, outlines in native px.

Run as ``python -m spinepacs.training.evaluate --model FILE --ap DIR --lateral DIR``; the model is a model folder or a
checkpoint.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.manifest import Manifest
from spinepacs.analysis.segment import Segmenter
from spinepacs.anatomy import Level
from spinepacs.training.dataset import Film, read_lateral_corners, read_yolo_seg
from spinepacs.training.export import INPUT_SIDE_PX, ModelFacts, open_torch
from spinepacs.training.metrics import FilmResult, box_iou, summary

_LEAST_SCORE = 0.01
"""Of the detections that enter the precision-recall curve."""
_RASTER_SIDE_PX = 64
"""A pair of outlines is compared on a grid that gives its longer side this many cells, at least."""


class TorchSegmenter(Segmenter):
    """The product's segmenter with the torch network of a checkpoint in the place of ONNX Runtime."""

    def __init__(self, checkpoint: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._run = open_torch(checkpoint)

    def infer(self, tensor: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network: (1, 3, h, w) float32 to both heads."""
        return self._run(tensor)


def open_segmenter(model: Path, threads: int = 2) -> Segmenter:
    """Open a model folder or a checkpoint so that it returns even doubtful detections."""
    if model.is_dir():
        segmenter = Segmenter.open(model, threads)
        segmenter.manifest = replace(segmenter.manifest, score_threshold=_LEAST_SCORE)
        return segmenter
    facts = ModelFacts("checkpoint", "0", "")
    manifest = Manifest(
        name=facts.name,
        version=facts.version,
        licence=facts.licence,
        classes=tuple(Level),
        input_height_px=INPUT_SIDE_PX,
        input_width_px=INPUT_SIDE_PX,
        pad_value=114,
        score_threshold=_LEAST_SCORE,
        iou_threshold=facts.iou_threshold,
        mask_threshold=facts.mask_threshold,
        sha256="",
        window_body_px=facts.window_body_px,
    )
    return TorchSegmenter(model, manifest)


def evaluate_film(segmenter: Segmenter, film: Film, *, inverted: bool = False) -> FilmResult:
    """Detect on one film and compare with its labels; ``inverted`` shows it with black bone.

    Raises
    ------
    FileNotFoundError
        The film is missing or is no image.
    """
    image = cv2.imread(str(film.path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise FileNotFoundError(f"{film.path} is missing or is no image")
    display = np.asarray(255 - image if inverted else image, np.uint8)
    found = segmenter.detect(display)
    outlines = [np.asarray(detection.outline.points, np.float64) for detection in found]
    # Labels count from pixel centres, the product from the film's corner.
    truth = [body.outline_px.astype(np.float64) + 0.5 for body in film.bodies]
    boxes = _boxes(truth)
    found_boxes = np.array([detection.box_px for detection in found], np.float64).reshape(-1, 4)
    overlaps = box_iou(found_boxes, boxes)
    return FilmResult(
        film.name,
        np.array([detection.score for detection in found], np.float64),
        np.array([int(detection.class_scores.argmax()) for detection in found], np.int64),
        np.array([body.class_id for body in film.bodies], np.int64),
        overlaps,
        _outline_overlaps(outlines, truth, overlaps),
        film.unlabelled,
    )


def _boxes(outlines: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.array([[*points.min(axis=0), *points.max(axis=0)] for points in outlines]).reshape(-1, 4)


def _outline_overlaps(
    found: Sequence[NDArray[np.float64]], truth: Sequence[NDArray[np.float64]], boxes: NDArray[np.float64]
) -> NDArray[np.float64]:
    table = np.zeros((len(found), len(truth)))
    for row, column in zip(*np.nonzero(boxes > 0.05), strict=True):
        table[row, column] = outline_iou(found[row], truth[column])
    return table


def outline_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Intersection over union of two closed outlines, (n, 2) and (m, 2), rasterised alike on a fine grid."""
    both = np.concatenate([first, second])
    low, extent = both.min(axis=0), np.ptp(both, axis=0)
    scale = max(1.0, _RASTER_SIDE_PX * 2 / float(extent.max()))
    width, height = np.ceil(extent * scale).astype(int) + 3
    masks = []
    for outline in (first, second):
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round(((outline - low) * scale + 1) * 16).astype(np.int32)], 1, shift=4)
        masks.append(mask)
    union = int(np.count_nonzero(masks[0] | masks[1]))
    return int(np.count_nonzero(masks[0] & masks[1])) / max(1, union)


def evaluate(
    segmenter: Segmenter, films: Iterable[Film], min_score: float = 0.25, *, inverted: bool = False
) -> dict[str, float]:
    """Every figure of :func:`spinepacs.training.metrics.summary` for a set of films."""
    return summary([evaluate_film(segmenter, film, inverted=inverted) for film in films], min_score)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; prints the figures as JSON."""
    parser = argparse.ArgumentParser(description="Evaluate a vertebra model on labelled films.")
    parser.add_argument("--model", type=Path, required=True, help="model folder or checkpoint (.pt)")
    parser.add_argument("--ap", type=Path, help="AP folder: its validation groups are used")
    parser.add_argument("--lateral", type=Path, help="lateral folder with corners.csv")
    parser.add_argument("--synthetic", type=Path, help="YOLO-seg folder")
    parser.add_argument("--limit", type=int, help="at most this many films of each set")
    parser.add_argument("--min-score", type=float, default=0.25, help="for recall, precision and levels")
    parser.add_argument("--inverted", action="store_true", help="show every film with black bone")
    given = parser.parse_args(arguments)
    segmenter = open_segmenter(given.model)
    figures = {
        name: evaluate(segmenter, films[: given.limit], given.min_score, inverted=given.inverted)
        for name, films in _sets(given.ap, given.lateral, given.synthetic).items()
    }
    rounded = {name: {key: round(value, 4) for key, value in part.items()} for name, part in figures.items()}
    sys.stdout.write(json.dumps(rounded, indent=2) + "\n")
    return 0


def _sets(ap: Path | None, lateral: Path | None, synthetic: Path | None) -> dict[str, list[Film]]:
    from spinepacs.training.train import real_films

    sets: dict[str, list[Film]] = {}
    if ap:
        sets["ap_validation"] = real_films(ap)[1]
    if lateral:
        sets["lateral"] = read_lateral_corners(lateral)
    if synthetic:
        sets["synthetic"] = read_yolo_seg(synthetic)
    return sets


if __name__ == "__main__":
    raise SystemExit(main())
