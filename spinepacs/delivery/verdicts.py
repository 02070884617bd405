"""How an attempt to deliver ended, whatever kind of destination it was: values for the courier to decide upon."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from spinepacs.errors import Transient
from spinepacs.store.records import OutboxItem


class Unreachable(Transient):
    """There can be no connection now, and the destination has no part in it."""


class Outcome(StrEnum):
    """What to do next with an object that was offered to a destination."""

    SENT = "sent"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TURNED_AWAY = "turned away"
    """It was not looked at, as nothing of ours would be (log in first, not here, come later): no attempt is used up."""


@dataclass(frozen=True)
class Verdict:
    """How one attempt ended: what to do next, the DICOM status (None: no answer), and a sentence for a person."""

    outcome: Outcome
    status: int | None
    message: str

    @property
    def is_lost(self) -> bool:
        """There was no answer: the connection is of no more use, whether it knows that yet or not."""
        return self.outcome is Outcome.TURNED_AWAY or (
            self.outcome is Outcome.TRANSIENT and self.status is None
        )


class Link(Protocol):
    """An open way to a destination, for one batch."""

    def send(self, item: OutboxItem, path: Path) -> Verdict:
        """Offer one file, and say how it went; nothing is raised but what is a defect."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent this way, though the last answer was one."""
        ...
