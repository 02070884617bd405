"""Reads the dataset of an image from the socket straight into its file, past pynetdicom.

A film of 12 MB comes in hundreds of fragments, and for each pynetdicom makes half a dozen objects and copies. Here
the connection is read in large pieces into one buffer, the heads of PDUs and fragments (PS3.8 9.3.5, E.2) are looked
at where they lie, and what is between them is hashed and written from there. Whatever is not a plain fragment of this
dataset is put back for pynetdicom to judge.
"""

from __future__ import annotations

import struct
from typing import Protocol

from spinepacs.intake.incoming import Incoming

BUFFER_BYTES = 1 << 19
"""What is hashed and written at once, at most; each association that receives images has one such buffer."""

_LEAST_READ_BYTES = 1 << 16
"""With less room left the buffer is emptied before the next read."""

_P_DATA = 4
_PDU_HEAD = struct.Struct(">BBL")
_PDV_HEAD = struct.Struct(">LBB")
_BOTH_HEADS = struct.Struct(">BxLLBB")
_COMMAND, _LAST = 0x01, 0x02


class Source(Protocol):
    """A connection within limits; see :class:`~spinepacs.intake.connection.LimitedSocket`."""

    @property
    def is_called_away(self) -> bool:
        """Whether the reader is to stop at the next PDU."""

    def receive_into(self, room: memoryview) -> int:
        """Read what there is, at least one byte; 0: the peer has closed."""

    def check_length(self, count_bytes: int) -> None:
        """Raise OSError if no PDU may be so long."""

    def put_back(self, rest: bytes) -> None:
        """Let it be read once more."""


class DatasetReader:
    """Reads the rest of one dataset.

    Parameters
    ----------
    source
        Stands at the beginning of a PDU.
    buffer
        Belongs to this reader while it reads.
    context_id
        Presentation context of the message.
    dataset
        Takes what comes.
    """

    def __init__(self, source: Source, buffer: bytearray, context_id: int, dataset: Incoming) -> None:
        self._source = source
        self._buffer = memoryview(buffer)
        self._context_id = context_id
        self._dataset = dataset
        self._at = self._end = 0  # what of the buffer has not been looked at
        self._pieces: list[tuple[int, int]] = []
        self._pdu_left_bytes = 0

    def read(self) -> bool:
        """Read until the dataset ends: True; or until something else comes, which is left in the source: False.

        Raises
        ------
        OSError
            If the connection breaks, is too slow, or sends a longer PDU than agreed.
        """
        self._dataset.take([])  # so that it begins now, and a full disk is known now
        try:
            while (fragment := self._next_fragment()) is not None:
                length, is_last = fragment
                self._take(length)
                if is_last:
                    break
        finally:
            self._write_out()
        self._give_back()
        return fragment is not None

    def _next_fragment(self) -> tuple[int, bool] | None:
        """Length of the next fragment and whether it is the last; None: what comes next is none of this dataset."""
        if self._pdu_left_bytes == 0:
            self._step_over_whole()
            if not self._next_pdu():
                return None
        self._need(_PDV_HEAD.size)
        item_length, context_id, control = _PDV_HEAD.unpack_from(self._buffer, self._at)
        is_whole = 2 <= item_length <= self._pdu_left_bytes - 4
        if not is_whole or context_id != self._context_id or control & _COMMAND:
            return None
        self._at += _PDV_HEAD.size
        self._pdu_left_bytes -= 4 + item_length
        return item_length - 2, bool(control & _LAST)

    def _step_over_whole(self) -> None:
        """Note what lies whole in the buffer and is as nearly all is: one fragment in a PDU, and not the last.

        What is different in any way is left to :meth:`_next_pdu`.
        """
        if self._source.is_called_away:
            return
        at, end, context_id = self._at, self._end, self._context_id
        while end - at >= _BOTH_HEADS.size:
            kind, length, item_length, of_context, control = _BOTH_HEADS.unpack_from(self._buffer, at)
            until = at + _PDU_HEAD.size + length
            is_usual = kind == _P_DATA and item_length == length - 4 >= 2 and of_context == context_id
            if not is_usual or control & (_COMMAND | _LAST) or until > end:
                break
            self._source.check_length(length)
            self._pieces.append((at + _BOTH_HEADS.size, until))
            at = until
        self._at = at

    def _next_pdu(self) -> bool:
        """Step over the head of a PDU; False: it holds no fragment, or is not to be read now."""
        self._need(_PDU_HEAD.size)
        kind, _, length = _PDU_HEAD.unpack_from(self._buffer, self._at)
        if kind != _P_DATA or length < _PDV_HEAD.size or self._source.is_called_away:
            return False
        self._source.check_length(length)
        self._at += _PDU_HEAD.size
        self._pdu_left_bytes = length
        return True

    def _take(self, count_bytes: int) -> None:
        while count_bytes:
            if self._at == self._end:
                self._fill()
            until = min(self._end, self._at + count_bytes)
            self._note(self._at, until)
            count_bytes -= until - self._at
            self._at = until

    def _note(self, start: int, until: int) -> None:
        """One more piece of the buffer is the dataset's; what came in two reads without a head between is one."""
        if self._pieces and self._pieces[-1][1] == start:
            start = self._pieces.pop()[0]
        self._pieces.append((start, until))

    def _need(self, count_bytes: int) -> None:
        while self._end - self._at < count_bytes:
            self._fill()

    def _fill(self) -> None:
        if len(self._buffer) - self._end < _LEAST_READ_BYTES:
            self._write_out()
            rest = bytes(self._buffer[self._at : self._end])
            self._buffer[: len(rest)] = rest
            self._at, self._end = 0, len(rest)
        count_bytes = self._source.receive_into(self._buffer[self._end :])
        if not count_bytes:
            raise ConnectionAbortedError("closed inside an object")
        self._end += count_bytes

    def _write_out(self) -> None:
        pieces, self._pieces = self._pieces, []
        if pieces:
            self._dataset.take([self._buffer[start:until] for start, until in pieces])

    def _give_back(self) -> None:
        """What has been read and not used, under a head of its own where it is the rest of a PDU."""
        rest = bytes(self._buffer[self._at : self._end])
        head = _PDU_HEAD.pack(_P_DATA, 0, self._pdu_left_bytes) if self._pdu_left_bytes else b""
        self._source.put_back(head + rest)


def ending(context_id: int) -> bytes:
    """A P-DATA-TF PDU with an empty last fragment of a dataset."""
    return _PDU_HEAD.pack(_P_DATA, 0, _PDV_HEAD.size) + _PDV_HEAD.pack(2, context_id, _LAST)
