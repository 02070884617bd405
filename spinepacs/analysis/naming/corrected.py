"""A spine and what a person has changed about it → the spine that follows, or why there is none.

Nothing here looks at a picture. What was not touched stays as it was, to the last bit; raw levels are the network's for
ever. Refusals: ``NO_SUCH_VERTEBRA``, ``LEVEL_BEYOND_SPINE``, ``OUTSIDE_FILM``, ``OUTLINE_CROSSES``,
 ``OUT_OF_ORDER``, ``NO_SUCH_POINT``, ``TOO_FEW_VERTEBRAE``, ``STANDS_ALONE``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.label import missing_between
from spinepacs.analysis.seeing.endplates import find_endplates
from spinepacs.domain.anatomy import Level
from spinepacs.domain.corrections import (
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
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx, Points

BY_PERSON = "by a person"
"""Level reason of every vertebra whose name a person has changed."""
_LEAST_AREA_PX = 9.0
_LEAST_VERTEBRAE = 2
OF_SPINE = frozenset(
    {
        "LEVEL_AMBIGUOUS", "LEVELS_SHIFTED", "VERTEBRAE_MISSING", "DETECTIONS_DROPPED", "HEAD_AT_THE_BOTTOM",
        "VIEW_FROM_PICTURE", "TURNED_CLOCKWISE", "TURNED_HALF", "TURNED_COUNTERCLOCKWISE", "TURN_FROM_PICTURE",
        "ORIENTATION_CONTRADICTED", "FACING_CONTRADICTED", "PROPORTIONS_RESTORED",
    }
)  # fmt: skip
"""Notes that a spine brings into its reading (label.py, upright.py, proportions.py); all others are told anew."""
_FROM_NAMES = frozenset({"LEVEL_AMBIGUOUS", "LEVELS_SHIFTED", "VERTEBRAE_MISSING"})
"""Notes of a spine that are told anew from its vertebrae; the others stay."""


@dataclass(frozen=True)
class Corrected:
    """The spine that follows, and by earlier level what each vertebra that is left is called now."""

    spine: Spine
    renamed: Mapping[Level, Level]


class _Refused(Exception):  # noqa: N818 - never leaves this module: a refusal on its way out
    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(code, reason)


@dataclass(frozen=True)
class _Body:
    """A vertebra under way, with the name that it began with; None: a person has put it in."""

    vertebra: Vertebra
    before: Level | None

    @property
    def level(self) -> Level:
        return self.vertebra.level

    def named(self, number: int) -> _Body:
        """The same body under another name."""
        if not Level.C1 <= number <= Level.S1:
            raise _Refused("LEVEL_BEYOND_SPINE", "a vertebra would be named beyond C1 or S1")
        return replace(self, vertebra=replace(self.vertebra, level=Level(number)))


def corrected(spine: Spine, operations: Sequence[Operation], rows: int, columns: int) -> Corrected | Refusal:
    """Apply operations to a spine, one after another.

    Parameters
    ----------
    spine
        In the film's own px.
    operations
        Those that grade, accept or reject change nothing here.
    rows, columns
        Size of the film, px.
    """
    try:
        _alone(operations)
        bodies = [_Body(vertebra, vertebra.level) for vertebra in spine.vertebrae]
        for operation in operations:
            bodies = _applied(bodies, operation, np.array([columns, rows], np.float64))
        if len(bodies) < _LEAST_VERTEBRAE:
            raise _Refused("TOO_FEW_VERTEBRAE", "fewer than two vertebrae would be left")
    except _Refused as refused:
        return refused.refusal
    are_vouched_for = any(isinstance(one, Shift | Name) for one in operations)
    vertebrae = tuple(_finished(body, bodies, are_vouched_for) for body in bodies)
    renamed = {body.before: body.level for body in bodies if body.before is not None}
    return Corrected(_with_notes(spine, vertebrae), renamed)


def _alone(operations: Sequence[Operation]) -> None:
    if len(operations) > 1 and any(isinstance(one, Accept | Reject) for one in operations):
        raise _Refused("STANDS_ALONE", "to accept or to reject a reading goes with no other change of it")


def _applied(bodies: list[_Body], operation: Operation, size: Points) -> list[_Body]:
    """Bodies after one operation, from head to foot."""
    match operation:
        case Shift(by):
            return [body.named(body.level + by) for body in bodies]
        case Name(vertebra, level):
            by = level - _found(bodies, vertebra).level
            return [body.named(body.level + by) for body in bodies]
        case Insert(level, outline):
            return _inserted(bodies, level, _outline(np.array(outline, np.float64), size))
        case Remove(vertebra, close):
            gone = _found(bodies, vertebra)
            below = -1 if close else 0
            return [
                body.named(body.level + below) if body.level > gone.level else body
                for body in bodies
                if body is not gone
            ]
        case MovePoint(vertebra, point, to):
            moved = _found(bodies, vertebra)
            changed = replace(moved, vertebra=_moved(moved.vertebra, point, np.array(to, np.float64), size))
            return [changed if body is moved else body for body in bodies]
        case Grade() | Accept() | Reject():
            return bodies


def _found(bodies: Sequence[_Body], level: Level) -> _Body:
    body = next((one for one in bodies if one.level is level), None)
    if body is None:
        raise _Refused("NO_SUCH_VERTEBRA", f"{level.name} is not among the vertebrae of this film")
    return body


def _outline(points: Points, size: Points) -> Outline:
    """A sound outline, or a refusal."""
    if not ((points >= 0) & (points <= size)).all():
        raise _Refused("OUTSIDE_FILM", "a point lies outside the film")
    outline = Outline(points)
    if outline.area_px < _LEAST_AREA_PX or _crosses_itself(points):
        raise _Refused("OUTLINE_CROSSES", "the outline crosses itself, or encloses nothing")
    return outline


def _crosses_itself(points: Points) -> bool:
    """Whether two sides that are no neighbours cross, by the signs of their corners' areas."""
    start, end = points, np.roll(points, -1, axis=0)

    def side(corner: Points) -> NDArray[np.float64]:
        """(N, N): on which side of each side (rows) the corner of each other one (columns) lies."""
        way, to = (end - start)[:, None], corner[None] - start[:, None]
        return np.asarray(np.sign(way[..., 0] * to[..., 1] - way[..., 1] * to[..., 0]))

    first, second = side(start), side(end)
    parted = first * second < 0
    return bool((parted & parted.T).any())


