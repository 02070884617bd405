"""What the daemon tells systemd about itself: the protocol of sd_notify(3), a datagram to the socket that it names."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)


class ServiceManager:
    """Tells that the daemon is ready, stops, and lives; does nothing where nobody asked for it.

    Parameters
    ----------
    environment
        With ``NOTIFY_SOCKET`` (a path, or ``@`` and an abstract name), and for the watchdog ``WATCHDOG_USEC`` and
        ``WATCHDOG_PID``.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        limit_us = environment.get("WATCHDOG_USEC", "0")
        # Twice in the time that it gives us, as sd_watchdog_enabled(3) advises; 0: there is no watchdog.
        self._beat_s = int(limit_us) / 2e6 if for_us and limit_us.isdigit() else 0.0
        self._beat_at_s = 0.0

    def ready(self) -> None:
        """The start is over: images are received."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The stop has begun."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """Feed the watchdog, where it is time for that; to be called often, and only while all is well."""
        now_s = time.monotonic()
        if self._beat_s and now_s >= self._beat_at_s:
            self._beat_at_s = now_s + self._beat_s
            self._tell("WATCHDOG=1")

    def _tell(self, word: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(1.0)
                line.connect(self._address)
                line.send(word.encode())
        except OSError as error:
            _log.warning("systemd was not told %s: %s", word, error.strerror)
