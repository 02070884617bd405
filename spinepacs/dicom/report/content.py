"""SR content items (PS3.3 C.17.3), encoded directly in Explicit VR Little Endian (PS3.5 7.1.2).

A report of a whole spine has about 800 items in 7500 elements. highdicom's classes take 15 ms a measurement group
for them and pydicom's writer as long again; an item here is simply the bytes that it is on disk, and the tests
read the result back with highdicom. In English all text is ASCII, which every DICOM character set contains; other
languages are written within :func:`written_in`, and only our own codes have their meanings in them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import encode_string
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from spinepacs.dicom.codes import PRIVATE_SCHEME
from spinepacs.dicom.explicit import element, item, padded
from spinepacs.dicom.form import keep_encoded
from spinepacs.language import _

Item = bytes
"""One encoded content item."""
_Said = tuple[str, str, bytes]
"""A code's value, scheme and encoded meaning."""

CONTAINS = "CONTAINS"
CONTEXT = "HAS OBS CONTEXT"
MODIFIER = "HAS CONCEPT MOD"
ACQUISITION = "HAS ACQ CONTEXT"
INFERRED = "INFERRED FROM"
PROPERTY = "HAS PROPERTIES"
SELECTED = "SELECTED FROM"


_ASCII = ("ascii",)
_letters: ContextVar[tuple[str, ...]] = ContextVar("letters", default=_ASCII)


@contextmanager
def written_in(encodings: Sequence[str]) -> Iterator[None]:
    """Write texts in Python's ``encodings`` of a character set until the end of the block."""
    token = _letters.set(tuple(encodings))
    try:
        yield
    finally:
        _letters.reset(token)


def set_content(dataset: Dataset, items: Iterable[Item]) -> None:
    """Give a dataset its Content Sequence (0040,A730), as an element that is already encoded.

    To be called last: pydicom writes such an element as it is only while the character set stays what it was.
    """
    value = b"".join(items)
    tag = Tag(0x0040A730)
    dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
    keep_encoded(dataset)


def person(relation: str, concept: Code, name: str, encodings: Sequence[str]) -> Item:
    """PNAME; in the encodings of the dataset's character set, which must be able to hold it."""
    raw = encode_string(name, encodings)
    value = element(0x0040A123, "PN", raw + b" " * (len(raw) % 2))
    return _content(relation, "PNAME", concept, value)


def composite(relation: str, sop_class_uid: str, sop_uid: str, *, is_image: bool) -> Item:
    """IMAGE or COMPOSITE without a concept: any object of the archive."""
    reference = _text(0x00081150, "UI", sop_class_uid) + _text(0x00081155, "UI", sop_uid)
    value = _sequence(0x00081199, item(reference))
    return _content(relation, "IMAGE" if is_image else "COMPOSITE", None, value)


def container(relation: str, concept: Code, children: Iterable[Item], template: str = "") -> Item:
    """CONTAINER; with the template that it follows (TID of DCMR) where it follows one."""
    used = _text(0x00080105, "CS", "DCMR") + _text(0x0040DB00, "CS", template)
    about = _text(0x0040A050, "CS", "SEPARATE")
    about += _sequence(0x0040A504, item(used)) if template else b""
    return _content(relation, "CONTAINER", concept, about, children)


def text(relation: str, concept: Code, value: str) -> Item:
    """TEXT."""
    return _content(relation, "TEXT", concept, _words(0x0040A160, "UT", value))


def code(relation: str, concept: Code, value: Code, children: Iterable[Item] = ()) -> Item:
    """CODE."""
    nested = b"".join(children)
    if not nested:
        return _plain_code(relation, _said(concept), _said(value))
    return _content(relation, "CODE", concept, _coded(0x0040A168, *_said(value)), [nested])


def uid(relation: str, concept: Code, value: str) -> Item:
    """UIDREF."""
    return _content(relation, "UIDREF", concept, _text(0x0040A124, "UI", value))


