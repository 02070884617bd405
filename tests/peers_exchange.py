"""Receivers of documents: a FHIR server that keeps what a transaction puts, and python-hl7's own server with a file."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tests import peers
from tests.web_liars import Request, answer

FHIR_JSON = "application/fhir+json"


@dataclass
class FhirStore:
    """A script of :func:`tests.web_liars.web`: conditional updates, all or nothing."""

    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the query that they were put with."""
    bundles: list[bytes] = field(default_factory=list)

    def __call__(self, request: Request) -> bytes:
        entries = json.loads(request.body)["entry"]
        statuses = []
        for entry in entries:
            url = entry["request"]["url"]
            statuses.append("200 OK" if url in self.resources else "201 Created")
            self.resources[url] = entry["resource"]
        self.bundles.append(request.body)
        done = [{"response": {"status": status}} for status in statuses]
        told = {"resourceType": "Bundle", "type": "transaction-response", "entry": done}
        return answer("200 OK", told, FHIR_JSON)

    def live(self, kind: str) -> list[dict[str, Any]]:
        """Resources that may be used."""
        found = [each for each in self.resources.values() if each["resourceType"] == kind]
        return [each for each in found if each["status"] != "entered-in-error"]


@dataclass
class Hl7Receiver:
    """What python-hl7's server has taken."""

    port: int
    messages: list[Any] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    """Cleared, it takes messages and says nothing."""
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a sender has hung up."""

    def filed(self) -> dict[tuple[str, str, str], list[str]]:
        """Fields of each OBX that was not deleted, by filler number, code and sub-ID; what came later counts."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for message in self.messages:
            filler = ""
            for segment in str(message).split("\r"):
                fields = segment.split("|")
                if fields[0] == "OBR":
                    filler = fields[3]
                if fields[0] == "OBX":
                    key = (filler, fields[3].partition("^")[0], fields[4])
                    if fields[11] in ("D", "W"):
                        found.pop(key, None)
                    else:
                        found[key] = fields
        return found


@contextmanager
def hl7_server() -> Iterator[Hl7Receiver]:
    """python-hl7's own server."""
    from hl7.mllp import start_hl7_server

    receiver = Hl7Receiver(peers.free_port())
    receiver.answering.set()
    ready, stop = threading.Event(), threading.Event()

    async def process(reader: Any, writer: Any) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                message = await reader.readmessage()
                receiver.messages.append(message)
                while not receiver.answering.is_set() and not stop.is_set():
                    await asyncio.sleep(0.02)
                writer.writemessage(message.create_ack())
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        receiver.left.set()

    async def serve() -> None:
        server = await start_hl7_server(process, "127.0.0.1", receiver.port, encoding="utf-8", limit=1 << 20)
        async with server:
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield receiver
    finally:
        stop.set()
        thread.join(10)
