"""HTTP towards a destination: one request at a time on a kept connection, nothing followed, all of it in time.

The standard library's client, since everything that libraries above it do by themselves is the courier's to decide: to
try again, to follow a redirect with our secret, to take a proxy from the environment, to hold a file in memory.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

from spinepacs.delivery.verdicts import Outcome, Unreachable, Verdict
from spinepacs.errors import BadSettings
from spinepacs.settings.destinations import WebDestination
from spinepacs.settings.notifications import WebhookNotification
from spinepacs.tls import client_context, why_broken

LONGEST_ANSWER_BYTES = 1 << 20
"""Of an answer no more is read: those we ask for are short."""

_TURNED_AWAY = {
    401: "asks us to log in: see user, secret_file and secret_variable",
    403: "does not let us in: may this user store?",
    404: "knows no such service: is it the url?",
    405: "knows no such service: is it the url?",
    407: "stands behind a proxy that asks us to log in",
    429: "asks for fewer requests: see objects_per_minute",
    501: "offers no such service: is it the url?",
    502: "is down behind its proxy",
    503: "is not available now",
    504: "is down behind its proxy",
}

WebPartner: TypeAlias = WebDestination | WebhookNotification
"""Whom this speaks with."""
_BREAKS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Answer:
    """Status, media type (lower case, no parameters) and content of an answer."""

    status: int
    media_type: str
    content: bytes
    location: str = ""


class Http:
    """A connection to a destination.

    Parameters
    ----------
    destination
        With its secret, which is read now.

    Raises
    ------
    Unreachable
        If our certificate or our secret cannot be read.
    """

    def __init__(self, destination: WebPartner) -> None:
        self._destination = destination
        self._base = {"User-Agent": "spinepacs"}
        host, port = destination.address
        try:
            if authorization := destination.authorization():
                self._base["Authorization"] = authorization
            if destination.is_encrypted:
                context = client_context(destination)
                self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                    host, port, timeout=destination.timeout_s, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=destination.timeout_s)
        except BadSettings as error:
            raise Unreachable(f"{destination.name}: {error}") from None
        self._connection.auto_open = 0  # a connection that is lost is not made anew in the middle of a batch
        self.is_over = False

    def connect(self) -> None:
        """Connect, TLS included.

        Raises
        ------
        OSError
            If nobody is there, or not who it should be.
        """
        self._connection.connect()

    def close(self) -> None:
        """End it."""
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None = None,
        size_bytes: int = 0,
    ) -> Answer | Verdict:
        """Make one request; a verdict if there is no whole answer in time, or one that turns us away.

        Parameters
        ----------
        path
            Below the destination's own.
        body
            In pieces of at most some 100 kB: each has ``timeout_s`` to be taken. ``size_bytes`` in all.
        """
        target = (self._destination.path + path) or "/"
        try:
            self._send(method, target, headers, body, size_bytes)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before all was sent
        except _BREAKS as error:
            return self._lost(f"not sent: {_why(error)}")
        try:
            answer = self._answer()
        except _BREAKS as error:
            return self._lost(f"no whole answer: {_why(error)}")
        return self._turned_away(answer) or answer

    def _send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Iterable[bytes] | None,
        size_bytes: int,
    ) -> None:
        connection = self._connection
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (self._base | dict(headers)).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(size_bytes))
        connection.endheaders()
        for piece in body or ():
            connection.send(piece)

    def _answer(self) -> Answer:
        with self._limited():
            response = self._connection.getresponse()
            content = response.read(LONGEST_ANSWER_BYTES + 1)
        if len(content) > LONGEST_ANSWER_BYTES:
            raise http.client.HTTPException("longer than any that we ask for")
        if (
            response.length
        ):  # http.client takes a body that ends early for a whole one where a number is given
            raise http.client.IncompleteRead(content, response.length)
        self.is_over = response.will_close
        media_type = response.headers.get_content_type() if response.headers.get("Content-Type") else ""
        return Answer(response.status, media_type, content, response.headers.get("Location", ""))

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Break the connection if the answer, trickle as it may, is not there in time."""
        line, late = self._connection.sock, threading.Event()

        def end() -> None:
            late.set()
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._destination.timeout_s, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        except _BREAKS as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()

    def _lost(self, why: str) -> Verdict:
        self.is_over = True
        return Verdict(Outcome.TRANSIENT, None, why)

    def _turned_away(self, answer: Answer) -> Verdict | None:
        """What says nothing of the object: redirects are not followed, our secret is for this host."""
        if 300 <= answer.status < 400:
            why = f"redirects elsewhere (HTTP {answer.status}): give the url that it redirects to"
        elif answer.status in _TURNED_AWAY:
            why = f"{_TURNED_AWAY[answer.status]} (HTTP {answer.status})"
        elif answer.media_type in ("text/html", "application/xhtml+xml"):
            why = f"answers with a page for people (HTTP {answer.status}): a login page? Is it the url?"
        else:
            return None
        self.is_over = True
        return Verdict(Outcome.TURNED_AWAY, None, f"{self._destination.name} {why}")


@contextmanager
def connected(destination: WebPartner) -> Iterator[Http | Verdict]:
    """Connect to a destination; a verdict where nobody is there.

    Raises
    ------
    Unreachable
        See :class:`Http`.
    """
    line = Http(destination)
    try:
        try:
            line.connect()
        except (OSError, UnicodeError) as error:
            host, port = destination.address
            yield Verdict(Outcome.TRANSIENT, None, f"{host} port {port} is not reachable: {_why(error)}")
            return
        yield line
    finally:
        line.close()


def _why(error: Exception) -> str:
    """One word on what broke; answers are not quoted, they may hold anything."""
    if isinstance(error, TimeoutError):
        return "time-out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused, nothing listens on that port"
    if isinstance(error, socket.gaierror):
        return "its host is not found"
    return why_broken(error) if isinstance(error, OSError) else type(error).__name__
