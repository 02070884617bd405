"""Child processes that hold the interpreter or eat memory, and their parents' death: real ones."""

from __future__ import annotations

import ast
import os
import re
import resource
import signal
import subprocess
import sys
import time
from multiprocessing import forkserver

import numpy as np

from spinepacs.children import Child, keep_memory, limit_memory
from tests import peers

HOLDS_THE_INTERPRETER = "(a+)+$", "a" * 64 + "b"
"""A regular expression and a text on which it works for years, without letting any other thread run."""


def answer(channel) -> None:
    """Be a child that says so and lives on."""
    channel.send_bytes(b"here")
    time.sleep(60)


def fork_server_pid() -> int:
    """Of this process; multiprocessing keeps it to itself."""
    return forkserver._forkserver._forkserver_pid


def spin(channel) -> None:
    """Be a child that holds the interpreter for ever, as a decoder may."""
    channel.send_bytes(b"ready")
    re.match(*HOLDS_THE_INTERPRETER)


def eat(channel, more_mb: int) -> None:
    """Allocate until that fails, and say what happened."""
    limit_memory(more_mb)
    eaten = []
    try:
        while len(eaten) < 100:
            eaten.append(np.empty(100_000_000, np.uint8))
    except MemoryError:
        channel.send_bytes(str(len(eaten)).encode())


def use_again(channel) -> None:
    """Make and free arrays time and again, as each film does; say how many pages the kernel had to give for them."""
    keep_memory()
    faults = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _ = [np.ones(3_000_000, np.uint8) for _ in range(20)]
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    channel.send_bytes(repr(faults).encode())


def sleep(channel) -> None:
    channel.send_bytes(b"started")
    time.sleep(60)


def test_a_child_dies_with_its_parent():
    """An orphan would hold the port, or go on reading beside the next daemon."""
    script = (
        "import os, time\n"
        "from spinepacs.children import Child\n"
        "from tests.test_children import sleep\n"
        "if __name__ == '__main__':\n"
        "    child = Child('sleeper', sleep)\n"
        "    child.channel.poll(20)\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child_pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    peers.wait_until(lambda: not peers.runs(child_pid), what="the end of the child")


def test_a_child_that_holds_the_interpreter_dies_with_its_parent_all_the_same():
    script = (
        "import time\n"
        "from spinepacs.children import Child\n"
        "from tests.test_children import spin\n"
        "if __name__ == '__main__':\n"
        "    child = Child('spinner', spin)\n"
        "    child.channel.poll(20)\n"
        "    print(child.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child_pid = int(parent.stdout.readline())
        time.sleep(0.5)
        parent.kill()
    peers.wait_until(lambda: not peers.runs(child_pid), what="the end of the child")


def test_when_the_fork_server_dies_its_children_die_too_and_others_begin_with_a_new_one():
    first = Child("first", answer)
    assert first.channel.recv_bytes() == b"here"
    os.kill(fork_server_pid(), signal.SIGKILL)
    peers.wait_until(lambda: not first.is_alive, what="the end of the child")
    second = Child("second", answer)
    assert second.channel.recv_bytes() == b"here"
    first.end(0)
    second.end(0)


def test_a_signal_for_the_whole_group_ends_neither_child_nor_fork_server():
    child = Child("child", answer)
    assert child.channel.recv_bytes() == b"here"
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(fork_server_pid(), number)
        os.kill(child.pid, number)
    time.sleep(0.3)
    assert child.is_alive
    assert peers.runs(fork_server_pid())
    child.end(0)


def test_memory_beyond_the_limit_is_refused_and_the_process_goes_on():
    child = Child("eater", eat, 1050)
    try:
        assert child.channel.poll(30)
        assert child.channel.recv_bytes() == b"10"
    finally:
        child.end(5)


def test_what_is_freed_is_kept_for_the_next_film():
    child = Child("again", use_again)
    try:
        assert child.channel.poll(30)
        first, *later = ast.literal_eval(child.channel.recv_bytes().decode())
        assert max(later) < first / 10, "pages that were cleared again"
    finally:
        child.kill()
        child.end()
