"""A body that hardly shows is put where the line of its neighbours runs; those that show stay, and so does the line."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.naming.redrawing import redrawn
from spinepacs.analysis.naming.regular import doubt, out_of_line
from spinepacs.analysis.seeing.tracer import Traced
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx

LEVELS = [level for level in Level if Level.C3 <= level <= Level.L5]
SURE, UNSURE = 0.05, 0.3


def _centre(step):
    """A spine that bends as one does, px."""
    return np.array([300 + 60 * np.sin(step / 5), 60 + 50 * step + 0.6 * step**2])


def _side(step):
    return 40 + 1.2 * step


def _body(level, centre, side, spread=SURE):
    half = side / 2
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) + centre

    def plate(row, other):
        left, right = corners[row], corners[other]
        return Endplate(PointPx(*left), PointPx(*right), np.stack([left, right]), (spread, spread))

    return Vertebra(level, level, 0.9, "", 0.9, Outline(corners), plate(0, 1), plate(3, 2), 9.0)


def _spine(levels=LEVELS):
    return [_body(level, _centre(step), _side(step)) for step, level in enumerate(LEVELS) if level in levels]


def _unsure(body, shift=(0.0, 0.0), side=None):
    side = np.sqrt(body.outline.area_px) if side is None else side
    return _body(body.level, np.add(body.outline.centroid, shift), side, UNSURE)


@pytest.mark.parametrize("row", [1, 6, 12, 19, 20])
@pytest.mark.parametrize("shift", [(0, 24), (-20, -20), (28, 0)])
def test_a_body_that_hardly_shows_lies_where_its_neighbours_say(row, shift):
    spine = _spine()
    spine[row] = _unsure(spine[row], shift, side=25.0)
    places = out_of_line(spine)
    assert set(places) == {row}
    np.testing.assert_allclose(places[row].centre, _centre(row), atol=0.15 * _side(row))
    assert places[row].growth == pytest.approx(_side(row) / 25.0, rel=0.2)
    assert places[row].move == pytest.approx(
        np.hypot(*shift) / np.median([_side(n) for n in range(22)]), abs=0.15
    )


def test_several_in_a_row_are_put_in_line():
    spine = _spine()
    true = {}
    for row, shift in ((5, (5, 30)), (6, (-25, 22)), (7, (20, -16)), (8, (22, 20))):
        true[row] = _centre(row)
        spine[row] = _unsure(spine[row], shift)
    places = out_of_line(spine)
    assert set(places) == set(true)
    for row, place in places.items():
        np.testing.assert_allclose(place.centre, true[row], atol=0.35 * _side(row))


def test_where_a_level_is_missing_its_place_is_kept_free():
    spine = _spine([level for level in LEVELS if level is not Level.T4])
    row = [body.level for body in spine].index(Level.T5)
    true = spine[row].outline.centroid
    spine[row] = _unsure(spine[row], (0, 25))
    np.testing.assert_allclose(out_of_line(spine)[row].centre, true, atol=6)


def test_what_shows_stays_wherever_it_lies():
    spine = _spine()
    slipped = spine[20]
    spine[20] = _body(slipped.level, np.add(slipped.outline.centroid, (15, 0)), _side(20))
    assert out_of_line(spine) == {}
    # And one that lies quite elsewhere does not take an unsure neighbour with it.
    spine[20] = _body(slipped.level, np.add(slipped.outline.centroid, (60, 0)), _side(20))
    spine[18] = _unsure(spine[18], (0, 20))
    assert set(out_of_line(spine)) == {18}
    np.testing.assert_allclose(out_of_line(spine)[18].centre, _centre(18), atol=0.2 * _side(18))


def test_a_body_in_line_stays_though_it_hardly_shows():
    spine = _spine()
    spine[9] = _unsure(spine[9])
    assert out_of_line(spine) == {}


def test_ends_with_other_distances_are_no_part_of_the_line():
    ends = {Level.C2: (340, 20), Level.S1: (250, 2000)}
    spine = sorted(
        [*_spine(), *(_body(level, centre, 90.0, UNSURE) for level, centre in ends.items())],
        key=lambda body: body.level,
    )
    assert out_of_line(spine) == {}


@pytest.mark.parametrize("row", [0, -1])
def test_nothing_is_moved_at_an_end(row):
    spine = _spine()
    spine[row] = _unsure(spine[row], (0, 25))
    assert out_of_line(spine) == {}


def test_few_bodies_make_no_line():
    spine = _spine([Level.L1, Level.L2, Level.L3, Level.L4, Level.L5])
    spine[2] = _unsure(spine[2], (20, 0))
    assert out_of_line(spine) == {}


def test_no_plate_is_a_doubt():
    body = _spine()[3]
    assert doubt(body) == pytest.approx(SURE)
    assert doubt(replace(body, upper=None, lower=None)) > UNSURE
    assert doubt(replace(body, upper=None)) == pytest.approx(SURE)


class _Tracer:
    """Draws what it is told of each outline, and remembers what it was asked."""

    def __init__(self, *answers):
        self._answers, self.asked = list(answers), []

    def trace(self, display, outlines, towards, rows=None):
        self.asked.append((outlines, rows))
        return self._answers.pop(0)


PICTURE = np.zeros((1500, 600), np.uint8)


def _traced(body, spread):
    again = _body(body.level, body.outline.centroid, np.sqrt(body.outline.area_px), spread)
    return Traced(again.outline, again.upper, again.lower)


def test_a_moved_body_is_drawn_again_at_its_place():
    spine = _spine()
    spine[6] = _unsure(spine[6], (0, 25))
    true = _spine()[6]
    tracer = _Tracer([None] * len(spine), [_traced(true, 0.1)])
    after = redrawn(tracer, PICTURE, spine)
    outlines, rows = tracer.asked[1]
    assert rows == (6,)
    np.testing.assert_allclose(outlines[6].centroid, _centre(6), atol=6)
    np.testing.assert_allclose(after[6].outline.points, true.outline.points)
    assert after[:6] + after[7:] == (*spine[:6], *spine[7:])


@pytest.mark.parametrize("second", [None, 0.6])
def test_where_nothing_is_seen_there_either_it_is_put_there_and_as_unsure_as_it_was_moved(second):
    spine = _spine()
    spine[6] = _unsure(spine[6], (0, 25))
    again = [None if second is None else _traced(_spine()[6], second)]
    (body,) = redrawn(_Tracer([None] * len(spine), again), PICTURE, spine)[6:7]
    np.testing.assert_allclose(body.outline.centroid, _centre(6), atol=6)
    assert body.level is spine[6].level
    moved = np.hypot(*np.subtract(body.outline.centroid, spine[6].outline.centroid))
    unit = np.median([np.sqrt(one.outline.area_px) for one in spine])
    assert body.upper.spread == pytest.approx(np.hypot(UNSURE, moved / unit), rel=1e-6)
    np.testing.assert_allclose(body.upper.middle, np.mean([body.upper.left, body.upper.right], axis=0))


def test_what_is_moved_stays_on_the_picture():
    spine = _spine()
    spine[6] = _unsure(spine[6], (0, 25))
    right = int(_centre(6)[0]) + 5
    (body,) = redrawn(_Tracer([None] * len(spine), [None]), PICTURE[:, :right], spine)[6:7]
    assert body.outline.points[:, 0].max() == right
    assert body.upper.right.x <= right
    narrow = PICTURE[:, : int(_centre(6)[0]) - 5]
    assert redrawn(_Tracer([None] * len(spine)), narrow, spine)[6] == spine[6]


def test_a_spine_that_shows_is_drawn_once():
    spine = _spine()
    tracer = _Tracer([_traced(body, SURE) for body in spine])
    assert len(redrawn(tracer, PICTURE, spine)) == len(spine)
    assert len(tracer.asked) == 1
