"""A turn among machines whose holder is cut off without a word: it finds out itself, and another one gets it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from spinepacs.store.exclusive import SILENCE_S, Exclusive
from tests.peers import wait_until
from tests.peers_postgresql import postgresql
from tests.wires import SWITCH, wires

TAKE = """
import sys, time
from spinepacs.errors import Transient
from spinepacs.store.exclusive import Exclusive
turn = Exclusive(sys.argv[1], "test")
assert turn.take()
print("held", flush=True)
try:
    while turn.take():
        time.sleep(0.1)
except Transient:
    print("lost", flush=True)
"""


@pytest.mark.peer
def test_a_turn_is_lost_for_its_holder_too_and_free_for_others() -> None:
    """Else a machine that was cut off would hang in its question for a quarter of an hour, and after it still."""
    with wires() as network, postgresql(SWITCH) as server:
        machine, url = network.cable(), server.create_database()
        words = [*machine.prefix, sys.executable, "-c", TAKE, url]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as holder, Exclusive(url, "test") as turn:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            machine.pull()
            try:
                assert holder.communicate(timeout=60)[0] == b"lost\n"
                assert holder.returncode == 0
                wait_until(turn.take, 60, f"the turn, which is free after {SILENCE_S} s")
            finally:
                holder.kill()
