"""Cables for tests: each machine in a network namespace of its own, all on one switch, and a cable can be pulled.

What is sent over a pulled cable is lost, and nobody is told, as in life: no connection is closed or refused. Linux, and
root there; others skip.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.peers import require, stop

SWITCH = "10.77.0.1"
"""Address of whoever has made the network: the test, with its peers."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Cable:
    """From a machine to the switch."""

    name: str
    address: str
    """Of the machine."""
    holder: subprocess.Popen[bytes]

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that is to run on that machine."""
        return (require("nsenter"), f"--net=/proc/{self.holder.pid}/ns/net", "--")

    def pull(self) -> None:
        """From now on nothing comes through."""
        _ip("link", "set", self.name, "down")

    def plug(self) -> None:
        """And now it does again."""
        _ip("link", "set", self.name, "up")


@dataclass
class Wires:
    """The switch."""

    _stack: ExitStack
    cables: list[Cable] = field(default_factory=list)

    def cable(self) -> Cable:
        """Connect another machine."""
        number = len(self.cables) + 2
        holder = subprocess.Popen(
            [require("unshare"), "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL
        )
        self._stack.callback(stop, holder)
        made = Cable(f"wire{number}", f"{SWITCH.rpartition('.')[0]}.{number}", holder)
        _wait_for_namespace(holder.pid)
        _ip("link", "add", made.name, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        _ip("link", "set", made.name, "master", "switch", "up")
        for words in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{made.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            subprocess.run([*made.prefix, require("ip"), *words], check=True)
        self.cables.append(made)
        return made


@cache
def may_wire() -> bool:
    """Whether this user may make networks: a privilege, and no peer that could be installed, so CI is asked too."""
    tried = "ip link add wire0 type veth peer name wire1 && ip link add switch type bridge"
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    words = ["unshare", "--net", "sh", "-c", tried]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@contextmanager
def wires() -> Iterator[Wires]:
    """Put this thread, and all that it starts meanwhile, into a network of its own with nothing but a switch."""
    if not may_wire():
        pytest.skip("no network namespaces here: they need root on Linux, and iproute2")
    with ExitStack() as stack:
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        stack.callback(os.close, own)
        if _libc.unshare(_CLONE_NEWNET):
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        stack.callback(_libc.setns, own, _CLONE_NEWNET)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "switch", "type", "bridge")
        _ip("addr", "add", f"{SWITCH}/24", "dev", "switch")
        _ip("link", "set", "switch", "up")
        yield Wires(stack)


def _wait_for_namespace(pid: int) -> None:
    ours = os.readlink("/proc/thread-self/ns/net")
    while os.readlink(Path(f"/proc/{pid}/ns/net")) == ours:
        os.sched_yield()


def _ip(*words: str) -> None:
    subprocess.run([require("ip"), *words], check=True)
