"""Lookup tables of the Modality LUT and the VOI LUT Sequence (PS3.3 C.11.1.1, C.11.2.1.1).

pydicom's own functions refuse 12-bit modality LUTs and wrap the index of 8-bit VOI LUTs around, hence these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from spinepacs.dicom.reading.parse import numbers, quiet


@dataclass(frozen=True)
class Lut:
    """A lookup table.

    Parameters
    ----------
    first
        Input value of the first entry.
    entries
        (n,) float64 output values.
    top
        Output value that stands for white.
    """

    first: float
    entries: NDArray[np.float64]
    top: float


def lut_of(item: Dataset, *, signed_input: bool) -> Lut | None:
    """Read LUTDescriptor and LUTData; None where they do not make a table."""
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not 1 <= descriptor[2] <= 16:
        return None
    length, first, bits = int(descriptor[0]) & 0xFFFF or 65536, descriptor[1], int(descriptor[2])
    entries = _entries(item, length, bits)
    if len(entries) != length or entries.max() <= 0:
        return None
    if signed_input and first > 32767:
        first -= 65536  # a signed value behind an unsigned VR
    full = float(2**bits - 1)
    # Some senders declare 16 bits for a table of 12: its highest entry is white then.
    return Lut(first, entries, full if entries.max() > full / 2 else float(entries.max()))


def apply_lut(lut: Lut, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map values: those beyond either end get the first or the last entry."""
    index = np.clip(np.rint(values) - lut.first, 0, len(lut.entries) - 1).astype(np.int64)
    return np.asarray(lut.entries[index])


def _entries(item: Dataset, length: int, bits: int) -> NDArray[np.float64]:
    """LUTData as numbers, from US values or OW words; 8-bit entries may be packed two in a word."""
    try:
        with quiet():
            data: Any = item["LUTData"].value
            little_endian = item.original_encoding[1] is not False
    except Exception:  # pydicom raises whatever its converters raise on damaged bytes
        return np.empty(0)
    if not isinstance(data, bytes):
        entries = np.atleast_1d(np.asarray(data, dtype=np.float64))
    elif bits <= 8 and len(data) in (length, length + 1):
        entries = np.frombuffer(data, dtype=np.uint8)[:length].astype(np.float64)
    else:
        entries = np.frombuffer(data[: len(data) // 2 * 2], dtype="<u2" if little_endian else ">u2").astype(
            np.float64
        )
    return np.where(entries < 0, entries + 65536, entries)[:length]
