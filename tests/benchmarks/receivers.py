"""Who receives in the benchmark ``receive``, and what that costs: our daemon, DCMTK's storescp, Orthanc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.work import running_daemon
from tests.peers import free_port, listens, orthanc, require, stop

_IDLE_S = 0.1
"""A daemon that has started spends less in a second."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Receiver(NamedTuple):
    """A receiver that runs: its port, its first process, and those whose processor time is that of receiving."""

    port: int
    root: int
    listeners: tuple[int, ...]

    def cost_s(self) -> tuple[float, float]:
        """Processor time so far (s, user and system): of the whole family, and of those who receive."""
        table = _processes()
        family = {self.root}
        while more := {pid for pid, (parent, _) in table.items() if parent in family} - family:
            family |= more
        return _spent(table, family), _spent(table, self.listeners)


def _processes() -> dict[int, tuple[int, float]]:
    """Parent and processor time (s) of every process, children that it has buried included (proc(5))."""
    table = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        table[int(entry.name)] = int(fields[1]), sum(map(int, fields[11:15])) / _TICKS
    return table


def _spent(table: dict[int, tuple[int, float]], pids: set[int] | tuple[int, ...]) -> float:
    return sum(table[pid][1] for pid in pids if pid in table)


def daemon(build: Path | None = None) -> Callable[[Path], AbstractContextManager[Receiver]]:
    """The daemon of a build (None: this one) with its defaults, but that no study is read and one address may do all.

    Those who receive are its listener processes; what its workers do meanwhile (reading headers) is in the family.
    """

    @contextmanager
    def run(folder: Path) -> Iterator[Receiver]:
        more = "[assembly]\nquiet_period_s = 3600\n"
        listener = "maximum_associations_per_peer = 0\nassociations_per_minute = 0\n"
        with running_daemon(folder, more, warm_up_s=2, listener=listener, build=build) as (port, root):
            _settle(root)
            yield Receiver(port, root, tuple(_sharers(port) - {root}))

    return run


@contextmanager
def storescp(folder: Path) -> Iterator[Receiver]:
    """DCMTK's storescp, one process for each association, bit-preserving; no fsync."""
    port = free_port()
    command = [require("storescp"), "--fork", "+B", "-od", str(folder), "-pdu", "131072", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not listens(port):
            time.sleep(0.05)
        yield Receiver(port, process.pid, (process.pid,))
    finally:
        stop(process)


@contextmanager
def orthanc_archive(folder: Path) -> Iterator[Receiver]:
    """Debian's Orthanc with its defaults, into its storage of files."""
    with orthanc(folder, MaximumPduLength=131072) as peer:
        yield Receiver(peer.dicom_port, peer.process.pid, (peer.process.pid,))


def _settle(root: int) -> None:
    """Wait until a family has started: it spends hardly any time any more."""
    spent_s, before_s = Receiver(0, root, ()).cost_s()[0], -1.0
    while spent_s - before_s > _IDLE_S:
        time.sleep(1)
        spent_s, before_s = Receiver(0, root, ()).cost_s()[0], spent_s


def _sharers(port: int) -> set[int]:
    """Processes that hold the socket that listens on a port."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    (inode,) = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == f"socket:[{inode}]":
                found.add(int(link.parts[2]))
        except OSError:
            continue
    return found
