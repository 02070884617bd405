"""How corrections are written on the command line."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from spinepacs.cli.corrections import _operations
from spinepacs.cli.main import main
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
from spinepacs.domain.signs import Side, Sign

NOTHING: dict[str, Any] = {
    "shift": None, "name": None, "remove": None, "insert": None, "move": (), "grade": (), "accept": False,
    "reject": None,
}  # fmt: skip


def written(**options: Any) -> tuple[Operation, ...]:
    return _operations(NOTHING | options, "seen on CT")


def test_all_that_can_be_written_is_understood_and_applied_in_one_order() -> None:
    found = written(
        shift=-1, name="L5=L4", remove="T12+close", insert="L3=1,2,3,4.5,6,7", move=("L4.upper_left=1,2",),
        grade=("disc_height_loss@L4/L5=2", "osteophytes@L4.upper_anterior=1"),
    )  # fmt: skip
    assert found == (
        Remove(Level.T12, close=True), Shift(-1), Name(Level.L5, Level.L4),
        Insert(Level.L3, ((1, 2), (3, 4.5), (6, 7))), MovePoint(Level.L4, PlatePoint.UPPER_LEFT, (1, 2)),
        Grade(Sign.DISC_HEIGHT_LOSS, "L4/L5", 2, "seen on CT"),
        Grade(Sign.OSTEOPHYTES, "L4", 1, "seen on CT", Side.UPPER_ANTERIOR),
    )  # fmt: skip
    assert written(remove="L5") == (Remove(Level.L5),)
    assert written(shift=0) == (Shift(0),)
    assert written(accept=True) == (Accept(),)
    assert written(reject="") == (Reject(""),)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"name": "L5"}, {"name": "L5=L4=L3"}, {"name": "L6=L5"}, {"remove": "L5+open"}, {"insert": "L3=1,2,3"},
        {"insert": "L3=1,2,3,4"}, {"insert": "L3=a,b"}, {"insert": "L3=nan,1,2,3,4,5"}, {"move": ("L4=1,2",)},
        {"move": ("L4.upper_left=1",)}, {"move": ("L4.upper_left=1,2,3,4",)}, {"grade": ("L4/L5=2",)},
        {"grade": ("osteophytes@L4=x",)}, {"grade": ("osteophytes@L4=9",)}, {"grade": ("osteophytes",)},
    ],
)  # fmt: skip
def test_what_is_not_understood_is_bad_usage(options: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError):
        written(**options)


def test_the_commands_say_what_they_do() -> None:
    for words in (["correct"], ["corrections"], ["corrections", "list"], ["corrections", "export"]):
        told = CliRunner().invoke(main, [*words, "--help"])
        assert told.exit_code == 0, told.output
    assert CliRunner().invoke(main, ["correct", "1.2.3"]).exit_code == 2
