"""Passwords as argon2id hashes (RFC 9106), and how often one may be guessed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from spinepacs.errors import BadSettings

LEAST_LENGTH = 12
"""Characters of a password (NIST SP 800-63B-4 asks for 15 where nothing else is asked, 8 at least)."""
LONGEST = 1024
"""Bytes of a password that are looked at: a longer one costs the server more than the guesser."""

_LONGEST_NAME = 128
_HASHER = PasswordHasher()
_NOBODY = _HASHER.hash("the password of nobody")


def hashed(password: str) -> str:
    """Hash a password.

    Raises
    ------
    BadSettings
        If it is too short or too long.
    """
    if len(password) < LEAST_LENGTH:
        raise BadSettings(f"a password has {LEAST_LENGTH} characters at least")
    if len(password.encode()) > LONGEST:
        raise BadSettings(f"a password has {LONGEST} bytes at most")
    return _HASHER.hash(password)


def fits(password_hash: str | None, password: str) -> bool:
    """Whether a password is the one of a hash; takes as long where there is no account (None)."""
    if len(password.encode("utf-8", "replace")) > LONGEST:
        return False
    try:
        _HASHER.verify(password_hash or _NOBODY, password)
    except (VerifyMismatchError, VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether it was made at another cost than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def guess(name: str, peer: str) -> tuple[str, str]:
    """Key of a guess; of a name its beginning: no account's is longer, and a form or a header may hold a whole book."""
    return name.lower()[:_LONGEST_NAME], peer


class Guesses:
    """How often something went wrong of late, by key; the oldest keys are forgotten.

    Parameters
    ----------
    most
        So many within ``window_s`` (s), and no more are allowed.
    """

    _MOST_KEYS = 10_000

    def __init__(self, most: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._window_s, self._clock = most, window_s, clock
        self._times: dict[Hashable, deque[float]] = {}
        self._lock = threading.Lock()

    def wait_s(self, key: Hashable) -> float:
        """How long until the next one is allowed (s); 0: now."""
        with self._lock:
            times = self._times.get(key, deque())
            if len(times) < self._most:
                return 0.0
            return max(0.0, times[0] + self._window_s - self._clock())

    def add(self, key: Hashable) -> None:
        """Count one, before it is tried: those that come at once count too."""
        with self._lock:
            times = self._times.pop(key, deque(maxlen=self._most))
            times.append(self._clock())
            self._times[key] = times  # now the youngest key
            while len(self._times) > self._MOST_KEYS:
                self._times.pop(next(iter(self._times)))

    def forget(self, key: Hashable) -> None:
        """Count anew: it went well."""
        with self._lock:
            self._times.pop(key, None)
