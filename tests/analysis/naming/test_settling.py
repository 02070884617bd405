"""Plates in doubt are turned to where the others have them; what shows stays."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.naming.settling import settled
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx
from spinepacs.domain.study import View

SIZE = (600, 2000)
HALF, HEIGHT, STEP = 40, 60, 80
SURE, UNSURE = 0.06, 0.3
LEVELS = [level for level in Level if Level.T4 <= level <= Level.S1]


BACK = [0.0, 4.0]
"""How far a plate is to be moved back, px."""


def _plate(centre, degrees, spreads=(SURE, SURE)):
    away = HALF * np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    left, right = centre - away, centre + away
    return Endplate(PointPx(*left), PointPx(*right), np.stack([left, centre, right]), spreads)


def _tilt(plate):
    return np.degrees(np.arctan2(*np.subtract(plate.right, plate.left)[::-1]))


def _true_tilt(level):
    """A kyphosis of 3° a level down to T12, a lordosis of 8° a level from there to L5."""
    return 3 * (min(level, Level.T12) - Level.T8) - 8 * max(level - Level.T12, 0)


def _body(level, tilt=None, spreads=(SURE, SURE)):
    tilt = _true_tilt(level) if tilt is None else tilt
    middle = np.array([300.0, 100.0 + STEP * (level - Level.T4)])
    upper, lower = (_plate(middle + np.array([0, side * HEIGHT / 2]), tilt, spreads) for side in (-1, 1))
    corners = np.array([upper.left, upper.right, lower.right, lower.left])
    return Vertebra(
        level, level, 0.9, "", 0.9, Outline(corners), upper, lower if level.has_lower_plate else None, 9.0
    )


def _spine():
    bodies = [_body(level) for level in LEVELS[:-1]]
    return [*bodies, _body(Level.S1, _true_tilt(Level.L5) - 21.6)]


def _with(bodies, body):
    return [body if one.level is body.level else one for one in bodies]


def _off(level, by, spreads):
    return _body(level, spreads=spreads).moved(lambda points: points + by)


def _settled(bodies, view=View.LATERAL, anterior_left=True):
    return {body.level: body for body in settled(tuple(bodies), view, anterior_left, SIZE)}


def test_what_shows_well_stays_as_it_was_drawn():
    """A wedged body that shows is a finding, however unlikely it is."""
    bodies = _with(_spine(), replace(_body(Level.T12), upper=_plate([300.0, 710.0], -8)))
    assert list(_settled(bodies).values()) == bodies


def test_a_plate_in_doubt_is_turned_to_where_the_others_have_it():
    tilted = _body(Level.T6, _true_tilt(Level.T6) + 25, (UNSURE, UNSURE))
    bodies = _with(_spine(), tilted)
    after = _settled(bodies)
    for plate, before in ((after[Level.T6].upper, tilted.upper), (after[Level.T6].lower, tilted.lower)):
        assert _tilt(plate) == pytest.approx(_true_tilt(Level.T6), abs=4)
        assert plate.spreads == before.spreads
        np.testing.assert_allclose(plate.middle, before.middle, atol=0.02 * HEIGHT)
        assert plate.width_px == pytest.approx(before.width_px)
    others = [body for body in bodies if body.level is not Level.T6]
    assert [body for body in after.values() if body.level is not Level.T6] == others


def test_the_outline_goes_with_its_plates():
    after = _settled(_with(_spine(), _body(Level.T6, 30, (UNSURE, UNSURE))))[Level.T6]
    corners = [after.upper.left, after.upper.right, after.lower.right, after.lower.left]
    np.testing.assert_allclose(after.outline.points, corners, atol=1e-6)


def test_it_turns_about_the_corner_that_shows():
    before = _body(Level.T6, 30, (SURE, 0.5))
    after = _settled(_with(_spine(), before))[Level.T6]
    moved = [
        np.hypot(*np.subtract(getattr(after.upper, side), getattr(before.upper, side)))
        for side in ("left", "right")
    ]
    assert moved[0] < 0.1 * HEIGHT + 1  # by which both may be moved
    assert moved[1] > 0.5 * HEIGHT


@pytest.mark.parametrize("anterior_left", [True, False])
def test_a_sacrum_in_doubt_inclines_to_the_front(anterior_left):
    level = _body(Level.S1, _true_tilt(Level.L5), (UNSURE, UNSURE))
    bodies = _with(_spine(), level)
    if not anterior_left:
        bodies = [body.moved(_mirrored) for body in bodies]
        bodies = [replace(body, upper=_swapped(body.upper), lower=_swapped(body.lower)) for body in bodies]
    sign = 1 if anterior_left else -1
    inclined = sign * _tilt(_settled(bodies, View.LATERAL, anterior_left)[Level.S1].upper)
    assert inclined - _true_tilt(Level.L5) == pytest.approx(-18.5, abs=2)


def _mirrored(points):
    return np.array([SIZE[0], 0]) + points * [-1, 1]


def _swapped(plate):
    return plate and replace(plate, left=plate.right, right=plate.left, curve=plate.curve[::-1])


def test_without_a_front_nothing_is_known_of_the_sacrum():
    bodies = _with(_spine(), _body(Level.S1, 7.0, (UNSURE, UNSURE)))
    assert _tilt(_settled(bodies, anterior_left=None)[Level.S1].upper) == pytest.approx(7.0, abs=1e-6)


@pytest.mark.parametrize("view", [View.AP, View.OBLIQUE, View.UNKNOWN])
def test_from_the_front_a_spine_may_bend_as_it_likes(view):
    bodies = _with(_spine(), _body(Level.T6, _true_tilt(Level.T6) + 25, (UNSURE, UNSURE)))
    assert list(_settled(bodies, view, None).values()) == bodies


def test_a_body_in_doubt_is_moved_to_the_line_of_the_others():
    before = _off(Level.T9, BACK, (UNSURE, UNSURE))
    after = _settled(_with(_spine(), before))[Level.T9]
    for plate, was in ((after.upper, before.upper), (after.lower, before.lower)):
        np.testing.assert_allclose(np.subtract(was.middle, plate.middle), BACK, atol=1)
    np.testing.assert_allclose(np.subtract(before.outline.centroid, after.outline.centroid), BACK, atol=1)


def test_what_lies_far_off_is_moved_a_little():
    after = _settled(_with(_spine(), _off(Level.T9, [0, HEIGHT / 2], (UNSURE, UNSURE))))[Level.T9]
    right = next(body for body in _spine() if body.level is Level.T9)
    away = np.subtract(after.upper.middle, right.upper.middle)
    np.testing.assert_allclose(away, [0, HEIGHT * (0.5 - 0.1)], atol=0.5)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(_off(Level.T9, BACK, (SURE, SURE)), id="shows"),
        pytest.param(_off(Level.S1, BACK, (UNSURE, UNSURE)), id="sacrum"),
    ],
)
def test_what_is_not_moved(body):
    after = _settled(_with(_spine(), body))[body.level]
    np.testing.assert_allclose(after.upper.middle, body.upper.middle, atol=0.01)


def test_a_gap_in_the_chain_is_bridged():
    bodies = [body for body in _spine() if body.level not in (Level.T8, Level.T9)]
    after = _settled(_with(bodies, _body(Level.T10, _true_tilt(Level.T10) - 20, (UNSURE, UNSURE))))
    assert _tilt(after[Level.T10].upper) == pytest.approx(_true_tilt(Level.T10), abs=4)


def test_where_only_one_body_shows_both_plates_the_others_are_settled_all_the_same():
    bodies = [replace(body, lower=body.lower if body.level is Level.T8 else None) for body in _spine()]
    tilted = replace(_body(Level.T6, _true_tilt(Level.T6) + 25, (UNSURE, UNSURE)), lower=None)
    after = _settled(_with(bodies, tilted))
    assert _tilt(after[Level.T6].upper) == pytest.approx(_true_tilt(Level.T6), abs=4)


def test_few_bodies_tell_nothing():
    bodies = [_body(level, 30 * (level is Level.L2), (UNSURE, UNSURE)) for level in LEVELS[-6:-1]]
    assert list(_settled(bodies).values()) == bodies


def test_plates_without_a_tracer_stay():
    bodies = [
        replace(
            body,
            upper=replace(body.upper, spreads=None),
            lower=body.lower and replace(body.lower, spreads=None),
        )
        for body in _spine()
    ]
    assert list(_settled(bodies).values()) == bodies


def test_what_is_turned_stays_on_the_picture():
    bodies = [body.moved(lambda points: points - [255, 0]) for body in _spine()]
    tilted = _body(Level.T6, 60, (UNSURE, UNSURE)).moved(lambda points: points - [255, 0])
    after = _settled(_with(bodies, tilted))[Level.T6]
    assert after.outline.points.min() >= 0
    assert min(after.upper.left) >= 0
