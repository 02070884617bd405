"""Files that are small, or nearly empty, and ask for gigabytes or for hours: each with the answers that are right."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import uid as uids
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate

from tests import films
from tests.daemons import PHANTOM

ITEM, ITEM_END, SEQUENCE_END = (
    struct.pack("<HHL", 0xFFFE, element, 0) for element in (0xE000, 0xE00D, 0xE0DD)
)
OPEN_ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
_HUGE = 0xFFFFFFF0
_BITS_8 = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}


@dataclass(frozen=True)
class Bomb:
    """How to write one, and how its reading may end."""

    write: Callable[[Path], object]
    codes: frozenset[str]


BOMBS: dict[str, Bomb] = {}


def bomb(*codes: str) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    """Register a maker by its name."""

    def register(write: Callable[[Path], object]) -> Callable[[Path], object]:
        BOMBS[write.__name__] = Bomb(write, frozenset(codes))
        return write

    return register


def film(**elements: object) -> FileDataset:
    """A film that is read well."""
    return films.make_dx(PHANTOM.picture().astype(np.uint16) * 16, BodyPartExamined="LSPINE", **elements)


def element(tag: int, vr: bytes, value: bytes = b"", length: int | None = None) -> bytes:
    """One element in explicit VR little endian; the stated length may be a lie."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"OV", b"OD")
    return head + (struct.pack("<HL", 0, length) if long else struct.pack("<H", length & 0xFFFF)) + value


def insert(path: Path, tag: int, data: bytes, syntax: str = uids.ExplicitVRLittleEndian) -> Path:
    """Put bytes into a good film, before the first element whose tag is higher."""
    film_bytes = films.write(film(), path).read_bytes()
    start = 132 + 12 + struct.unpack_from("<L", film_bytes, 140)[0]
    at = start
    while at < len(film_bytes):
        group, number = struct.unpack_from("<HH", film_bytes, at)
        if group << 16 | number > tag:
            break
        vr = film_bytes[at + 4 : at + 6]
        if vr in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
            at += 12 + struct.unpack_from("<L", film_bytes, at + 8)[0]
        else:
            at += 8 + struct.unpack_from("<H", film_bytes, at + 6)[0]
    head, before, after = film_bytes[:start], film_bytes[start:at], film_bytes[at:]
    if syntax == uids.DeflatedExplicitVRLittleEndian:
        path.write_bytes(head + before + data + after)
        films.claim_transfer_syntax(path, syntax)
        whole = path.read_bytes()
        squeezed = zlib.compressobj(1, wbits=-15)
        meta = 132 + 12 + struct.unpack_from("<L", whole, 140)[0]
        path.write_bytes(whole[:meta] + squeezed.compress(whole[meta:]) + squeezed.flush())
    else:
        path.write_bytes(head + before + data + after)
    return path


def encapsulated(path: Path, syntax: str, *frames: bytes, **elements: object) -> Path:
    """A film with these bytes as its compressed pixels."""
    made = film(**elements)
    made.file_meta.TransferSyntaxUID = syntax
    made["PixelData"].value = encapsulate(list(frames))
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.save_as(path, enforce_file_format=True)
    return path


@bomb("FILE_TOO_LARGE")
def deflated_zeros(path: Path) -> None:
    """257 MiB in one."""
    insert(
        path, 0x00091010, element(0x00091010, b"OB", bytes(257 << 20)), uids.DeflatedExplicitVRLittleEndian
    )


@bomb("TOO_MANY_ELEMENTS")
def deflated_elements(path: Path) -> None:
    """As many empty elements, deflated."""
    insert(path, 0x00091010, _elements(300_000), uids.DeflatedExplicitVRLittleEndian)


@bomb("TOO_MANY_ELEMENTS")
def many_elements(path: Path) -> None:
    insert(path, 0x00091010, _elements(300_000))


@bomb("READ")
def as_many_elements_as_are_allowed(path: Path) -> None:
    insert(path, 0x00091010, _elements(90_000))


