"""A machine that is gone without a word: what it had locked is let go of, and it finds out itself if it comes back."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from sqlalchemy import text

from spinepacs.store.engine import SILENCE_S, Database
from tests.peers import wait_until
from tests.peers_postgresql import postgresql
from tests.wires import SWITCH, Cable, wires

HOLD = """
import sys, time
from sqlalchemy import text
from spinepacs.store.engine import Database
with Database(sys.argv[1]).transaction() as connection:
    connection.execute(text("UPDATE held SET number = 1"))
    print("held", flush=True)
    time.sleep(600)
"""
ASK = """
import sys, threading
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from spinepacs.errors import DatabaseAway
from spinepacs.store.engine import Database
from spinepacs.store.exclusive import Exclusive
database, turn = Database(sys.argv[1]), Exclusive(sys.argv[1], "a test")
def ledger(question):
    with database.transaction() as connection:
        connection.execute(text(question))
def lock(question):
    try:
        assert turn.take()
        turn._session.execute(text(question))
    except OperationalError:
        turn.close()
        raise
def ask(who):
    question = "SELECT pg_sleep(2)"
    while question:
        try:
            who(question)
            sys.stdout.write(f"{who.__name__} {question}\\n")  # in one piece: the other thread writes, too
            sys.stdout.flush()
            question = ""
        except (DatabaseAway, OperationalError):
            question = "SELECT 1"
print("ready", flush=True)
for who in (ledger, lock):
    threading.Thread(target=ask, args=(who,)).start()
"""

pytestmark = pytest.mark.peer


@dataclass
class Machine:
    """Beyond a cable, with a PostgreSQL this side of it."""

    cable: Cable
    url: str
    """Of a database with one table, ``held``."""

    @contextmanager
    def runs(self, program: str) -> Iterator[subprocess.Popen[str]]:
        """Run a program there with that URL; it has said its first word."""
        words = [*self.cable.prefix, sys.executable, "-c", program, self.url]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
            try:
                assert running.stdout is not None
                assert running.stdout.readline()
                yield running
            finally:
                running.kill()

    def sessions(self, query: str) -> int:
        """How many of its sessions the server has whose last query was this one."""
        like = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = %s AND query LIKE %s"
        with psycopg.connect(self.url) as connection:
            return int(connection.execute(like, [self.cable.address, f"{query}%"]).fetchone()[0])


@pytest.fixture
def machine() -> Iterator[Machine]:
    with wires() as network, postgresql(SWITCH) as server:
        made = Machine(network.cable(), server.create_database())
        server.run(made.url, "CREATE TABLE held (number int)", "INSERT INTO held VALUES (0)")
        yield made


def test_what_a_lost_machine_had_locked_is_free_again_within_seconds(machine: Machine) -> None:
    """No connection is closed: its power is cut, or its cable. PostgreSQL alone would wait for two hours."""
    with machine.runs(HOLD):
        machine.cable.pull()
    start_s = time.monotonic()
    database = Database(machine.url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE held SET number = 2 WHERE number = 0"))
    database.close()
    print(f"free after {time.monotonic() - start_s:.1f} s; promised are {SILENCE_S}")


@pytest.mark.timeout(120)
def test_a_machine_that_comes_back_does_not_wait_for_an_answer_that_was_lost(machine: Machine) -> None:
    """The server has given up the sessions meanwhile, and told nobody; Linux alone would wait for two hours."""
    with machine.runs(ASK) as cut:
        assert cut.stdout is not None
        wait_until(lambda: machine.sessions("SELECT pg_sleep") == 2, 30, "two questions")
        time.sleep(0.5)  # until the server has acknowledged them: what is not would be sent again
        machine.cable.pull()
        wait_until(lambda: machine.sessions("SELECT") == 0, 60, "that the server gives up their sessions")
        machine.cable.plug()
        start_s = time.monotonic()
        assert sorted([cut.stdout.readline(), cut.stdout.readline()]) == [
            "ledger SELECT 1\n",
            "lock SELECT 1\n",
        ]
        print(f"asked again after {time.monotonic() - start_s:.1f} s")
