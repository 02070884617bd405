"""Vertebral levels and the discs between neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Region(StrEnum):
    """Region of the spine that a level belongs to."""

    CERVICAL = "cervical"
    THORACIC = "thoracic"
    LUMBAR = "lumbar"
    SACRAL = "sacral"


class Level(IntEnum):
    """A vertebral level, ordered from head to foot; the value is the network's class index."""

    C1 = 0
    C2 = 1
    C3 = 2
    C4 = 3
    C5 = 4
    C6 = 5
    C7 = 6
    T1 = 7
    T2 = 8
    T3 = 9
    T4 = 10
    T5 = 11
    T6 = 12
    T7 = 13
    T8 = 14
    T9 = 15
    T10 = 16
    T11 = 17
    T12 = 18
    L1 = 19
    L2 = 20
    L3 = 21
    L4 = 22
    L5 = 23
    S1 = 24

    @property
    def region(self) -> Region:
        """Region of the spine."""
        return {"C": Region.CERVICAL, "T": Region.THORACIC, "L": Region.LUMBAR, "S": Region.SACRAL}[
            self.name[0]
        ]

    @property
    def has_upper_plate(self) -> bool:
        """Whether it has an endplate towards the head: C1 is a ring, and C2 carries the dens there."""
        return self > Level.C2

    @property
    def has_lower_plate(self) -> bool:
        """Whether it has an endplate towards the foot: C1 is a ring, and the sacrum goes on below S1."""
        return Level.C1 < self < Level.S1


def either(level: Level, other: Level | None) -> tuple[str, ...]:
    """What a vertebra is called: its level, and where that is not sure the other one too, from head to foot."""
    levels = {level} if other is None else {level, other}
    return tuple(each.name for each in sorted(levels))


class DiscLevel(NamedTuple):
    """The disc space between two neighbouring levels, C2/C3 to L5/S1."""

    upper: Level
    lower: Level

    @classmethod
    def below(cls, upper: Level) -> DiscLevel:
        """The disc under a vertebra.

        Raises
        ------
        ValueError
            Under C1 (no disc) and S1 (fused).
        """
        if upper in (Level.C1, Level.S1):
            raise ValueError(f"there is no disc under {upper.name}")
        return cls(upper, Level(upper + 1))

    @property
    def name(self) -> str:
        """Usual name, for instance ``L4/L5``."""
        return f"{self.upper.name}/{self.lower.name}"


@dataclass(frozen=True)
class Span:
    """From one level to another, both included: what a regional angle or a curve spans."""

    upper: Level
    lower: Level

    @property
    def name(self) -> str:
        """Usual name, for instance ``L1-S1``."""
        return f"{self.upper.name}-{self.lower.name}"


ALL_DISCS: tuple[DiscLevel, ...] = tuple(
    DiscLevel.below(level) for level in Level if Level.C1 < level < Level.S1
)
