"""A spine after what a person has changed: names in sequence, outlines sound, and the rest as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spinepacs.analysis.naming.corrected import BY_PERSON, Corrected, corrected
from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import (
    OPERATIONS,
    Accept,
    Grade,
    Insert,
    MovePoint,
    Name,
    Operation,
    PlatePoint,
    Reject,
    Remove,
    Shift,
)
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.signs import Side, Sign
from spinepacs.domain.study import View
from tests.store.makers import vertebra

ROWS, COLUMNS = 3000, 2500


def spine(*levels: Level) -> Spine:
    """Boxes one below the other, 100 px apart, each with a doubtful name."""
    doubtful = (
        replace(vertebra(level), level_margin=1.0, other_level=Level(max(level - 1, 0))) for level in levels
    )
    notes = ("LEVEL_AMBIGUOUS", "DETECTIONS_DROPPED")
    return Spine(tuple(doubtful), (), View.LATERAL, True, "header", notes)


def lumbar() -> Spine:
    return spine(*(Level(n) for n in range(Level.L1, Level.L5 + 1)))


def applied(before: Spine, *operations: Operation) -> Corrected:
    found = corrected(before, operations, ROWS, COLUMNS)
    assert isinstance(found, Corrected), found
    return found


def refused(before: Spine, *operations: Operation) -> str:
    found = corrected(before, operations, ROWS, COLUMNS)
    assert isinstance(found, Refusal)
    return found.code


def names(of: Spine) -> list[str]:
    return [one.level.name for one in of.vertebrae]


def box(top: float, left: float = 200) -> tuple[tuple[float, float], ...]:
    return ((left, top), (left + 100, top), (left + 100, top + 80), (left, top + 80))


levels = st.integers(0, 24).map(Level)
chains = st.sets(levels, min_size=2, max_size=12).map(lambda found: spine(*sorted(found)))


@given(chains, st.integers(-3, 3))
def test_names_shifted_there_and_back_are_the_same(before: Spine, by: int) -> None:
    there = corrected(before, [Shift(by)], ROWS, COLUMNS)
    if isinstance(there, Refusal):
        beyond = [level for level in before.vertebrae if not 0 <= level.level + by <= 24]
        assert there.code == "LEVEL_BEYOND_SPINE"
        assert beyond
        return
    back = applied(there.spine, Shift(-by))
    assert names(back.spine) == names(before)
    assert [v.raw_level for v in back.spine.vertebrae] == [v.raw_level for v in before.vertebrae]
    assert there.renamed == {v.level: Level(v.level + by) for v in before.vertebrae}


@given(chains, st.data())
def test_one_name_and_the_rest_follow_as_a_shift_has_it(before: Spine, data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(before.vertebrae)).level
    to = data.draw(levels)
    named, shifted = (
        corrected(before, [operation], ROWS, COLUMNS) for operation in (Name(one, to), Shift(to - one))
    )
    assert type(named) is type(shifted)
    if isinstance(named, Corrected) and isinstance(shifted, Corrected):
        assert names(named.spine) == names(shifted.spine)


@given(chains, st.data())
@settings(max_examples=50)
def test_levels_are_in_order_and_each_once_whatever_is_done(before: Spine, data: st.DataObject) -> None:
    one = st.sampled_from(before.vertebrae).map(lambda vertebra: vertebra.level)
    operation = st.one_of(
        st.builds(Shift, st.integers(-2, 2)),
        st.builds(Remove, one, st.booleans()),
        st.builds(Name, one, levels),
        st.builds(Insert, levels, st.floats(0, 2800).map(box)),
    )
    found = corrected(before, data.draw(st.lists(operation, max_size=3)), ROWS, COLUMNS)
    if isinstance(found, Corrected):
        order = [vertebra.level for vertebra in found.spine.vertebrae]
        assert order == sorted(set(order))
        assert not set(found.spine.missing) & set(order)
        assert all(v.upper is None for v in found.spine.vertebrae if v.level <= Level.C2)
        assert all(v.lower is None for v in found.spine.vertebrae if v.level in (Level.C1, Level.S1))


def test_what_a_person_names_is_certain_and_says_who() -> None:
    found = applied(lumbar(), Shift(-1)).spine
    assert {v.level_reason for v in found.vertebrae} == {BY_PERSON}
    assert [(v.level_margin, v.other_level) for v in found.vertebrae] == [(None, None)] * 5
    assert [v.raw_level.name for v in found.vertebrae] == ["L1", "L2", "L3", "L4", "L5"]
    assert found.notes == ("LEVELS_SHIFTED", "DETECTIONS_DROPPED")
    confirmed = applied(lumbar(), Name(Level.L4, Level.L4)).spine
    assert {v.level_reason for v in confirmed.vertebrae} == {""}
    assert not any(v.level_is_ambiguous for v in confirmed.vertebrae)


def test_what_is_not_touched_stays_to_the_last_bit() -> None:
    before = lumbar()
    after = applied(before, MovePoint(Level.L3, PlatePoint.UPPER_LEFT, (195, 2102))).spine
    for v, w in zip(before.vertebrae, after.vertebrae, strict=True):
        is_same = (w.outline is v.outline, w.upper is v.upper, w.lower is v.lower)
        assert is_same == ((False, False, True) if v.level is Level.L3 else (True, True, True))
        assert (w.level, w.level_margin, w.level_reason) == (v.level, v.level_margin, v.level_reason)


def test_a_vertebra_that_was_missed_makes_room_for_itself() -> None:
    gap = spine(Level.L1, Level.L2, Level.L4)
    filled = applied(gap, Insert(Level.L3, box(2100))).spine
    assert names(filled) == ["L1", "L2", "L3", "L4"]
    assert filled.missing == ()
    new = filled.vertebrae[2]
    assert new.upper is not None
    assert new.lower is not None
    assert np.allclose(new.upper.left, (200, 2100), atol=3)
    assert np.allclose(new.lower.right, (300, 2180), atol=3)
    assert (new.raw_level, new.score, new.level_reason) == (Level.L3, 1.0, BY_PERSON)
    assert np.isnan(new.raw_score)
    pushed = applied(spine(Level.L1, Level.L2, Level.L4), Insert(Level.L2, box(1960))).spine
    assert names(pushed) == ["L1", "L2", "L3", "L4"]


def test_a_vertebra_that_is_none_goes_and_the_names_close_if_wanted() -> None:
    found = applied(lumbar(), Remove(Level.L3)).spine
    assert names(found) == ["L1", "L2", "L4", "L5"]
    assert found.missing == (Level.L3,)
    assert "VERTEBRAE_MISSING" in found.notes
    closed = applied(lumbar(), Remove(Level.L3, close=True))
    assert names(closed.spine) == ["L1", "L2", "L3", "L4"]
    assert closed.renamed[Level.L4] is Level.L3
    assert Level.L3 not in closed.renamed


def test_a_corner_takes_the_curve_and_the_outline_near_it_along() -> None:
    before = lumbar().vertebrae[2]
    moved = applied(lumbar(), MovePoint(Level.L3, PlatePoint.UPPER_LEFT, (190, 2095))).spine.vertebrae[2]
    assert before.upper is not None
    assert moved.upper is not None
    assert moved.upper.left == (190, 2095)
    assert moved.upper.right == before.upper.right
    assert np.allclose(moved.upper.curve[0], (190, 2095))
    assert np.allclose(moved.outline.points[0], (190, 2095))
    assert np.allclose(moved.outline.points[2], before.outline.points[2])
    assert moved.lower is not None
    assert before.lower is not None
    assert moved.lower.left == before.lower.left
    bent = applied(lumbar(), MovePoint(Level.L3, PlatePoint.LOWER_MIDDLE, (250, 2170)))
    plate = bent.spine.vertebrae[2].lower
    assert plate is not None
    assert (plate.left, plate.right) == ((200, 2180), (300, 2180))


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ((Shift(2),), "LEVEL_BEYOND_SPINE"),
        ((Shift(-20),), "LEVEL_BEYOND_SPINE"),
        ((Name(Level.T5, Level.T6),), "NO_SUCH_VERTEBRA"),
        ((Remove(Level.C3),), "NO_SUCH_VERTEBRA"),
        ((Insert(Level.T12, ((2400, 1800), (2600, 1800), (2600, 1880), (2400, 1880))),), "OUTSIDE_FILM"),
        ((Insert(Level.T12, ((200, 1800), (300, 1880), (300, 1800), (200, 1880))),), "OUTLINE_CROSSES"),
        ((Insert(Level.T12, ((200, 1800), (300, 1800), (250, 1800))),), "OUTLINE_CROSSES"),
        ((Insert(Level.T12, box(2250)),), "OUT_OF_ORDER"),
        ((MovePoint(Level.L3, PlatePoint.UPPER_LEFT, (-1, 2100)),), "OUTSIDE_FILM"),
        ((MovePoint(Level.L3, PlatePoint.UPPER_LEFT, (340, 2090)),), "OUTLINE_CROSSES"),
        ((Shift(1), MovePoint(Level.S1, PlatePoint.LOWER_LEFT, (200, 2380))), "OUTSIDE"),
        ((Accept(), Shift(1)), "STANDS_ALONE"),
        ((Reject("no"), Accept()), "STANDS_ALONE"),
        (tuple(Remove(Level(n)) for n in range(Level.L1, Level.L5)), "TOO_FEW_VERTEBRAE"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(operations: tuple[Operation, ...], code: str) -> None:
    if code == "OUTSIDE":  # the name that a vertebra gets later does not matter before
        applied(lumbar(), *operations)
        return
    assert refused(lumbar(), *operations) == code


@pytest.mark.parametrize("turned", [(0, 1), (1, 0), (0, -1), (-1, 0)])
def test_a_vertebra_is_drawn_alike_however_the_film_lies(turned: tuple[int, int]) -> None:
    """Left and right of a plate are those with the head up."""
    cosine, sine = turned
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float64)
    middle = np.array([1250.0, 1500.0])

    def move(points: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]  # of the test's own
        return (points - (250, 2000)) @ turn.T + middle

    before = spine(Level.L1, Level.L2, Level.L4).moved(move)
    outline = tuple((float(x), float(y)) for x, y in move(np.array(box(2100))))
    new = applied(before, Insert(Level.L3, outline)).spine.vertebrae[2]
    upright = applied(spine(Level.L1, Level.L2, Level.L4), Insert(Level.L3, box(2100))).spine.vertebrae[2]
    assert new.upper is not None
    assert upright.upper is not None
    assert np.allclose(new.upper.left, move(np.array([upright.upper.left]))[0], atol=1e-6)


def test_operations_come_back_from_their_json() -> None:
    every: tuple[Operation, ...] = (
        Shift(1), Name(Level.L5, Level.L4), Insert(Level.L3, box(1)), Remove(Level.T1, close=True),
        MovePoint(Level.L4, PlatePoint.LOWER_MIDDLE, (1.5, 2)),
        Grade(Sign.OSTEOPHYTES, "L4", 2, "seen", Side.UPPER_ANTERIOR), Accept(), Reject("no"),
    )  # fmt: skip
    as_json = OPERATIONS.dump_json(every)
    assert b'"vertebra":"L5","level":"L4"' in as_json
    assert OPERATIONS.validate_json(as_json) == every


@pytest.mark.parametrize(
    "wrong",
    [
        [], [{"kind": "shift"}], [{"kind": "jump"}], [{"kind": "name", "vertebra": "L6", "level": "L5"}],
        [{"kind": "move", "vertebra": "L4", "point": "upper_left", "to": [float("nan"), 1]}],
        [{"kind": "insert", "level": "L3", "outline": [[1, 2], [3, 4]]}],
        [{"kind": "grade", "sign": "osteophytes", "place": "L4", "grade": 9}],
        [{"kind": "reject", "reason": "x" * 1001}],
        [{"kind": "accept"}] * 101,
    ],
)  # fmt: skip
def test_what_is_no_operation_is_no_json_of_one(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"validation error"):
        OPERATIONS.validate_python(wrong)
