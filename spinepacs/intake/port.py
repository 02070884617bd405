"""The listening socket: opened once by the supervisor, shared by all listener processes.

So a port that is taken is found out at the start, and a listener that dies takes only its own associations with it:
what is waiting in line is taken by the others, or by its successor.
"""

from __future__ import annotations

import selectors
import socket
import threading
from socketserver import TCPServer
from typing import Any

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


class PatientServer(TCPServer):
    """Put before a server of :mod:`socketserver`, which looks up twice a second: it sleeps until somebody comes.

    Serves once: what has been shut down is not begun again.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._bell, self._rope = socket.socketpair()
        self._is_told, self._has_ended = threading.Event(), threading.Event()
        super().__init__(*arguments, **options)

    def serve_forever(self, poll_interval: float = 60.0) -> None:
        """Serve until :meth:`shutdown`; ``service_actions`` are called so often (s), and after each connection."""
        try:
            with selectors.PollSelector() as selector:  # which needs no descriptor: there may be none left
                selector.register(self, selectors.EVENT_READ)
                selector.register(self._bell, selectors.EVENT_READ)
                while True:
                    ready = selector.select(poll_interval)
                    if self._is_told.is_set():
                        return
                    if ready:
                        self._handle_request_noblock()  # type: ignore[attr-defined]  # as socketserver's own loop does
                    self.service_actions()
        finally:
            self._has_ended.set()

    def shutdown(self) -> None:
        """End :meth:`serve_forever`, and wait until it has ended, be it that its thread has yet to begin it."""
        self._is_told.set()
        self._rope.send(b".")
        self._has_ended.wait()

    def server_close(self) -> None:
        """Close what was opened."""
        super().server_close()
        self._bell.close()
        self._rope.close()
