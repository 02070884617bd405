"""A listener in a process of its own that tells its threads, associations, memory and files when asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made by a module __getattr__ table

from spinepacs import logs
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests import films

TIMEOUT_S = 1.0
"""Of the listener, for greeting, messages and silence."""


@dataclass(frozen=True)
class State:
    """What the listener's process holds."""

    threads: int
    associations: int
    files: int
    memory_mb: float
    peak_mb: float


class Listening:
    """The process; made with ``with``.

    Parameters
    ----------
    folder
        Of its spool, its ledger and its log.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._child: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("a") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.listening", str(self.folder)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.folder / "listener.log"

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._child is not None and self._child.poll() is None

    def state(self) -> State:
        """Ask it."""
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        with self._asking:
            self._child.stdin.write("\n")
            self._child.stdin.flush()
            return State(**json.loads(self._child.stdout.readline()))

    def ledger(self) -> Ledger:
        """Open its ledger; close it again."""
        return Ledger.open(f"sqlite:///{self.folder / 'ledger.sqlite'}", migrate=False)

    def serves(self, number: int | str) -> str:
        """Say what goes wrong when a good sender comes: echo and store of a film of its own; empty: nothing."""
        film = films.make_cr(films.spine_like(80, 70), seed=f"good-{number}", study=f"good-{number}")
        ae = AE("GOOD")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        ae.add_requested_context(Verification)
        ae.add_requested_context(film.SOPClassUID, film.file_meta.TransferSyntaxUID)
        association = ae.associate("127.0.0.1", self.port, ae_title="SPINEPACS")
        if not association.is_established:
            return "no association"
        try:
            statuses = association.send_c_echo().get("Status"), association.send_c_store(film).get("Status")
        finally:
            association.release()
        return "" if statuses == (0, 0) else f"statuses {statuses}"


def _main(folder: Path) -> None:
    from spinepacs.intake.listener import Listener
    from spinepacs.settings.sections import ListenerSettings

    logs.configure("INFO", "text")
    settings = ListenerSettings(
        port=0,
        maximum_associations=60,
        maximum_associations_per_peer=0,
        associations_per_minute=0,
        maximum_object_mb=20,
        acse_timeout_s=TIMEOUT_S,
        dimse_timeout_s=TIMEOUT_S,
        network_timeout_s=TIMEOUT_S,
        transfer_timeout_s=3 * TIMEOUT_S,
    )
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
    listener = Listener(settings, Spool(folder / "spool"), ledger)
    print(listener.start(), flush=True)
    for _ in sys.stdin:
        print(json.dumps(_state(len(listener.associations))), flush=True)


def _state(associations: int) -> dict[str, Any]:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {
        "threads": threading.active_count(),
        "associations": associations,
        "files": len(os.listdir("/proc/self/fd")),
        "memory_mb": int(status["VmRSS"].split()[0]) / 1024,
        "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
    }


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
