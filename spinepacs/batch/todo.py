"""What is still to be read: films without a record that holds, and in nobody else's hand."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spinepacs.batch.films import Film
from spinepacs.batch.records import Head, Records
from spinepacs.batch.sharing import Sharer, Terms
from spinepacs.batch.task import Task

_LOOK_S = 1.0
"""How often films that are in another sharer's hand are looked at (s)."""


@dataclass(frozen=True)
class Taken:
    """A film in hand.

    Parameters
    ----------
    film, stem
        The film and the name of its results.
    version
        Of the film's state and of what it is read with.
    had_results
        Whether it was read before under this name.
    known
        What was read of it before and holds: then only whose film it is has to be told anew.
    """

    film: Film
    stem: str
    version: str
    had_results: bool = False
    known: Head | None = None


class Todo:
    """The films of a batch that are not done, each handed out once.

    Parameters
    ----------
    films
        All of them.
    task, terms
        What is wanted, and with what they are read.
    records, sharer
        What is done, and what others have in hand.
    again
        Whether what was recorded before is read anew. What failed is tried again anyway.
    on_done
        Called with each film that needs not be read, and what became of it.
    stopping
        Set when no more films are wanted.
    """

    def __init__(
        self,
        films: Sequence[Film],
        task: Task,
        terms: Terms,
        records: Records,
        sharer: Sharer,
        *,
        again: bool,
        on_done: Callable[[Film, Head], None],
        stopping: threading.Event,
    ) -> None:
        self._left = deque(films)
        self._task, self._terms, self._records, self._sharer = task, terms, records, sharer
        self._again, self._on_done, self._stopping = again, on_done, stopping
        self._look_at_s = 0.0

    def __len__(self) -> int:
        """Films that are neither done nor handed out."""
        return len(self._left)

    def take(self) -> Taken | None:
        """Take the next film in hand; None: there is none, or others have all that is left."""
        if time.monotonic() < self._look_at_s:
            return None
        for _ in range(len(self._left)):
            if self._stopping.is_set():
                return None
            film = self._left.popleft()
            taken = self._look(film)
            if taken and self._sharer.claim(claim_of(taken.stem)):
                found = self._look(film)  # another one may have done it just before the claim
                if found and found.stem == taken.stem:
                    return found
                self._sharer.release(claim_of(taken.stem))
            if taken:
                self._left.append(film)
        self._look_at_s = time.monotonic() + _LOOK_S
        return None

    def _look(self, film: Film) -> Taken | None:
        """What is to be done for a film; None: nothing."""
        version = self._version(film)
        heads = {stem: self._records.head(stem) for stem in film.stems}
        own = next(
            ((stem, *found) for stem, found in heads.items() if found and found[0].film == film.key), None
        )
        if own is None:
            free = (stem for stem, found in heads.items() if found is None)
            return Taken(film, next(free, film.own_stem), version)
        stem, head, written_ns = own
        if not self._holds(head, version, written_ns):
            return Taken(film, stem, version, True)
        if head.owner != self._terms.owner and head.outcome != "skipped":
            return Taken(film, stem, version, True, head)
        self._on_done(film, head)
        return None

    def _holds(self, head: Head, version: str, written_ns: int) -> bool:
        if head.version != version:
            return False
        is_new = written_ns >= self._sharer.since_ns
        return is_new or not (self._again or head.outcome == "failed")

    def _version(self, film: Film) -> str:
        said = f"{self._terms.version}|{film.state()}|{self._task.said_of(film.path)}"
        return hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:32]


def claim_of(stem: str) -> str:
    """Name of the claim on a film, see :meth:`spinepacs.batch.sharing.Sharer.claim`."""
    return f"films/{stem}"
