"""A file of the spool as it is to go out: compared with its SHA-256 first."""

from __future__ import annotations

import hashlib
from pathlib import Path

from spinepacs.delivery.verdicts import Outcome, Verdict
from spinepacs.errors import BadInput
from spinepacs.store.records import OutboxItem


def checked(path: Path, item: OutboxItem) -> None:
    """Compare a file with what was recorded of it: a destination would keep a damaged object for ever.

    Raises
    ------
    BadInput
        ``SPOOL_DAMAGED``.
    FileNotFoundError
        If it is gone.
    """
    with path.open("rb") as file:
        _compare(hashlib.file_digest(file, "sha256").hexdigest(), item)


def content_of(path: Path, item: OutboxItem) -> bytes | Verdict:
    """Read a document, and compare it so: its bytes, or why it cannot go out."""
    try:
        content = path.read_bytes()
        _compare(hashlib.sha256(content).hexdigest(), item)
    except (FileNotFoundError, BadInput) as error:
        return unsendable(error)
    return content


def unsendable(error: FileNotFoundError | BadInput) -> Verdict:
    """What an error of :func:`checked` means for the object: no attempt would be better."""
    why = "its file is missing in the spool" if isinstance(error, FileNotFoundError) else str(error)
    return Verdict(Outcome.PERMANENT, None, why)


def _compare(sha256: str, item: OutboxItem) -> None:
    if sha256 != item.sha256:
        raise BadInput("SPOOL_DAMAGED", "its file in the spool is damaged")
