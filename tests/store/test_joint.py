"""Writers that share a transaction: all or each told, and one bad item harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from spinepacs.errors import DatabaseAway, Transient
from spinepacs.store.engine import Database
from spinepacs.store.joint import JointWriter
from tests.peers import wait_until


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'some.sqlite'}")
    with database.transaction() as connection:
        connection.execute(text("CREATE TABLE items (item INTEGER)"))
    return database


class Held:
    """Work that waits in its first transaction until it is let go, so that others stand in line behind it."""

    def __init__(self, work: Callable[[Connection, int], int]) -> None:
        self.begun, self.free, self.transactions = threading.Event(), threading.Event(), 0
        self._work, self._of = work, None

    def __call__(self, connection: Connection, item: int) -> int:
        if connection is not self._of:
            self._of, self.transactions = connection, self.transactions + 1
        self.begun.set()
        assert self.free.wait(10)
        return self._work(connection, item)


def insert(connection: Connection, item: int) -> int:
    if item == 13:
        raise RuntimeError("a defect")
    if item == 14:
        raise DatabaseAway("gone")
    connection.execute(text("INSERT INTO items VALUES (:item)"), {"item": item})
    return item * 10


def kept(database: Database) -> list[int]:
    with database.read() as connection:
        return sorted(connection.execute(text("SELECT item FROM items")).scalars())


def written(database: Database, items: list[int]) -> tuple[list[int | str], int]:
    """Write the first item, and the others while it is being written: what each was told, and how many transactions."""
    held = Held(insert)
    writer = JointWriter(database, held)

    def told(item: int) -> int | str:
        try:
            return writer.write(item)
        except (RuntimeError, Transient) as error:
            return str(error)

    with ThreadPoolExecutor(len(items)) as pool:
        first = pool.submit(told, items[0])
        assert held.begun.wait(10)
        rest = [pool.submit(told, item) for item in items[1:]]
        wait_until(lambda: len(writer._line) == len(rest), what="the others in line")
        held.free.set()
        return [future.result() for future in (first, *rest)], held.transactions


def test_who_comes_meanwhile_shares_the_next_transaction(database: Database) -> None:
    told, transactions = written(database, list(range(8)))
    assert told == [item * 10 for item in range(8)]
    assert transactions == 2
    assert kept(database) == list(range(8))


def test_one_bad_item_harms_nobody_else(database: Database) -> None:
    told, _ = written(database, [1, 2, 13, 3])
    assert told == [10, 20, "a defect", 30]
    assert kept(database) == [1, 2, 3]


def test_a_database_that_is_away_is_told_to_all_and_nothing_is_kept(database: Database) -> None:
    told, transactions = written(database, [1, 2, 14, 3])
    assert told == [10, "gone", "gone", "gone"]
    assert transactions == 2
    assert kept(database) == [1]
