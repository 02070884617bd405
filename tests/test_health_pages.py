"""What the health pages say, and who is not believed to be a daemon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from spinepacs.health_pages import page, readiness
from spinepacs.serve.health import HealthServer
from spinepacs.settings.sections import HealthSettings
from spinepacs.settings.settings import Settings
from spinepacs.status import find_out
from tests.peers import free_port


@contextmanager
def answering(said: bytes) -> Iterator[int]:
    """A program that says the same to everybody; its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    with door.accept()[0] as line:
                        line.recv(1 << 16)
                        line.sendall(said)

        threading.Thread(target=serve, daemon=True).start()
        yield int(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)


def http(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@pytest.mark.parametrize(
    "said",
    [
        http(b"<html>hello</html>"),
        http(b"[1, 2]"),
        http(b"\xff\xfe", b"503 No"),
        b"220 mail.example.org ESMTP\r\n",
        b"",
    ],
    ids=["page", "list", "no text", "no HTTP", "nothing"],
)
def test_another_program_on_the_port_is_no_daemon(said: bytes, tmp_path) -> None:
    with answering(said) as port:
        settings = Settings.model_validate(
            {
                "health": {"port": port},
                "storage": {"spool": tmp_path, "database_url": f"sqlite:///{tmp_path}/none"},
            }
        )
        assert readiness(settings.health, 5) is None
        assert not find_out(settings).running


def test_a_daemon_is_asked_directly_whatever_proxy_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_ready() -> str:
        return "away"

    health = HealthServer(HealthSettings(port=0), {"disk": lambda: "", "model": not_ready}, figures=None)  # type: ignore[arg-type]  # no metrics are asked for
    health.start()
    try:
        for name in ("http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        settings = HealthSettings(port=health.port)
        assert readiness(settings, 5) == {"disk": "ok", "model": "away"}
        assert page(settings, "/healthz", 5) == "ok\n"
    finally:
        health.stop()


def test_nobody_is_asked_where_there_are_no_pages() -> None:
    assert page(HealthSettings(enabled=False), "/healthz", 5) is None
    assert readiness(HealthSettings(port=free_port()), 5) is None
