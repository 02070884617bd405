"""Read one labelled film with the product's own steps and compare what comes out with the labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.judging.policy import Policy
from spinepacs.analysis.naming.spine import find_spine
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.analysis.seeing.windows import join
from spinepacs.domain.findings import Detection, Refusal, Spine
from spinepacs.domain.study import Radiograph, View
from spinepacs.training.data.dataset import Film, read_grey
from spinepacs.training.evaluation.compare import Rules, compare
from spinepacs.training.evaluation.reading import by_body, header_view, read_as_product
from spinepacs.training.evaluation.segmenters import RememberingSegmenter
from spinepacs.training.evaluation.truth import film_truth
from spinepacs.training.metrics.detections import FilmResult, box_iou
from spinepacs.training.metrics.reading import FilmReading

_LEAST_SCORE = 0.01
"""Of the doubtful detections that enter the precision-recall curve beside the product's own."""
_RASTER_SIDE_PX = 64
"""A pair of outlines is compared on a grid that gives its longer side this many cells, at least."""


def evaluate_film(
    segmenter: Segmenter,
    film: Film,
    *,
    inverted: bool = False,
    view: View | None = None,
    policy: Policy | None = None,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> FilmResult:
    """Read one film as the product does and compare with its labels.

    Parameters
    ----------
    inverted
        Show the film with black bone.
    view
        What the header is to state; None: the film's own view.
    policy
        By which signs are graded; None: they are not, and neither is anything measured.
    change
        What is done to the film's greys before it is read.

    Raises
    ------
    FileNotFoundError
        The film is missing or is no image.
    """
    display = read_grey(film.path, inverted=inverted)
    display = change(display) if change else display
    stated = header_view(film) if view is None else view
    start = time.perf_counter()
    spine, everything = find_spine(segmenter, radiograph_of(display, stated))
    seconds = time.perf_counter() - start
    sure = published(spine, everything)
    found = (*sure, *_doubtful(segmenter, display, sure))
    if isinstance(segmenter, RememberingSegmenter):
        segmenter.forget()
    box_overlaps, overlaps = _overlaps(found, film)
    beside = film_truth(film)
    reading = read_as_product(spine, sure, overlaps[: len(sure)], film, beside, seconds)
    if policy:
        rules = Rules(policy, segmenter.manifest.localisation)
        bodies = by_body(spine, sure, overlaps[: len(sure)])
        values, grades = compare(spine, display, film, beside, bodies, rules)
        reading = replace(reading, values=values, grades=grades)
    return _result(film, found, box_overlaps, overlaps, reading)


def _result(
    film: Film,
    found: Sequence[Detection],
    box_overlaps: NDArray[np.float64],
    overlaps: NDArray[np.float64],
    reading: FilmReading,
) -> FilmResult:
    scores = np.array([detection.score for detection in found], np.float64)
    # The product publishes what it found in a gap even below its threshold: that stands behind surer ones.
    order = np.argsort(-scores, kind="stable")
    return FilmResult(
        film.name,
        scores[order],
        np.array([int(detection.class_scores.argmax()) for detection in found], np.int64)[order],
        np.array([body.class_id for body in film.bodies], np.int64),
        box_overlaps[order],
        overlaps[order],
        film.unlabelled,
        film.group,
        film.view,
        reading,
    )


def _overlaps(found: Sequence[Detection], film: Film) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d, t) intersections over union of detections and labelled bodies: of boxes, and of outlines."""
    outlines = [np.asarray(detection.outline.points, np.float64) for detection in found]
    # Labels count from pixel centres, the product from the film's corner.
    truth = [body.outline_px.astype(np.float64) + 0.5 for body in film.bodies]
    found_boxes = np.array([detection.box_px for detection in found], np.float64).reshape(-1, 4)
    box_overlaps = box_iou(found_boxes, _boxes(truth))
    return box_overlaps, _outline_overlaps(outlines, truth, box_overlaps)


def published(spine: Spine | Refusal, found: Sequence[Detection]) -> list[Detection]:
    """Those detections that are vertebrae of the spine, best first."""
    vertebrae = () if isinstance(spine, Refusal) else spine.vertebrae
    outlines = {id(vertebra.outline) for vertebra in vertebrae}
    return sorted((one for one in found if id(one.outline) in outlines), key=lambda one: -one.score)


def radiograph_of(display: NDArray[np.uint8], view: View) -> Radiograph:
    """A film of which the header states the view and nothing else."""
    return Radiograph("", "", "", np.zeros((0, 0), np.float32), display, None, view, None, "")


def _doubtful(segmenter: Segmenter, display: NDArray[np.uint8], sure: Sequence[Detection]) -> list[Detection]:
    """What the product would add at a very low threshold, in the same windows: for precision-recall curves."""
    manifest = segmenter.manifest
    segmenter.manifest = replace(manifest, score_threshold=_LEAST_SCORE)
    try:
        found = segmenter.detect_whole(display)
        everything = join(found, segmenter.detect_closer(display, found))
    finally:
        segmenter.manifest = manifest
    boxes = [
        np.array([one.box_px for one in group], np.float64).reshape(-1, 4) for group in (everything, sure)
    ]
    taken = np.any(box_iou(*boxes) > manifest.iou_threshold, axis=1).tolist()
    return [
        one
        for one, double in zip(everything, taken, strict=True)
        if not double and one.score < manifest.score_threshold
    ]


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
