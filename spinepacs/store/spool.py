"""The spool: files that survive a crash, named by their content."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SpooledFile:
    """A file that is durable in the spool."""

    sha256: str
    size_bytes: int
    path: Path


class Spool:
    """Content-addressed store: ``<root>/files/ab/abcd….dcm``, folders 0700, files 0600.

    Parameters
    ----------
    root
        Made if it is missing. What a crash left in ``<root>/tmp`` is removed on opening if no living process owns it.
    reserve_bytes
        Free disk that :meth:`add` leaves untouched.
    """

    def __init__(self, root: Path, reserve_bytes: int = 0) -> None:
        raise NotImplementedError

    def add(self, chunks: Iterable[bytes]) -> SpooledFile:
        """Store a file; durable when this returns: written, fsync, renamed, folder fsync.

        Bytes that are there already are not stored twice, and are made durable all the same.

        Raises
        ------
        Transient
            If the disk is full, below the reserve, or fails. Nothing is left behind then.
        """
        raise NotImplementedError

    def path_of(self, sha256: str) -> Path:
        """Where a file of this digest lies, whether it is there or not.

        Raises
        ------
        ValueError
            If it is no SHA-256 in lower-case hexadecimal digits.
        """
        raise NotImplementedError

    def read(self, sha256: str) -> bytes:
        """All bytes of a file. Raises Permanent if it is not there, Transient if the disk fails."""
        raise NotImplementedError

    def free_bytes(self) -> int:
        """Free disk beyond what is reserved for root, in bytes (the reserve is not taken off)."""
        raise NotImplementedError
