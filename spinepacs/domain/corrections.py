"""What a person may change about a reading, who did, and one JSON form for it: database, command line and web page.

Levels are those that the spine has when the operation's turn comes: operations are applied in their order. Points are
in the film's own native px, however it was turned to be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat, PlainSerializer, TypeAdapter

from spinepacs.domain.anatomy import ALL_DISCS, DiscLevel, Level
from spinepacs.domain.signs import Side, Sign

REJECTED = "REJECTED"
"""Refusal code of a reading that a person has rejected."""
MOST_OPERATIONS = 100
"""In one correction; a spine has 25 vertebrae."""
_MOST_POINTS = 500
_MOST_WORDS = 1000


def _level(value: Any) -> Level:
    """A level by its name, as JSON holds it; raises ValueError for another word."""
    if isinstance(value, Level):
        return value
    if value not in Level.__members__:
        raise ValueError("must be a level, C1 to S1")
    return Level[value]


NamedLevel = Annotated[Level, BeforeValidator(_level), PlainSerializer(lambda level: level.name)]
"""A level, in JSON its name."""
Words = Annotated[str, Field(max_length=_MOST_WORDS)]
PointXY = tuple[FiniteFloat, FiniteFloat]
"""x and y, native px."""


class PlatePoint(StrEnum):
    """A point of an endplate that can be moved; left and right as the image shows them with the head up."""

    UPPER_LEFT = "upper_left"
    UPPER_MIDDLE = "upper_middle"
    UPPER_RIGHT = "upper_right"
    LOWER_LEFT = "lower_left"
    LOWER_MIDDLE = "lower_middle"
    LOWER_RIGHT = "lower_right"


@dataclass(frozen=True)
class Shift:
    """All names by so many levels, to the foot positive: by 1, L4 becomes L5."""

    by: int
    kind: Literal["shift"] = "shift"


@dataclass(frozen=True)
class Name:
    """One vertebra gets another name, and the rest follow by as many levels; its own name: the names are confirmed."""

    vertebra: NamedLevel
    level: NamedLevel
    kind: Literal["name"] = "name"


@dataclass(frozen=True)
class Insert:
    """A vertebra that was missed, drawn by a person. Where its level is taken, those from there on move a level down.

    Parameters
    ----------
    outline
        Corners or outline of the body in order, three or more.
    """

    level: NamedLevel
    outline: Annotated[tuple[PointXY, ...], Field(min_length=3, max_length=_MOST_POINTS)]
    kind: Literal["insert"] = "insert"


@dataclass(frozen=True)
class Remove:
    """A vertebra that is none. Its level is missing then, or with ``close`` those below move a level up."""

    vertebra: NamedLevel
    close: bool = False
    kind: Literal["remove"] = "remove"


@dataclass(frozen=True)
class MovePoint:
    """A corner of an endplate, or the middle of its curve, to another place; the outline follows near it."""

    vertebra: NamedLevel
    point: PlatePoint
    to: PointXY
    kind: Literal["move"] = "move"


@dataclass(frozen=True)
class Grade:
    """A person's grade of a sign at a place that was looked at; the computed one stays beside it.

    Parameters
    ----------
    place
        A disc (``L4/L5``) or a vertebra (``L4``), as named at the end of the correction.
    side
        Of a sign at a vertebra that has one, else None.
    """

    sign: Sign
    place: Words
    grade: Annotated[int, Field(ge=0, le=5)]
    reason: Words = ""
    side: Side | None = None
    kind: Literal["grade"] = "grade"


@dataclass(frozen=True)
class Accept:
    """The reading is right as it is published; stands alone."""

    kind: Literal["accept"] = "accept"


@dataclass(frozen=True)
class Reject:
    """Nothing of the reading is to be used; stands alone."""

    reason: Words
    kind: Literal["reject"] = "reject"


Operation = Annotated[
    Shift | Name | Insert | Remove | MovePoint | Grade | Accept | Reject, Field(discriminator="kind")
]
Operations = Annotated[tuple[Operation, ...], Field(min_length=1, max_length=MOST_OPERATIONS)]

OPERATIONS: TypeAdapter[tuple[Operation, ...]] = TypeAdapter(Operations, config=ConfigDict(defer_build=True))
"""Operations as JSON; raises pydantic's ValidationError, a ValueError, for what is none."""


@dataclass(frozen=True)
class Draft:
    """What a person asks for.

    Parameters
    ----------
    author
        Who, as DICOM writes a name (``Family^Given``) or as one word after another.
    organisation
        For whom; empty: not stated.
    reason
        Why, in the author's words; it stays in the database.
    """

    operations: tuple[Operation, ...]
    author: str
    organisation: str = ""
    reason: str = ""

    @property
    def is_acceptance(self) -> bool:
        """Whether the reading stays as it is."""
        return any(isinstance(one, Accept) for one in self.operations)

    @property
    def is_rejection(self) -> bool:
        """Whether nothing is left of the reading."""
        return any(isinstance(one, Reject) for one in self.operations)


@dataclass(frozen=True)
class Correction:
    """A draft that has been asked for.

    Parameters
    ----------
    uid
        Its identity: part of every UID of what is made by it. Unique in the world.
    made_at
        When it was asked for, zone-aware.
    drawn_by
        ``uid`` of the correction that last changed names or outlines, this one or one before; empty: none has.
    """

    uid: str
    draft: Draft
    made_at: datetime
    drawn_by: str


def place_of(name: str) -> DiscLevel | Level | None:
    """A vertebra or a disc by its name; None for another word."""
    if name in Level.__members__:
        return Level[name]
    return next((disc for disc in ALL_DISCS if disc.name == name), None)
