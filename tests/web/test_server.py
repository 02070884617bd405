"""The HTTP servers' own loop: it sleeps, says the time in every answer, and its end is noticed."""

from __future__ import annotations

import asyncio
import http.client
import threading
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from spinepacs.errors import Permanent
from spinepacs.intake.port import open_port
from spinepacs.web.server import quiet_server, serve_until


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


def asked(port: int) -> tuple[bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    found = answer.read(), answer.headers["date"]
    connection.close()
    return found


def test_it_answers_with_the_time_until_it_is_told_to_end() -> None:
    server, stop, looks = quiet_server(app), threading.Event(), []
    server.on_tick = looks.append
    with open_port("127.0.0.1", 0) as door:
        thread = threading.Thread(target=serve_until, args=(stop, server, door))
        thread.start()
        body, date = asked(door.getsockname()[1])
        assert body == b"here"
        assert parsedate_to_datetime(date).tzinfo is not None
        stop.set()
        thread.join()
    assert looks == []


def test_one_that_ends_by_itself_is_noticed() -> None:
    server = quiet_server(app)
    server.main_loop = lambda: asyncio.sleep(0)
    with open_port("127.0.0.1", 0) as door, pytest.raises(Permanent, match="ended by itself"):
        serve_until(threading.Event(), server, door)
