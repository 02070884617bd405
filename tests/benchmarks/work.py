"""What several benchmarks need: a film taken in as the daemon does it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import spinepacs
from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.findings import Versions
from spinepacs.domain.study import Source
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim, NewArrival
from spinepacs.store.spool import Spool
from tests.peers import free_port, listens


@contextmanager
def running_daemon(
    folder: Path, more: str, warm_up_s: float, listener: str = "", build: Path | None = None
) -> Iterator[tuple[int, int]]:
    """Run ``spinepacs serve`` on SQLite below ``folder``; gives the listener's port and the process id.

    ``more`` is further TOML, ``listener`` that of its section; ``warm_up_s`` is waited after the port answers;
    ``build`` is the checkout whose daemon it is (None: the one that this process has imported).
    """
    port, config = free_port(), folder / "spinepacs.toml"
    config.write_text(
        f'[storage]\nspool = "spool"\ndatabase_url = "sqlite:///ledger.sqlite"\nreserve_mb = 0\n'
        f"[listener]\nport = {port}\n{listener}[health]\nenabled = false\n{more}"
    )
    build = build or Path(spinepacs.__file__).parents[1]
    command = [sys.executable, "-m", "spinepacs", "serve", "--config", str(config)]
    environment = os.environ | {"PYTHONPATH": str(build)}
    with (folder / "daemon.log").open("wb") as log:
        daemon = subprocess.Popen(command, stderr=log, cwd=build, env=environment)
    try:
        while not listens(port):
            time.sleep(0.1)
        time.sleep(warm_up_s)
        yield port, daemon.pid
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)


def family(root: int) -> set[int]:
    """A process and all its descendants."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    found = {root}
    for _ in range(4):
        found |= {pid for pid, parent in rows if parent in found}
    return found & {pid for pid, _ in rows}


def proportional_mb(pid: int) -> float:
    """Resident memory of a process (MB), shared pages by their share (PSS); 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def ingest(film: Path, spool: Spool, ledger: Ledger, versions: Versions) -> Claim:
    """Take a film in, register its study, and claim it."""
    header = read_header(film)
    kept = spool.add([film.read_bytes()])
    ledger.add_arrival(
        NewArrival(
            sop_uid=header.sop_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=header.transfer_syntax_uid,
            sha256=kept.sha256,
            size_bytes=kept.size_bytes,
            source=Source.COMMAND,
            calling_ae="",
            called_ae="",
            peer="",
            received_at=datetime.now(UTC),
        )
    )
    for arrival in ledger.unregistered(10):
        ledger.register(arrival.arrival_id, header, None)
    ledger.mark_ready(header.study_uid)
    claim = ledger.claim(versions, maximum_attempts=3)
    assert claim is not None
    return claim
