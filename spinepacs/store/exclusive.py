"""What only one machine may do at a time, and who does it: an advisory lock of PostgreSQL for each.

A lock is held by a session of its own, so the server lets go of it when its holder ends, however it ends; a holder
whose machine has gone without a word is found out by the server's probes (:data:`SILENCE_S`), and finds it out itself
by its own, should it come back.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Connection, NullPool, create_engine, text

from spinepacs.store.engine import parse_url
from spinepacs.store.silence import probes
from spinepacs.store.troubles import translated

SILENCE_S = 7
"""So long (s) after its last packet a holder that does not answer the server's probes has lost its locks."""

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:what, :seed))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:what, :seed))")
_SEED = 0x5350494E
"""As that of the migrations: other programs on this server have other keys."""


class Turn(Protocol):
    """The right to do something that one machine does at a time."""

    def take(self) -> bool:
        """Take it if it is free; whether it is ours now. Cheap while it is: to be asked before each step."""

    def release(self) -> None:
        """Let others have it."""

    def close(self) -> None:
        """Let others have it, and forget about it."""


class Unrivalled:
    """The turn where there is one machine only."""

    def take(self) -> bool:
        """Yes."""
        return True

    def release(self) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """Nobody waits."""


class Exclusive:
    """A turn among machines; for one thread at a time.

    Parameters
    ----------
    url
        Of the ledger; PostgreSQL.
    what
        Names what is done, the same on every machine.
    """

    def __init__(self, url: str, what: str) -> None:
        self._parsed = parse_url(url)
        self._what = {"what": what, "seed": _SEED}
        of_server, of_ours = probes(SILENCE_S)
        arguments = {"connect_timeout": 10, "application_name": f"spinepacs {what}", "options": of_server}
        self._engine = create_engine(
            self._parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments | of_ours
        )
        self._session: Connection | None = None
        self._is_ours = False

    def take(self) -> bool:
        """See Turn; a session that has died has lost it, and a new one asks for it again.

        Raises
        ------
        Transient
            If the database is away: then it is not ours.
        """
        try:
            with translated(self._parsed):
                if self._session is None:
                    self._session = self._engine.connect()
                if self._is_ours:
                    self._session.execute(text("SELECT 1"))
                else:
                    self._is_ours = bool(self._session.execute(_LOCK, self._what).scalar())
        except BaseException:
            self.close()
            raise
        return self._is_ours

    def release(self) -> None:
        """See Turn."""
        if not self._is_ours or self._session is None:
            return
        self._is_ours = False
        try:
            with translated(self._parsed):
                self._session.execute(_UNLOCK, self._what)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See Turn; never raises."""
        session, self._session, self._is_ours = self._session, None, False
        if session is not None:
            session.invalidate()  # closes the connection itself, so that the server forgets the lock
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Turns = Callable[[str], Turn]
"""Makes the turn for what is named."""


def turns(url: str, machines: bool) -> Turns:
    """Make turns: among machines, where there may be several, else unrivalled."""
    return (lambda what: Exclusive(url, what)) if machines else (lambda what: Unrivalled())
