"""The PROXY protocol, as balancers speak it before the first byte of a connection: whose connection it is.

Without it every sender behind a balancer has the balancer's address, and limits and the audit trail are about that.
Source: "The PROXY protocol, versions 1 & 2" (HAProxy Technologies, 2020-03-05), sections 2.1 and 2.2.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from spinepacs.intake.gate import read_exactly

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_LONGEST_LINE_BYTES = 107
_LONGEST_REST_BYTES = 4096
"""Of version 2, addresses and what is said beside them (TLVs); balancers send some hundred bytes."""

_LOCAL, _PROXY = 0, 1
_ADDRESS_BYTES = {1: 4, 2: 16}
"""By family (the high half of byte 14): TCP over IPv4, over IPv6."""


def sender_behind(connection: socket.socket, until_s: float) -> str:
    """Read the header that a connection from a balancer begins with, no byte further.

    Returns
    -------
    str
        IP address of the sender; empty where the balancer speaks for itself, as its health checks do.

    Raises
    ------
    TimeoutError
        If the header is not there at ``until_s`` (monotonic).
    ValueError
        If there is none, or half of one; empty: the peer said nothing.
    OSError
        If the connection breaks.
    """
    head = bytes(read_exactly(connection, 1, until_s))
    if not head:
        raise ValueError("")
    if head == b"P":
        return _from_line(connection, head, until_s)
    head += _whole(connection, 15, until_s)
    if not head.startswith(_SIGNATURE):
        raise ValueError(
            "a balancer's connection without PROXY header: let it send one, or leave it out of proxies"
        )
    version_and_command, family, length = struct.unpack(">BBH", head[12:])
    if version_and_command >> 4 != 2 or length > _LONGEST_REST_BYTES:
        raise ValueError("a PROXY header of a version that is not known")
    rest = _whole(connection, length, until_s)
    size_bytes = _ADDRESS_BYTES.get(family >> 4)
    if version_and_command & 0xF == _LOCAL or size_bytes is None:
        return ""
    if version_and_command & 0xF != _PROXY or length < 2 * size_bytes + 4:
        raise ValueError("a PROXY header that is too short or of an unknown command")
    return str(ipaddress.ip_address(rest[:size_bytes]))


def _from_line(connection: socket.socket, line: bytes, until_s: float) -> str:
    """Version 1: a line of text, read byte by byte, since what follows it is not ours."""
    while not line.endswith(b"\r\n"):
        if len(line) >= _LONGEST_LINE_BYTES:
            raise ValueError("a PROXY header without end")
        line += _whole(connection, 1, until_s)
    match line.decode("ascii", "replace").split():
        case ["PROXY", "UNKNOWN", *_]:
            return ""
        case ["PROXY", "TCP4" | "TCP6", sender, _, _, _]:
            return str(ipaddress.ip_address(sender))
    raise ValueError("a PROXY header that cannot be understood")


def _whole(connection: socket.socket, count_bytes: int, until_s: float) -> bytes:
    read = read_exactly(connection, count_bytes, until_s)
    if len(read) < count_bytes:
        raise ValueError("closed inside its PROXY header")
    return bytes(read)
