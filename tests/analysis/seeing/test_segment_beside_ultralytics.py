"""Our decoding against Ultralytics' own predict (retina masks) on the same model: the same but for stray parts."""

from typing import Any

import cv2
import numpy as np
import pytest

from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.reading.film import read_film
from spinepacs.domain.findings import SURE_SCORE
from spinepacs.settings.shipped import shipped
from tests import models, phantoms

ultralytics: Any = pytest.importorskip("ultralytics", reason="the extra 'train' is not installed")

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore"),
]  # Ultralytics' and torch's own warnings

DEFAULT_MODEL = shipped("models", "spine")
DEMO_FILMS = sorted(shipped("demo", "films").rglob("*.dcm"))[:4]


def _pixels(outline, shape):
    """Pixels whose centres an outline encloses."""
    fine = 4
    mask = np.zeros((shape[0] * fine, shape[1] * fine), np.uint8)
    cv2.fillPoly(mask, [np.round((outline.points * fine - 0.5) * 16).astype(np.int32)], 1, shift=4)
    return cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_AREA).astype(bool)


def _largest_part(mask):
    """Without the corners of neighbouring bodies that reach into the box: we drop these parts, Ultralytics does not."""
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA])


def _square(display):
    """Padded to a square, which Ultralytics does by itself and we do not: else the network sees two pictures."""
    side = max(display.shape)
    canvas = np.full((side, side), 114, np.uint8)
    top, left = ((side - size) // 2 for size in display.shape)
    canvas[top : top + display.shape[0], left : left + display.shape[1]] = display
    return canvas


def _theirs(folder, display):
    manifest = Segmenter.open(folder, threads=1).manifest
    model = ultralytics.YOLO(str(folder / "model.onnx"), task="segment")
    result = model.predict(
        cv2.cvtColor(display, cv2.COLOR_GRAY2BGR),
        imgsz=640,
        conf=SURE_SCORE,  # of doubtful ones each keeps another of several that overlap
        iou=manifest.iou_threshold,
        agnostic_nms=True,
        retina_masks=True,
        device="cpu",
        verbose=False,
    )[0]
    return [] if result.masks is None else [_largest_part(mask) for mask in result.masks.data.numpy()]


def _best_iou(folder, display):
    """For each of their masks, the IoU of the best of ours."""
    ours = [
        _pixels(detection.outline, display.shape)
        for detection in Segmenter.open(folder, threads=1).detect_whole(
            display
        )  # one look, as Ultralytics takes
    ]
    return [
        max((float((mask & own).sum() / (mask | own).sum()) for own in ours), default=0.0)
        for mask in _theirs(folder, display)
    ]


def test_on_heads_that_depend_on_no_pixel_every_mask_is_the_same(tmp_path):
    # A square film, since Ultralytics pads others to a square and we do not.
    phantom = phantoms.spine(rows=1500, columns=1500, left_px=44, right_px=30, lean_deg=-12)
    found = _best_iou(models.write_model(tmp_path / "m", phantom), phantom.picture())
    assert len(found) == len(phantom.bodies)
    assert min(found) > 0.98


@pytest.mark.skipif(not (DEFAULT_MODEL / "model.onnx").exists(), reason="no default model in this checkout")
@pytest.mark.skipif(not DEMO_FILMS, reason="no demo films in this checkout")
def test_on_films_the_masks_of_the_default_model_are_the_same():
    found = []
    for path in DEMO_FILMS:
        found += _best_iou(DEFAULT_MODEL, _square(read_film(path).radiograph.display))
    assert len(found) >= 10
    assert np.mean(found) >= 0.95
