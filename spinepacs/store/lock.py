"""Who works on a spool: one daemon at a time, and since when; or several machines, and no daemon beside them.

The kernel lets go of the lock when its holder ends, however it ends. The file's mtime is the holder's last sign of
life, and stays when it is dead.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from spinepacs.errors import Permanent, ToMend

BEAT_S = 10.0
"""How often the holder says that it lives (s)."""

_TRY_S, _LOOK_S = 2.0, 0.05
"""A look at the lock (:func:`look`) holds it for a moment: a start waits for that."""


@dataclass(frozen=True)
class Holder:
    """The daemon that holds the lock of a spool, or held it last.

    Parameters
    ----------
    alive
        Whether it holds it now.
    since
        When it started; None: not known.
    last_sign
        Its last sign of life.
    uid
        User that it runs as.
    """

    alive: bool
    since: datetime | None
    last_sign: datetime
    uid: int


class Held:
    """The lock in its holder's hand."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._beaten_s = 0.0

    def beat(self, now: bool = False) -> None:
        """Say that one lives; cheap, to be called often. A disk that fails is found out elsewhere."""
        if now or time.monotonic() - self._beaten_s > BEAT_S:
            self._beaten_s = time.monotonic()
            with suppress(OSError):
                os.utime(self._descriptor)


@contextmanager
def only_daemon(spool: Path, shared: bool = False) -> Iterator[Held]:
    """Hold the lock of a spool.

    Parameters
    ----------
    shared
        With other machines, which say in the database that they live; a daemon that knows of none is kept out.

    Raises
    ------
    Permanent
        If another daemon holds it.
    ToMend
        If its file belongs to somebody else.
    """
    path = spool / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise ToMend(f"storage.spool: {path} belongs to another user: chown it, or remove it") from error
    try:
        if not _lock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            raise Permanent(f"another spinepacs daemon works on {spool}: stop it first")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, datetime.now(UTC).isoformat(timespec="seconds").encode(), 0)
        held = Held(descriptor)
        yield held
        held.beat(now=True)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    until_s = time.monotonic() + _TRY_S
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return True
        if time.monotonic() > until_s:
            return False
        time.sleep(_LOOK_S)


def look(spool: Path) -> Holder | None:
    """Say who works on a spool, and change nothing; None: nobody ever has.

    Raises
    ------
    ToMend
        If this user may not look.
    """
    try:
        with (spool / "lock").open("rb") as file:
            status = os.fstat(file.fileno())
            alive = not _is_free(file.fileno())
            return Holder(
                alive, _time(file.read(64)), datetime.fromtimestamp(status.st_mtime, UTC), status.st_uid
            )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ToMend(
            f"{spool / 'lock'} cannot be read ({error.strerror}): ask as the daemon's user"
        ) from error


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _time(text: bytes) -> datetime | None:
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        return None
