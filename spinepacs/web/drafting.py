"""Forms of the review → the operations of a draft, one more at a time; and operations in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pydantic import ValidationError
from starlette.exceptions import HTTPException

from spinepacs.domain import words
from spinepacs.domain.corrections import (
    OPERATIONS,
    Accept,
    Grade,
    Insert,
    MovePoint,
    Name,
    Operation,
    Reject,
    Remove,
    Shift,
)
from spinepacs.domain.findings import Refusal
from spinepacs.domain.signs import GRADE_NAMES
from spinepacs.language import NP_, _

Operations = tuple[Operation, ...]
Form = Mapping[str, str]


def operations_of(form: Form) -> Operations:
    """The draft that a form carries along; raises HTTPException 400 for what is none."""
    text = form.get("operations", "") or "[]"
    return () if text.strip() == "[]" else _valid(text)


def as_text(operations: Operations) -> str:
    """The same, as a form carries it."""
    return OPERATIONS.dump_json(operations).decode() if operations else "[]"


def changed(before: Operations, form: Form) -> Operations | Refusal:
    """The draft with what the form's button ``do`` asks for; raises HTTPException 400 for what cannot be read.

    Grades come last: their places are those that there are at the end (:class:`~spinepacs.domain.corrections.Grade`),
    so one that is followed by other names would be another disc's.
    """
    do = form.get("do", "")
    if do == "":
        return before
    if do == "undo":
        return before[:-1]
    if do not in _MADE_OF:
        raise HTTPException(400, _("there is no such change"))
    try:
        (new,) = _valid(f"[{_MADE_OF[do](form)}]")
    except (KeyError, ValueError):
        raise HTTPException(400, _("the form is not filled in")) from None
    if not isinstance(new, Grade | MovePoint) and any(isinstance(one, Grade) for one in before):
        return Refusal("GRADES_LAST", "grades are given after all names are right: undo them first")
    return _joined(before, new)


def _valid(text: str) -> Operations:
    try:
        return OPERATIONS.validate_json(text)
    except ValidationError as error:  # its own words would quote what was sent
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        said = _("this is no draft of a correction: {where}: {why}", where=where, why=first["msg"])
        raise HTTPException(400, said) from None


def _joined(before: Operations, new: Operation) -> Operations:
    """One after the other; what only goes on with the last one takes its place."""
    last = before[-1] if before else None
    if isinstance(last, Shift) and isinstance(new, Shift):
        by = last.by + new.by
        return (*before[:-1], Shift(by)) if by else before[:-1]
    if isinstance(last, MovePoint) and isinstance(new, MovePoint):
        is_same = (last.vertebra, last.point) == (new.vertebra, new.point)
        return (*before[:-1], new) if is_same else (*before, new)
    return (*before, new)


def _name(form: Form) -> str:
    return json.dumps({"kind": "name", "vertebra": form["vertebra"], "level": form["level"]})


def _remove(form: Form) -> str:
    close = form["do"] == "close"
    return json.dumps({"kind": "remove", "vertebra": form["vertebra"], "close": close})


def _grade(form: Form) -> str:
    sign, place, side = form["finding"].split("|")
    given = {"sign": sign, "place": place, "side": side or None, "grade": int(form["grade"])}
    return json.dumps({"kind": "grade", "reason": form.get("why", ""), **given})


_MADE_OF: Mapping[str, Callable[[Form], str]] = {
    "up": lambda form: '{"kind": "shift", "by": -1}',
    "down": lambda form: '{"kind": "shift", "by": 1}',
    "name": _name,
    "remove": _remove,
    "close": _remove,
    "grade": _grade,
    "accept": lambda form: '{"kind": "accept"}',
    "reject": lambda form: json.dumps({"kind": "reject", "reason": form["why"]}),
    "add": lambda form: form["add"],
}
"""By the name of the button: the operation as JSON; ``add`` has it whole, from the film's script."""


POINTS: words.Words[str] = words.Words(
    {
        "upper_left": NP_("point", "upper left"),
        "upper_middle": NP_("point", "upper middle"),
        "upper_right": NP_("point", "upper right"),
        "lower_left": NP_("point", "lower left"),
        "lower_middle": NP_("point", "lower middle"),
        "lower_right": NP_("point", "lower right"),
    },
    "point",
)
"""Points of a body's endplates that can be moved."""


def said(operation: Operation, with_reasons: bool = True) -> str:
    """One operation in words; reasons are free words and may name somebody."""
    match operation:
        case Shift(by):
            text = (
                _("all names {number} up", number=-by) if by < 0 else _("all names {number} down", number=by)
            )
        case Name(vertebra, level):
            text = _("{vertebra} is {level}, the rest follow", vertebra=vertebra.name, level=level.name)
            if vertebra is level:
                text = _("{vertebra} is right, and so are the rest", vertebra=vertebra.name)
        case Insert(level):
            text = _("a missed vertebra put in as {level}", level=level.name)
        case Remove(vertebra, close):
            text = _("{vertebra} removed", vertebra=vertebra.name)
            if close:
                text = _("{vertebra} removed, those below move up", vertebra=vertebra.name)
        case MovePoint(vertebra, point):
            text = _(
                "{vertebra}: {point} of its endplate moved", vertebra=vertebra.name, point=POINTS[point.value]
            )
        case Grade():
            text = _said_grade(operation, with_reasons)
        case Accept():
            text = _("accepted as it is")
        case Reject(reason):
            text = _("rejected") + (f": {reason}" if with_reasons else "")
    return text


def _said_grade(given: Grade, with_reasons: bool) -> str:
    names = GRADE_NAMES[given.sign]
    name = f" {words.grade_name(given.sign, given.grade)}" if given.grade < len(names) else ""
    where = " ".join([given.place, *([words.SIDES[given.side]] if given.side else [])])
    why = f" ({given.reason})" if given.reason and with_reasons else ""
    grade = f"{given.grade}{name}{why}"
    return _("{where}: {sign} graded {grade}", where=where, sign=words.SIGNS[given.sign], grade=grade)
