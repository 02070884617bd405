"""pynetdicom's threads of an association, made to wait quietly and to end in order whatever comes (PS3.8 9.2).

Its own end in a traceback when something arrives that does not belong into their state or cannot be negotiated; the
other of the two threads goes on then, without limit of time, for as long as the peer keeps the connection open. And
both look a thousand times a second whether there is something to do; here each is woken by the other.
pynetdicom makes its objects itself, so they are turned into these by setting their class and calling ``quieten``.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse_primitives import DimseServiceType
from pynetdicom.dul import DULServiceProvider

from spinepacs.intake.bulk import ending
from spinepacs.intake.connection import LimitedSocket
from spinepacs.intake.incoming import Incoming, StreamingDimse, cancel_dataset

_LOOK_S = 0.05
"""How often the thread that reads looks whether the other one wants something, such as to abort (s)."""

_PAUSE_S = 0.001
"""As long as pynetdicom's own, where nothing has been waited for (s)."""

_LONGEST_LOOK_S = 0.25
"""How often the other thread looks at the time (s)."""

_OURS_TO_ANSWER = frozenset({"Sta3", "Sta8"})
"""The peer has asked for an association, or for its end (PS3.8 9.2)."""

_log = logging.getLogger(__name__)


class _Bell(threading.Event):
    """What pynetdicom's association thread waits for in each round; rung when there may be something to do."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it rings, or it is time to look at the clock."""
        was_rung = super().wait(timeout or _LONGEST_LOOK_S)
        self.clear()
        return was_rung


class OrderlyAssociation(Association):
    """The thread of one association that negotiates and serves."""

    has_left = False
    """Its place is free, though its thread has yet to end."""

    def quieten(self) -> None:
        """Wait for the bell instead of looking."""
        self._reactor_checkpoint = _Bell()

    def ring(self) -> None:
        """There may be something to do."""
        if not self._reactor_checkpoint.is_set():
            self._reactor_checkpoint.set()

    def run(self) -> None:
        """Negotiate and serve until the association ends, however it ends; half an object does not stay."""
        try:
            super().run()
        except Exception as error:
            _break_off(self, error)
        finally:
            cast(StreamingDimse, self.dimse).cancel_unserved()
            cast(Any, self._server).leave(self)

    def _serve_request(self, msg: DimseServiceType, context_id: int) -> None:
        """Serve one message; what has been read of it and not stored then is not kept."""
        try:
            super()._serve_request(msg, context_id)
        finally:
            cancel_dataset(msg)
            # Reports on commitment have a thread of their own, which pynetdicom starts, and never were in line.
            if threading.current_thread() is self and isinstance(self.dimse, StreamingDimse):
                self.dul._idle_timer.restart()
                self.dimse.served()
                cast(OrderlyUpperLayer, self.dul).stir()


class OrderlyUpperLayer(DULServiceProvider):
    """The thread of one association that reads and writes its PDUs."""

    def quieten(self) -> None:
        """Wait for the peer, or for the other thread, instead of looking."""
        self._stirred = threading.Event()
        self._has_waited = False

    @property
    def _run_loop_delay(self) -> float:  # type: ignore[override]  # a plain attribute of pynetdicom's
        """How long pynetdicom sleeps before it looks again, having found nothing to do (s)."""
        return 0.0 if self._has_waited else _PAUSE_S

    def stir(self) -> None:
        """There may be something to send, or to read again."""
        if not self._stirred.is_set():  # to wake a thread that is awake costs as much
            self._stirred.set()

    def run(self) -> None:
        """Read and write until the association ends, however it ends."""
        try:
            super().run()
        except Exception as error:
            _break_off(self.assoc, error)
        finally:
            cast(StreamingDimse, self.assoc.dimse).cancel()
            cast(LimitedSocket, self.socket).forget()
            cast(OrderlyAssociation, self.assoc).ring()

    def send_pdu(self, primitive: Any) -> None:
        """Queue something to be sent, and have it sent now."""
        super().send_pdu(primitive)
        self.stir()

    def _is_transport_event(self) -> bool:
        """Wait for the peer; while its request or message is in work, for the answer."""
        dimse = cast(StreamingDimse, self.assoc.dimse)
        if self.to_user_queue.qsize() or dimse.is_busy:
            cast(OrderlyAssociation, self.assoc).ring()
        state = self.state_machine.current_state
        self._has_waited = state == "Sta6" and not dimse.is_busy
        if self._has_waited:
            cast(LimitedSocket, self.socket).wait(_LOOK_S)
        if not dimse.is_busy and super()._is_transport_event():
            return True
        if dimse.is_busy or state in _OURS_TO_ANSWER:
            self._has_waited = True
            self._stirred.wait(_LOOK_S)
            self._stirred.clear()
            self._process_recv_primitive()
        return False

    def _read_pdu_data(self) -> None:
        """Read one PDU, or as many as the dataset of an image takes."""
        under_way = cast(StreamingDimse, self.assoc.dimse).image_under_way()
        if under_way is None or self.state_machine.current_state != "Sta6":
            super()._read_pdu_data()
            return
        try:
            self._read_dataset(*under_way)
        except OSError as error:
            _log.info("connection lost inside an object: %s", type(error).__name__)
            self.event_queue.put("Evt17")
        except Exception as error:
            cast(StreamingDimse, self.assoc.dimse).refuse(error)

    def _read_dataset(self, context_id: int, dataset: Incoming) -> None:
        if not cast(LimitedSocket, self.socket).read_dataset(context_id, dataset):
            super()._read_pdu_data()
            return
        # All its bytes are where they belong: an empty last fragment tells pynetdicom that the message is whole.
        pdu, event = self._decode_pdu(bytearray(ending(context_id)))
        self._recv_pdu.put(pdu)
        self.event_queue.put(event)


def _break_off(association: Association, error: Exception) -> None:
    _log.warning("association broken off: %s", type(error).__name__)
    association.is_aborted, association.is_established = True, False
    association._kill = True
    association.dul.kill_dul()
    if association.dul.socket is not None:
        association.dul.socket.close()
