"""Several machines on one PostgreSQL, one spool and one PACS, each a process tree of its own; see ``machines``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinepacs.store.ledger import Ledger
from tests import peers
from tests.daemons import Daemon, daemon, destination
from tests.peers_postgresql import PostgreSQL, postgresql
from tests.peers_s3 import S3, s3
from tests.wires import SWITCH, Cable, wires

ROLES = {"one": "listener", "two": "all", "three": "all"}
_READY = re.compile(r"(listener|worker|delivery)-?\d* is ready, pid (\d+)")


@dataclass
class Machine:
    """One machine, and what its log says of its processes."""

    name: str
    daemon: Daemon
    cable: Cable | None = None
    back_at_s: float = float("inf")
    """When it is started again (s, monotonic), if it is down."""
    plugged_at_s: float = float("inf")
    """When its cable is plugged in again (s, monotonic), if it is pulled."""

    def processes(self) -> list[tuple[str, int]]:
        """Part and pid of those that live."""
        found = {int(pid): part for part, pid in _READY.findall(self.daemon.log.read_text(errors="replace"))}
        return [(part, pid) for pid, part in found.items() if peers.runs(pid)]

    @property
    def is_up(self) -> bool:
        """Whether its supervisor lives."""
        return self.daemon.process.poll() is None

    def kill(self) -> None:
        """The power is cut; it comes back after a while."""
        self.daemon.kill()

    def cut(self, cable: Cable, seconds: float) -> None:
        """Pull its cable for a while."""
        cable.pull()
        self.plugged_at_s = time.monotonic() + seconds

    def mend(self) -> None:
        """Plug its cable in."""
        if self.cable:
            self.plugged_at_s = float("inf")
            self.cable.plug()

    def start_again(self) -> None:
        """Start it, and plug its cable in, when the time has come."""
        if time.monotonic() > self.plugged_at_s:
            self.mend()
        if not self.is_up and time.monotonic() > self.back_at_s:
            self.back_at_s = float("inf")
            self.daemon.start()


@dataclass
class Site:
    """The machines and what they share."""

    machines: list[Machine]
    server: PostgreSQL
    url: str
    orthanc: peers.Orthanc
    storage: S3 | None

    def ledger(self) -> Ledger:
        """Open the ledger; close it again."""
        return Ledger.open(self.url)


@contextmanager
def site(
    folder: Path,
    *,
    on_s3: bool,
    roles: Mapping[str, str] = ROLES,
    destinations: Sequence[Mapping[str, Any]] = (),
    is_wired: bool = False,
    **sections: Any,
) -> Iterator[Site]:
    """Machines with their roles, not started.

    ``destinations``: beside the Orthanc; ``is_wired``: each machine has a network of its own, and a cable.
    """
    with ExitStack() as stack:
        network = stack.enter_context(wires()) if is_wired else None
        address = SWITCH if network else "127.0.0.1"
        server = stack.enter_context(postgresql(address))
        orthanc = stack.enter_context(peers.orthanc(folder))
        storage = stack.enter_context(s3(folder, address)) if on_s3 else None
        spool = storage.make_bucket("films") + "/site" if storage else str(folder / "spool")
        made = Site([], server, server.create_database(), orthanc, storage)
        for name, role in roles.items():
            place = folder / name
            place.mkdir()
            cable = network.cable() if network else None
            bind = {"bind": cable.address} if cable else {}
            settings = {
                "storage": {
                    "spool": spool,
                    "scratch": str(place / "scratch"),
                    "database_url": made.url,
                    "reserve_mb": 0,
                },
                "cluster": {"enabled": True, "heartbeat_s": 1.0, "dead_after_s": 6.0},
                "listener": {"port": peers.free_port(), "processes": 1, **bind},
                "health": {"port": peers.free_port(), **bind},
                # As many attempts as no film can meet by chance: each kill counts, and rightly, as the film's own.
                "work": {"workers": 1, "maximum_attempts": 30, "time_limit_s": 300},
            }
            environment = {"SPINEPACS_MACHINE": name, **(storage.environment if storage else {})}
            running = stack.enter_context(
                daemon(
                    place,
                    [destination(orthanc.dicom_port, host=address, maximum_attempts=1000), *destinations],
                    arguments=("--role", role),
                    environment=environment,
                    **{
                        name: {**settings.get(name, {}), **sections.get(name, {})}
                        for name in settings | sections
                    },
                )
            )
            running.prefix = cable.prefix if cable else ()
            made.machines.append(Machine(name, running, cable))
        yield made
