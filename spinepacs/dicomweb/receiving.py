"""STOW-RS (PS3.18 10.5): the body is read within limits and handed on piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from python_multipart.multipart import parse_options_header
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from spinepacs.dicomweb.answers import stored
from spinepacs.dicomweb.calls import Call
from spinepacs.dicomweb.parts import NotMultipart, Parts
from spinepacs.dicomweb.storing import Keeper, Storing

PIECE_BYTES = 1 << 19
"""What is hashed and written at once."""
_MB = 1_000_000


async def store(call: Call) -> Response:
    """Store the objects of a request; what became of each is the answer."""
    study_uid, boundary = call.uid("study"), _boundary_of(call.request)
    settings = call.server.settings
    listener, most_bytes = settings.listener, settings.dicomweb.maximum_request_mb * _MB
    _check_length(call.request, most_bytes)
    keeper = Keeper(
        call.server.spool,
        call.server.ledger,
        listener.maximum_object_mb * _MB,
        listener.storage_classes,
        call.server.outage,
    )
    storing = Storing(keeper, call.account.name, call.peer, study_uid)

    def patience_s() -> float:
        since_s = time.monotonic() - storing.progress_s
        return min(listener.network_timeout_s, listener.transfer_timeout_s - since_s)

    broken = ""
    try:
        parts = Parts(boundary, storing.begin)
        async for piece in _pieces(call.request, patience_s, most_bytes):
            await run_in_threadpool(parts.feed, piece)
        parts.finish()
    except NotMultipart as error:
        broken = str(error)
    except TimeoutError:
        raise HTTPException(408, "nothing came for too long, or an object took too long") from None
    finally:
        storing.cancel()
    answer = stored(storing.outcomes, broken)
    if broken:
        answer.headers["Connection"] = "close"  # the rest of the body is not read
    return answer


def _boundary_of(request: Request) -> bytes:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the body as it is, without a Content-Encoding")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    root = options.get(b"type", b"application/dicom").lower()
    if kind.lower() != b"multipart/related" or root != b"application/dicom":
        raise HTTPException(
            415, 'send multipart/related; type="application/dicom": Part 10 files, no metadata as XML or JSON'
        )
    return options.get(b"boundary", b"")


def _check_length(request: Request, most_bytes: int) -> None:
    stated = request.headers.get("content-length", "0")
    if stated.isascii() and stated.isdigit() and int(stated) > most_bytes:
        raise HTTPException(413, "larger than dicomweb.maximum_request_mb: send it in several requests")


async def _pieces(request: Request, patience_s: Callable[[], float], most_bytes: int) -> AsyncIterator[bytes]:
    """The body in large pieces.

    Raises
    ------
    TimeoutError
        After ``patience_s()`` seconds without a byte.
    ClientDisconnect
        If the client is gone.
    HTTPException
        If it is too long.
    """
    gathered, is_more = bytearray(), True
    while is_more:
        async with asyncio.timeout(patience_s()):
            message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        most_bytes -= len(message.get("body", b""))
        if most_bytes < 0:
            raise HTTPException(413, "larger than dicomweb.maximum_request_mb: send it in several requests")
        gathered += message.get("body", b"")
        is_more = message.get("more_body", False)
        if len(gathered) >= PIECE_BYTES or not is_more:
            yield bytes(gathered)
            gathered.clear()
