"""OpenID providers of a test's own: a real one in a process, and a scripted one that signs whatever it is told to."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests import peers

CLIENT = "spinepacs"


@contextmanager
def real_provider(**people: dict[str, Any]) -> Iterator[str]:
    """An OpenID provider (oidc-provider-mock, Authlib's server side) that knows these people; its issuer."""
    port = peers.free_port()
    arguments = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "oidc_provider_mock",
        "--host",
        "localhost",
        "--port",
        str(port),
    ]
    for sub, claims in people.items():
        arguments += ["--user-claims", json.dumps({"sub": sub, **claims})]
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    issuer = f"http://localhost:{port}"
    try:
        peers.wait_until(lambda: _answers(f"{issuer}/.well-known/openid-configuration"), 60, "the provider")
        yield issuer
    finally:
        peers.stop(process)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - of this test
            return True
    except OSError:
        return False


@dataclass
class Scripted:
    """Says what it is told to; checks the code and PKCE as a provider must."""

    port: int
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}, auto_kid=False))
    announced: RSAKey | None = None
    """The key that it shows; None: its own."""
    challenge: str = ""
    token: Callable[[dict[str, Any]], str] | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] | None = None
    names_itself: str = ""
    basic: list[str] = field(default_factory=list)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)

    def usual(self, nonce: str) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer, "aud": CLIENT, "sub": "4711", "exp": now + 300, "iat": now, "nonce": nonce,
            "preferred_username": "jane", "roles": ["spine-readers", "others"],
        }  # fmt: skip


@contextmanager
def scripted_provider() -> Iterator[Scripted]:
    """Serve until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    provider = Scripted(server.server_address[1])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer = provider.issuer
            pages: dict[str, Any] = {
                "/.well-known/openid-configuration": {
                    "issuer": provider.names_itself or issuer, "authorization_endpoint": f"{issuer}/login",
                    "token_endpoint": f"{issuer}/token", "jwks_uri": f"{issuer}/keys",
                    **({"userinfo_endpoint": f"{issuer}/me"} if provider.userinfo is not None else {}),
                },
                "/keys": {"keys": [(provider.announced or provider.key).as_dict(private=False)]},
                "/me": provider.userinfo,
            }  # fmt: skip
            self._say(200 if self.path in pages else 404, pages.get(self.path))

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            provider.basic.append(self.headers.get("Authorization", ""))
            digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != provider.challenge or form[
                "code"
            ] != ["c0de"]:
                self._say(400, {"error": "invalid_grant"})
                return
            token = (provider.token or provider.signed)(provider.claims)
            self._say(200, {"access_token": "a", "token_type": "Bearer", "expires_in": 60, "id_token": token})

        def _say(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
