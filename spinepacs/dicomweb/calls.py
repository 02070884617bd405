"""One request: let in, given a place, answered; whatever goes wrong becomes a status and a sentence."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from spinepacs.dicomweb.access import Access, peer_of
from spinepacs.dicomweb.answers import RETRY_AFTER_S
from spinepacs.dicomweb.headers import Headers
from spinepacs.errors import BadInput, BadSettings, Permanent, Transient, failed
from spinepacs.outages import Outage
from spinepacs.settings.settings import Settings
from spinepacs.store.accounts import Account, AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web.darkroom import Darkroom

_DRAINED_BYTES, _DRAINED_S = 32 << 20, 5.0
_TOO_SLOW = 408
_VIEWED_AGAIN_S = 600.0
_MOST_VIEWS = 10_000
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_log = logging.getLogger(__name__)


class Server:
    """The parts of the process, and how many requests are in work."""

    def __init__(self, settings: Settings, spool: Spool, ledger: Ledger, darkroom: Darkroom) -> None:
        self.settings, self.spool, self.ledger, self.darkroom = settings, spool, ledger, darkroom
        self.access = Access(settings.dicomweb, ledger.accounts)
        self.headers = Headers(spool)
        self.outage = Outage(_log, "storing by DICOMweb")
        self._places = settings.dicomweb.maximum_requests
        self._views: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    @contextmanager
    def place(self) -> Iterator[None]:
        """One of the places, until the answer is sent; HTTPException: all are taken. For the event loop's thread."""
        if self._places <= 0:
            raise HTTPException(
                503, "too many requests at a time (dicomweb.maximum_requests)", {"Retry-After": "5"}
            )
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    def viewed(self, account: Account, peer: str, study_uid: str) -> None:
        """Write into the audit trail that a study was fetched: once in ten minutes, viewers ask for each frame."""
        key, now_s = (account.name, peer, study_uid), time.monotonic()
        if self._views.get(key, -_VIEWED_AGAIN_S) > now_s - _VIEWED_AGAIN_S:
            return
        self._views[key] = now_s
        while len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)
        self.ledger.accounts.note("viewed", account.name, peer, study_uid, "DICOMweb")


@dataclass(frozen=True)
class Call:
    """A request of an account that may make it."""

    request: Request
    server: Server
    account: Account

    @property
    def peer(self) -> str:
        """The address that it comes from."""
        return peer_of(self.request)

    def uid(self, name: str) -> str:
        """A UID of the path; empty where the path has none of this name.

        Raises
        ------
        HTTPException
            If it is no UID.
        """
        value = str(self.request.path_params.get(name, ""))
        if value and not _UID.fullmatch(value):
            raise HTTPException(400, "a UID has digits and dots, 64 at most")
        return value


Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]


class Endpoint:
    """What answers one route.

    Parameters
    ----------
    role
        What an account has to be.
    handler
        Called in a thread, or awaited where it is a coroutine function.
    """

    def __init__(self, server: Server, role: AccountRole, handler: Handler) -> None:
        self._server, self._role, self._handler = server, role, handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        hurried = _hurried(send, self._server.settings.listener.network_timeout_s)
        try:
            account = await run_in_threadpool(self._server.access.admit, request, self._role)
            with self._server.place():
                response = await self._answer(Call(request, self._server, account))
                await _send(response, scope, receive, hurried)
            return
        except ClientDisconnect:
            return
        except Exception as error:
            response = _what_to_say(error)
        if request.method not in ("GET", "HEAD"):
            response.headers["Connection"] = "close"
            if response.status_code != _TOO_SLOW:
                await _drain(receive)
        await _send(response, scope, receive, hurried)

    async def _answer(self, call: Call) -> Response:
        if asyncio.iscoroutinefunction(self._handler):
            return cast(Response, await self._handler(call))
        return await run_in_threadpool(cast(Callable[[Call], Response], self._handler), call)


def _what_to_say(error: Exception) -> Response:
    """Status and sentence; of a defect only its place is in the log, since its words may quote a patient."""
    headers: dict[str, str] = {}
    if isinstance(error, HTTPException):
        status, said, headers = error.status_code, error.detail, dict(error.headers or {})
    elif isinstance(error, BadSettings):
        status, said = 400, str(error)
    elif isinstance(error, Transient):
        status, said, headers = 503, str(error), {"Retry-After": str(RETRY_AFTER_S)}
    elif isinstance(error, BadInput):
        status, said = 406, str(error)
    elif isinstance(error, Permanent):
        status, said = 404, str(error)
    else:
        status, said = 500, f"a defect, see the log: {failed(error).reason}"
    return PlainTextResponse(f"{status}: {said}\n", status, headers)


async def _send(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer; one that breaks off is the end of its connection, by which the client knows that."""
    try:
        await response(scope, receive, send)
    except (ClientDisconnect, TimeoutError):
        _log.info("an answer was not taken to its end")
    except Exception as error:
        failed(error)  # says the place in the log


def _hurried(send: Send, limit_s: float) -> Send:
    """Give up a client that takes nothing for so long (s)."""

    async def send_within(message: Message) -> None:
        async with asyncio.timeout(limit_s):
            await send(message)

    return send_within


async def _drain(receive: Receive) -> None:
    """Read what is still coming for a while: most clients look for an answer only when all is sent."""
    left_bytes = _DRAINED_BYTES
    try:
        async with asyncio.timeout(_DRAINED_S):
            while left_bytes > 0:
                message = await receive()
                left_bytes -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
