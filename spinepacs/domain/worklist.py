"""Workitems of a worklist (UPS, PS3.4 Annex CC) that we have claimed, or are about to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

WORKLIST = "_worklist"
"""Name of the campaign that fetches and reads what workitems ask for: one that never ends. No campaign that a person
starts can be called so."""


class WorkitemState(StrEnum):
    """Where we stand with a workitem: ``claiming → claimed → completed`` or ``canceled``, or it is ``lost``."""

    CLAIMING = "claiming"
    """We are about to claim it, or have died over it: the Transaction UID is written down before the request."""
    CLAIMED = "claimed"
    """It is ours, and IN PROGRESS."""
    COMPLETED = "completed"
    CANCELED = "canceled"
    """As the Standard spells it, by us or by somebody else (``CANCELED_THERE``); the reason says why."""
    LOST = "lost"
    """Somebody else has it or has completed it, it is gone, or the server does not take what we say of it."""


OPEN = (WorkitemState.CLAIMING, WorkitemState.CLAIMED)


class Priority(StrEnum):
    """Scheduled Procedure Step Priority (0074,1200), the first first."""

    HIGH = "HIGH"
    """As urgent as a request that is STAT (PS3.3 Table C.30.1-1), and so are its studies."""
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class CodedTerm(NamedTuple):
    """A code, as in ``SPINEPACS^99SPINEPACS^spinepacs``."""

    value: str
    scheme: str
    meaning: str = ""

    @classmethod
    def parse(cls, text: str) -> CodedTerm:
        """Take ``value^scheme^meaning`` apart, as the settings have checked it."""
        return cls(*text.split("^"))


class Scheduled(NamedTuple):
    """A workitem that waits to be claimed; ``code`` None: it names none."""

    uid: str
    code: CodedTerm | None = None
    priority: Priority = Priority.MEDIUM


class Input(NamedTuple):
    """What a workitem refers to: an instance, or all of a series or of a study (empty: all of it)."""

    study_uid: str
    series_uid: str = ""
    sop_uid: str = ""


class Output(NamedTuple):
    """An object that we have made for a workitem."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_uid: str
    destination: str
    """Of the settings, where it is; empty: nowhere but here."""


@dataclass(frozen=True)
class Workitem:
    """A workitem as the ledger has it.

    Parameters
    ----------
    transaction_uid
        Proves that it is ours; nobody but us and the server may know it. Never for a log.
    progress
        That the server has been told, in percent.
    code
        What was asked for, to be given back as what was performed.
    films
        SOP Instance UIDs of its input, once it is known which they are.
    """

    uid: str
    transaction_uid: str
    state: WorkitemState
    attempts: int = 0
    progress: int = -1
    code: CodedTerm | None = None
    films: tuple[str, ...] = ()
    claimed_at: datetime | None = None


class Fate(StrEnum):
    """What has become of the films of a workitem."""

    WAITING = "waiting"
    """Some of them are to be fetched, read, or their results sent."""
    READ = "read"
    NOT_READ = "not-read"


@dataclass(frozen=True)
class Outcome:
    """What there is to be said about a workitem; ``is_here``: all of its input that will come is here."""

    fate: Fate
    outputs: tuple[Output, ...] = ()
    reason_code: str = ""
    reason: str = ""
    is_here: bool = False
