import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.seeing.outline import largest_level_line, mask_outline, simplified
from spinepacs.domain.geometry import Outline

STRIDE_PX = 4.0
NO_CROP = np.array([0.0, 0.0, 640.0, 640.0])


def _prototypes(logits):
    """160 × 160 prototypes whose third channel samples ``logits(x, y)`` at the cells' centres, input px."""
    y, x = (np.mgrid[0:160, 0:160] + 0.5) * STRIDE_PX
    prototypes = np.random.default_rng(0).normal(0, 1, (4, 160, 160)).astype(np.float32)
    prototypes[2] = logits(x, y)
    return prototypes, np.array([0, 0, 1, 0], np.float32)


@given(x=st.floats(150, 400), y=st.floats(150, 400), radius=st.floats(12, 90), steepness=st.floats(0.1, 2))
def test_a_disc_is_outlined_within_a_tenth_of_an_input_pixel(x, y, radius, steepness):
    prototypes, coefficients = _prototypes(lambda u, v: (radius - np.hypot(u - x, v - y)) * steepness)
    box = np.array([x - radius - 6, y - radius - 6, x + radius + 6, y + radius + 6])
    line = mask_outline(prototypes, coefficients, box, STRIDE_PX, 0.0)
    assert np.abs(np.hypot(*(line - (x, y)).T) - radius).max() < 0.12
    assert len(line) <= 100


def test_the_outline_runs_where_the_probability_is_the_threshold():
    prototypes, coefficients = _prototypes(lambda u, v: 50 - np.hypot(u - 300, v - 300))
    box = np.array([240.0, 240.0, 360.0, 360.0])
    line = mask_outline(prototypes, coefficients, box, STRIDE_PX, threshold_logit=10.0)
    assert np.hypot(*(line - 300).T) == pytest.approx(40, abs=0.1)


def test_the_outline_ends_at_the_box():
    prototypes, coefficients = _prototypes(lambda u, v: 50 - np.hypot(u - 300, v - 300))
    box = np.array([280.0, 240.0, 360.0, 360.0])
    line = mask_outline(prototypes, coefficients, box, STRIDE_PX, 0.0)
    assert line.min(axis=0)[0] == pytest.approx(280, abs=1e-3)
    assert line.max(axis=0)[0] == pytest.approx(350, abs=0.1)


def test_only_the_largest_part_is_kept_and_its_hole_is_no_outline():
    def two_parts(u, v):
        ring = 8 - np.abs(np.hypot(u - 200, v - 300) - 40)
        speck = 12 - np.hypot(u - 320, v - 300)
        return np.maximum(ring, speck)

    prototypes, coefficients = _prototypes(two_parts)
    line = mask_outline(prototypes, coefficients, NO_CROP, STRIDE_PX, 0.0)
    assert Outline(line).centroid == pytest.approx((200, 300), abs=2)
    assert Outline(line).area_px == pytest.approx(np.pi * 48**2, rel=0.03)


def test_a_mask_that_never_reaches_the_threshold_has_no_outline():
    prototypes, coefficients = _prototypes(lambda u, v: np.full_like(u, -1.0))
    assert mask_outline(prototypes, coefficients, NO_CROP, STRIDE_PX, 0.0) is None


def test_a_box_without_extent_has_no_outline():
    prototypes, coefficients = _prototypes(lambda u, v: np.ones_like(u))
    assert mask_outline(prototypes, coefficients, np.array([5.0, 5, 5, 90]), STRIDE_PX, 0.0) is None


@given(st.integers(0, 2**32 - 1))
def test_level_lines_of_any_field_are_closed_and_never_larger_than_it(seed):
    field = np.pad(np.random.default_rng(seed).normal(size=(6, 7)), 1, constant_values=-1.0)
    line = largest_level_line(field)
    if line is None:
        assert not (field > 0).any()
    else:
        steps = np.abs(np.diff(line, axis=0, append=line[:1]))
        assert steps.max() <= 1.0 + 1e-9
        assert (line >= 0).all()
        assert (line <= (8, 7)).all()


def test_simplifying_keeps_the_shape_and_the_number_of_points():
    angle = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    wavy = (100 + 3 * np.sin(40 * angle))[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    line = simplified(wavy, 0.01, most=100)
    assert len(line) <= 100
    assert Outline(line).area_px == pytest.approx(Outline(wavy).area_px, rel=0.05)
