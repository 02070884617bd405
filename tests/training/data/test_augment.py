from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spinepacs.training.data.augment import (
    Affine,
    Canvas,
    FilmCache,
    change_greys,
    make_sample,
    soft_mask,
    whole_film,
    zoom_in,
)
from spinepacs.training.data.dataset import Film, read_ap_corners

CANVAS = Canvas(640, 288)


def centred(film: Film, canvas: Canvas) -> Affine:
    """Native-to-canvas affine that fits a film into the canvas, upright and centred."""
    fit = min(canvas.height_px / film.height_px, canvas.width_px / film.width_px)
    left, top = (canvas.width_px - fit * film.width_px) / 2, (canvas.height_px - fit * film.height_px) / 2
    return np.array([[fit, 0, left], [0, fit, top]])


def test_soft_mask_holds_the_area_of_the_outline() -> None:
    outline = np.array([[10.3, 21.7], [50.9, 24.2], [48.1, 60.4], [8.8, 57.5]], np.float32)
    x, y = outline[:, 0], outline[:, 1]
    area = 0.5 * abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))
    assert soft_mask(outline, CANVAS).sum() * 16 == pytest.approx(area, rel=0.02)


def test_soft_mask_is_centred_on_the_outline() -> None:
    outline = np.array([[100, 200], [140, 200], [140, 230], [100, 230]], np.float32)
    mask = soft_mask(outline, CANVAS)
    rows, columns = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    centre = np.array([(columns * mask).sum(), (rows * mask).sum()]) / mask.sum() * 4 + 1.5
    np.testing.assert_allclose(centre, [120, 215], atol=0.3)


def test_an_outline_outside_the_canvas_gives_an_empty_mask() -> None:
    outline = np.array([[-50, -50], [-20, -50], [-20, -20]], np.float32)
    assert soft_mask(outline, CANVAS).sum() == 0


def test_labels_follow_the_image(ap_folder: Path) -> None:
    film = read_ap_corners(ap_folder)[0]
    rng = np.random.default_rng(4)
    for affine in (
        centred(film, CANVAS),
        whole_film(film, CANVAS, rng),
        zoom_in(film, CANVAS, (30, 60), rng),
    ):
        sample = make_sample(film, FilmCache(), CANVAS, affine, None)
        inside = np.kron(sample.masks.sum(axis=0) > 0.99, np.ones((4, 4))).astype(bool)
        outside = np.kron(sample.masks.sum(axis=0) == 0, np.ones((4, 4))).astype(bool)
        assert len(sample.classes) > 2
        assert sample.image[inside].mean() > 180
        assert sample.image[outside].mean() < 120


def test_boxes_enclose_the_masks(ap_folder: Path) -> None:
    film = read_ap_corners(ap_folder)[0]
    sample = make_sample(film, FilmCache(), CANVAS, whole_film(film, CANVAS, np.random.default_rng(1)), None)
    for box, mask in zip(sample.boxes_px, sample.masks, strict=True):
        rows, columns = np.nonzero(mask > 0.5)
        assert box[0] <= columns.min() * 4 + 4
        assert box[2] >= columns.max() * 4
        assert box[1] <= rows.min() * 4 + 4
        assert box[3] >= rows.max() * 4


def test_grey_changes_keep_form_and_type_and_repeat_with_the_seed() -> None:
    image = (np.arange(64 * 48).reshape(64, 48) % 251).astype(np.uint8)
    for seed in range(40):
        first = change_greys(image, np.random.default_rng(seed))
        assert first.shape == image.shape
        assert first.dtype == np.uint8
        np.testing.assert_array_equal(first, change_greys(image, np.random.default_rng(seed)))
