"""Who may come in: what is decided about a connection before the first PDU is interpreted."""

from __future__ import annotations

import ipaddress
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from spinepacs.intake.visitors import Page, Turned
from spinepacs.settings.sections import ListenerSettings
from spinepacs.settings.types import is_loopback

LONGEST_REQUEST_BYTES = 1 << 19
"""128 presentation contexts of 40 transfer syntaxes each are less (PS3.8 9.3.2)."""

_A_ASSOCIATE_RQ = 0x01
_TLS_HANDSHAKE = 0x16  # RFC 8446 5.1; its version begins with 3
_REJECTIONS = {Turned.ASSOCIATION_LIMIT: (2, 3, 2), Turned.RATE_LIMIT: (2, 3, 1)}
"""Result, source, reason (PS3.8 9.3.4): rejected-transient by the service provider, presentation related."""

_TURNING_AWAY, _TURN_AWAY_S = 16, 2.0
_LOG_EVERY_S = 10.0
_log = logging.getLogger(__name__)
T = TypeVar("T", bytes, int)


class Gate:
    """Judges connections by their address, and greets those that may come in.

    Parameters
    ----------
    settings
        Networks, limits for each address, time for the greeting.
    page
        Where all processes of the listener write down who is in.
    """

    def __init__(self, settings: ListenerSettings, page: Page) -> None:
        self._settings = settings
        self._networks = [ipaddress.ip_network(network) for network in settings.networks]
        self._proxies = [ipaddress.ip_network(network) for network in settings.proxies]
        self._turning_away = threading.BoundedSemaphore(_TURNING_AWAY)
        self._logged_s: dict[Turned, float] = {}
        self.page = page

    def judge(self, address: str) -> Turned | None:
        """Why an address must not come in now; None lets it in."""
        if self._networks and not is_among(address, self._networks):
            return Turned.NETWORK
        limit = self._settings.maximum_associations_per_peer
        if limit and self.page.seats_of(address) >= limit:
            return Turned.ASSOCIATION_LIMIT
        limit = self._settings.associations_per_minute
        if limit and self.page.visits_of(address) >= limit:
            return Turned.RATE_LIMIT
        return None

    def is_proxy(self, address: str) -> bool:
        """Whether a connection is a balancer's, and says itself whose it is."""
        return bool(self._proxies) and is_among(address, self._proxies)

    def turn_away(self, connection: socket.socket, reason: Turned) -> None:
        """Close a connection; where the Standard has a word for the reason, and there is time, with that word."""
        if reason in _REJECTIONS and not self._settings.tls and self._turning_away.acquire(blocking=False):
            threading.Thread(target=self._reject, args=(connection, reason), daemon=True).start()
        else:
            connection.close()

    def _reject(self, connection: socket.socket, reason: Turned) -> None:
        """Answer the association request with A-ASSOCIATE-RJ; who does not send one soon gets no answer."""
        try:
            with connection:
                read_request(connection, time.monotonic() + _TURN_AWAY_S)
                connection.sendall(struct.pack(">BBIBBBB", 3, 0, 4, 0, *_REJECTIONS[reason]))
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1)  # until the peer has read it: a close before could take it away again
        except (OSError, ValueError):
            pass
        finally:
            self._turning_away.release()

    def count(self, reason: Turned, address: str, detail: str = "", number: int = 1) -> None:
        """Count one that was turned away, or so many, and log it, but not each one of a flood."""
        self.page.count(reason, number)
        now_s = time.monotonic()
        if now_s - self._logged_s.get(reason, -_LOG_EVERY_S) < _LOG_EVERY_S:
            return
        self._logged_s[reason] = now_s
        _log.warning("turned away (%s): %s%s", reason.value, address, f", {detail}" if detail else "")


def read_request(connection: socket.socket, until_s: float) -> bytes:
    """Read the first PDU, which must be an association request (PS3.8 9.3.2), whole.

    Raises
    ------
    TimeoutError
        If it is not there at ``until_s`` (monotonic), however it came.
    ValueError
        If it is something else, or absurdly long, or the peer closed before its end; empty: it said nothing.
    OSError
        If the connection breaks.
    """
    head = read_exactly(connection, 6, until_s)
    if len(head) < 6:
        raise ValueError("closed before a request was there" if head else "")
    kind, _, length = struct.unpack(">BBL", head)
    if kind != _A_ASSOCIATE_RQ or length > LONGEST_REQUEST_BYTES:
        is_tls = kind == _TLS_HANDSHAKE and head[1] == 3
        how = (
            "the sender uses TLS, and listener.tls is off"
            if is_tls
            else f"PDU type 0x{kind:02X}, {length} bytes"
        )
        raise ValueError(f"no association request: {how}")
    body = read_exactly(connection, length, until_s)
    if len(body) < length:
        raise ValueError("closed inside its request")
    return bytes(head + body)


def says_something(connection: socket.socket, until_s: float) -> bool:
    """Wait for the first byte, which stays to be read; False: the peer closed without one.

    Python's ssl leaves a socket open, for the garbage collector to complain of, if the peer is gone when TLS begins.

    Raises
    ------
    TimeoutError
        At ``until_s`` (monotonic).
    OSError
        If the connection breaks.
    """
    return bool(read_within(partial(connection.recv, 1, socket.MSG_PEEK), connection, until_s))


def read_exactly(
    connection: socket.socket,
    count_bytes: int,
    until_s: float,
    silence_s: float = float("inf"),
    progressed: Callable[[], None] | None = None,
) -> bytearray:
    """Read so many bytes, or fewer if the peer closes before; ``progressed`` is called whenever some have come.

    Raises
    ------
    TimeoutError
        At ``until_s`` (monotonic) or after ``silence_s`` without a byte: a limit on each read alone would let a
        peer that sends a byte now and then stay for ever.
    """
    received = bytearray()
    while len(received) < count_bytes:
        # As much at once as there is: pynetdicom's 4 KiB at a time make parallel senders fight for the GIL.
        wanted = min(count_bytes - len(received), 1 << 18)
        chunk = read_within(partial(connection.recv, wanted), connection, until_s, silence_s, progressed)
        if not chunk:
            break
        received += chunk
    return received


def read_within(
    read: Callable[[], T],
    connection: socket.socket,
    until_s: float,
    silence_s: float = float("inf"),
    progressed: Callable[[], None] | None = None,
) -> T:
    """Read once from a connection; limits and errors as of :func:`read_exactly`."""
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("too slow")
    allow(connection, min(left_s, silence_s))
    chunk = read()
    if chunk and progressed:
        progressed()
    return chunk


def allow(connection: socket.socket, timeout_s: float) -> None:
    """Set the socket's own timeout; where it is set already, without asking the kernel."""
    if connection.gettimeout() != timeout_s:
        connection.settimeout(timeout_s)


def why_open(settings: ListenerSettings) -> str:
    """Say that a listener asks nobody who they are, and what to do; empty: it asks, or others cannot reach it."""
    knows_senders = settings.tls and settings.tls_client == "required"
    if is_loopback(settings.bind) or settings.networks or settings.calling_ae_titles or knows_senders:
        return ""
    return (
        f"the listener on {settings.bind} takes images from anyone who can reach it: set listener.networks, "
        "listener.calling_ae_titles, or listener.tls with certificates of senders"
    )


def is_among(address: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether an IP address is in one of the networks."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any((mapped or parsed) in network for network in networks)
