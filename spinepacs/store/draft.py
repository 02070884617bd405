"""A file on its way into the spool: written and hashed as it comes, and nothing before it is finished."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from spinepacs.errors import Transient

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_WRITE_OUT_BYTES = 1 << 21
"""So much is handed to the disk while more comes in: the fsync at the end waits for the rest only."""

_MOST_PIECES = os.sysconf("SC_IOV_MAX")

Piece: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True)
class SpooledFile:
    """A file that is durable in the spool."""

    sha256: str
    size_bytes: int
    path: Path


class Draft:
    """One file under way, of one thread at a time; made by :meth:`~spinepacs.store.spool.Spool.begin`.

    It has to end in :meth:`finish` or :meth:`abandon`.

    Parameters
    ----------
    path
        Where it is written; nobody else may know it.
    keep
        Makes the draft, whose bytes are all written, durable under its final name, or drops it where a file of the
        same bytes is there.

    Raises
    ------
    Transient
        If the disk fails.
    """

    def __init__(self, path: Path, keep: Callable[[Draft], SpooledFile]) -> None:
        self.path = path
        self.size_bytes = 0
        self._keep = keep
        self._digest = hashlib.sha256()
        self._written_out_bytes = 0
        with disk_errors():
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @property
    def sha256(self) -> str:
        """Of what has been written so far."""
        return self._digest.hexdigest()

    def write(self, *pieces: Piece) -> None:
        """Append these bytes, in their order; they may be changed afterwards.

        Raises
        ------
        Transient
            If the disk is full or fails.
        """
        for piece in pieces:
            self._digest.update(piece)
            self.size_bytes += len(piece)
        with disk_errors():
            _write_all(self._descriptor, pieces)
            self._write_out()

    def _write_out(self) -> None:
        """Let the disk begin: that pages are not needed is how a plain Linux file says "write these out" (fadvise)."""
        fresh_bytes = self.size_bytes - self._written_out_bytes
        if fresh_bytes >= _WRITE_OUT_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, self._written_out_bytes, fresh_bytes, os.POSIX_FADV_DONTNEED)
            self._written_out_bytes = self.size_bytes

    def sync(self) -> None:
        """Make the bytes durable; the name is not."""
        os.fsync(self._descriptor)

    def finish(self) -> SpooledFile:
        """Store it; durable when this returns. Bytes that are there already are not stored twice.

        Raises
        ------
        Transient
            If the disk is full or fails. Nothing is left behind then.
        """
        try:
            return self._keep(self)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave nothing behind; after :meth:`finish`, and a second time, it does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):  # it has its final name, or must not stay
                self.path.unlink()
            os.close(descriptor)


@contextmanager
def disk_errors() -> Iterator[None]:
    """Say what a failing disk means: nothing of it is the file's fault."""
    try:
        yield
    except OSError as error:
        what = "is full" if error.errno in _FULL else f"fails ({error.strerror})"
        raise Transient(f"the spool's disk {what}; it is tried again when that has passed") from error


def _write_all(descriptor: int, pieces: Sequence[Piece]) -> None:
    """Write all pieces whole: in one call where the kernel takes them so, and it may take them in parts."""
    taken_bytes = os.writev(descriptor, pieces) if 1 < len(pieces) <= _MOST_PIECES else 0
    for piece in pieces:
        rest = memoryview(piece)[taken_bytes:]
        taken_bytes = max(0, taken_bytes - len(piece))
        while rest:
            rest = rest[os.write(descriptor, rest) :]
