"""The DICOMweb process: its port, its certificate, its server, its end."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from spinepacs.dicomweb.app import ROOT, make_app
from spinepacs.dicomweb.calls import Server
from spinepacs.settings.dicomweb import DicomwebSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.tls import ServerTls
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.server import PatientServer, opened, quiet_server, serve_until

_MOST_CONNECTIONS = 512
_HEAD_S = 30.0
"""A connection on which no whole request head has come for so long (s) is closed."""
_log = logging.getLogger(__name__)


def run(
    settings: Settings,
    spool: Spool,
    ledger: Ledger,
    stop: threading.Event,
    say: Callable[[bytes], None],
    ready: bytes,
    waiting: bytes,
) -> None:
    """Serve until told to stop; parameters as of :func:`spinepacs.web.server.run`."""
    web = settings.dicomweb
    door = opened(web.bind, web.port, "no DICOMweb", stop, lambda: say(waiting))
    if door is None:
        return
    with door:
        darkroom = Darkroom(settings.web, spool, "spinepacs.web.preload")
        scheme = "https" if web.tls else "http"
        _log.info("DICOMweb on %s://%s:%d%s", scheme, *door.getsockname()[:2], ROOT)
        say(ready)
        serve_until(stop, make_server(Server(settings, spool, ledger, darkroom)), door)


def make_server(server: Server) -> PatientServer:
    """Make the DICOMweb server, which closes connections that do not come to the point."""
    web = server.settings.dicomweb
    encrypt = _encrypt(web) if web.tls else None
    app = make_app(server)
    return quiet_server(app, http=_Protocol, limit_concurrency=_MOST_CONNECTIONS, ssl_context_factory=encrypt)


def _encrypt(settings: DicomwebSettings) -> Callable[..., ssl.SSLContext]:
    """By the profile of the listener; a certificate that was renewed is used from the next connection on."""
    tls = ServerTls(settings)
    first = tls.current()

    def renew(connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = tls.current()

    first.sni_callback = renew  # called for each handshake, with a name or without
    return lambda config, default: first


class _Protocol(H11Protocol):
    """uvicorn's, with a limit to how long a request's head may take: it has none, and each connection holds a place."""

    _waits_s = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to look."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        step_s = _HEAD_S / 10
        is_waiting = self.cycle is None or self.cycle.response_complete
        self._waits_s = self._waits_s + step_s if is_waiting else 0.0
        if self._waits_s > _HEAD_S:
            self.transport.abort()
            return
        self._timer = self.loop.call_later(step_s, self._look)
