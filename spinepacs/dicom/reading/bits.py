"""Words of the pixel data to codes and pixel values: which of their bits belong to a pixel (PS3.5 8.1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from spinepacs.dicom.reading.parse import number, numbers

Table = NDArray[np.float64]
"""(2 ** bits,) float64, one entry for each stored code."""

_OVERLAYS = range(0x6000, 0x6020, 2)


@dataclass(frozen=True)
class Codes:
    """Stored bits of each pixel as an unsigned number.

    Parameters
    ----------
    codes
        (rows, columns) uint8 or uint16, each below 2 ** bits.
    bits
        Of a pixel: BitsStored, or all of the word where the picture shows that it has more.
    notes
        ``BITS_ABOVE_USED`` or ``BITS_ABOVE_LEFT_OUT``, where words hold more than BitsStored and overlays explain.
    """

    codes: NDArray[Any]
    bits: int
    notes: tuple[str, ...] = ()


def codes_of(stored: NDArray[Any], header: Dataset) -> Codes:
    """Take the bits of each pixel; overlays and other things in the bits beside them are left out.

    Some senders state fewer bits than their pixels have, and lossy compression overshoots: cut off, such values wrap
    around.  The picture tells these from overlays: where the whole word is the pixel, it is the smoother of the two.

    Parameters
    ----------
    stored
        (rows, columns) uint8, int8, uint16 or int16 as decoded.
    header
        Its image pixel attributes and overlays.
    """
    bits = int(number(header, "BitsStored", 8 * stored.itemsize))
    below = int(number(header, "HighBit", bits - 1)) + 1 - bits
    words: NDArray[Any] = stored.view(np.uint16 if stored.itemsize == 2 else np.uint8)
    words = np.right_shift(words, below) if below > 0 else words
    if int(words.max()) < 2**bits:
        return Codes(words, bits)
    is_signed = number(header, "PixelRepresentation", 0) == 1
    inside, overlays = 2**bits - 1, _overlay_bits(header) >> max(below, 0)
    above = 2 ** (8 * stored.itemsize) - 1 & ~inside & ~overlays
    masked, surplus = words & inside, words & above
    usual = np.where(masked >> (bits - 1), above, 0) if is_signed else 0  # the sign, repeated
    if np.array_equal(surplus, np.broadcast_to(usual, surplus.shape)):
        return Codes(masked, bits)
    whole, all_bits = words & (inside | above), 8 * stored.itemsize
    if _is_smoother(_signed(whole, all_bits, is_signed), _signed(masked, bits, is_signed), 2 ** (bits - 1)):
        return Codes(whole, all_bits, ("BITS_ABOVE_USED",))
    return Codes(masked, bits, ("BITS_ABOVE_LEFT_OUT",))


def pixel_values(bits: int, header: Dataset) -> Table:
    """Pixel value of each code: two's complement where PixelRepresentation says signed."""
    codes = np.arange(2**bits, dtype=np.float64)
    is_signed = number(header, "PixelRepresentation", 0) == 1
    return np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes) if is_signed else codes


def is_padding(pixel: Table, header: Dataset) -> NDArray[np.bool_]:
    """Codes within PixelPaddingValue … PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2).

    Both have the sign of the pixels (PS3.5 6.2, "US or SS"), whatever value representation they were written with.
    """
    first = numbers(header, "PixelPaddingValue")
    if not first:
        return np.zeros(pixel.shape, dtype=bool)
    limit = numbers(header, "PixelPaddingRangeLimit")
    ends = [_with_sign_of(pixel, end) for end in (*first, *limit[:1])]
    return np.asarray((pixel >= min(ends)) & (pixel <= max(ends)))


def _with_sign_of(pixel: Table, value: float) -> float:
    """The same 16 bits as a number of the pixels' kind; of signed pixels also those whose sign is not repeated."""
    if pixel.min() >= 0:
        return value % 65536
    value = (value + 32768) % 65536 - 32768
    return value - len(pixel) if pixel.max() < value < len(pixel) else value


def _signed(codes: NDArray[Any], bits: int, is_signed: bool) -> NDArray[np.int32]:
    values = codes.astype(np.int32)
    return np.where(values >> (bits - 1), values - 2**bits, values) if is_signed else values


def _is_smoother(whole: NDArray[np.int32], masked: NDArray[np.int32], half: int) -> bool:
    """Whether neighbours, where the two readings differ, lie more than half of the range apart in fewer places."""
    jumps = [0, 0]
    for axis in (0, 1):
        steps = [np.diff(values, axis=axis) for values in (whole, masked)]
        differ = steps[0] != steps[1]
        for n, step in enumerate(steps):
            jumps[n] += int(np.count_nonzero(differ & (np.abs(step) > half)))
    return jumps[0] < jumps[1]


def _overlay_bits(header: Dataset) -> int:
    """Bits of a word in which the header says that an overlay lies (PS3.3 C.9.2; retired)."""
    found = 0
    for group in _OVERLAYS:
        position = Tag(group, 0x0102)
        if position not in header or Tag(group, 0x3000) in header:
            continue
        raw: object = header.get_item(position).value
        if isinstance(raw, bytes) and len(raw) == 2:
            raw = int.from_bytes(raw, "big" if header.original_encoding[1] is False else "little")
        found |= 1 << raw if isinstance(raw, int) and 0 <= raw < 16 else 0
    return found
