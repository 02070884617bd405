"""A DICOMweb server over a test's ledger and spool on a port of its own, and bodies to send to it."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset
from sqlalchemy import select

from spinepacs.dicomweb import server
from spinepacs.dicomweb.calls import Server
from spinepacs.intake.port import open_port
from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.store.tables import arrivals
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.server import serve_until
from tests.web.consoles import PASSWORD, Answer, password_hash, settings

RELATED = 'multipart/related; type="application/dicom"; boundary=edge'
SENDER, VIEWER = "ct1", "otto"


def basic(name: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def part10(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def body(*files: bytes, kind: str = "application/dicom") -> bytes:
    parts = [b"--edge\r\nContent-Type: " + kind.encode() + b"\r\n\r\n" + file + b"\r\n" for file in files]
    return b"".join(parts) + b"--edge--\r\n"


def listed(answer: Answer, tag: str) -> list[tuple[str, int | None]]:
    """SOP UIDs and failure reasons of a sequence of the answer to a request that stores."""
    items = json.loads(answer.body).get(tag, {}).get("Value", [])
    return [
        (
            item.get("00081155", {}).get("Value", [""])[0],
            item.get("00081197", {}).get("Value", [None])[0],
        )
        for item in items
    ]


STORED, FAILED, NAMELESS = "00081199", "00081198", "0008119A"


@dataclass
class Running:
    """One that runs, with an account of each role that it is used by."""

    port: int
    ledger: Ledger
    spool: Spool

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        name: str | None = VIEWER,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        shown = {"Authorization": basic(name)} if name else {}
        try:
            connection.request(method, path, content, {**shown, **(headers or {})})
            came = connection.getresponse()
            return Answer(came.status, came.headers, came.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", f"/dicom-web{path}", headers=headers)

    def json(self, path: str) -> Any:
        answer = self.get(path)
        assert answer.status == 200, answer.text
        assert answer.headers.get_content_type() == "application/dicom+json"
        return json.loads(answer.body)

    def store(
        self, content: bytes, study: str = "", kind: str = RELATED, name: str | None = SENDER
    ) -> Answer:
        path = f"/dicom-web/studies{'/' if study else ''}{study}"
        return self.ask("POST", path, content, name, {"Content-Type": kind})

    def kept(self) -> list[dict[str, Any]]:
        """Rows of what has arrived."""
        return list(self.ledger.rows(select(arrivals)))

    def files(self) -> list[Path]:
        """All files of the spool, those under way too."""
        root = self.spool.path_of("0" * 64).parents[2]
        return [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]


@contextmanager
def serving(ledger: Ledger, spool: Spool, **sections: Any) -> Iterator[Running]:
    """Serve until the block ends."""
    made = settings(ledger, spool, **sections)
    for name, role in ((SENDER, AccountRole.SENDER), (VIEWER, AccountRole.VIEWER)):
        ledger.accounts.add(name, role, password_hash())
    running = server.make_server(Server(made, spool, ledger, Darkroom(made.web, spool)))
    with open_port("127.0.0.1", 0) as door:
        stop = threading.Event()
        thread = threading.Thread(target=serve_until, args=(stop, running, door))
        thread.start()
        try:
            yield Running(door.getsockname()[1], ledger, spool)
        finally:
            stop.set()
            thread.join(20)
    assert not thread.is_alive()


def uids(datasets: Sequence[Dataset]) -> set[str]:
    return {str(dataset.SOPInstanceUID) for dataset in datasets}
