"""A machine that is gone without a word, in the middle of a transaction: what it had locked is let go of."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from sqlalchemy import text

from spinepacs.store.engine import SILENCE_S, Database
from tests.peers_postgresql import postgresql
from tests.wires import SWITCH, wires

HOLD = """
import sys, time
from sqlalchemy import text
from spinepacs.store.engine import Database
with Database(sys.argv[1]).transaction() as connection:
    connection.execute(text("UPDATE held SET number = 1"))
    print("held", flush=True)
    time.sleep(600)
"""

pytestmark = pytest.mark.peer


def test_what_a_lost_machine_had_locked_is_free_again_within_seconds() -> None:
    """No connection is closed: its power is cut, or its cable. PostgreSQL alone would wait for two hours."""
    with wires() as network, postgresql(SWITCH) as server:
        machine, url = network.cable(), server.create_database()
        server.run(url, "CREATE TABLE held (number int)", "INSERT INTO held VALUES (0)")
        words = [*machine.prefix, sys.executable, "-c", HOLD, url]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as lost:
            assert lost.stdout is not None
            assert lost.stdout.readline() == b"held\n"
            machine.pull()
            lost.kill()
        start_s = time.monotonic()
        database = Database(url)
        with database.transaction() as connection:
            connection.execute(text("UPDATE held SET number = 2 WHERE number = 0"))
        database.close()
        print(f"free after {time.monotonic() - start_s:.1f} s; promised are {SILENCE_S}")
