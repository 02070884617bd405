"""Average precision beside the two programs that the field computes it with."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spinepacs.training.evaluation.figures import curves
from spinepacs.training.evaluation.film import outline_iou
from spinepacs.training.metrics.detections import IOU_STEPS, FilmResult, box_iou, mean_average_precision, rank

SIDE_PX = 400


def _films() -> tuple[list[FilmResult], list[dict[str, Any]], list[dict[str, Any]]]:
    """Random bodies and detections as our results, and as COCO's annotations and answers.

    No number of bodies makes a recall of 0.01, 0.02 …: there COCO's floating point decides, and we do not round.
    """
    random = np.random.default_rng(11)
    all_levels = random.permutation(np.repeat([4, 5, 6, 7, 8], [7, 11, 13, 9, 14])).reshape(6, 9)
    results, annotations, answers = [], [], []
    for film, levels in enumerate(all_levels):
        low = random.integers(40, 260, (9, 2)).astype(float)
        truth = np.concatenate([low, low + random.integers(60, 130, (9, 2))], axis=1)
        found = np.round(truth + random.normal(0, 9, truth.shape))
        found = np.concatenate([found, found[:4] + 40])
        classes = np.where(random.random(13) < 0.7, np.concatenate([levels, levels[:4]]), 6)
        scores = np.sort(random.random(13))[::-1]
        masks = [_mask_iou(one, truth) for one in found]
        results.append(
            FilmResult(
                str(film), scores, classes, levels, box_iou(found, truth), np.array(masks), frozenset()
            )
        )
        annotations += [_coco(film, box, level) for box, level in zip(truth, levels, strict=True)]
        answers += [
            _coco(film, box, level) | {"score": float(score)}
            for box, level, score in zip(found, classes, scores, strict=True)
        ]
    return results, [one | {"id": number} for number, one in enumerate(annotations, 1)], answers


def _corners(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """A body inside its box whose outline is no box."""
    x0, y0, x1, y1 = box
    slant = (x1 - x0) / 4
    return np.array([[x0 + slant, y0], [x1, y0], [x1 - slant, y1], [x0, y1]])


def _mask(box: NDArray[np.float64]) -> NDArray[np.uint8]:
    mask = np.zeros((SIDE_PX + 100, SIDE_PX + 100), np.uint8)
    cv2.fillPoly(mask, [_corners(box).round().astype(np.int32)], 1)
    return mask


def _mask_iou(one: NDArray[np.float64], truth: NDArray[np.float64]) -> list[float]:
    first = _mask(one)
    others = [_mask(box) for box in truth]
    return [float((first & other).sum() / max(1, (first | other).sum())) for other in others]


def _coco(film: int, box: NDArray[np.float64], level: int) -> dict[str, Any]:
    width, height = box[2:] - box[:2]
    return {
        "image_id": film,
        "category_id": int(level),
        "bbox": [float(box[0]), float(box[1]), float(width), float(height)],
        "area": float(width * height),
        "iscrowd": 0,
        "mask": _mask(box),
    }


def _by_coco(
    annotations: Sequence[dict[str, Any]], answers: Sequence[dict[str, Any]], kind: str, *, by_level: bool
) -> tuple[float, float]:
    coco: Any = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation: Any = pytest.importorskip("pycocotools.cocoeval")
    coding: Any = pytest.importorskip("pycocotools.mask")
    coded = []
    for rows in (annotations, answers):
        plain = [{key: value for key, value in row.items() if key != "mask"} for row in rows]
        for row, source in zip(plain, rows, strict=True):
            row["segmentation"] = coding.encode(np.asfortranarray(source["mask"]))
        coded.append(plain)
    with redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = {
            "images": [
                {"id": film, "width": SIDE_PX, "height": SIDE_PX}
                for film in {row["image_id"] for row in annotations}
            ],
            "annotations": coded[0],
            "categories": [{"id": level} for level in range(25)],
            "info": {},
        }
        truth.createIndex()
        judge = evaluation.COCOeval(truth, truth.loadRes(coded[1]), "bbox" if kind == "box" else "segm")
        judge.params.useCats = int(by_level)
        judge.evaluate()
        judge.accumulate()
    precision = judge.eval["precision"][:, :, :, 0, -1]
    tables = [precision[steps] for steps in (slice(1), slice(None))]
    at_50, overall = (float(table[table > -1].mean()) for table in tables)
    return at_50, overall


@pytest.mark.parametrize("kind", ["box", "mask"])
@pytest.mark.parametrize("by_level", [False, True])
def test_average_precision_is_that_of_coco(kind: str, by_level: bool) -> None:
    results, annotations, answers = _films()
    expected = _by_coco(annotations, answers, kind, by_level=by_level)
    assert 0.1 < expected[1] < expected[0] < 0.98
    found = mean_average_precision(results, kind, by_level=by_level)
    assert found == pytest.approx(expected, abs=1e-9)


def test_precision_recall_and_f1_are_those_of_ultralytics() -> None:
    metrics: Any = pytest.importorskip(
        "ultralytics.utils.metrics", reason="the extra 'train' is not installed"
    )
    results = _many_boxes()
    ranking = rank(results, "box", by_level=True)
    truth = np.concatenate([result.truth for result in results]).astype(float)
    found = metrics.ap_per_class(ranking.correct.T, ranking.scores, ranking.classes.astype(float), truth)
    area, recalls, f1 = found[5], found[8], found[9]
    ours = curves(ranking, by_level=True)
    places = np.searchsorted(np.linspace(0, 1, 1000), ours["thresholds"])
    # Ultralytics draws lines between detections where we count: much alike where there are many.
    np.testing.assert_allclose(ours["recall"][:98], recalls.mean(axis=0)[places][:98], atol=0.02)
    assert ours["best_f1"] == pytest.approx(f1.mean(axis=0).max(), abs=0.01)
    at_50, overall = mean_average_precision(results, "box", by_level=True)
    assert at_50 == pytest.approx(area[:, 0].mean(), abs=0.01)
    assert overall == pytest.approx(area.mean(), abs=0.01)
    assert len(IOU_STEPS) == area.shape[1]


def _many_boxes() -> list[FilmResult]:
    """60 films with 17 bodies each, most of them found, some under another name, and false ones."""
    random = np.random.default_rng(12)
    results = []
    for film in range(60):
        low = random.uniform(0, 900, (17, 2))
        truth = np.concatenate([low, low + random.uniform(30, 120, (17, 2))], axis=1)
        found = np.concatenate([truth[:15] + random.normal(0, 7, (15, 4)), truth[:5] + 200])
        levels = np.arange(7, 24)
        classes = np.concatenate([levels[:15] + (random.random(15) < 0.2), levels[:5]])
        scores = np.concatenate([random.beta(4, 2, 15), random.beta(2, 4, 5)])
        order = np.argsort(-scores)
        overlaps = box_iou(found[order], truth)
        results.append(
            FilmResult(str(film), scores[order], classes[order], levels, overlaps, overlaps, frozenset())
        )
    return results


def test_an_outline_overlaps_as_its_pixels_do() -> None:
    first, second = np.array([20.0, 20, 120, 90]), np.array([30.0, 28, 128, 95])
    found = outline_iou(_corners(first), _corners(second))
    assert found == pytest.approx(_mask_iou(first, second[None])[0], abs=0.01)
