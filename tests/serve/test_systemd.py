"""What the daemon tells systemd: a real daemon, a real datagram socket in systemd's place."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from spinepacs.serve.systemd import ServiceManager
from tests import peers
from tests.daemons import daemon


@pytest.fixture
def systemd(tmp_path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on; its path is the name of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(60)
        yield line


def words(line: socket.socket) -> list[bytes]:
    """What has been said since the last call."""
    said = []
    line.setblocking(False)
    try:
        while True:
            said.append(line.recv(100))
    except BlockingIOError:
        return said
    finally:
        line.settimeout(60)


@pytest.mark.peer
def test_ready_alive_while_the_main_loop_turns_and_stopping(tmp_path, systemd, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "500000")
    with daemon(tmp_path) as running:
        running.start()
        said = [systemd.recv(100)]
        while b"READY=1" not in said:
            said.append(systemd.recv(100))
        assert peers.listens(running.port), "it was said to be ready and does not listen"
        words(systemd)
        assert systemd.recv(100) == b"WATCHDOG=1"

        running.process.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        words(systemd)
        time.sleep(1)
        assert words(systemd) == [], "a daemon that hangs says that it lives"
        running.process.send_signal(signal.SIGCONT)
        assert systemd.recv(100) == b"WATCHDOG=1"

        assert running.terminate() == 0
        assert words(systemd)[-1] == b"STOPPING=1"


def test_an_abstract_socket_is_found(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0spinepacs-test-{os.getpid()}")
        line.settimeout(5)
        ServiceManager({"NOTIFY_SOCKET": f"@spinepacs-test-{os.getpid()}"}).ready()
        assert line.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "of_another", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}]
)
def test_a_watchdog_of_another_process_is_not_fed(systemd, of_another):
    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "1", **of_another})
    manager.alive()
    assert words(systemd) == []


def test_without_systemd_or_with_one_that_is_gone_nothing_happens(tmp_path):
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "nobody")}):
        ServiceManager(environment).ready()
