"""The same image in the same bytes, by whatever way it came: Part 10 files with a meta group of our own (PS3.10 7.1).

Over the network an image has no meta group, in a file it has that of the program that wrote it. Both get ours, so that
the spool, which knows files by their digest, finds that they are one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, NamedTuple

IMPLEMENTATION_CLASS_UID = "2.25.302043790172249692526321623266752743501"
"""In the meta group of all received files: that of a library would give the same image other bytes after an upgrade."""

LONGEST_META_BYTES = 1 << 16
"""Of preamble and meta group that are looked for in a stream; usual are 500."""

_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
"""VRs whose length takes four bytes, after two reserved ones (PS3.5 7.1.2)."""


def head(sop_class_uid: str, sop_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and meta group of a received object: the same for the same object, always.

    UIDs are written as they are but for spaces around them, odd ones too, without a word: real senders make them.
    """
    elements = (
        _element(0x0001, b"OB", b"\x00\x01")
        + _element(0x0002, b"UI", sop_class_uid.strip().encode("latin-1"))
        + _element(0x0003, b"UI", sop_uid.strip().encode("latin-1"))
        + _element(0x0010, b"UI", transfer_syntax_uid.strip().encode("latin-1"))
        + _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID.encode())
        + _element(0x0013, b"SH", b"SPINEPACS ")
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(elements))) + elements


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    """One element of group 2, explicit VR little endian (PS3.5 7.1.2); UIDs are padded with a zero byte (9.1)."""
    value += b"\x00" * (len(value) % 2)
    length = struct.pack("<HL", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))
    return struct.pack("<HH2s", 2, number, vr) + length + value


def pieces(
    file: BinaryIO, sop_class_uid: str, sop_uid: str, transfer_syntax_uid: str, size: int = 1 << 20
) -> Iterator[bytes]:
    """A file, with the meta group that the same image would get had it come over the network."""
    offset = dataset_offset(file)
    if offset is not None:
        yield head(sop_class_uid, sop_uid, transfer_syntax_uid)
    file.seek(offset or 0)
    while piece := file.read(size):
        yield piece


def dataset_offset(file: BinaryIO) -> int | None:
    """Bytes before the dataset of a Part 10 file: preamble, prefix and the elements of group 2; None if it is none."""
    return next((offset for number, offset, _ in _elements(file) if number is None), None)


class Meta(NamedTuple):
    """What the meta group of a file says of it (empty: nothing), and where its dataset begins."""

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    dataset_offset: int


def meta_of(start: bytes) -> Meta | None:
    """Read the meta group in the first bytes of a Part 10 file; None: it does not end in them, or they are none."""
    values: dict[int, str] = {}
    for number, offset, length in _elements(BytesIO(start)):
        if number is None:
            return Meta(values.get(2, ""), values.get(3, ""), values.get(16, ""), offset)
        value = start[offset : offset + length]
        values[number] = value.decode("latin-1").strip(" \0")
    return None


def _elements(file: BinaryIO) -> Iterator[tuple[int | None, int, int]]:
    """Number, offset and length (bytes) of each value of group 2; at its end None and where the dataset begins."""
    file.seek(0)
    offset = len(start := file.read(132))
    if start[128:] != b"DICM":
        return
    while len(element := file.read(12)) >= 8:
        group, number, vr, length = struct.unpack("<HH2sH", element[:8])
        if group != 2:
            yield None, offset, 0
            return
        head_bytes = 12 if vr in _LONG else 8
        if vr in _LONG:
            length = int.from_bytes(element[8:12], "little")
        yield number, offset + head_bytes, length
        offset += head_bytes + length
        file.seek(offset)
