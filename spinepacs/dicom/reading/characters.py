"""Text of a value as PS3.5 6.1 and PS3.3 C.12.1.1.2 encode it: character sets and code extensions (ISO 2022).

pydicom leaves the escape sequences of ISO 2022 IR 58 in the text, loses Korean text after its first line, and splits
Japanese names at a Yen sign: hence a reader of our own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

Terms = tuple[str, ...]
"""Values of SpecificCharacterSet; empty: none stated."""

_ESCAPE = 0x1B
_YEN = str.maketrans({"\\": "¥", "~": "‾"})
_RESETS = frozenset(b"\t\n\f\r\\")
_RESETS_OF_NAMES = _RESETS | frozenset(b"^=")
_ISO_8859 = {
    100: (1, b"-A"), 101: (2, b"-B"), 109: (3, b"-C"), 110: (4, b"-D"), 144: (5, b"-L"), 127: (6, b"-G"),
    126: (7, b"-F"), 138: (8, b"-H"), 148: (9, b"-M"), 166: (11, b"-T"), 203: (15, b"-b"),
}  # fmt: skip
"""Registration number of the right half → part of ISO 8859, and what designates it behind ESC."""
_GB18030 = -1
"""Stands for a registration number, of which it has none."""
_CODECS: dict[int | None, str] = {_GB18030: "gb18030", 13: "shift_jis"}
_CODECS |= {number: f"iso8859_{part}" for number, (part, _) in _ISO_8859.items()}
"""Python's codecs for character sets without escape sequences; UTF-8 (192) is tried on all else."""
_TERM = re.compile(r"(?:ISO[-_ ]*(?:2022[-_ ]*)?IR[-_ ]*)(\d+)")


class _Half(NamedTuple):
    """What the bytes below or above 0x80 mean: which make characters, and which characters."""

    run: re.Pattern[bytes]
    decode: Callable[[bytes], str]


def _single(codec: str, run: bytes = rb"[\x80-\xff]+") -> _Half:
    return _Half(re.compile(run), lambda codes: codes.decode(codec, "replace"))


def _pairs(codec: str) -> _Half:
    return _single(codec, rb"(?:[\x80-\xff][\x30-\xff])+")


def _lowered_pairs(before: bytes = b"") -> _Half:
    """Two bytes below 0x80 for each character, of which EUC-JP sets the highest bit."""

    def decode(codes: bytes) -> str:
        raised = bytes(byte | 0x80 for byte in codes)
        pairs = (before + raised[at : at + 2] for at in range(0, len(raised), 2))
        return b"".join(pairs).decode("euc_jp", "replace")

    return _Half(re.compile(rb"(?:[\x21-\x7e]{2})+"), decode)


_ASCII = _single("ascii", rb"[\x20-<>-[\]_-\x7f]+")  # all but separators
_UNDEFINED = _single("latin_1")
_LOWER = {
    b"(B": _ASCII,
    b"(J": _ASCII,  # JIS X 0201, but for Yen sign and overline
    b"$@": _lowered_pairs(),
    b"$B": _lowered_pairs(),
    b"$(D": _lowered_pairs(b"\x8f"),
}
_EAST_ASIAN = {13: (_single("shift_jis"), b")I"), 58: (_pairs("gbk"), b"$)A"), 149: (_pairs("cp949"), b"$)C")}
_RIGHT_HALVES = _EAST_ASIAN | {
    number: (_single(f"iso8859_{part}"), escape) for number, (part, escape) in _ISO_8859.items()
}
_UPPER = {escape: half for half, escape in _RIGHT_HALVES.values()}
_DESIGNATIONS = sorted([*_LOWER, *_UPPER], key=len, reverse=True)


def decode(raw: bytes, terms: Terms, *, whole: bool, is_name: bool = False) -> list[str]:
    """Decode a value.

    Parameters
    ----------
    raw
        Its bytes as they stand.
    terms
        The character sets of its dataset.  Bytes that none of them explains are read as UTF-8 where they are valid
        UTF-8, else as Latin-1.
    whole
        Of an element that has one value: a backslash belongs to it then, and in JIS X 0201 it is a Yen sign.
    is_name
        Of a person's name (PN), each of whose components begins with the first character set again.

    Returns
    -------
    The one value or, where a backslash separates, all of them; with blanks and padding as they are.
    """
    numbers = [_number(term) for term in terms]
    text = _decode(raw, numbers, _RESETS_OF_NAMES if is_name else _RESETS)
    if not whole:
        return text.split("\\")
    return [text.translate(_YEN) if numbers[:1] == [13] else text]


def _number(term: str) -> int | None:
    """Registration number of a term, also of one that is misspelt (``ISO-IR 100``); None where there is none."""
    term = term.strip().upper()
    if term.startswith(("GB18030", "GBK", "GB2312")):
        return _GB18030
    if term.replace("-", "") == "UTF8":
        return 192
    match = _TERM.fullmatch(term)
    return int(match[1]) if match else None


def _decode(raw: bytes, numbers: list[int | None], resets: frozenset[int]) -> str:
    first = numbers[0] if numbers else None
    is_extended = _ESCAPE in raw or len(numbers) > 1 or first in (58, 149)
    if is_extended and first not in (_GB18030, 192):
        # Bytes above 0x80 without an escape sequence, or after the line that had it: of the next set that has any.
        stated = (_RIGHT_HALVES[number][0] for number in numbers if number in _RIGHT_HALVES)
        return _iso_2022(raw, next(stated, _UNDEFINED), resets)
    if codec := _CODECS.get(first):
        return raw.decode(codec, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin_1")


def _iso_2022(raw: bytes, first_upper: _Half, resets: frozenset[int]) -> str:
    """Follow the escape sequences; what resets the character sets does so for both halves (PS3.5 6.1.2.5.3)."""
    at, lower, upper = 0, _ASCII, first_upper
    text: list[str] = []
    while at < len(raw):
        byte = raw[at]
        half = upper if byte >= 0x80 else lower
        if byte == _ESCAPE:
            escape = next((e for e in _DESIGNATIONS if raw.startswith(e, at + 1)), b"")
            lower, upper = _LOWER.get(escape, lower), _UPPER.get(escape, upper)
            at += 1 + len(escape)
        elif run := half.run.match(raw, at):
            text.append(half.decode(run[0]))
            at = run.end()
        else:  # a control character, a separator, or half of a character
            text.append(chr(byte) if byte < 0x20 or half is _ASCII else "\N{REPLACEMENT CHARACTER}")
            if byte in resets:
                lower, upper = _ASCII, first_upper
            at += 1
    return "".join(text)
