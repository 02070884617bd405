"""The listening socket: opened once by the supervisor, shared by all listener processes.

So a port that is taken is found out at the start, and a listener that dies takes only its own associations with it:
what is waiting in line is taken by the others, or by its successor.
"""

from __future__ import annotations

import socket

from spinepacs.errors import Permanent

_BACKLOG = 64


def open_port(bind: str, port: int) -> socket.socket:
    """Listen on an address (IPv4 or IPv6); port 0 takes a free one.

    Raises
    ------
    Permanent
        If that is not possible; the message says why.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    try:
        opened = socket.create_server((bind, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise Permanent(f"cannot listen on {bind} port {port}: {error.strerror}") from error
    # Several wait for each connection; who comes too late must not block until the next one.
    opened.setblocking(False)
    return opened