def _inserted(bodies: Sequence[_Body], level: Level, outline: Outline) -> list[_Body]:
    taken = {body.level for body in bodies}
    number = int(level)
    while number in taken:  # those from here on to the next gap make room
        number += 1
    pushed = [body.named(body.level + 1) if level <= body.level < number else body for body in bodies]
    new = _Body(Vertebra(level, level, float("nan"), BY_PERSON, 1.0, outline, None, None), None)
    every = sorted([*pushed, new], key=lambda body: body.level)
    at = every.index(new)
    way, here = _axis(every, at), np.asarray(outline.centroid)
    for other in every[max(0, at - 1) : at + 2]:
        ahead = (np.asarray(other.vertebra.outline.centroid) - here) @ way
        if (ahead > 0) != (other.level > level) and other is not new:
            raise _Refused(
                "OUT_OF_ORDER",
                f"the vertebra drawn for {level.name} does not lie beside {other.level.name} where it should",
            )
    return every


def _axis(bodies: Sequence[_Body], at: int) -> Points:
    """(2,) unit vector to the foot at one of the bodies, by its neighbours, else by the nearest two others."""
    others = [n for n in range(len(bodies)) if n != at]
    near = sorted(others, key=lambda n: (abs(n - at), n))[:2]
    ends = sorted(near) if len(near) == 2 else sorted([at, *near])
    first, last = (np.asarray(bodies[n].vertebra.outline.centroid) for n in (ends[0], ends[-1]))
    way = last - first
    return np.asarray(way / max(float(np.hypot(*way)), 1e-9))


