"""Bytes to a dataset: every damage ends in :class:`BadInput`, and nothing that pydicom says gets out.

pydicom's warnings and log lines quote the values of elements, patient names among them: here the warnings are held
back, and it logs nothing from when this module is loaded.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast

import pydicom
from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from spinepacs.dicom.identity import WORDS
from spinepacs.dicom.reading.bounded import (
    MAXIMUM_ITEMS,
    MAXIMUM_LUT_BYTES,
    MAXIMUM_META_BYTES,
    MAXIMUM_VALUE_BYTES,
    BoundedFile,
    inflate,
)
from spinepacs.dicom.reading.characters import Terms, decode
from spinepacs.dicom.reading.kinds import START_BYTES, no_dicom
from spinepacs.errors import BadInput, Transient

_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED_LENGTH = 0xFFFFFFFF
_ONE_AT_A_TIME = threading.RLock()
_heard: list[list[warnings.WarningMessage]] = []
"""Warnings of the block that is quiet now, in the thread that holds the lock."""
_UID = re.compile(r"[0-9.]{1,64}")
_LAST_TAG = 0xFFFFFFFF
_PIXEL_TAGS = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_IMPLICIT_HEADER_BYTES = 8

# The level, since it holds for their children too, and for good: a change takes 15 µs.
for _name in ("pydicom", "pylibjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


@contextmanager
def quiet() -> Iterator[list[warnings.WarningMessage]]:
    """Read and write values unvalidated; yield the warnings instead of showing them.

    The settings of pydicom and of ``warnings`` belong to the process, so other threads wait meanwhile.
    """
    with _ONE_AT_A_TIME:
        if _heard:
            yield _heard[-1]
            return
        with warnings.catch_warnings(record=True) as caught, config.disable_value_validation():
            warnings.simplefilter("always")
            _heard.append(caught)
            try:
                yield caught
            finally:
                _heard.clear()


def parse(path: Path, *, with_pixels: bool, character_set: str = "", last_tag: int = _LAST_TAG) -> Dataset:
    """Read a Part 10 file.

    Parameters
    ----------
    path : Path
        The file.
    with_pixels : bool
        False stops before the pixel data.
    character_set : str
        What is written as SpecificCharacterSet into a dataset that declares none, several values with backslashes.
    last_tag : int
        Nothing behind this element is read: what no film has there may be huge (SR content, frames' groups).

    Raises
    ------
    BadInput
        ``NOT_DICOM``, ``PICTURE_FORMAT``, ``ARCHIVE`` (:mod:`~spinepacs.dicom.reading.kinds`), ``TRUNCATED``,
        ``DAMAGED_DATASET``; ``FILE_TOO_LARGE``, ``TOO_MANY_ELEMENTS``,
        ``ELEMENT_TOO_LARGE``, ``NESTED_TOO_DEEP`` beyond the limits of :mod:`spinepacs.dicom.reading.bounded`.
    Transient
        The file cannot be opened or the disk fails.
    """
    try:
        with path.open("rb") as file, quiet() as caught:
            before = len(caught)
            dataset, cut_off = _read(file, with_pixels, last_tag)
            ends_early = any("end of file" in str(item.message).lower() for item in caught[before:])
    except InvalidDicomError:
        raise no_dicom(_start_of(path)) from None
    except IsADirectoryError:
        raise BadInput("NOT_DICOM", "this is a folder: name the files in it") from None
    except OSError as error:
        raise Transient(f"cannot read the file: {error.strerror}") from None
    if cut_off or ends_early:
        raise BadInput("TRUNCATED", "the file ends inside an element: send the image again")
    if character_set and not any(texts(dataset, "SpecificCharacterSet")):
        dataset.SpecificCharacterSet = character_set.split("\\")
    return dataset


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(START_BYTES)
    except OSError as error:
        raise Transient(f"cannot read the file: {error.strerror}") from None


def _read(file: BinaryIO, with_pixels: bool, last_tag: int) -> tuple[Dataset, bool]:
    """Let pydicom read under limits, and tell whether the file is cut off.

    Its errors of any kind become BadInput; those of the disk stay OSError.
    """
    bounded = BoundedFile(file, MAXIMUM_META_BYTES)

    def stop_when(tag: BaseTag, vr: str | None, length: int) -> bool:
        return tag > last_tag or (not with_pixels and tag in _PIXEL_TAGS)

    try:
        preamble = read_preamble(_as_file(bounded), force=False)
        meta = read_dataset(_as_file(bounded), False, True, stop_when=_after_meta)
        if text(meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            bounded = BoundedFile(inflate(BoundedFile(file).read()))
            body = read_dataset(_as_file(bounded), False, True, stop_when=stop_when)
            dataset = FileDataset(bounded, body, preamble, FileMetaDataset(meta), False, True)
        else:
            file.seek(0)
            bounded = BoundedFile(file)
            dataset = read_partial(_as_file(bounded), stop_when)
        return dataset, _ends_inside_its_last_element(dataset)
    except (InvalidDicomError, BadInput, MemoryError):
        raise
    except Exception as error:  # pydicom raises whatever its converters raise on damaged bytes
        if _ran_out_of_stack(error):
            raise BadInput(
                "NESTED_TOO_DEEP", "sequences are nested deeper than any reader follows: correct the sender"
            ) from None
        if bounded.refusal:
            raise bounded.refusal from None
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise BadInput(
            "DAMAGED_DATASET", f"the dataset cannot be parsed ({type(error).__name__}); send the image again"
        ) from None


def _ran_out_of_stack(error: BaseException | None) -> bool:
    """Whether an error is, or hides, that of a recursion: pydicom turns some of these into an OSError."""
    while error is not None and not isinstance(error, RecursionError):
        error = error.__context__
    return error is not None


def _as_file(bounded: BoundedFile) -> BinaryIO:
    return cast(BinaryIO, bounded)  # pydicom reads, seeks and tells, and asks no more of a file


def _after_meta(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag.group != 2


def _ends_inside_its_last_element(dataset: Dataset) -> bool:
    last = max(dataset.keys(), default=None)
    element: object = None if last is None else dataset.get_item(last)
    return (
        isinstance(element, RawDataElement)
        and element.length != _UNDEFINED_LENGTH
        and len(element.value or b"") < element.length
    )


def uid(dataset: Dataset, keyword: str) -> str:
    """Value of a UID element; odd components are let through, since real senders make them.

    Raises
    ------
    BadInput
        ``MISSING_UID``; ``INVALID_UID`` where it holds anything but digits and dots or is longer than 64.
    """
    value = text(dataset, keyword)
    if not value:
        raise BadInput("MISSING_UID", f"{keyword} is missing or empty: the sender must supply it")
    if not _UID.fullmatch(value):
        raise BadInput(
            "INVALID_UID", f"{keyword} is no UID (digits and dots, at most 64): correct the sender"
        )
    return value


def text(dataset: Dataset, keyword: str, within: Dataset | None = None) -> str:
    """First value as stripped text; empty where it is missing or cannot be read."""
    values = texts(dataset, keyword, within)
    return values[0] if values else ""


def texts(dataset: Dataset, keyword: str, within: Dataset | None = None) -> tuple[str, ...]:
    """All values as stripped text; none where the element is missing or cannot be read.

    Parameters
    ----------
    within
        Where ``dataset`` is an item of a sequence: the dataset that holds it, for its character set.
    """
    return tuple(value.strip(" \0\t\r\n") for value in _texts(dataset, keyword, within))


def identifier(dataset: Dataset, keyword: str) -> str:
    """The one value of an identifier as it stands, without the padding at its end: blanks before it belong to it."""
    return "".join(_texts(dataset, keyword, None)).rstrip(" \0")


def stored(dataset: Dataset, keyword: str) -> bytes:
    """Bytes of an element of text as they stand in the file; none where it is missing.

    The element stays as it was read: pydicom decodes and encodes some character sets wrongly.
    """
    element = _element(dataset, keyword)
    _check_size(element, keyword)
    if isinstance(element, RawDataElement):
        return element.value or b""
    if not isinstance(element, DataElement) or element.VR == "SQ":
        return b""
    buffer = DicomBytesIO()  # set by a program: as it would be written
    buffer.is_little_endian = buffer.is_implicit_VR = True
    with quiet():
        write_data_element(buffer, element, dataset.get("SpecificCharacterSet") or None)
    return buffer.getvalue()[_IMPLICIT_HEADER_BYTES:]


def character_sets(dataset: Dataset) -> Terms:
    """Values of SpecificCharacterSet; none where it is missing or states the default (ISO_IR 6)."""
    value: Any = getattr(_element(dataset, "SpecificCharacterSet"), "value", None)
    if isinstance(value, bytes):
        value = value.decode("latin_1").split("\\")
    terms = tuple(str(term).strip(" \0") for term in ([value] if isinstance(value, str) else value or ()))
    return () if all(term in ("", "ISO_IR 6") for term in terms) else terms


def _texts(dataset: Dataset, keyword: str, within: Dataset | None) -> list[str]:
    raw, terms = stored(dataset, keyword), character_sets(dataset)
    if not raw:
        return []
    if within is not None and not terms:
        terms = character_sets(within)
    representation, is_many = definition(keyword)
    whole = representation in WORDS and not is_many
    return decode(raw, terms if representation in WORDS else (), whole=whole, is_name=representation == "PN")


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as finite numbers; none where one of them is no such number.

    A decimal comma, which only text can have, is read as the point that belongs there (see :func:`has_comma`).
    """
    is_raw = isinstance(_element(dataset, keyword), RawDataElement)
    try:
        if is_raw and definition(keyword)[0] in ("DS", "IS"):
            values = tuple(float(value.replace(",", ".")) for value in texts(dataset, keyword))
        else:
            values = tuple(float(value) for value in _values(dataset, keyword))
    except (TypeError, ValueError):
        return ()
    return values if all(math.isfinite(value) for value in values) else ()


def has_comma(dataset: Dataset, *keywords: str) -> bool:
    """Whether one of these numbers is written with a decimal comma."""
    return any("," in value for keyword in keywords for value in texts(dataset, keyword))


def number(dataset: Dataset, keyword: str, default: float) -> float:
    """First value as a finite number, else the default."""
    return next(iter(numbers(dataset, keyword)), default)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence; none where it is missing or cannot be read."""
    return [value for value in _values(dataset, keyword) if isinstance(value, Dataset)]


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    """Values of an element as a list: an element that cannot be converted counts as missing."""
    element = _element(dataset, keyword)
    if element is None:
        return []
    _check_size(element, keyword)
    try:
        with quiet():
            value = dataset.get(keyword)
    except (BadInput, MemoryError):
        raise
    except Exception:  # pydicom raises whatever its converters raise on damaged bytes
        return []
    if value is None or value == "":
        return []
    is_many = isinstance(value, (list, pydicom.multival.MultiValue, pydicom.sequence.Sequence))
    return list(value) if is_many else [value]


def _check_size(element: object, keyword: str) -> None:
    """Refuse what is absurdly long while it is still bytes: split into values it takes a hundred times as much."""
    value = (element.value or b"") if isinstance(element, RawDataElement) else b""
    most = MAXIMUM_LUT_BYTES if keyword.endswith("LUTSequence") else MAXIMUM_VALUE_BYTES
    if len(value) > most or value.count(_ITEM) > MAXIMUM_ITEMS:
        raise BadInput(
            "ELEMENT_TOO_LARGE",
            f"{keyword} has more than {most} bytes or {MAXIMUM_ITEMS} items: correct the sender",
        )


def _element(dataset: Dataset, keyword: str) -> object:
    """The element as it was read or set; None where it is missing."""
    return dataset.get_item(tag_of(keyword))


@cache
def tag_of(keyword: str) -> BaseTag:
    """Tag of a keyword of the dictionary; pydicom looks for a number in it first, each time."""
    return Tag(keyword)


@cache
def definition(keyword: str) -> tuple[str, bool]:
    """Value representation of a keyword of the dictionary, and whether it may have several values."""
    return dictionary_VR(keyword), dictionary_VM(keyword) != "1"
