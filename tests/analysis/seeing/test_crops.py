"""Crops along the spine: turned, scaled and placed as promised."""

import numpy as np
import pytest

from spinepacs.analysis.seeing.crops import NAMES, PAD_VALUE, Film, Place, hidden_above, places, to_batch

HEIGHT, WIDTH = NAMES.shape
BODY_PX = NAMES.body_px
DOWN, RIGHT = np.array([0.0, 1.0]), np.array([1.0, 0.0])


@pytest.fixture
def display():
    return np.random.default_rng(3).integers(0, 255, (400, 500), np.uint8)


def _place(centre, size_px=BODY_PX, footwards=DOWN):
    return Place(np.array(centre, float), size_px, footwards)


def test_an_upright_body_of_the_usual_size_is_cut_as_it_is(display):
    cut = Film(display).cut(_place((200, 180)))
    np.testing.assert_array_equal(cut, display[100:260, 136:264])


def test_a_spine_that_lies_is_set_upright(display):
    cut = Film(display).cut(_place((200, 180), footwards=RIGHT))
    np.testing.assert_array_equal(cut, np.rot90(display[116:244, 120:280], -1))


def test_a_large_body_is_averaged_down_to_size():
    fine = np.random.default_rng(3).integers(0, 255, (160, 128), np.uint8)
    film = Film(np.kron(fine, np.ones((4, 4), np.uint8)))
    np.testing.assert_array_equal(film.cut(_place((256, 320), 4 * BODY_PX)), fine)


def test_beyond_the_film_is_grey(display):
    cut = Film(display).cut(_place((0, 0)))
    assert (cut[: HEIGHT // 2] == PAD_VALUE).all()
    assert (cut[:, : WIDTH // 2] == PAD_VALUE).all()
    np.testing.assert_array_equal(cut[HEIGHT // 2 :, WIDTH // 2 :], display[:80, :64])


def test_a_change_is_applied_to_the_crop(display):
    cut = Film(display).cut(_place((200, 180)), change=np.diag([-1.0, 1.0]))
    np.testing.assert_array_equal(cut, display[100:260, 136:264][:, ::-1])


def test_places_stand_on_the_bodies_and_beyond_both_ends():
    centres = np.array([[50.0, 40.0 * row] for row in range(1, 6)])
    found = places(centres, np.array([30.0, 30, 90, 30, 30]), DOWN)
    np.testing.assert_allclose([place.centre for place in found], [[50, 40 * row] for row in range(7)])
    np.testing.assert_allclose([place.size_px for place in found], 30)  # one wrong outline sets no scale
    np.testing.assert_allclose([place.footwards for place in found], [DOWN] * 7, atol=1e-12)


def test_one_body_alone_has_places_too():
    found = places(np.array([[50.0, 40.0]]), np.array([30.0]), DOWN)
    np.testing.assert_allclose([place.centre for place in found], [[50, 10], [50, 40], [50, 70]])


def test_window_and_exposure_fall_away(display):
    crop = display[:HEIGHT, :WIDTH] // 2
    plain, changed = to_batch([crop, crop + 60])
    assert (plain.shape, plain.dtype) == ((1, HEIGHT, WIDTH), np.float32)
    np.testing.assert_allclose(plain, changed, atol=1e-5)
    assert np.isfinite(to_batch([np.zeros(NAMES.shape, np.uint8)])).all()


def test_what_lies_above_the_body_is_hidden_and_the_rest_is_not():
    crop = np.full(NAMES.shape, 7, np.uint8)
    shown = hidden_above(crop, 1.0)
    assert (shown[:54] == PAD_VALUE).all()
    assert (shown[54:] == 7).all()
    assert (crop == 7).all(), "the crop itself stays as it is"