def _moved(vertebra: Vertebra, point: PlatePoint, to: Points, size: Points) -> Vertebra:
    """One point of a plate at another place; the outline follows, less and less to half a plate's width away."""
    name, _, where = point.partition("_")
    plate: Endplate | None = getattr(vertebra, name)
    if plate is None:
        raise _Refused("NO_SUCH_POINT", f"{vertebra.level.name} has no {name} endplate on this film")
    if not ((to >= 0) & (to <= size)).all():
        raise _Refused("OUTSIDE_FILM", "a point lies outside the film")
    at = np.asarray(getattr(plate, where))
    points = vertebra.outline.points
    near = np.maximum(0.0, 1 - np.hypot(*(points - at).T) / max(plate.width_px / 2, 1e-9))
    outline = _outline(np.clip(points + near[:, None] * (to - at), 0, size), size)
    changed = _plate_bent(plate, to - at) if where == "middle" else _plate_turned(plate, where, to)
    if changed.width_px < 1:
        raise _Refused("OUTLINE_CROSSES", "the two corners of an endplate would be one")
    drawn = replace(vertebra, outline=outline)
    return replace(drawn, upper=changed) if name == "upper" else replace(drawn, lower=changed)


def _plate_bent(plate: Endplate, by: Points) -> Endplate:
    """The curve's middle moves, its ends stay, a parabola between."""
    axis = np.subtract(plate.right, plate.left)
    share = np.clip((plate.curve - np.asarray(plate.left)) @ axis / max(float(axis @ axis), 1e-12), 0, 1)
    return replace(plate, curve=plate.curve + (4 * share * (1 - share))[:, None] * by)


def _plate_turned(plate: Endplate, where: str, to: Points) -> Endplate:
    """One corner moves, the other stays, and the curve is turned and stretched between them."""
    corners = {"left": np.asarray(plate.left), "right": np.asarray(plate.right)}
    left, right = ({**corners, where: to}[name] for name in ("left", "right"))
    # As complex numbers a turn and a stretch is one factor.
    old = complex(*(corners["right"] - corners["left"])) or 1e-9
    curve = (plate.curve - corners["left"]) @ np.array([1, 1j]) * (complex(*(right - left)) / old)
    return replace(
        plate,
        left=PointPx(*left.tolist()),
        right=PointPx(*right.tolist()),
        curve=left + np.stack([curve.real, curve.imag], axis=1),
    )


def _finished(body: _Body, bodies: Sequence[_Body], are_vouched_for: bool) -> Vertebra:
    """The vertebra with the plates that one of its name has, and nothing doubtful in a name that a person gave."""
    vertebra, level = body.vertebra, body.level
    is_renamed = body.before is not level
    if is_renamed:
        vertebra = replace(vertebra, level_reason=BY_PERSON)
    if is_renamed or are_vouched_for:
        vertebra = replace(vertebra, level_margin=None, other_level=None)
    upper = vertebra.upper if level.has_upper_plate else None
    lower = vertebra.lower if level.has_lower_plate else None
    if is_renamed and (upper is None or lower is None):
        above, below = _plates(vertebra, _axis(bodies, bodies.index(body)))
        upper = upper or (above if level.has_upper_plate else None)
        lower = lower or (below if level.has_lower_plate else None)
    return replace(vertebra, upper=upper, lower=lower)


def _plates(vertebra: Vertebra, footwards: Points) -> tuple[Endplate | None, Endplate | None]:
    """Upper and lower plate by the outline, as the network's are found."""
    rightwards = np.array([footwards[1], -footwards[0]])
    upper, lower = find_endplates(
        [vertebra.outline.points] * 2, np.stack([-footwards, footwards]), np.stack([rightwards] * 2)
    )
    return upper, lower


def _with_notes(spine: Spine, vertebrae: tuple[Vertebra, ...]) -> Spine:
    """The spine of these vertebrae, with the notes that are true of them."""
    missing = missing_between([vertebra.level for vertebra in vertebrae])
    differing = sum(vertebra.level != vertebra.raw_level for vertebra in vertebrae)
    applies = {
        "LEVEL_AMBIGUOUS": any(vertebra.level_is_ambiguous for vertebra in vertebrae),
        "LEVELS_SHIFTED": differing > len(vertebrae) / 2,
        "VERTEBRAE_MISSING": bool(missing),
    }
    notes = [note for note, true in applies.items() if true]
    notes += [note for note in spine.notes if note in OF_SPINE - _FROM_NAMES]
    return replace(spine, vertebrae=vertebrae, missing=missing, notes=tuple(notes))
