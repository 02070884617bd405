"""Writes an image to the spool while it is still coming in, so that at its end only the fsync is left to do.

pynetdicom gathers a dataset in memory and hands it over when it is whole. Here its :class:`~io.BytesIO` is one that
writes and hashes every fragment at once; most of them do not even come through pynetdicom (see
:mod:`spinepacs.intake.bulk`).
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from io import BytesIO
from queue import Empty
from typing import Any

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from spinepacs.intake.part10 import head
from spinepacs.store.draft import Draft, Piece, SpooledFile
from spinepacs.store.spool import Spool

_LONGEST_COMMAND_BYTES = 1 << 16
"""A command set has a dozen short elements (PS3.7 9.3)."""

_C_STORE_RQ = 0x0001
_LONGEST_REPORT_BYTES = 1 << 20
"""A report on 50 objects has 8 KB; the rest of a longer one is dropped, and it is refused."""

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
    spool
        Where it is written.
    limit_bytes
        Longest dataset that is kept; of a longer one the rest is read and dropped.
    """

    def __init__(
        self, message: DIMSEMessage, association: Association, spool: Spool, limit_bytes: int
    ) -> None:
        super().__init__()
        self._message = message
        self._association = association
        self._spool = spool
        self._left_bytes = limit_bytes
        self._draft: Draft | None = None
        self._trouble: Exception | None = None

    def write(self, fragment: Any, /) -> int:
        """Take the next fragment; of what is no C-STORE, such as a commitment report, into memory."""
        command = self._message.command_set.get("CommandField")
        if command is None:
            raise ValueError("a dataset without command")
        if command != _C_STORE_RQ:
            return super().write(fragment) if self.tell() < _LONGEST_REPORT_BYTES else len(fragment)
        self.take([fragment])
        return len(fragment)

    def take(self, pieces: list[Piece]) -> None:
        """Take the next bytes of a C-STORE; what is not to be kept (the disk is full, it is too large) is dropped."""
        if self._trouble is not None:
            return
        first = _head(self._message, self._association) if self._draft is None else b""
        try:
            self._draft = self._draft or self._begin(first)
            self._left_bytes -= sum(map(len, pieces))
            if self._left_bytes < 0:
                raise TooLarge("larger than listener.maximum_object_mb")
            self._draft.write(*pieces)
        except Exception as error:
            # A defect of ours too: it is the answer to the sender, and not the association's end.
            self._trouble = error
            self.cancel()

    def _begin(self, first: bytes) -> Draft:
        draft = self._spool.begin()
        draft.write(first)
        return draft

    def cancel(self) -> None:
        """Nothing is kept of it; after :meth:`stored` it does nothing."""
        if self._draft is not None:
            self._draft.abandon()

    def stored(self) -> SpooledFile | None:
        """Make it durable; None if there was no dataset.

        Raises
        ------
        Transient
            If the spool cannot take it now.
        TooLarge
            If it is not to be kept; nothing of it is left.
        Exception
            Whatever else went wrong while it came.
        """
        if self._trouble is not None:
            raise self._trouble
        return None if self._draft is None else self._draft.finish()


def _head(message: DIMSEMessage, association: Association) -> bytes:
    command = message.command_set
    context = association._accepted_cx[message.context_id or 0]  # its property sorts a hundred for each image
    return head(command.AffectedSOPClassUID, command.AffectedSOPInstanceUID, context.transfer_syntax[0])


class StreamingDimse(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, with an :class:`Incoming` as the dataset of every message.

    pynetdicom makes its providers itself, so one of them is turned into this by setting its class and calling
    :meth:`limit`.
    """

    began_s: float | None = None
    """When the first part of the message came that is coming in (monotonic)."""

    def limit(self, limit_bytes: int, spool: Spool) -> None:
        """Set where datasets are written, and how long they may be (bytes)."""
        self._limit_bytes = limit_bytes
        self._spool = spool

    @property
    def is_busy(self) -> bool:
        """Whether a message waits or is in work: a sender must wait for its answer, so no other is read meanwhile."""
        return self.msg_queue.unfinished_tasks > 0

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA primitive; the last one of a message completes its dataset.

        What is no DIMSE message ends the association (PS3.8 9.2, event 19).
        """
        if self.message is None:
            self.began_s = time.monotonic()
            self.message = DIMSEMessage()
            self.message.data_set = Incoming(self.message, self.assoc, self._spool, self._limit_bytes)
        message = self.message
        try:
            super().receive_primitive(primitive)
            if message.encoded_command_set.tell() > _LONGEST_COMMAND_BYTES:
                raise ValueError("an endless command set")
        except Exception as error:
            # An exception here would end pynetdicom's thread, and with it nobody would clean up.
            self.refuse(error)
            return
        if not self._is_gathering():
            self.began_s = None

    def refuse(self, error: Exception) -> None:
        """End the association over what has come."""
        _log.warning("no DIMSE message, association aborted: %s", type(error).__name__)
        self.cancel()
        self.dul.event_queue.put("Evt19")

    def image_under_way(self) -> tuple[int, Incoming] | None:
        """Presentation context and dataset of a C-STORE whose command set has come and whose dataset has not ended."""
        message = self.message
        if isinstance(message, C_STORE_RQ) and isinstance(message.data_set, Incoming):
            return (message.context_id or 0), message.data_set
        return None

    def served(self) -> None:
        """The message in work has its answer, or will get none."""
        self.msg_queue.task_done()

    def cancel(self) -> None:
        """Give up what has not come to its end, and what nobody will serve: for the thread that reads, when it ends."""
        self.cancel_unserved()
        if self.message is not None and isinstance(self.message.data_set, Incoming):
            self.message.data_set.cancel()

    def cancel_unserved(self) -> None:
        """Give up what came and nobody will serve: for the thread that serves, when it ends."""
        with suppress(Empty):
            while True:
                cancel_dataset(self.msg_queue.get_nowait()[1])

    def _is_gathering(self) -> bool:
        return self.message is not None


def cancel_dataset(request: object) -> None:
    """Keep nothing of a request's dataset that has not been stored."""
    dataset = getattr(request, "DataSet", None)
    if isinstance(dataset, Incoming):
        dataset.cancel()
