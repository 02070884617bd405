"""Destinations of bare sockets that do what no library would: each connection is answered by a script."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import decode, encode

ABORT = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0)
RELEASE_RQ, RELEASE_RP = (struct.pack(">BBII", kind, 0, 4, 0) for kind in (5, 6))
REFUSALS = {
    "wrong called AE": struct.pack(">BBIBBBB", 3, 0, 4, 0, 1, 1, 7),
    "wrong calling AE": struct.pack(">BBIBBBB", 3, 0, 4, 0, 1, 1, 3),
    "busy": struct.pack(">BBIBBBB", 3, 0, 4, 0, 2, 3, 2),
}
"""A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


@dataclass
class Call:
    """One connection, seen from the liar."""

    connection: socket.socket
    released: threading.Event
    datasets: list[bytes]

    def read(self, count_bytes: int) -> bytes:
        got = b""
        while len(got) < count_bytes:
            chunk = self.connection.recv(count_bytes - len(got))
            if not chunk:
                raise ConnectionError("the sender is gone")
            got += chunk
        return got

    def read_pdu(self) -> tuple[int, bytes]:
        kind, _, length = struct.unpack(">BBL", self.read(6))
        return kind, self.read(length)

    def say(self, data: bytes, pause_s: float = 0.0) -> None:
        """Send it, with a pause after each byte if there is to be one."""
        if not pause_s:
            self.connection.sendall(data)
            return
        for byte in data:
            if self.released.wait(pause_s):
                raise ConnectionError("released")
            self.connection.sendall(bytes([byte]))

    def acceptance(self, *, takes: bool = True) -> bytes:
        """Read the association request and make an A-ASSOCIATE-AC that accepts each context, or none."""
        _, body = self.read_pdu()
        answer, at = body[:68], 68
        while at < len(body):
            kind, _, length = struct.unpack(">BBH", body[at : at + 4])
            item, at = body[at + 4 : at + 4 + length], at + 4 + length
            if kind == 0x10:
                answer += _item(0x10, item)
            elif kind == 0x20:
                result = 0 if takes else 3
                answer += _item(0x21, bytes([item[0], 0, result, 0]) + _first_syntax(item[4:]))
        answer += _item(0x50, _item(0x51, struct.pack(">L", 16384)) + _item(0x52, b"1.2.3.4"))
        return struct.pack(">BBL", 2, 0, len(answer)) + answer

    def request(self) -> Dataset:
        """Read one C-STORE request with its dataset; the command set."""
        command, dataset = b"", b""
        while True:
            kind, body = self.read_pdu()
            if kind != 4:
                raise ConnectionError(f"PDU {kind}")
            at = 0
            while at < len(body):
                (length,) = struct.unpack(">L", body[at : at + 4])
                header, data = body[at + 5], body[at + 6 : at + 4 + length]
                self._context = body[at + 4]
                at += 4 + length
                if header & 1:
                    command += data
                else:
                    dataset += data
                if header == 2:
                    self.datasets.append(dataset)
                    return decode(BytesIO(command), True, True)

    def response(self, request: Dataset, status: int | None = 0x0000, **changes: object) -> bytes:
        """A C-STORE response as one PDU."""
        made = Dataset()
        made.CommandGroupLength = 0
        made.AffectedSOPClassUID = UID(request.AffectedSOPClassUID)
        made.CommandField = 0x8001
        made.MessageIDBeingRespondedTo = request.MessageID
        made.CommandDataSetType = 0x0101
        if status is not None:
            made.Status = status
        made.AffectedSOPInstanceUID = UID(request.AffectedSOPInstanceUID)
        for keyword, value in changes.items():
            setattr(made, keyword, value)
        made.CommandGroupLength = len(encode(made, True, True) or b"") - 12
        fragment = bytes([self._context, 3]) + (encode(made, True, True) or b"")
        body = struct.pack(">L", len(fragment)) + fragment
        return struct.pack(">BBL", 4, 0, len(body)) + body

    def serve(self) -> None:
        """Behave from now on."""
        self.say(self.acceptance())
        while True:
            self.say(self.response(self.request()))


def _item(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(data)) + data


def _first_syntax(items: bytes) -> bytes:
    at = 0
    while at < len(items):
        kind, _, length = struct.unpack(">BBH", items[at : at + 4])
        if kind == 0x40:
            return items[at : at + 4 + length]
        at += 4 + length
    raise ValueError("a context without transfer syntax")


@dataclass
class Liar:
    """What a scripted destination has seen."""

    port: int
    released: threading.Event
    calls: int = 0
    datasets: list[bytes] = field(default_factory=list)

    def release(self) -> None:
        """End what stalls."""
        self.released.set()


@contextmanager
def raw(*scripts: Callable[[Call], None]) -> Iterator[Liar]:
    """A destination whose connections follow these scripts, one after the other, and the last one for ever."""
    released = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        liar = Liar(int(server.getsockname()[1]), released)

        def answer(connection: socket.socket, script: Callable[[Call], None]) -> None:
            with connection, suppress(OSError):
                script(Call(connection, released, liar.datasets))

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    script = scripts[min(liar.calls, len(scripts) - 1)]
                    liar.calls += 1
                    threading.Thread(target=answer, args=(connection, script), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield liar
        finally:
            released.set()
            server.shutdown(socket.SHUT_RDWR)
