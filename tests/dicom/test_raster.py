"""Outlines to label maps, against a slow and obvious rule: the pixel's centre lies inside."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinepacs.dicom.raster import PackedFrames, label_map, masks
from spinepacs.domain.geometry import Outline


def outline(*points: tuple[float, float]) -> Outline:
    return Outline(np.array(points, float))


def labels_of(outlines: list[Outline], rows: int, columns: int) -> NDArray[np.uint8]:
    return label_map(masks(outlines, rows, columns), rows, columns)


def by_hand(shape: Outline, rows: int, columns: int) -> NDArray[np.bool_]:
    """Ask OpenCV for the distance of every pixel centre to the outline; on the line itself is undecided."""
    contour = shape.points.astype(np.float32).reshape(-1, 1, 2)
    distance = [
        [cv2.pointPolygonTest(contour, (c + 0.5, r + 0.5), measureDist=True) for c in range(columns)]
        for r in range(rows)
    ]
    return np.array(distance)


def test_a_square_on_pixel_borders_fills_exactly_its_pixels() -> None:
    labels = labels_of([outline((2, 1), (5, 1), (5, 4), (2, 4))], 6, 8)
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 2:5] = 1
    np.testing.assert_array_equal(labels, expected)


def test_a_corner_on_a_pixel_centre_counts_once() -> None:
    labels = labels_of([outline((4.5, 1.5), (7.5, 4.5), (4.5, 7.5), (1.5, 4.5))], 9, 9)
    assert labels[4].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0]
    assert labels.sum() in range(18, 26)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(3, 40),
    st.floats(-6, 36),
    st.floats(-6, 30),
    st.floats(1, 16),
    st.floats(0, 6),
    st.integers(0, 2**32 - 1),
)
def test_a_pixel_belongs_where_its_centre_lies(
    corners: int, x: float, y: float, radius: float, wobble: float, seed: int
) -> None:
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = radius + wobble * np.random.default_rng(seed).random(corners)
    shape = Outline(np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1))

    distance = by_hand(shape, 24, 30)
    filled = labels_of([shape], 24, 30) == 1

    decided = np.abs(distance) > 1e-3
    np.testing.assert_array_equal(filled[decided], (distance > 0)[decided])


def test_neighbours_that_overlap_share_the_pixels_between_them() -> None:
    upper = outline((0, 0), (10, 0), (10, 12), (0, 12))
    lower = outline((0, 8), (10, 8), (10, 20), (0, 20))
    labels = labels_of([upper, lower], 20, 10)
    assert (labels[:10] == 1).all()
    assert (labels[10:] == 2).all()


@pytest.mark.parametrize("shift", [(-50.0, 0.0), (0.0, 500.0), (1000.0, -1000.0)])
def test_what_lies_outside_the_image_is_cut_off(shift: tuple[float, float]) -> None:
    shape = Outline(np.array([(0, 0), (10, 0), (10, 10), (0, 10)]) + shift)
    assert not labels_of([shape], 20, 20).any()


def test_an_outline_across_the_border_keeps_its_inner_part() -> None:
    labels = labels_of([outline((-5, -5), (3, -5), (3, 3), (-5, 3))], 6, 6)
    assert labels.sum() == 9
    assert (labels[:3, :3] == 1).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 37),
    st.integers(1, 37),
    st.lists(st.tuples(st.floats(-9, 40), st.floats(-9, 40)), max_size=5),
)
def test_frames_hold_the_bits_of_their_masks_wherever_a_byte_begins(
    rows: int, columns: int, corners: list[tuple[float, float]]
) -> None:
    squares = [outline((x, y), (x + 12, y), (x + 12, y + 9), (x, y + 9)) for x, y in corners]
    filled = masks(squares, rows, columns)
    frames = PackedFrames(filled, rows, columns)
    room = np.zeros(frames.size_bytes, np.uint8)
    frames.write(room)
    labels = label_map(filled, rows, columns)
    expected = np.array([labels == number for number in range(1, len(squares) + 1)], bool)
    bits = np.unpackbits(room, bitorder="little")
    np.testing.assert_array_equal(bits[: expected.size], expected.ravel())
    assert len(room) % 2 == 0
    assert not bits[expected.size :].any()