def _elements(count: int) -> bytes:
    """Empty private elements of ascending tags."""
    block = np.zeros((count, 4), "<u2")
    numbers = np.arange(count)
    block[:, 0] = 0x0009 + 2 * (numbers // 0xEFFF)
    block[:, 1] = 0x1011 + numbers % 0xEFFF
    block[:, 2] = int.from_bytes(b"LO", "little")
    return block.tobytes()


@bomb("TOO_MANY_ELEMENTS")
def many_items(path: Path) -> None:
    """Empty items in a sequence of undefined length, which is read at once."""
    insert(path, 0x00081110, element(0x00081110, b"SQ", ITEM * 300_000 + SEQUENCE_END, 0xFFFFFFFF))


@bomb("READ")
def as_many_items_as_are_allowed(path: Path) -> None:
    insert(path, 0x00081110, element(0x00081110, b"SQ", ITEM * 30_000 + SEQUENCE_END, 0xFFFFFFFF))


@bomb("ELEMENT_TOO_LARGE")
def many_items_in_a_sequence_that_is_looked_at(path: Path) -> None:
    insert(path, 0x00081032, element(0x00081032, b"SQ", ITEM * 2_000_000))


@bomb("READ")
def as_many_items_as_are_looked_at(path: Path) -> None:
    insert(path, 0x00081032, element(0x00081032, b"SQ", ITEM * 1000))


@bomb("ELEMENT_TOO_LARGE")
def many_values(path: Path) -> None:
    """A description of 20 million values."""
    insert(path, 0x00081030, element(0x00081030, b"UN", b"\\" * 20_000_000))


@bomb("ELEMENT_TOO_LARGE")
def many_character_sets(path: Path) -> None:
    good = films.write(film(), path).read_bytes()
    at = good.index(b"\x08\x00\x05\x00CS")
    end = at + 8 + struct.unpack_from("<H", good, at + 6)[0]
    path.write_bytes(good[:at] + element(0x00080005, b"UN", b"\\" * 20_000_000) + good[end:])


@bomb("ELEMENT_TOO_LARGE")
def many_transfer_syntaxes(path: Path) -> None:
    good = films.write(film(), path).read_bytes()
    at = good.index(b"\x02\x00\x10\x00UI")
    end = at + 8 + struct.unpack_from("<H", good, at + 6)[0]
    path.write_bytes(good[:at] + element(0x00020010, b"UN", b"\\" * 900_000) + good[end:])


@bomb("FILE_TOO_LARGE")
def a_large_meta_group(path: Path) -> None:
    good = films.write(film(), path).read_bytes()
    at = good.index(b"\x02\x00\x10\x00UI")
    path.write_bytes(good[:at] + element(0x00020009, b"OB", bytes(30_000_000)) + good[at:])


@bomb("TRUNCATED", "DAMAGED_DATASET", "NO_PIXEL_DATA")
def a_length_of_four_gigabytes(path: Path) -> None:
    insert(path, 0x00091010, element(0x00091010, b"OB", b"", _HUGE))


@bomb("TRUNCATED", "DAMAGED_DATASET", "NO_PIXEL_DATA")
def a_sequence_of_four_gigabytes(path: Path) -> None:
    insert(path, 0x00081110, element(0x00081110, b"SQ", b"", _HUGE))


@bomb("FILE_TOO_LARGE")
def a_large_private_element(path: Path) -> None:
    """Really there, as a hole in the file."""
    insert(path, 0x00091010, element(0x00091010, b"OB", b"", 3 << 30))
    data = path.read_bytes()
    at = data.index(element(0x00091010, b"OB", b"", 3 << 30)) + 12
    with path.open("wb") as file:
        file.write(data[:at])
        file.seek(3 << 30, 1)
        file.write(data[at:])


@bomb("MULTI_FRAME")
def a_long_run(path: Path) -> None:
    """Three gigabytes of frames, as a hole in the file."""
    made = film(NumberOfFrames=1000)
    length = len(made.PixelData)
    data = films.write(made, path).read_bytes()
    at = data.rindex(struct.pack("<L", length) + made.PixelData[:64])
    with path.open("wb") as file:
        file.write(data[:at] + struct.pack("<L", 3 << 30))
        file.truncate(at + 4 + (3 << 30))


@bomb("NESTED_TOO_DEEP")
def nested_sequences(path: Path) -> None:
    level = element(0x00081110, b"SQ", b"", 0xFFFFFFFF) + OPEN_ITEM
    insert(path, 0x00081110, level * 50_000 + (ITEM_END + SEQUENCE_END) * 50_000)


@bomb("READ")
def nested_sequences_of_stated_length(path: Path) -> None:
    """A thousand deep: none of them is looked at."""
    inner = b""
    for _ in range(1000):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
        inner = element(0x00081032, b"SQ", item)
    insert(path, 0x00081032, inner)


@bomb("IMAGE_TOO_LARGE")
def rows_and_columns(path: Path) -> None:
    films.write(film(Rows=65535, Columns=65535), path)


@bomb("UNDECODABLE_PIXELS", "IMAGE_TOO_LARGE")
def run_lengths(path: Path) -> None:
    """100 million pixels in an RLE frame of nothing."""
    frame = struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\x81\0" * 200
    encapsulated(path, uids.RLELossless, frame, Rows=10_000, Columns=10_000)


@bomb("UNDECODABLE_PIXELS")
def run_lengths_beyond_the_image(path: Path) -> None:
    """pylibjpeg-rle panics, which is no Exception to Python."""
    segment = b"\x81\0" * 2000
    frame = struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2
    encapsulated(path, uids.RLELossless, frame, Rows=80, Columns=96)


@bomb("READ", "DAMAGED_DATASET", "UNDECODABLE_PIXELS")
def an_unknown_vr_at_the_end(path: Path) -> None:
    """pydicom converts it when it is only asked for."""
    films.write(film(), path)
    path.write_bytes(path.read_bytes() + element(0x7FE10010, b"ZZ"))


def _siz(columns: int, rows: int, tile: int, components: int = 1, bits: int = 15) -> bytes:
    siz = struct.pack(">HLLLLLLLLH", 0, columns, rows, 0, 0, tile, tile, 0, 0, components)
    siz += bytes((bits, 1, 1)) * components
    cod = struct.pack(">HHBBHBBBBBB", 0xFF52, 12, 0, 0, 1, 0, 5, 4, 4, 0, 1)
    qcd = struct.pack(">HHB", 0xFF5C, 3 + 16, 0x40) + bytes(range(0x48, 0x58))
    sot = struct.pack(">HHHLBB", 0xFF90, 10, 0, 0, 0, 1)
    return b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(siz)) + siz + cod + qcd + sot + b"\xff\x93\xff\xd9"


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_of_another_size(path: Path) -> None:
    encapsulated(path, uids.JPEG2000Lossless, _siz(2**31 - 1, 2**31 - 1, 2**31 - 1))


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_of_many_tiles(path: Path) -> None:
    encapsulated(path, uids.JPEG2000Lossless, _siz(8000, 8000, 32), Rows=8000, Columns=8000)


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_of_many_components(path: Path) -> None:
    encapsulated(path, uids.JPEG2000Lossless, _siz(9000, 9000, 9000, 16384), Rows=9000, Columns=9000)


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_of_nothing(path: Path) -> None:
    """A header of 100 million pixels, and no data."""
    encapsulated(path, uids.JPEG2000Lossless, _siz(10_000, 10_000, 10_000), Rows=10_000, Columns=10_000)


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_hidden_behind_an_offset_table(path: Path) -> None:
    """The first frame looks good; the extended offset table points to another."""
    rows, columns = PHANTOM.rows, PHANTOM.columns
    good, bad = _siz(columns, rows, 4096), _siz(2**31 - 1, 2**31 - 1, 2**31 - 1)
    tables = {
        "ExtendedOffsetTable": struct.pack("<Q", 8 + len(good) + len(good) % 2),
        "ExtendedOffsetTableLengths": struct.pack("<Q", len(bad)),
    }
    made = film(**tables)
    made.file_meta.TransferSyntaxUID = uids.JPEG2000Lossless
    made["PixelData"].value = encapsulate([good, bad], has_bot=False)
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    made.save_as(path, enforce_file_format=True)


