"""The fuzzer of the listener: liars' sessions over TCP, many at a time, and a good sender after each batch."""

from __future__ import annotations

import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from tests.fuzz.listening import TIMEOUT_S, Listening, State
from tests.fuzz.upper import Session, session

AT_ONCE = 12
LONGEST_S = 10 * TIMEOUT_S
"""After which a silent peer must have been disconnected; the longest limit of the listener is three of them."""
_BATCH = 48
_RESET = struct.pack("ii", 1, 0)
_DEFECT = re.compile(r"^.*(Traceback|Exception in thread|ERROR spinepacs|CRITICAL).*", re.MULTILINE)


@dataclass
class Tally:
    """What a run saw."""

    executions: int = 0
    seconds: float = 0.0
    acknowledged: int = 0
    """SOP UIDs that were answered with 0x0000, each of which the ledger has."""
    peak_mb: float = 0.0
    start: State | None = None
    end: State | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.executions} sessions in {self.seconds:.0f} s, {self.acknowledged} images acknowledged and kept, "
            f"{len(self.found)} faults, most memory {self.peak_mb:.0f} MB\n"
            f"at the start {self.start}\nat the end {self.end}\n"
            + ", ".join(f"{kind} {count}" for kind, count in self.kinds.most_common())
        )


def fuzz(
    target: Listening,
    seed: int | str,
    *,
    seconds: float,
    most: int = 1 << 60,
    most_mb: float = 500.0,
    tell: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Lie to the listener until the time or the number is over.

    After each batch: it lives, takes an echo and an image, has no association, thread or file left over, holds less
    than ``most_mb`` of memory, logged no defect, and knows every image that it acknowledged.
    """
    tally, started = Tally(), time.monotonic()
    _complain(tally, target.serves("first"), "before the start", tell)
    tally.start = _at_rest(target)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while not tally.found and tally.executions < most and time.monotonic() - started < seconds:
            numbers = range(tally.executions, min(most, tally.executions + _BATCH))
            sessions = [session(seed, number) for number in numbers]
            answers = list(pool.map(lambda one: play(target.port, one), sessions))
            tally.executions += len(sessions)
            tally.kinds.update(one.name for one in sessions)
            where = f"seed {seed}, sessions {numbers.start} to {numbers.stop - 1}"
            for one, (_, stayed) in zip(sessions, answers, strict=True):
                what = f"a silent peer may stay: {one.name}" if stayed else ""
                _complain(tally, what, where, tell)
            _judge(target, tally, b"".join(images for images, _ in answers), where, tell, most_mb)
    tally.seconds = time.monotonic() - started
    return tally


def play(port: int, played: Session) -> tuple[bytes, bool]:
    """Go through one session: what was answered, and whether the listener let a silent peer stay for ever."""
    received, stayed = bytearray(), False
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with suppress(TimeoutError):
            _speak(connection, played, received)
        connection.settimeout(LONGEST_S if played.holds else 0.3)
        try:
            while data := connection.recv(1 << 16):
                received += data
        except TimeoutError:
            stayed = played.holds
        if played.ends_with_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return _images(bytes(received)), stayed


def _speak(connection: socket.socket, played: Session, received: bytearray) -> None:
    for step in played.steps:
        connection.settimeout(0.05)
        _send(connection, step.data, received)
        if step.waits:
            connection.settimeout(TIMEOUT_S)
            received += connection.recv(1 << 16)
        time.sleep(step.pause_s)


def _send(connection: socket.socket, data: bytes, received: bytearray) -> None:
    """Send everything, and take what comes meanwhile: else both sides may wait for each other."""
    view, until = memoryview(data), time.monotonic() + 5 * TIMEOUT_S
    while view and time.monotonic() < until:
        try:
            view = view[connection.send(view) :]
        except TimeoutError:
            with suppress(TimeoutError):
                received += connection.recv(1 << 16)


def _images(received: bytes) -> bytes:
    """SOP UIDs of C-STORE responses with status 0x0000, each with a line feed."""
    found, at = [], 0
    while at + 6 <= len(received):
        kind, _, length = struct.unpack_from(">BBL", received, at)
        body, at = received[at + 6 : at + 6 + length], at + 6 + length
        if kind == 4:
            elements = _elements(body[6:])  # the listener puts each command into a PDU of its own
            if elements.get(0x100) == b"\x01\x80" and elements.get(0x900) == b"\0\0":
                found.append(elements.get(0x1000, b"").rstrip(b"\0 ") + b"\n")
    return b"".join(found)


def _elements(command: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 8 <= len(command):
        _, number, length = struct.unpack_from("<HHL", command, at)
        found[number], at = command[at + 8 : at + 8 + length], at + 8 + length
    return found


def _judge(
    target: Listening, tally: Tally, images: bytes, where: str, tell: Callable[[str], None], most_mb: float
) -> None:
    if not target.is_alive:
        _complain(tally, f"the listener died; see {target.log}", where, tell)
        return
    _complain(tally, target.serves(where), where, tell)
    state = _at_rest(target, tally.start)
    tally.end, tally.peak_mb = state, max(tally.peak_mb, state.peak_mb)
    before = tally.start
    if state.associations or (before and state.threads > before.threads + AT_ONCE):
        _complain(tally, f"left over: {state}, at the start {before}", where, tell)
    if before and state.files > before.files + AT_ONCE:
        _complain(tally, f"files left open: {state}, at the start {before}", where, tell)
    if state.peak_mb > most_mb:
        _complain(tally, f"memory: {state}", where, tell)
    with target.ledger() as ledger:
        known = {arrival.sop_uid for arrival in ledger.unregistered(1 << 30)}
    told = {image.decode("latin-1") for image in images.split(b"\n") if image}
    tally.acknowledged += len(told)
    if lost := told - known:
        _complain(tally, f"acknowledged and not kept: {lost}", where, tell)
    if defect := _DEFECT.search(target.log.read_text()):
        _complain(tally, f"{defect.group()[:200]}; see {target.log}", where, tell)


def _at_rest(target: Listening, before: State | None = None) -> State:
    """State of the listener when its associations have ended, or after three times their time limit."""
    until = time.monotonic() + 15 * TIMEOUT_S
    while (state := target.state()) and time.monotonic() < until:
        if not state.associations and (before is None or state.threads <= before.threads + AT_ONCE):
            break
        time.sleep(0.1)
    return state


def _complain(tally: Tally, what: str, where: str, tell: Callable[[str], None]) -> None:
    if what:
        tally.found.append(f"{where}: {what}")
        tell(tally.found[-1])
