"""A file of the spool as it is to go out: compared with its SHA-256 first."""

from __future__ import annotations

import hashlib
from pathlib import Path

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
        if hashlib.file_digest(file, "sha256").hexdigest() != item.sha256:
            raise BadInput("SPOOL_DAMAGED", "its file in the spool is damaged")
