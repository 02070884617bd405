"""The console's process: its port, its server, its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from spinepacs.errors import Permanent
from spinepacs.intake.port import open_port
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web.app import make_app
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.reviewing import Reviewing
from spinepacs.web.site import Site

_TRY_AGAIN_S = 5.0
_GRACE_S = 3
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
    """Serve pages until told to stop.

    Parameters
    ----------
    say
        Tells the supervisor ``ready``, or ``waiting`` while another program has the port.
    """
    web = settings.web
    door = opened(web.bind, web.port, "no console", stop, lambda: say(waiting))
    if door is None:
        return
    with door:
        darkroom, reviewing = Darkroom(settings.web, spool, "spinepacs.web.preload"), Reviewing(settings)
        site = Site(settings, ledger, spool, darkroom, reviewing)
        _log.info("console on http://%s:%d", *door.getsockname()[:2])
        _warn_of_nobody(ledger)
        say(ready)
        with closing(reviewing):
            serve_until(stop, make_server(site), door)


def opened(
    bind: str, port: int, lacking: str, stop: threading.Event, on_wait: Callable[[], None]
) -> socket.socket | None:
    """Open a port, waiting for one that another program has; None: told to stop meanwhile.

    ``lacking`` says in the log what there is not until then; ``on_wait`` is called once, when it has to wait.
    """
    is_said = False
    while not stop.is_set():
        try:
            return open_port(bind, port)
        except Permanent as error:
            if not is_said:
                _log.error(
                    "%s: %s; it is tried again, and images are received by other ways all the same",
                    lacking,
                    error,
                )
                on_wait()
                is_said = True
            stop.wait(_TRY_AGAIN_S)
    return None


def make_server(site: Site) -> PatientServer:
    """Make the console's server."""
    return quiet_server(make_app(site), http="h11", limit_concurrency=200)


class _Headers(ServerState):
    """What uvicorn's servers and connections share; the time is looked up for whoever is answered."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._config = config
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Of every answer (RFC 9110 6.6.1)."""
        return [(b"date", formatdate(usegmt=True).encode()), *self._config.encoded_headers]

    @default_headers.setter
    def default_headers(self, value: object) -> None:
        """uvicorn begins with none."""


class PatientServer(uvicorn.Server):
    """Sleeps until it is told to end; uvicorn's looks up ten times a second whether it is, and for the time."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._is_told = False
        self._over = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        super().__init__(config)
        self.server_state = _Headers(config)

    @property
    def should_exit(self) -> bool:
        """Whether it is to end; set it from any thread."""
        return self._is_told

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        self._is_told = value
        if value and self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._over.set)

    async def main_loop(self) -> None:
        """Serve until told to end."""
        self._loop = asyncio.get_running_loop()
        if not self.should_exit:
            await self._over.wait()


def quiet_server(app: Any, **more: Any) -> PatientServer:
    """Make a server that logs no request, since their addresses name studies; the audit trail has them.

    ``more`` are further settings of uvicorn's.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",  # what breaks is logged by the application; a request that a stop cuts off is no error
        access_log=False,
        proxy_headers=False,  # the application looks at them itself, for the proxies of the settings only
        server_header=False,
        lifespan="off",
        ws="none",
        loop="asyncio",
        timeout_keep_alive=10,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=32 * 1024,
        **more,
    )
    return PatientServer(config)


def serve_until(stop: threading.Event, server: PatientServer, door: socket.socket) -> None:
    """Let it serve in a thread, where it leaves SIGINT and SIGTERM alone: our parent decides when we stop.

    Raises
    ------
    Permanent
        If it ends by itself.
    """
    has_ended = threading.Event()

    def serve() -> None:
        try:
            server.run([door])
        finally:
            has_ended.set()
            stop.set()

    thread = threading.Thread(target=serve, name="console", daemon=True)
    thread.start()
    stop.wait()
    if has_ended.is_set():
        raise Permanent("the console's server has ended by itself")
    server.should_exit = True
    thread.join(_GRACE_S + 2)


def _warn_of_nobody(ledger: Ledger) -> None:
    if not ledger.accounts.able():
        _log.warning("nobody may log in to the console yet: spinepacs account add NAME --role administrator")
