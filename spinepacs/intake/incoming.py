"""Writes an image to the spool while it is still coming in, so that hashing and the disk cost no time of their own.

pynetdicom gathers a dataset in memory and hands it over when it is whole. Here its :class:`~io.BytesIO` is one that
passes every fragment on to a thread of the spool; when the last fragment is there, only the fsync is left to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from queue import SimpleQueue
from typing import Any

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.pdu_primitives import P_DATA

from spinepacs.store.spool import Spool, SpooledFile

IMPLEMENTATION_CLASS_UID = UID("2.25.302043790172249692526321623266752743501")
"""Ours, in the meta group of received files: pynetdicom's would give the same image other bytes after an upgrade."""

_PIECE_BYTES = 1 << 18
"""Fragments are gathered to this size: handing over each of 16 KiB would cost more than it gains."""

_LONGEST_PAUSE_S = 3600.0


class Incoming(BytesIO):
    """The dataset of one C-STORE request on its way into the spool.

    Parameters
    ----------
    message
        What it belongs to; its command set, which comes first, names the object.
    association
        Over which it comes.
    spool, writers
        Where it is written, and the threads that do it, at least one for each association.
    """

    def __init__(
        self, message: DIMSEMessage, association: Association, spool: Spool, writers: ThreadPoolExecutor
    ) -> None:
        super().__init__()
        self._message = message
        self._association = association
        self._spool = spool
        self._writers = writers
        self._pieces: SimpleQueue[bytes | ConnectionAbortedError | None] = SimpleQueue()
        self._gathered = bytearray()
        self._stored: Future[SpooledFile] | None = None

    def write(self, fragment: Any, /) -> int:
        """Take the next fragment."""
        if self._stored is None:
            head = part10_head(self._message, self._association)
            self._stored = self._writers.submit(self._spool.add, self._parts(head))
        self._gathered += fragment
        if len(self._gathered) >= _PIECE_BYTES:
            self._hand_over()
        return len(fragment)

    def complete(self) -> None:
        """There is no more to come."""
        self._hand_over()
        self._pieces.put(None)

    def cancel(self) -> None:
        """The rest will never come: nothing is kept. After :meth:`complete` it does nothing."""
        self._pieces.put(ConnectionAbortedError("the association ended inside an object"))

    def stored(self) -> SpooledFile | None:
        """Wait until it is durable; None if there was no dataset.

        Raises
        ------
        Transient
            If the spool cannot take it now.
        """
        return None if self._stored is None else self._stored.result()

    def _hand_over(self) -> None:
        # What the spool no longer takes (the disk is full) need not pile up here.
        if self._stored is not None and not self._stored.done():
            self._pieces.put(bytes(self._gathered))
        self._gathered.clear()

    def _parts(self, head: bytes) -> Iterator[bytes]:
        yield head
        while (piece := self._pieces.get(timeout=_LONGEST_PAUSE_S)) is not None:
            if isinstance(piece, ConnectionAbortedError):
                raise piece
            yield piece


def part10_head(message: DIMSEMessage, association: Association) -> bytes:
    """Preamble, prefix and meta group (PS3.10 7.1) of a received object: the same for the same object, always."""
    command = message.command_set
    (syntax,) = (
        context.transfer_syntax[0]
        for context in association.accepted_contexts
        if context.context_id == message.context_id
    )
    meta = create_file_meta(
        sop_class_uid=UID(command.AffectedSOPClassUID),
        sop_instance_uid=UID(command.AffectedSOPInstanceUID),
        transfer_syntax=syntax,
        implementation_uid=IMPLEMENTATION_CLASS_UID,
        implementation_version="SPINEPACS",
    )
    return b"\x00" * 128 + b"DICM" + encode_file_meta(meta)


class StreamingDimse(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, with an :class:`Incoming` as the dataset of every message.

    ``spool`` and ``writers`` are attributes of the association's server.
    """

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA primitive; the last one of a message completes its dataset."""
        if self.message is None:
            self.message = DIMSEMessage()
            server: Any = self.assoc._server
            self.message.data_set = Incoming(self.message, self.assoc, server.spool, server.writers)
        dataset = self.message.data_set
        super().receive_primitive(primitive)
        if not self._is_gathering() and isinstance(dataset, Incoming):
            dataset.complete()

    def _is_gathering(self) -> bool:
        return self.message is not None

    def cancel(self) -> None:
        """Give up what has not come to its end."""
        if self.message is not None and isinstance(self.message.data_set, Incoming):
            self.message.data_set.cancel()
