"""What tests of the listener's gate share: a listener of one's own settings, and scripted peers."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from spinepacs.intake.listener import Listener
from spinepacs.intake.visitors import VisitorsBook
from spinepacs.settings.sections import ListenerSettings

REJECTED_FOR_NOW = b"\x03\x00\x00\x00\x00\x04\x00\x02\x03"
"""A-ASSOCIATE-RJ, transient, by the presentation-related service provider; the reason follows (PS3.8 9.3.4)."""


@contextmanager
def listening(spool, ledger, **settings: Any) -> Iterator[tuple[Listener, VisitorsBook]]:
    """A listener with these settings on a free port, and its visitors' book."""
    book = VisitorsBook()
    listener = Listener(ListenerSettings(port=0, **settings), spool, ledger, page=book.page(0))
    listener.start()
    try:
        yield listener, book
    finally:
        listener.stop(grace_s=0.5)


def counted(book: VisitorsBook) -> dict[str, int]:
    """Reasons for which anyone was turned away."""
    return {reason: number for reason, number in book.turned_away().items() if number}


def associate(
    port: int, film: Any, *, calling: str = "SCRIPT", called: str = "SPINEPACS", source: str = "127.0.0.1"
) -> Association:
    """Ask for an association for a film's SOP class and syntax, from one of this machine's addresses."""
    ae = AE(calling)
    ae.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
    return ae.associate("127.0.0.1", port, ae_title=called, bind_address=(source, 0))


def request(called: str = "SPINEPACS", calling: str = "SCRIPT") -> bytes:
    """An A-ASSOCIATE-RQ for Verification as it goes over the wire (PS3.8 9.3.2)."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BBH", kind, 0, len(content)) + content

    context = item(
        0x20, b"\x01\x00\x00\x00" + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    )
    user = item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    titles = called.ljust(16).encode() + calling.ljust(16).encode() + bytes(32)
    body = b"\x00\x01\x00\x00" + titles + item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BBI", 1, 0, len(body)) + body


def answer(connection: socket.socket, count: int = 10) -> bytes:
    """What comes back, up to ``count`` bytes; empty where the connection was closed without a word."""
    got = b""
    try:
        while len(got) < count and (chunk := connection.recv(count - len(got))):
            got += chunk
    except ConnectionResetError:
        pass
    return got
