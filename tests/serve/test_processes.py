"""Supervised child processes that hang or cannot start: real ones."""

from __future__ import annotations

import os
import signal
import time

import pytest

from spinepacs.serve import processes
from spinepacs.serve.processes import READY, WAITING, Part, stop_event
from tests import peers


def live(channel) -> None:
    """Be a part that is well."""
    stop = stop_event(channel, beat_s=0.1)
    channel.send_bytes(READY)
    stop.wait()


def wait_for_a_share(channel) -> None:
    """Be a part that lives and cannot work until somebody mounts what it works on."""
    stop = stop_event(channel, beat_s=0.1)
    for word in (WAITING, READY, WAITING):
        channel.send_bytes(word)
        stop.wait(0.5)
    stop.wait()


@pytest.fixture
def watched(monkeypatch):
    """Look after parts; they are ended at the end."""
    monkeypatch.setattr(processes, "_FIRST_PAUSE_S", 0.01)
    parts: list[Part] = []

    def tend(part: Part, until, what: str) -> None:
        parts.append(part)

        def holds() -> bool:
            part.keep_alive()
            return until()

        peers.wait_until(holds, 30, what)

    yield tend
    for part in parts:
        part.end(0)


def test_a_part_that_hangs_is_killed_and_started_again(watched):
    part = Part("part", live, silence_s=2)
    watched(part, lambda: part.why_not_ready() == "", "the part")
    first = part._child.pid
    beats_until = time.monotonic() + 2.5
    watched(part, lambda: time.monotonic() > beats_until, "some beats")
    assert part.restarts == 0, "it was well and was killed"
    os.kill(first, signal.SIGSTOP)
    watched(part, lambda: part.restarts == 1 and part.why_not_ready() == "", "its successor")
    assert part._child.pid != first


def test_a_part_that_waits_for_a_share_is_up_and_not_ready(watched):
    part = Part("watcher", wait_for_a_share, silence_s=2)
    waits = "the watcher waits for something that is away: see the log"
    watched(part, lambda: part.why_not_ready() == waits, "its first word")
    assert part.is_up
    watched(part, lambda: part.why_not_ready() == "", "the share")
    watched(part, lambda: part.why_not_ready() == waits, "the share to be away again")
    until = time.monotonic() + 3
    watched(part, lambda: time.monotonic() > until, "more than a silence")
    assert (part.is_up, part.restarts) == (True, 0)


def test_a_supervisor_that_was_suspended_kills_nobody(watched):
    part = Part("part", live, silence_s=10)
    watched(part, lambda: part.why_not_ready() == "", "the part")
    part._looked_s -= 3600
    part.keep_alive()
    time.sleep(0.1)
    part.keep_alive()
    assert part.why_not_ready() == ""


def test_a_part_that_cannot_be_started_is_tried_again(watched, monkeypatch):
    part = Part("part", live)
    real, tries = processes.Child, []

    def no_processes_left(*arguments, **more):
        tries.append(arguments)
        if len(tries) < 3:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(*arguments, **more)

    monkeypatch.setattr(processes, "Child", no_processes_left)
    watched(part, lambda: part.why_not_ready() == "", "the third try")
    assert len(tries) == 3
