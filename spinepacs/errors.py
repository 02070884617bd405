"""The errors of spinepacs, named by what should happen next.

::

    SpinepacsError
    ├── Transient            try again later: the same call may succeed
    │   ├── DatabaseAway     the database cannot do it now: said once for the whole daemon, by its supervisor
    │   └── ToMend           but not before a person has mended a setting or a right: a start ends with it
    └── Permanent            trying again changes nothing: keep it, say why, wait for a person
        ├── BadInput         a file or dataset that cannot be read as it is
        ├── BadSettings      the configuration file, the environment or the command line
        └── BadModel         a model folder that is incomplete, altered or does not fit

What is clinically to be expected (not a spine, no vertebra found) is no error: it is a
:class:`spinepacs.domain.findings.Refusal`, a value.

Messages name what is wrong and what to do; they never hold a patient's name, ID or birth date.
"""

from __future__ import annotations

import logging
import os
import traceback
from dataclasses import dataclass

MEMORY_LIMIT = "MEMORY_LIMIT"
"""Reason of what asked for more memory than it may have; a worker that says so of itself is replaced, since its
successor begins with a heap that is whole."""
DATABASE_AWAY = "DATABASE_AWAY"
"""Reason of what the database did not take or give."""
_log = logging.getLogger(__name__)


class SpinepacsError(Exception):
    """Base of all errors that spinepacs raises on purpose."""


class Transient(SpinepacsError):  # noqa: N818 - named by the action it asks for, as DESIGN.md draws it
    """Trying again later may succeed: a busy database, a PACS that is down, a full disk."""


class DatabaseAway(Transient):
    """The database does not answer, is busy, full or read-only."""


class ToMend(Transient):
    """A setting or a right must be mended first: a start ends and says so, while work that is in hand waits.

    A password that was changed at night gives no study up.
    """


class Permanent(SpinepacsError):  # noqa: N818 - named by the action it asks for, as DESIGN.md draws it
    """Trying again changes nothing: a person must decide."""


class BadInput(Permanent):
    """A file that cannot be read as what it claims to be.

    Parameters
    ----------
    reason_code
        Short, stable, upper case: what the database and the metrics count by.
    message
        What is wrong, with the DICOM keyword where there is one, and what to do about it.
    """

    def __init__(self, reason_code: str, message: str) -> None:
        super().__init__(message)
        self.reason_code = reason_code

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str]]:
        """Keep both parts when the error crosses from a worker process to its parent."""
        return type(self), (self.reason_code, str(self))


class BadSettings(Permanent):
    """The configuration cannot be used: the message names the line and the remedy."""


class BadModel(Permanent):
    """A model folder is incomplete, altered or does not fit this version."""


@dataclass(frozen=True)
class Failed:
    """What an error comes to: a reason that is free of patient identity, and whether to try again."""

    reason_code: str
    reason: str
    transient: bool


def failed(error: Exception) -> Failed:
    """Put an error into words that hold no patient identity.

    Only our own errors promise that of their messages. Any other may quote the dataset, so only its type and place are
    told, in the log too.
    """
    if isinstance(error, BadInput):
        return Failed(error.reason_code, str(error), False)
    if isinstance(error, Transient):
        return Failed(DATABASE_AWAY if isinstance(error, DatabaseAway) else "TRANSIENT", str(error), True)
    if isinstance(error, Permanent):
        return Failed(type(error).__name__.upper(), str(error), False)
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames[-6:]))
    if isinstance(error, MemoryError):
        return Failed(MEMORY_LIMIT, f"it asked for more memory than work.memory_limit_mb, at {place}", True)
    _log.error("defect: %s at %s", type(error).__name__, place)
    return Failed("DEFECT", f"{type(error).__name__} at {place}", False)
