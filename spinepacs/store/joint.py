"""Writers that wait for SQLite at the same time share one transaction, and so its fsync."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sqlalchemy import Connection

from spinepacs.errors import Transient
from spinepacs.store.engine import Database

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@dataclass
class _Waiting(Generic[ItemT, ResultT]):
    item: ItemT
    done: Future[ResultT] = field(default_factory=Future)


class JointWriter(Generic[ItemT, ResultT]):
    """Does one kind of work in transactions that several threads share; on PostgreSQL each thread has its own.

    Whoever finds nobody at work takes all that have come meanwhile into one transaction; who waited finds it done.
    Nobody waits for more than the transaction that runs and the next one.

    Parameters
    ----------
    database
        Where it is done.
    work
        Done for each item, in the order in which they came; an item must not need that another one is committed.
    """

    def __init__(self, database: Database, work: Callable[[Connection, ItemT], ResultT]) -> None:
        self._database = database
        self._work = work
        self._line: list[_Waiting[ItemT, ResultT]] = []
        self._standing = threading.Lock()
        self._writing = threading.Lock()

    def write(self, item: ItemT) -> ResultT:
        """Do the work for an item; it is committed when this returns. Raises as :meth:`Database.write`."""
        if not self._database.is_sqlite:
            return self._database.write(self._work, item)
        mine: _Waiting[ItemT, ResultT] = _Waiting(item)
        with self._standing:
            self._line.append(mine)
        with self._writing:
            if not mine.done.done():
                self._write_line()
        return mine.done.result()

    def _write_line(self) -> None:
        with self._standing:
            line, self._line = self._line, []
        if not self._write_all(line):
            for waiting in line:  # so that one that cannot be written harms nobody else
                self._write_all([waiting])

    def _write_all(self, line: Sequence[_Waiting[ItemT, ResultT]]) -> bool:
        """Write these in one transaction; False: it failed over one of several, and nobody has been told yet."""
        try:
            results = self._database.write(self._each, [waiting.item for waiting in line])
        except BaseException as error:
            if len(line) > 1 and not isinstance(error, Transient):
                return False
            for waiting in line:
                waiting.done.set_exception(error)
            return True
        for waiting, result in zip(line, results, strict=True):
            waiting.done.set_result(result)
        return True

    def _each(self, connection: Connection, items: Sequence[ItemT]) -> list[ResultT]:
        return [self._work(connection, item) for item in items]
