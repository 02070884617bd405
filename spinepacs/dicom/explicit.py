"""Elements and items in Explicit VR Little Endian (PS3.5 7.1.2), for what is encoded faster than pydicom does it."""

from __future__ import annotations

import struct

_LONG = frozenset({"OB", "OW", "SQ", "UT"})
"""VRs that are followed by two reserved bytes and a 32-bit length."""
_SHORT_HEAD, _LONG_HEAD, _ITEM_HEAD = (
    struct.Struct("<HH2sH"),
    struct.Struct("<HH2sxxI"),
    struct.Struct("<HHI"),
)


def element(tag: int, representation: str, value: bytes) -> bytes:
    """One element of an even length."""
    head = _LONG_HEAD if representation in _LONG else _SHORT_HEAD
    return head.pack(tag >> 16, tag & 0xFFFF, representation.encode(), len(value)) + value


def item(elements: bytes) -> bytes:
    """One item of a sequence, of its encoded elements."""
    return _ITEM_HEAD.pack(0xFFFE, 0xE000, len(elements)) + elements


def padded(value: bytes, representation: str) -> bytes:
    """A text of an even length by a space or, in a UID, a zero (PS3.5 6.2)."""
    return value + (b"\0" if representation == "UI" else b" ") * (len(value) % 2)
