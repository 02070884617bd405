import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.seeing.endplates import endplates_between, find_endplates, profile
from spinepacs.domain.geometry import Outline

UP, RIGHT = np.array([[0.0, -1.0]]), np.array([[1.0, 0.0]])


def _upper(points, turn_deg=0.0):
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return find_endplates([points], UP @ turn.T, RIGHT @ turn.T)[0]


def _sampled(corners, per_side=15):
    share = np.linspace(0, 1, per_side, endpoint=False)[:, None]
    corners = np.asarray(corners, float)
    sides = zip(corners, np.roll(corners, -1, axis=0), strict=True)
    return np.vstack([a + share * (b - a) for a, b in sides])


@given(
    lean=st.floats(-25, 25),
    guess_off=st.floats(-20, 20),
    skew=st.floats(-0.15, 0.15),
    wedge=st.floats(-0.1, 0.1),
)
def test_the_corners_of_a_quadrilateral_are_found_exactly(lean, guess_off, skew, wedge):
    corners = np.array([[0, 20 * wedge], [60, -20 * wedge], [60, 45], [0, 45]])
    corners[:, 0] += skew * corners[:, 1]
    angle = np.radians(lean)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = corners @ turn.T + [200, 300]
    endplate = _upper(_sampled(corners), lean + guess_off)
    assert endplate.left == pytest.approx(corners[0], abs=0.02)
    assert endplate.right == pytest.approx(corners[1], abs=0.02)


def test_round_corners_do_not_shorten_the_endplate():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x, y = np.cos(angle), np.sin(angle)
    squircle = np.stack([30 * np.sign(x) * np.abs(x) ** 0.2, 22 * np.sign(y) * np.abs(y) ** 0.2], axis=1)
    endplate = _upper(squircle)
    assert endplate.left == pytest.approx((-30, -22), abs=0.8)
    assert endplate.right == pytest.approx((30, -22), abs=0.8)


def test_a_concave_endplate_is_measured_at_its_rim_and_its_curve_dips():
    corners = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]], per_side=30)
    corners[:30, 1] = 3 * np.sin(np.pi * corners[:30, 0] / 60)
    endplate = _upper(corners)
    assert endplate.middle == pytest.approx((30, 3), abs=0.1)
    assert endplate.left.y < 1.1  # nearer to the rim than to the deepest point
    assert endplate.right.y < 1.1


def test_an_osteophyte_at_the_corner_does_not_tilt_the_endplate():
    points = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]], per_side=60)
    spur = (points[:, 0] > 55) & (points[:, 1] < 5)
    points[spur] += [4, -4]
    endplate = _upper(points)
    assert endplate.left == pytest.approx((0, 0), abs=0.3)
    assert endplate.right == pytest.approx((60, 0), abs=0.3)


def test_the_curve_runs_from_corner_to_corner():
    endplate = _upper(_sampled([[0, 0], [60, 6], [60, 45], [0, 45]]))
    assert tuple(endplate.curve[0]) == endplate.left
    assert tuple(endplate.curve[-1]) == endplate.right
    assert (np.diff(endplate.curve[:, 0]) > 0).all()


def test_what_has_no_side_has_no_endplate_and_does_not_disturb_the_others():
    body = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]])
    sliver = np.array([[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]])
    both = find_endplates([sliver, body], np.repeat(UP, 2, axis=0), np.repeat(RIGHT, 2, axis=0))
    assert both[0] is None
    assert both[1].right == pytest.approx((60, 0), abs=0.02)
    assert find_endplates([], UP[:0], RIGHT[:0]) == []


def test_an_outline_cut_askew_gives_no_endplate_instead_of_a_wild_one():
    wedge = _sampled([[0, 40], [60, -40], [60, 45], [0, 45]])
    assert _upper(wedge) is None


def test_the_profile_of_a_polygon_is_its_upper_envelope():
    triangle = np.array([[0.0, 0.0], [10.0, 0.0], [5.0, 10.0]])
    found = profile(triangle[None, :, 0], triangle[None, :, 1], np.array([[-1.0, 2.5, 5.0, 9.0, 11.0]]))[0]
    assert found[1:4].tolist() == [5.0, 10.0, 2.0]
    assert np.isnan(found[[0, 4]]).all()


def test_the_outline_of_a_body_encloses_the_area_that_its_corners_do():
    assert Outline(_sampled([[0, 0], [60, 0], [60, 45], [0, 45]])).area_px == pytest.approx(2700)


def _between(points, left, right, upper=True):
    return endplates_between([np.asarray(points, float)], np.array([[left, right]], float), upper=upper)[0]


def test_between_known_corners_the_curve_follows_the_outline():
    corners = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]], per_side=30)
    corners[:30, 1] = 3 * np.sin(np.pi * corners[:30, 0] / 60)
    corners[60:90, 1] -= 2 * np.sin(np.pi * corners[60:90, 0] / 60)
    upper = _between(corners, (-1, -1), (61, -1))
    assert (upper.left, upper.right) == ((-1, -1), (61, -1))
    assert upper.middle == pytest.approx((30, 3), abs=0.1)
    lower = _between(corners, (0, 46), (60, 46), upper=False)
    assert lower.middle == pytest.approx((30, 43), abs=0.1)


def test_corners_far_from_the_outline_are_brought_to_it():
    square = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]])
    plate = _between(square, (-30, -30), (60, 0))
    assert plate.left == pytest.approx((-5, -5), abs=1.5)
    assert plate.right == pytest.approx((60, 0), abs=0.01)


def test_corners_on_half_of_a_side_are_no_endplates():
    square = _sampled([[0, 0], [60, 0], [60, 45], [0, 45]])
    assert _between(square, (10, 0), (30, 0)) is None
    assert endplates_between([], np.zeros((0, 2, 2)), upper=True) == []


@given(lean=st.floats(-170, 170))
def test_endplates_between_corners_turn_with_them(lean):
    angle = np.radians(lean)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0.0, 4], [60, -4], [60, 45], [0, 45]]) @ turn.T + [300, 200]
    plate = _between(_sampled(corners), *corners[:2])
    assert plate.middle == pytest.approx((corners[0] + corners[1]) / 2, abs=0.02)
