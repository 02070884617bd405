"""One connection's socket: what may come through it, how much at a time, and how slowly."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from pynetdicom.transport import AssociationSocket

from spinepacs.intake.gate import Gate, read_exactly
from spinepacs.intake.incoming import StreamingDimse
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

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer if the peer closes before.

        Raises
        ------
        OSError
            TimeoutError if the peer is too slow, ConnectionAbortedError if it sends more than was agreed.
        """
        if self._early:
            taken, self._early = self._early[:nr_bytes], self._early[nr_bytes:]
            return taken
        connection = self.socket
        if connection is None:
            return bytearray()
        if nr_bytes > self._longest_bytes:
            self._count(Turned.PROTOCOL, f"a PDU of {nr_bytes} bytes")
            raise ConnectionAbortedError("a PDU longer than agreed")
        # Without it pynetdicom would take a long PDU over a slow line for silence.
        progressed = self.assoc.dul._idle_timer.restart
        silence_s = self._settings.network_timeout_s
        try:
            return read_exactly(connection, nr_bytes, self._until_s(), silence_s, progressed)
        except TimeoutError:
            self.too_slow("inside a PDU")
            raise
        finally:
            self._set_timeout()

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

    def _set_timeout(self) -> None:
        """For what is written: a peer that does not read is not waited for either."""
        connection: socket.socket | None = self.socket
        with suppress(OSError):  # closed meanwhile
            if connection is not None:
                connection.settimeout(self._settings.network_timeout_s)

    def _count(self, reason: Turned, detail: str) -> None:
        self._gate.count(reason, self.assoc.requestor.address, detail)