def _sof(marker: int, rows: int, columns: int, components: int = 1, bits: int = 8) -> bytes:
    body = struct.pack(">BHHB", bits, rows, columns, components) + bytes((1, 0x11, 0)) * components
    return struct.pack(">HH", marker, 2 + len(body)) + body


def _jpeg(*segments: bytes) -> bytes:
    dqt = struct.pack(">HHB", 0xFFDB, 67, 0) + bytes([1]) * 64
    dht = struct.pack(">HHB", 0xFFC4, 20, 0) + bytes([1] + [0] * 15) + b"\0"
    dht += struct.pack(">HHB", 0xFFC4, 20, 16) + bytes([1] + [0] * 15) + b"\0"
    sos = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 0, 63, 0)
    return b"\xff\xd8" + dqt + b"".join(segments) + dht + sos + bytes(64) + b"\xff\xd9"


@bomb("UNDECODABLE_PIXELS")
def jpeg_of_another_size(path: Path) -> None:
    encapsulated(path, uids.JPEGBaseline8Bit, _jpeg(_sof(0xFFC0, 65500, 65500)))


@bomb("UNDECODABLE_PIXELS")
def jpeg_of_two_sizes(path: Path) -> None:
    """Two frame headers: the first is right."""
    jpeg = _jpeg(_sof(0xFFC0, PHANTOM.rows, PHANTOM.columns), _sof(0xFFC0, 65500, 65500))
    encapsulated(path, uids.JPEGBaseline8Bit, jpeg)


