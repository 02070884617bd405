"""A film as displayed → the network's input, with the exact transform back."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Letterbox, Spacing
from spinepacs.domain.study import PixelValues, Radiograph

STRIDE_PX = 32
"""The network halves its input five times."""
_SQUARE_WITHIN = 0.02
"""Pixels whose sides differ by less than this share are shown to the network as they are."""
_LONGEST_STRETCHED_PX = 4096
"""Of a film that is stretched: none that the network could see more on."""


def input_shape(rows: int, columns: int, input_px: int) -> tuple[int, int]:
    """Height and width of the input that shows a picture with its longer side at ``input_px``; multiples of 32.

    A slim film in a square would make the network read grey padding for more than half of its time.
    """
    longest = max(rows, columns)
    # In whole numbers: a rounding error would lengthen the longer side by a stride.
    height, width = (STRIDE_PX * -(-side * input_px // (longest * STRIDE_PX)) for side in (rows, columns))
    return height, width


_halves: dict[int, NDArray[np.uint8]] = {}
"""By the identity of pictures that are in use."""


def halved(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half as high and half as wide, by area averages; kept as long as the picture is: both networks ask for a film's.

    Parameters
    ----------
    picture
        (rows, columns) uint8, which nobody changes.
    """
    key = id(picture)
    if key not in _halves:
        half = max(picture.shape[1] // 2, 1), max(picture.shape[0] // 2, 1)
        _halves[key] = np.asarray(cv2.resize(picture, half, interpolation=cv2.INTER_AREA), np.uint8)
        weakref.finalize(picture, _halves.pop, key).atexit = False
    return _halves[key]


def to_input(
    display: NDArray[np.uint8], height_px: int, width_px: int, pad_value: int = 114
) -> tuple[NDArray[np.float32], Letterbox]:
    """Letterbox a film for the network.

    The film is padded first, to the least whole multiple of the input's proportions, and resized as a whole after
    it: so the scale is the same along x and y and the transform back has no rounding in it.

    Parameters
    ----------
    display
        (rows, columns) uint8, bright bone on dark ground.
    height_px, width_px
        Size of the network's input.
    pad_value
        Grey beside the film, 0–255.

    Returns
    -------
    tensor
        (1, 3, height_px, width_px) float32, 0–1, three equal channels.
    letterbox
        Native px ↔ input px.
    """
    rows, columns = display.shape
    unit = math.gcd(height_px, width_px)
    high, wide = height_px // unit, width_px // unit
    times = max(-(-rows // high), -(-columns // wide))
    halvings = max((times // unit).bit_length() - 1, 0)
    times = -(-times // 2**halvings) * 2**halvings
    top, left = (times * high - rows) // 2, (times * wide - columns) // 2
    scale = unit / times
    pad_x, pad_y = left * scale, top * scale
    # INTER_AREA averages what falls into a pixel: no aliasing of grids and collimator edges when shrinking. Halving is
    # its fast case: three times as fast on a large film, and the rest is small.
    is_even = not any(size % 2 for size in (rows, columns, top, left))
    if halvings and is_even:  # then no pixel mixes film and padding
        display, halvings, times, top, left = halved(display), halvings - 1, times // 2, top // 2, left // 2
    bottom, right = times * high - display.shape[0] - top, times * wide - display.shape[1] - left
    canvas = cv2.copyMakeBorder(display, top, bottom, left, right, cv2.BORDER_CONSTANT, value=pad_value)
    for _ in range(halvings):
        canvas = cv2.resize(
            canvas, (canvas.shape[1] // 2, canvas.shape[0] // 2), interpolation=cv2.INTER_AREA
        )
    resized = cv2.resize(
        canvas, (width_px, height_px), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    tensor = np.empty((1, 3, height_px, width_px), np.float32)
    np.multiply(resized, np.float32(1 / 255), out=tensor[0, 0])
    tensor[0, 1:] = tensor[0, 0]
    return tensor, Letterbox(scale, pad_x, pad_y, height_px, width_px)


def with_square_pixels(
    display: NDArray[np.uint8], spacing: Spacing | None
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Stretch a film whose pixels are not square, so that the network sees bodies of natural shape.

    Returns
    -------
    display
        (rows', columns') uint8; the film itself where its pixels are square or of unknown size.
    factor
        (2,) float64: multiply x, y of the stretched film by it to get native px.
    """
    if spacing is None or abs(spacing.row_mm / spacing.column_mm - 1) < _SQUARE_WITHIN:
        return display, np.ones(2)
    finest = min(spacing.row_mm, spacing.column_mm)
    rows = round(display.shape[0] * spacing.row_mm / finest)
    columns = round(display.shape[1] * spacing.column_mm / finest)
    stretched = cv2.resize(display, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return stretched, np.array([display.shape[1] / columns, display.shape[0] / rows])


def stretched(film: Radiograph, width: float) -> Radiograph:
    """The film so many times as wide for its height; nothing of it is lost but what no network could see."""
    if width == 1.0:
        return film
    wide, high = film.columns * max(width, 1.0), film.rows / min(width, 1.0)
    scale = min(1.0, _LONGEST_STRETCHED_PX / max(wide, high))
    size = (max(1, round(wide * scale)), max(1, round(high * scale)))
    stored = film.values
    if isinstance(stored, PixelValues):
        stored = replace(stored, codes=cv2.resize(stored.codes, size))
    else:
        stored = cv2.resize(stored, size)
    return replace(film, values=stored, display=cv2.resize(film.display, size))
