"""One connection's socket: what may come through it, how much at a time, and how slowly."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pynetdicom.transport import AssociationSocket

from spinepacs.intake.bulk import BUFFER_BYTES, DatasetReader
from spinepacs.intake.gate import Gate, allow, read_exactly, read_within
from spinepacs.intake.incoming import Incoming, StreamingDimse
from spinepacs.intake.visitors import Turned
from spinepacs.settings.sections import ListenerSettings

_MORE_THAN_AGREED = 2
"""Some senders count the PDU's head and some do not; nobody may send much more than was agreed."""

_SMALL_PDU_BYTES = 1 << 16
_MB = 1_000_000


class LimitedSocket(AssociationSocket):
    """Reads within limits of size and time; what is beyond them ends the connection.

    pynetdicom makes its sockets itself, so one of them is turned into this by setting its class and calling
    :meth:`limit`.
    """

    def limit(self, settings: ListenerSettings, gate: Gate, request: bytes) -> None:
        """Set the limits, and the association request that has been read already."""
        self._early = bytearray(request)
        self._buffer = bytearray()
        self._was_slow = False
        self._settings = settings
        self._gate = gate
        agreed_bytes = settings.maximum_pdu_bytes or settings.maximum_object_mb * _MB
        self._longest_bytes = max(_MORE_THAN_AGREED * agreed_bytes, _SMALL_PDU_BYTES)
        self._set_timeout()

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return bool(self._early) or super().ready

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, be it that the peer has closed; False: nothing has come in time."""
        connection = self.socket
        if self._early or connection is None or connection.fileno() < 0:
            return True
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer if the peer closes before.

        Raises
        ------
        OSError
            TimeoutError if the peer is too slow, ConnectionAbortedError if it sends more than was agreed.
        """
        self.check_length(nr_bytes)
        taken = self._early[:nr_bytes]
        del self._early[:nr_bytes]
        connection = self.socket
        if len(taken) == nr_bytes or connection is None:
            return taken
        with self._counted():
            return taken + read_exactly(
                connection, nr_bytes - len(taken), self._until_s(), self._silence_s, self._progressed
            )

    def read_dataset(self, context_id: int, dataset: Incoming) -> bool:
        """Read what is left of an image's dataset; False: something else came, which is still to be read.

        Raises
        ------
        OSError
            As :meth:`recv`; ConnectionAbortedError too if the peer closes before its end.
        """
        self._buffer = self._buffer or bytearray(BUFFER_BYTES)
        return DatasetReader(self, self._buffer, context_id, dataset).read()

    def receive_into(self, room: memoryview) -> int:
        """Read what there is, at least one byte; 0: the peer has closed. Raises as :meth:`recv`."""
        if self._early:
            count = min(len(room), len(self._early))
            room[:count] = self._early[:count]
            del self._early[:count]
            return count
        connection = self.socket
        if connection is None:
            return 0
        with self._counted():
            return read_within(
                lambda: connection.recv_into(room),
                connection,
                self._until_s(),
                self._silence_s,
                self._progressed,
            )

    def put_back(self, rest: bytes) -> None:
        """Let it be read once more."""
        self._early[:0] = rest

    def forget(self) -> None:
        """Give the memory back: pynetdicom's objects form circles, which may be collected much later."""
        self._buffer, self._early = bytearray(), bytearray()

    def check_length(self, count_bytes: int) -> None:
        """Raise ConnectionAbortedError if no PDU may be so long."""
        if count_bytes > self._longest_bytes:
            self._count(Turned.PROTOCOL, f"a PDU of {count_bytes} bytes")
            raise ConnectionAbortedError("a PDU longer than agreed")

    def too_slow(self, where: str) -> None:
        """Count this peer among those that were silent or slow for too long, once."""
        if not self._was_slow:
            self._was_slow = True
            self._count(Turned.TIME, where)

    def _until_s(self) -> float:
        """When what is being read must be there, however it trickles in (monotonic)."""
        now_s = time.monotonic()
        if self.assoc.dul.state_machine.current_state == "Sta13":
            # It was told to go, and may still send what it had under way (PS3.8 9.2).
            return now_s + self._settings.acse_timeout_s
        dimse = self.assoc.dimse
        began_s = dimse.began_s if isinstance(dimse, StreamingDimse) else None
        return (began_s or now_s) + self._settings.transfer_timeout_s

    @property
    def is_called_away(self) -> bool:
        """Whether there is something to send, or nothing is to be read any more."""
        dul = self.assoc.dul
        return bool(dul.to_provider_queue.qsize()) or dul._kill_thread

    @property
    def _silence_s(self) -> float:
        return self._settings.network_timeout_s

    def _progressed(self) -> None:
        """Without it pynetdicom would take a long PDU over a slow line for silence."""
        self.assoc.dul._idle_timer.restart()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self.too_slow("inside a PDU")
            raise
        finally:
            self._set_timeout()

    def _set_timeout(self) -> None:
        """For what is written: a peer that does not read is not waited for either."""
        connection: socket.socket | None = self.socket
        with suppress(OSError):  # closed meanwhile
            if connection is not None:
                allow(connection, self._silence_s)

    def _count(self, reason: Turned, detail: str) -> None:
        self._gate.count(reason, self.assoc.requestor.address, detail)
