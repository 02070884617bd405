"""What a compressed image says of itself, looked at before a decoder makes room for it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_SOI, _SOS, _DHP, _JPEG_LS = 0xFFD8, 0xFFDA, 0xFFDE, 0xFFF7
_START_OF_FRAME = frozenset(range(0xFFC0, 0xFFD0)) - {0xFFC4, 0xFFC8, 0xFFCC} | {_JPEG_LS}
_EOI, _DRI = 0xD9, 0xDD
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
"""A marker that a segment or the end follows; not what stands for itself inside a scan (ISO 10918-1 B.1.1.3)."""
_RESTARTS = range(0xD0, 0xD8)
_ARITHMETIC = frozenset(range(0xC9, 0xD0)) - {0xCC}
_BREAK = re.compile(rb"\xff[^\x00\x01\xff]")
"""What ends a run of entropy-coded data: a marker, also one that stands for itself."""
_NOISE = bytes(range(1, 129))
"""What no compressed image goes on with."""
_J2K_START = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_JP2_CODESTREAM = b"jp2c"

MAXIMUM_TILES = 4096
"""Tiles of a JPEG 2000 image; OpenJPEG takes 11 kB for each before it reads the first (measured)."""


@dataclass(frozen=True)
class StreamSize:
    """Size of a compressed image: rows and columns, px, and components of a pixel."""

    rows: int
    columns: int
    components: int
    tiles: int = 1


def size_of(frame: bytes) -> StreamSize:
    """Read the size of a JPEG, JPEG-LS or JPEG 2000 image.

    Raises
    ------
    ValueError
        If it states none, or more than one: hierarchical JPEG, whose whole is larger than its first frame.
    struct.error
        If it is cut off.
    """
    if frame[:12] == _JP2_SIGNATURE:
        frame = _in_boxes(frame)
    return _jpeg_2000(frame) if frame[:4] == _J2K_START else _jpeg(frame)


def _jpeg_2000(frame: bytes) -> StreamSize:
    """SIZ follows SOC (ISO 15444-1 A.5.1)."""
    right, lower, left, upper, tile_width, tile_height, tile_left, tile_upper = struct.unpack_from(
        ">8L", frame, 8
    )
    (components,) = struct.unpack_from(">H", frame, 40)
    across, down = -(-(right - tile_left) // tile_width), -(-(lower - tile_upper) // tile_height)
    return StreamSize(lower - upper, right - left, components, across * down)


def _jpeg(frame: bytes) -> StreamSize:
    """One SOF before the first SOS, and no DHP (ISO 10918-1 B.2.2, B.3.2; ISO 14495-1 C.2.2)."""
    found, marker = [], 0
    for marker, at in _segments(frame):
        if marker in _START_OF_FRAME:
            found.append(StreamSize(*struct.unpack_from(">HHB", frame, at + 5)))
        if marker == _DHP:
            break
    if len(found) != 1 or marker != _SOS:
        raise ValueError("no JPEG image of one frame")
    return found[0]


def is_jpeg_ls(frame: bytes) -> bool:
    """Whether a JPEG image, which :func:`size_of` has read, is one of JPEG-LS (ISO 14495-1 C.1.1)."""
    return any(marker == _JPEG_LS for marker, _ in _segments(frame))


def ends(frame: bytes) -> bool:
    """Whether the scans of a JPEG are followed by its end (EOI): what comes after it does not matter.

    The thumbnail in an application segment has an end of its own, so segments are stepped over.
    """
    at = 2
    while (found := _MARKER.search(frame, at)) is not None:
        marker = frame[found.start() + 1]
        if marker == _EOI:
            return True
        length = int.from_bytes(frame[found.end() : found.end() + 2], "big")
        at = found.end() + length
    return False


def drawn_out(frame: bytes) -> bytes:
    """The same JPEG with noise behind each run of its entropy-coded data: before a restart, another scan, the end.

    A decoder has all pixels of a whole image by then, and steps over the noise (ISO 10918-1 B.1.1.2: it looks for the
    next marker). Where bytes are missing it would fill up with grey, and now takes noise for pixels: another image. So
    it does where a restart is missing, which is put in. Arithmetic coding, of which no transfer syntax is, goes on with
    zeros behind its end by right: it stays as it is.
    """
    parts, start, at, is_data, restart, has_restarts = [], 0, 2, False, 0, False
    while (found := _BREAK.search(frame, at)) is not None:
        marker, at = frame[found.end() - 1], found.end()
        if marker in _ARITHMETIC:
            return frame
        if is_data:
            parts += [frame[start : found.start()].rstrip(b"\xff"), _NOISE]  # what it strips are fill bytes
            start = found.start()
            if has_restarts and marker != 0xD0 + restart:
                parts += [bytes((0xFF, 0xD0 + restart)), _NOISE]
        if marker == _EOI:
            return b"".join([*parts, frame[start:]])
        if marker in _RESTARTS:
            restart = (marker + 1) % 8
            continue
        is_data, restart = marker == _SOS & 0xFF, 0
        has_restarts = any(frame[at + 2 : at + 4]) if marker == _DRI else has_restarts
        at += int.from_bytes(frame[at : at + 2], "big")
    return b"".join([*parts, frame[start:], _NOISE])


def _segments(frame: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, the first SOS being the last."""
    (start,) = struct.unpack_from(">H", frame, 0)
    at, marker = 2, 0
    while start == _SOI and marker != _SOS:
        marker, length = struct.unpack_from(">HH", frame, at)
        yield marker, at
        if marker < 0xFF00:
            return
        at += 1 if marker == 0xFFFF else 2 + length


def _in_boxes(frame: bytes) -> bytes:
    """The codestream of a JP2 file, which some senders put where only the codestream belongs (ISO 15444-1 I.4)."""
    at = 0
    while True:
        length, kind = struct.unpack_from(">L4s", frame, at)
        head = 8
        if length == 1:
            (length,), head = struct.unpack_from(">Q", frame, at + 8), 16
        if kind == _JP2_CODESTREAM:
            return frame[at + head :]
        if length < head:
            raise ValueError("no codestream in the boxes")
        at += length
