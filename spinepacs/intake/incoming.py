"""Writes an image to the spool while it is still coming in, so that hashing and the disk cost no time of their own.

pynetdicom gathers a dataset in memory and hands it over when it is whole. Here its :class:`~io.BytesIO` is one that
passes every fragment on to a thread of the spool; when the last fragment is there, only the fsync is left to do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from queue import Full, Queue
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from spinepacs.intake.part10 import head
from spinepacs.store.spool import Spool, SpooledFile

_PIECE_BYTES = 1 << 18
"""Fragments are gathered to this size: handing over each of 16 KiB would cost more than it gains."""

_PIECES_WAITING = 8
"""Of each object in memory: 2 MB."""

_LONGEST_COMMAND_BYTES = 1 << 16
"""A command set has a dozen short elements (PS3.7 9.3)."""

_C_STORE_RQ = 0x0001
_LONGEST_REPORT_BYTES = 1 << 20
"""A report on 50 objects has 8 KB; the rest of a longer one is dropped, and it is refused."""

_LOOK_S = 0.05
_LONGEST_PAUSE_S = 3600.0
_log = logging.getLogger(__name__)


class TooLarge(Exception):  # noqa: N818 - what the object is
    """An object that is longer than what is kept; the sender is told so."""


class Incoming(BytesIO):
    """The dataset of one request, of a C-STORE on its way into the spool.

    Parameters
    ----------
    message
        What it belongs to; its command set, which comes first, names the object.
    association
        Over which it comes.
    spool, writers
        Where it is written, and the threads that do it, at least one for each association.
    limit_bytes
        Longest dataset that is kept; of a longer one the rest is read and dropped.
    """

    def __init__(
        self,
        message: DIMSEMessage,
        association: Association,
        spool: Spool,
        writers: ThreadPoolExecutor,
        limit_bytes: int,
    ) -> None:
        super().__init__()
        self._message = message
        self._association = association
        self._spool = spool
        self._writers = writers
        self._pieces: Queue[bytes | Exception | None] = Queue(_PIECES_WAITING)
        self._gathered = bytearray()
        self._left_bytes = limit_bytes
        self._stored: Future[SpooledFile] | None = None

    def write(self, fragment: Any, /) -> int:
        """Take the next fragment; of what is no C-STORE, such as a commitment report, into memory."""
        command = self._message.command_set.get("CommandField")
        if command is None:
            raise ValueError("a dataset without command")
        if command != _C_STORE_RQ:
            return super().write(fragment) if self.tell() < _LONGEST_REPORT_BYTES else len(fragment)
        if self._stored is None:
            first = _head(self._message, self._association)
            self._stored = self._writers.submit(self._spool.add, self._parts(first))
        self._left_bytes -= len(fragment)
        if self._left_bytes < 0:
            self._put(TooLarge("larger than listener.maximum_object_mb"))
            return len(fragment)
        self._gathered += fragment
        if len(self._gathered) >= _PIECE_BYTES:
            self._hand_over()
        return len(fragment)

    def complete(self) -> None:
        """There is no more to come."""
        self._hand_over()
        self._put(None)

    def cancel(self) -> None:
        """The rest will never come: nothing is kept. After :meth:`complete` it does nothing."""
        self._put(ConnectionAbortedError("the association ended inside an object"))

    def stored(self) -> SpooledFile | None:
        """Wait until it is durable; None if there was no dataset.

        Raises
        ------
        Transient
            If the spool cannot take it now.
        TooLarge
            If it is not to be kept; nothing of it is left.
        """
        return None if self._stored is None else self._stored.result()

    def _hand_over(self) -> None:
        self._put(bytes(self._gathered))
        self._gathered.clear()

    def _put(self, piece: bytes | Exception | None) -> None:
        """Hand a piece to the writer; a disk that is slower than the network makes the sender wait here.

        What the spool no longer takes (the disk is full, the object too large) is dropped.
        """
        while self._stored is not None and not self._stored.done():
            try:
                self._pieces.put(piece, timeout=_LOOK_S)
                return
            except Full:
                continue

    def _parts(self, first: bytes) -> Iterator[bytes]:
        yield first
        while (piece := self._pieces.get(timeout=_LONGEST_PAUSE_S)) is not None:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def _head(message: DIMSEMessage, association: Association) -> bytes:
    command = message.command_set
    (syntax,) = (
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.context_id == message.context_id
    )
    return head(command.AffectedSOPClassUID, command.AffectedSOPInstanceUID, syntax)


class StreamingDimse(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, with an :class:`Incoming` as the dataset of every message.

    pynetdicom makes its providers itself, so one of them is turned into this by setting its class and calling
    :meth:`limit`.
    """

    began_s: float | None = None
    """When the first part of the message came that is coming in (monotonic)."""

    def limit(self, limit_bytes: int, spool: Spool, writers: ThreadPoolExecutor) -> None:
        """Set where datasets are written, and how long they may be (bytes)."""
        self._limit_bytes = limit_bytes
        self._spool = spool
        self._writers = writers

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA primitive; the last one of a message completes its dataset.

        What is no DIMSE message ends the association (PS3.8 9.2, event 19).
        """
        if self.message is None:
            self._wait_for_turn()
            self.began_s = time.monotonic()
            self.message = DIMSEMessage()
            self.message.data_set = Incoming(
                self.message, self.assoc, self._spool, self._writers, self._limit_bytes
            )
        message = self.message
        dataset = message.data_set
        try:
            super().receive_primitive(primitive)
            if message.encoded_command_set.tell() > _LONGEST_COMMAND_BYTES:
                raise ValueError("an endless command set")
        except Exception as error:
            # An exception here would end pynetdicom's thread, and with it nobody would clean up.
            _log.warning("no DIMSE message, association aborted: %s", type(error).__name__)
            self.cancel()
            self.dul.event_queue.put("Evt19")
            return
        if not self._is_gathering():
            self.began_s = None
            if isinstance(dataset, Incoming):
                dataset.complete()

    def _wait_for_turn(self) -> None:
        """Read no message while one waits behind the one in work: a sender must wait for its answers too."""
        while self.msg_queue.qsize() and not self.assoc._kill:
            time.sleep(_LOOK_S)

    def _is_gathering(self) -> bool:
        return self.message is not None

    def cancel(self) -> None:
        """Give up what has not come to its end."""
        if self.message is not None and isinstance(self.message.data_set, Incoming):
            self.message.data_set.cancel()
