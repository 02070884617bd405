"""HL7 over MLLP: to a receiver of python-hl7's own server, and to receivers that lie."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spinepacs.domain.findings import EncodedObject, ObjectKind, StudyResult
from spinepacs.domain.study import FilmOwner
from spinepacs.exchange import hl7 as made
from spinepacs.settings.destinations import Hl7Destination
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import peers
from tests.dicom import readings
from tests.outboxes import courier_to, deliver_until_settled, deliveries, outbox
from tests.peers_exchange import hl7_server
from tests.store import makers

hl7 = pytest.importorskip("hl7")
TIMEOUT_S = 0.5
READING = readings.reading(readings.header())
MESSAGE = made.message(FilmOwner("Ж-1", "A1", "20261120"), [READING], datetime.now(UTC))
CONTROL_ID = made.control_id([READING])


def target(port: int, **changes: Any) -> Hl7Destination:
    values = {
        "timeout_s": TIMEOUT_S,
        "retry_first_s": 0.05,
        "retry_longest_s": 0.2,
        "receiving_application": "R|S",
    }
    return Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=port, **{**values, **changes})


def fill(ledger: Ledger, spool: Spool, to: Hl7Destination) -> None:
    claim = makers.claimed(ledger)
    content = MESSAGE.encode()
    item = EncodedObject(ObjectKind.HL7, makers.SOP, "2.25.1", "", "", "", content)
    image = replace(makers.image(makers.SOP), objects=(item,))
    stored = {"2.25.1": spool.add((content,)).sha256}
    assert ledger.record(claim, StudyResult(claim.study_uid, (image,)), stored, [to])


@dataclass
class Receiver:
    port: int
    blocks: list[bytes] = field(default_factory=list)


Script = Callable[[bytes], bytes | None]


def acknowledges(code: str, about: str = CONTROL_ID) -> Script:
    text = f"MSH|^~\\&|||||20261130||ACK|X|P|2.5.1\rMSA|{code}|{about}\r"
    return lambda _: b"\x0b" + text.encode() + b"\x1c\r"


@contextmanager
def receiving(*scripts: Script) -> Iterator[Receiver]:
    """A receiver of bare sockets whose answers follow a script; None hangs up, nothing stays silent."""
    left, released = list(scripts), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = Receiver(server.getsockname()[1])

        def serve(line: socket.socket) -> None:
            with suppress(OSError), line:
                data = b""
                while chunk := line.recv(1 << 16):
                    data += chunk
                    while b"\x1c\r" in data:
                        block, _, data = data.partition(b"\x1c\r")
                        receiver.blocks.append(block.removeprefix(b"\x0b"))
                        said = (left.pop(0) if len(left) > 1 else left[0])(block)
                        if said is None:
                            return
                        line.sendall(said)
                        if not said:
                            released.wait()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield receiver
        finally:
            released.set()
            server.shutdown(socket.SHUT_RDWR)


def test_python_hl7_s_own_server_takes_it(spool: Spool, ledger: Ledger) -> None:
    with hl7_server() as receiver:
        to = target(receiver.port)
        fill(ledger, spool, to)
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "ris")
        assert receiver.left.wait(10)
    assert outbox(ledger) == {("ris", "sent"): 1}
    (message,) = receiver.messages
    assert str(message.segment("PID")[3]) == "Ж-1^^^^MR"
    assert str(message.segment("MSH")[3]) == "SPINEPACS"
    assert str(message.segment("MSH")[5]) == "R\\F\\S"
    assert str(message.segment("MSH")[10]) == CONTROL_ID


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_only_an_acknowledgement_of_this_message_is_success(spool: Spool, ledger: Ledger, code: str) -> None:
    with receiving(acknowledges(code, "ANOTHER"), acknowledges(code)) as receiver:
        to = target(receiver.port)
        fill(ledger, spool, to)
        courier = courier_to(to, spool, ledger)
        assert not courier.deliver_due(threading.Event())
        deliver_until_settled(courier, ledger, "ris")
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"]) == ("sent", 2)
        assert len(set(receiver.blocks)) == 1


@pytest.mark.parametrize("code", ["AE", "CE"])
def test_an_error_fails_after_three_attempts(spool: Spool, ledger: Ledger, code: str) -> None:
    with receiving(acknowledges(code)) as receiver:
        to = target(receiver.port)
        fill(ledger, spool, to)
        deliver_until_settled(courier_to(to, spool, ledger), ledger, "ris")
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"], row["message"]) == ("failed", 3, f"refused, {code}")


BAD: dict[str, Script] = {
    "rejects": acknowledges("AR"),
    "an unknown word": acknowledges("OK"),
    "says nothing": lambda _: b"",
    "hangs up": lambda _: None,
    "no block": lambda _: b"MSA|AA|" + CONTROL_ID.encode() + b"\r\x1c\r",
    "no end": lambda _: b"\x0bMSH|^~\\&\rMSA|AA|" + CONTROL_ID.encode(),
    "without end": lambda _: b"\x0b" + b"x" * 3_000_000,
    "empty": lambda _: b"\x0b\x1c\r",
    "not UTF-8": lambda _: b"\x0bMSA|AA|\xff\x1c\r",
}


@pytest.mark.parametrize("script", BAD.values(), ids=BAD)
def test_nothing_bad_counts_as_sent(spool: Spool, ledger: Ledger, script: Script) -> None:
    with receiving(script, acknowledges("AA")) as receiver:
        to = target(receiver.port)
        fill(ledger, spool, to)
        courier = courier_to(to, spool, ledger)
        assert not courier.deliver_due(threading.Event())
        (row,) = deliveries(ledger)
        assert (row["state"], row["attempts"]) == ("pending", 1), row["message"]
        deliver_until_settled(courier, ledger, "ris")
        assert outbox(ledger) == {("ris", "sent"): 1}


def test_a_receiver_that_is_away_uses_up_no_attempt(spool: Spool, ledger: Ledger) -> None:
    to = target(peers.free_port())
    fill(ledger, spool, to)
    assert not courier_to(to, spool, ledger).deliver_due(threading.Event())
    (row,) = deliveries(ledger)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    assert "not reachable" in row["message"]


def test_without_python_hl7_one_is_told_what_to_install(
    spool: Spool, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hl7.mllp", None)
    to = target(1)
    fill(ledger, spool, to)
    assert not courier_to(to, spool, ledger).deliver_due(threading.Event())
    (row,) = deliveries(ledger)
    assert (row["state"], row["attempts"]) == ("pending", 0)
    assert "spinepacs[hl7]" in row["message"]
