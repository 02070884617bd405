"""A console that serves a test's ledger on a port of its own, and visitors who ask it over real HTTP."""

from __future__ import annotations

import http.client
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette

from spinepacs.intake.port import open_port
from spinepacs.settings.settings import Settings
from spinepacs.store.accounts import AccountRole, sha256_of
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from spinepacs.web import app, login, server
from spinepacs.web.darkroom import Darkroom
from spinepacs.web.guard import COOKIE
from spinepacs.web.passwords import hashed
from spinepacs.web.reviewing import Reviewing
from spinepacs.web.site import Site

PASSWORD = "a long password of tests"  # noqa: S105 - of nobody
_FORM = "application/x-www-form-urlencoded"


@cache
def password_hash() -> str:
    return hashed(PASSWORD)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Visitor:
    """A browser without a screen: it keeps cookies and follows nothing."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        try:
            connection.request(method, path, body, {**(sent if self.cookies else {}), **(headers or {})})
            came = connection.getresponse()
            answer = Answer(came.status, came.headers, came.read())
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value.strip('"')
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, Any], **headers: str) -> Answer:
        return self.ask("POST", path, urlencode(form).encode(), {"Content-Type": _FORM, **headers})

    def upload(self, path: str, content: bytes, **fields: str) -> Answer:
        edge = secrets.token_hex(16)
        parts = [
            f'--{edge}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{edge}\r\nContent-Disposition: form-data; name="film"; filename="a.dcm"\r\n\r\n'
        body = b"".join(parts) + head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        return self.ask("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={edge}"})

    @property
    def csrf(self) -> str:
        """Of this person's forms, taken from a page."""
        found = re.search(r'name="csrf" value="(\w+)"', self.get("/rules").text)
        assert found
        return found[1]


@dataclass
class Console:
    """One that runs."""

    port: int
    ledger: Ledger
    spool: Spool
    application: Starlette

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stranger(self) -> Visitor:
        return Visitor(self.port)

    def visitor(self, role: AccountRole = AccountRole.ADMINISTRATOR, hours: float = 1) -> Visitor:
        """Somebody who is logged in; the account has the role's name."""
        self.account(role.value, role)
        token = secrets.token_urlsafe(32)
        until = datetime.now(UTC) + timedelta(hours=hours)
        self.ledger.accounts.log_in(sha256_of(token), role.value, "127.0.0.1", until)
        return Visitor(self.port, {COOKIE: token})

    def account(self, name: str, role: AccountRole = AccountRole.VIEWER) -> None:
        self.ledger.accounts.add(name, role, password_hash())


def settings(ledger: Ledger, spool: Spool, **sections: Any) -> Settings:
    folder = spool.path_of("0" * 64).parents[2]
    storage = {"spool": str(folder), "database_url": ledger.url, "reserve_mb": 0}
    return Settings.model_validate({"storage": storage, "health": {"enabled": False}, **sections})


@contextmanager
def console(ledger: Ledger, spool: Spool, **sections: Any) -> Iterator[Console]:
    """Serve until the block ends."""
    for guesses in (login._BY_ACCOUNT_AND_PEER, login._BY_PEER):
        guesses._times.clear()  # what other tests of this process have guessed
    made = settings(ledger, spool, **sections)
    reviewing = Reviewing(made)
    site = Site(made, ledger, spool, Darkroom(made.web, spool), reviewing)
    running = server.make_server(site)
    with open_port("127.0.0.1", 0) as door:
        stop = threading.Event()
        thread = threading.Thread(target=server.serve_until, args=(stop, running, door))
        thread.start()
        try:
            yield Console(door.getsockname()[1], ledger, spool, app.make_app(site))
        finally:
            stop.set()
            thread.join(20)
            reviewing.close()
    assert not thread.is_alive()
