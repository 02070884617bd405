"""HTTP servers of bare sockets that answer each request by a script, whatever HTTP and DICOM have to say to it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pydicom


@dataclass(frozen=True)
class Request:
    """One request as it came: first line, headers (lower case), body."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def part(self) -> bytes:
        """The file in a multipart body of one part."""
        found = re.search(r"boundary=(\S+)", self.headers["content-type"])
        assert found
        _, _, rest = self.body.partition(b"\r\n\r\n")
        return rest[: -len(f"\r\n--{found[1]}--\r\n")]

    @property
    def sop_uid(self) -> str:
        return str(pydicom.dcmread(BytesIO(self.part), stop_before_pixels=True).SOPInstanceUID)


Script = Callable[[Request], bytes | None]
"""Gives the whole answer; None: hangs up without one; a name in :data:`STALLS` trickles."""


def answer(
    status: str, content: bytes | Any = b"", media_type: str = "application/dicom+json", **headers: str
) -> bytes:
    """A whole HTTP/1.1 answer; what is no bytes becomes JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {media_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def listed(sequence: str, *uids: str, reason: int | None = None) -> dict[str, Any]:
    """A dataset in JSON whose sequence (its tag) names instances."""
    more = {} if reason is None else {"00081197": {"vr": "US", "Value": [reason]}}
    items = [{"00081155": {"vr": "UI", "Value": [uid]}, **more} for uid in uids]
    return {sequence: {"vr": "SQ", "Value": items}}


STORED, FAILED = "00081199", "00081198"


def stores(request: Request) -> bytes:
    """What a good server says."""
    return answer("200 OK", listed(STORED, request.sop_uid))


@dataclass
class WebLiar:
    """What a scripted server has seen."""

    port: int
    requests: list[Request] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"


@contextmanager
def web(*scripts: Script | float, tls: ssl.SSLContext | None = None) -> Iterator[WebLiar]:
    """Requests follow these scripts, one after the other, and the last one for ever.

    A number in place of a script: a good answer that comes so slowly, in seconds a byte.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        liar, left, lock = WebLiar(server.getsockname()[1]), list(scripts), threading.Lock()

        def next_script() -> Script | float:
            with lock:
                return left.pop(0) if len(left) > 1 else left[0]

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                line = tls.wrap_socket(connection, server_side=True) if tls else connection
                with line, line.makefile("rb") as stream:
                    while request := _read(stream):
                        liar.requests.append(request)
                        if not _say(line, next_script(), request, liar.released):
                            return

        def accept() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield liar
        finally:
            liar.released.set()
            server.shutdown(socket.SHUT_RDWR)


def _read(stream: Any) -> Request | None:
    line = stream.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    while text := stream.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, stream.read(int(headers.get("content-length", 0))))


def _say(line: socket.socket, script: Script | float, request: Request, released: threading.Event) -> bool:
    said = stores(request) if isinstance(script, float) else script(request)
    if said is None:
        return False
    if isinstance(script, float):
        for byte in said:
            if released.wait(script):
                return False
            line.sendall(bytes([byte]))
    else:
        line.sendall(said)
    return b"Connection: close" not in said
