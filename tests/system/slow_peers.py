"""How long a slow or silent peer keeps its place at the listener.

    python -m tests.system.slow_peers

For each kind, five times: the time from its connection, or from its last step, until the place is free again.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool
from tests.intake.doors import answer, listening, request
from tests.intake.test_listener_gate import trickle

_ROUNDS = 5
_P_DATA = struct.pack(">BBI", 4, 0, 1000) + bytes(500)
_Peer = Callable[[socket.socket], None]


def silent(_connection: socket.socket) -> None:
    """Say nothing."""


def request_trickles(connection: socket.socket) -> None:
    """Send a request at twenty bytes a second."""
    threading.Thread(target=trickle, args=(connection, request(), threading.Event()), daemon=True).start()


def idle(connection: socket.socket) -> None:
    """Open an association and ask for nothing."""
    connection.sendall(request())
    assert answer(connection)[:1] == b"\x02"


def stalls(connection: socket.socket) -> None:
    """Send half a PDU."""
    idle(connection)
    connection.sendall(_P_DATA)


def trickles(connection: socket.socket) -> None:
    """Send a PDU at twenty bytes a second."""
    idle(connection)
    threading.Thread(target=trickle, args=(connection, _P_DATA, threading.Event()), daemon=True).start()


PEERS: tuple[tuple[_Peer, dict[str, float]], ...] = (
    (silent, {"acse_timeout_s": 2}),
    (request_trickles, {"acse_timeout_s": 2}),
    (stalls, {"network_timeout_s": 2}),
    (trickles, {"transfer_timeout_s": 3}),
    (idle, {"network_timeout_s": 2}),
)


def held_s(peer: _Peer, spool: Spool, ledger: Ledger, **limits: float) -> float:
    """Seconds for which one peer keeps its place."""
    with listening(spool, ledger, **limits) as (listener, book):
        with socket.create_connection(("127.0.0.1", listener.port)) as connection:
            while not book.inside():
                time.sleep(0.01)
            started = time.monotonic()
            peer(connection)
            while book.inside():
                time.sleep(0.01)
        return time.monotonic() - started


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        spool = Spool(Path(name) / "spool")
        with Ledger.open(f"sqlite:///{name}/ledger.sqlite") as ledger:
            for peer, limits in PEERS:
                times = sorted(held_s(peer, spool, ledger, **limits) for _ in range(_ROUNDS))
                print(f"{peer.__name__:18} {limits}: {times[0]:.2f} to {times[-1]:.2f} s")
        spool.close()


if __name__ == "__main__":
    main()
