"""What pynetdicom leaves open on the sending side: answers that belong to no question, lines and peers that trickle.

pynetdicom makes sockets and providers itself, so those of an association are turned into these by setting their class.
"""

from __future__ import annotations

import fcntl
import sys
import termios
import time
from contextlib import suppress
from queue import Empty
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.transport import AssociationSocket

LONGEST_ANSWER_BYTES = 1 << 16
"""Longest PDU that we take from a destination (PS3.8 D.1): answers are short, and it is held in memory whole."""

LONGEST_PIECE_BYTES = 1 << 18
"""Longest PDU that we send, also where the destination sets no limit: each has its own time limit."""

SLOWEST_BYTES_PER_S = 10_000
"""A destination that takes an object more slowly than this is not waited for."""

_LOOK_S, _PAUSE_S = 0.05, 0.001


class Line(AssociationSocket):
    """A socket with a limit for each write and for each PDU that is read, however it trickles in."""

    limit_s: float

    def limit(self, limit_s: float) -> None:
        """Set the limit (s)."""
        self.limit_s = limit_s
        if self.socket is not None:
            self.socket.settimeout(limit_s)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read ``nr_bytes``, or fewer if the peer closes before.

        Raises
        ------
        OSError
            TimeoutError if the peer is too slow, ConnectionAbortedError if it sends more than was agreed.
        """
        received, connection = bytearray(), self.socket
        if nr_bytes > LONGEST_ANSWER_BYTES:
            raise ConnectionAbortedError("a PDU longer than agreed")
        until_s = time.monotonic() + self.limit_s
        while connection is not None and len(received) < nr_bytes:
            if time.monotonic() > until_s:
                raise TimeoutError("the destination sends too slowly")
            chunk = connection.recv(nr_bytes - len(received))
            if not chunk:
                break
            received += chunk
        return received

    def unsent_bytes(self) -> int:
        """Bytes that the kernel holds and the destination has not taken; 0 where it does not tell."""
        with suppress(OSError, ValueError, AttributeError):
            return int.from_bytes(fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)  # type: ignore[arg-type]  # None raises
        return 0


class Answers(DIMSEServiceProvider):
    """Takes for the answer to a request only what answers it, and waits for it from when the request has been sent.

    pynetdicom takes whatever comes next: a second answer to one object would count for the next one. It also begins to
    wait before the first byte has gone, so that no large object would ever get through a slow line.
    """

    size_bytes: int = 0
    """Of the object that is sent next."""

    _asked: tuple[type, int | None] | None = None
    _left = (0, 0)

    @property
    def maximum_pdu_size(self) -> int:
        """Of what we send."""
        return min(super().maximum_pdu_size or LONGEST_PIECE_BYTES, LONGEST_PIECE_BYTES)

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Remember what is asked."""
        if primitive.MessageIDBeingRespondedTo is None:
            self._asked = (type(primitive), primitive.MessageID)
        super().send_msg(primitive, context_id)

    def get_msg(self, block: bool = False) -> Any:
        """Next message; with ``block`` the answer to what was asked, or (None, None) if it does not come in time.

        A report on storage commitment that comes before the answer is served meanwhile (PS3.4 J.3.3.1.2).
        """
        if not block:
            return super().get_msg()
        limit_s = self.dimse_timeout or float("inf")
        until_s = time.monotonic() + limit_s
        last_s = until_s + self.size_bytes / SLOWEST_BYTES_PER_S
        while (now_s := time.monotonic()) < until_s:
            if self._has_progressed():
                until_s = min(now_s + limit_s, last_s)
            try:
                context_id, message = self.msg_queue.get(timeout=_LOOK_S)
            except Empty:
                continue
            if message is None or self._is_answer(message):
                return context_id, message
            if isinstance(message, N_EVENT_REPORT) and message.is_valid_request:
                self.assoc._serve_request(message, cast(int, context_id))
                # That says that the reactor goes on; but it waits, for as long as we hold the association.
                self.assoc._is_paused = True
        return None, None

    def _has_progressed(self) -> bool:
        """Whether the destination has taken something of the request since the last look."""
        line = self.dul.socket
        unsent_bytes = line.unsent_bytes() if isinstance(line, Line) else 0
        before, self._left = self._left, (self.dul.to_provider_queue.qsize(), unsent_bytes)
        return self._left != before

    def _is_answer(self, message: Any) -> bool:
        return (type(message), message.MessageIDBeingRespondedTo) == self._asked


def end(association: Association, limit_s: float) -> None:
    """Release an association, or abort it if its reactor does not pause in time: pynetdicom waits for that for ever."""
    until_s = time.monotonic() + limit_s
    association._reactor_checkpoint.clear()
    while not association._is_paused and time.monotonic() < until_s:
        time.sleep(_PAUSE_S)
    if association._is_paused:
        association.release()
    else:
        association.abort()