@bomb("UNDECODABLE_PIXELS")
def jpeg_hierarchical(path: Path) -> None:
    """DHP states the size of the whole (ISO 10918-1 B.3.2), the frame a small one."""
    jpeg = _jpeg(_sof(0xFFDE, 65500, 65500), _sof(0xFFC0, PHANTOM.rows, PHANTOM.columns))
    encapsulated(path, uids.JPEGBaseline8Bit, jpeg)


@bomb("UNDECODABLE_PIXELS", "READ", "EMPTY_IMAGE")
def jpeg_of_a_second_frame(path: Path) -> None:
    """A larger frame after the first one's scan: no part of the image that was promised."""
    first, second = _sof(0xFFC0, PHANTOM.rows, PHANTOM.columns), _sof(0xFFC0, 65500, 65500)
    encapsulated(path, uids.JPEGBaseline8Bit, _jpeg(first)[:-2] + _jpeg(second)[2:], **_BITS_8)


@bomb("UNDECODABLE_PIXELS", "READ", "EMPTY_IMAGE")
def jpeg_of_a_second_hierarchy(path: Path) -> None:
    first, second = _sof(0xFFC0, PHANTOM.rows, PHANTOM.columns), _sof(0xFFDE, 65500, 65500)
    encapsulated(path, uids.JPEGBaseline8Bit, _jpeg(first)[:-2] + _jpeg(second)[2:], **_BITS_8)


@bomb("UNDECODABLE_PIXELS")
def jpeg_2000_of_another_size_in_boxes(path: Path) -> None:
    """A JP2 file whose first box that is no codestream holds a harmless one."""
    good, bad = _siz(PHANTOM.columns, PHANTOM.rows, 4096), _siz(2**31 - 1, 2**31 - 1, 2**31 - 1)
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + _box(b"uuid", good) + _box(b"jp2c", bad)
    encapsulated(path, uids.JPEG2000Lossless, boxes)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", 8 + len(body)) + kind + body


@bomb("READ")
def a_sequence_of_lookup_tables(path: Path) -> None:
    """As long as is allowed, and useless."""
    rest = element(0x00286FFE, b"UN", bytes(1 << 20))
    insert(path, 0x00283010, element(0x00283010, b"SQ", _item(rest) + ITEM * 900))


def _item(body: bytes) -> bytes:
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(body)) + body


@bomb("UNDECODABLE_PIXELS")
def jpeg_without_a_header(path: Path) -> None:
    encapsulated(path, uids.JPEGLosslessSV1, b"\xff\xd8\xff\xd9" * 20)


@bomb("UNDECODABLE_PIXELS")
def jpeg_of_many_components(path: Path) -> None:
    jpeg = _jpeg(_sof(0xFFC3, PHANTOM.rows, PHANTOM.columns, 200))
    encapsulated(path, uids.JPEGLosslessSV1, jpeg)


@bomb("TOO_MANY_ELEMENTS")
def many_fragments(path: Path) -> None:
    encapsulated(path, uids.JPEGLosslessSV1, b"\xff\xd8")
    data = path.read_bytes()
    path.write_bytes(data[:-8] + ITEM * 3_000_000 + data[-8:])


def _png(columns: int, rows: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    head = struct.pack(">LLBBBBB", columns, rows, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
        + chunk(b"IEND", b"")
    )


@bomb("IMAGE_TOO_LARGE")
def picture_png(path: Path) -> None:
    path.write_bytes(_png(30_000, 30_000))


@bomb("IMAGE_TOO_LARGE")
def picture_of_many_bytes_png(path: Path) -> None:
    """Most of it a hole in the file."""
    path.write_bytes(_png(100, 100))
    os.truncate(path, 5 << 30)


@bomb("TRUNCATED")
def picture_of_a_long_chunk_png(path: Path) -> None:
    """OpenCV made room for four gigabytes."""
    good = _png(100, 100)
    path.write_bytes(good[:33] + struct.pack(">L4s", 0xFFFFFFF0, b"tEXt") + good[33:])


@bomb("IMAGE_TOO_LARGE")
def picture_jpg(path: Path) -> None:
    path.write_bytes(_jpeg(_sof(0xFFC0, 65000, 65000, 3)))


@bomb("PICTURE_FORMAT")
def picture_of_another_kind_png(path: Path) -> None:
    """OpenCV would decode it as a bitmap: pictures are PNG and JPEG."""
    head = struct.pack("<2sLHHLLllHHLLllLL", b"BM", 54, 0, 0, 54, 40, 20_000, 20_000, 1, 24, 0, 0, 0, 0, 0, 0)
    path.write_bytes(head)
