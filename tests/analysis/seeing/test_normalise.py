import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.seeing import normalise
from spinepacs.analysis.seeing.normalise import halved, input_shape, to_input, with_square_pixels
from spinepacs.domain.geometry import Spacing, SpacingBasis


def _film_with_a_disc(rows, columns, x, y, radius):
    film = np.full((rows, columns), 40, np.uint8)
    centre = (round((x - 0.5) * 256), round((y - 0.5) * 256))
    cv2.circle(film, centre, round(radius * 256), 240, -1, cv2.LINE_AA, 8)
    return film


@given(rows=st.integers(1, 9000), columns=st.integers(1, 9000), input_px=st.sampled_from([320, 640, 1024]))
def test_the_longer_side_is_as_long_as_asked_and_the_shorter_no_longer_than_needed(rows, columns, input_px):
    height, width = input_shape(rows, columns, input_px)
    assert max(height, width) == input_px
    assert height % 32 == width % 32 == 0
    assert 0 <= min(height, width) - input_px * min(rows, columns) / max(rows, columns) < 32


@given(
    rows=st.integers(200, 1400),
    columns=st.integers(200, 1400),
    share=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
    size=st.sampled_from([(640, 640), (1024, 416), (320, 640)]),
)
def test_what_is_seen_in_the_input_comes_back_to_where_it_is_on_the_film(rows, columns, share, size):
    x, y = columns * share[0], rows * share[1]
    tensor, letterbox = to_input(_film_with_a_disc(rows, columns, x, y, 30), *size)

    weight = np.clip(tensor[0, 0] - 130 / 255, 0, None)
    at_y, at_x = (np.indices(weight.shape) + 0.5).reshape(2, -1)
    seen = np.array([[at_x @ weight.ravel(), at_y @ weight.ravel()]]) / weight.sum()

    back = letterbox.to_native(seen)[0]
    assert tensor.shape == (1, 3, *size)
    assert np.hypot(*(back - (x, y))) < 0.4


def test_large_films_are_shrunk_without_aliasing():
    film = np.zeros((2601, 2100), np.uint8)
    film[::2] = 255  # a grid of one pixel, far above what the input can show
    tensor, letterbox = to_input(film, 640, 640)
    inner = tensor[0, 0, 20:-20, round(letterbox.pad_x_px) + 20 : -round(letterbox.pad_x_px) - 20]
    assert inner.mean() == pytest.approx(0.5, abs=0.01)
    assert np.ptp(inner) < 0.1


def test_the_film_is_padded_in_the_grey_that_the_network_knows():
    tensor, letterbox = to_input(np.full((300, 100), 255, np.uint8), 640, 640)
    assert tensor.dtype == np.float32
    assert np.unique(tensor[0, 0, :, :200]) == pytest.approx(114 / 255)
    assert np.unique(tensor[0, :, :, 320]) == pytest.approx(1.0)
    assert letterbox.pad_y_px == 0
    assert letterbox.scale * 100 + 2 * letterbox.pad_x_px == pytest.approx(640)


def test_films_with_oblong_pixels_are_stretched_and_the_factor_leads_back():
    film = np.zeros((300, 400), np.uint8)
    stretched, factor = with_square_pixels(film, Spacing(0.3, 0.15, SpacingBasis.DETECTOR_PLANE))
    assert stretched.shape == (600, 400)
    assert factor.tolist() == [1.0, 0.5]


@pytest.mark.parametrize("spacing", [None, Spacing(0.143, 0.1431, SpacingBasis.CALIBRATED)])
def test_films_with_square_pixels_are_left_alone(spacing):
    film = np.zeros((300, 400), np.uint8)
    same, factor = with_square_pixels(film, spacing)
    assert same is film
    assert factor.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("rows", "columns"), [(3000, 2500), (3001, 2500), (3000, 2501), (2022, 2022), (2580, 1030)]
)
def test_it_is_the_same_whether_the_film_is_halved_before_it_is_padded_or_after(rows, columns):
    film = np.random.default_rng(rows + columns).integers(0, 256, (rows, columns), np.uint8)
    shape = input_shape(rows, columns, 640)
    tensor, letterbox = to_input(film, *shape)

    left, top = (round(pad / letterbox.scale) for pad in (letterbox.pad_x_px, letterbox.pad_y_px))
    height, width = (round(side / letterbox.scale) for side in shape)
    padded = np.full((height, width), 114, np.uint8)
    padded[top : top + rows, left : left + columns] = film
    while min(padded.shape) >= 2 * min(shape):
        padded = cv2.resize(padded, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = cv2.resize(padded, shape[::-1], interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(tensor[0, 0], small * np.float32(1 / 255))


def test_a_picture_is_halved_once_and_its_half_goes_with_it():
    picture = np.arange(35, dtype=np.uint8).reshape(5, 7)
    half = halved(picture)
    np.testing.assert_array_equal(half, cv2.resize(picture, (3, 2), interpolation=cv2.INTER_AREA))
    assert halved(picture) is half
    key = id(picture)
    del picture
    assert key not in normalise._halves