def number(relation: str, concept: Code, value: str, unit: Code, children: Iterable[Item] = ()) -> Item:
    """NUM; ``value`` is a decimal string (VR DS, at most 16 characters)."""
    measured = _coded(0x004008EA, *_said(unit)) + _text(0x0040A30A, "DS", value)
    return _content(relation, "NUM", concept, _sequence(0x0040A300, item(measured)), children)


def image(
    relation: str,
    concept: Code | None,
    sop_class_uid: str,
    sop_uid: str,
    *,
    segment: int | None = None,
    children: Iterable[Item] = (),
) -> Item:
    """IMAGE, or one segment of a segmentation."""
    reference = _text(0x00081150, "UI", sop_class_uid) + _text(0x00081155, "UI", sop_uid)
    if segment is not None:
        reference += element(0x0062000B, "US", struct.pack("<H", segment))
    return _content(relation, "IMAGE", concept, _sequence(0x00081199, item(reference)), children)


def polyline(relation: str, concept: Code | None, points: NDArray[np.float64], source: Item) -> Item:
    """SCOORD polyline; (N, 2) points in px, drawn on the IMAGE item ``source`` (PS3.3 C.18.6)."""
    graphic = element(0x00700022, "FL", points.astype("<f4").tobytes()) + _text(0x00700023, "CS", "POLYLINE")
    # The nested source (0040,A730) precedes group 0070: elements are sorted by tag.
    return _content(relation, "SCOORD", concept, b"", [source], graphic)


def _content(
    relation: str,
    value_type: str,
    concept: Code | None,
    value: bytes,
    children: Iterable[Item] = (),
    last: bytes = b"",
) -> Item:
    """Put an item's elements in the order of their tags (PS3.5 7.1).

    ``value`` holds tags of group 0040 after the concept name, or of group 0008; ``last`` what follows the children.
    """
    head = _head(relation, value_type, *(_said(concept) if concept else ("", "", b"")))
    nested = b"".join(children)
    tail = (_sequence(0x0040A730, nested) if nested else b"") + last
    if value_type in ("IMAGE", "COMPOSITE"):  # its value is Referenced SOP Sequence (0008,1199)
        return item(value + head + tail)
    return item(head + value + tail)


@lru_cache(maxsize=1024)
def _head(relation: str, value_type: str, value: str, scheme: str, meaning: bytes) -> bytes:
    """What an item begins with: its relation to its parent, its type, and its concept (which may lack)."""
    head = _text(0x0040A010, "CS", relation) + _text(0x0040A040, "CS", value_type)
    return head + (_coded(0x0040A043, value, scheme, meaning) if value else b"")


@lru_cache(maxsize=1024)
def _coded(tag: int, value: str, scheme: str, meaning: bytes) -> bytes:
    """One code as a sequence (PS3.3 8.8). Its parts are the key of the cache: pydicom's Code hashes slowly."""
    code = _text(0x00080100, "SH", value) + _text(0x00080102, "SH", scheme)
    code += element(0x00080104, "LO", padded(meaning, "LO"))
    return _sequence(tag, item(code))


@lru_cache(maxsize=1024)
def _plain_code(relation: str, concept: _Said, value: _Said) -> Item:
    """A CODE without children: of those in a report nearly all come again."""
    return item(_head(relation, "CODE", *concept) + _coded(0x0040A168, *value))


def _said(code: Code) -> _Said:
    """Value, scheme and encoded meaning: of our own codes in the language spoken (PS3.3 8.3 lets it be any)."""
    value, scheme, meaning = code[:3]
    return value, scheme, _encoded(_(meaning) if scheme == PRIVATE_SCHEME else meaning)


def _encoded(text: str) -> bytes:
    encodings = _letters.get()
    if text.isascii() or encodings == _ASCII:
        return text.encode("ascii", errors="replace")
    return encode_string(text, encodings)


def _words(tag: int, vr: str, value: str) -> bytes:
    return element(tag, vr, padded(_encoded(value), vr))


def _sequence(tag: int, items: bytes) -> bytes:
    return element(tag, "SQ", items)


def _text(tag: int, vr: str, value: str) -> bytes:
    return element(tag, vr, padded(value.encode("ascii", errors="replace"), vr))
