"""What dispatcher and worker say to each other, as JSON: nothing that comes through a pipe is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter

from spinepacs.domain.findings import Versions
from spinepacs.domain.study import Arrival
from spinepacs.errors import Failed
from spinepacs.store.records import Claim


@dataclass(frozen=True)
class RegistrationJob:
    """Read the headers of these arrivals and attach them to their studies."""

    arrivals: tuple[Arrival, ...]


@dataclass(frozen=True)
class StudyJob:
    """Read one study and record the result."""

    claim: Claim


Job = RegistrationJob | StudyJob

JOBS: TypeAdapter[Job] = TypeAdapter(Job)
"""Jobs as JSON."""


@dataclass(frozen=True)
class Ready:
    """A worker's first word: its model is loaded."""

    versions: Versions


@dataclass(frozen=True)
class Done:
    """The job's result is in the ledger."""


Answer = Ready | Done | Failed


def pack(answer: Answer) -> bytes:
    """Encode a worker's answer as JSON."""
    return json.dumps({"answer": type(answer).__name__, **asdict(answer)}).encode()


def unpack(data: bytes) -> Answer:
    """Decode a worker's answer.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        fields = dict(json.loads(data))
        return _ANSWERS[fields.pop("answer")](**fields)
    except (KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError("not an answer") from error


_ANSWERS: dict[str, Callable[..., Answer]] = {
    "Ready": lambda versions: Ready(Versions(**versions)), "Done": Done, "Failed": Failed,
}  # fmt: skip
