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
    100: 1, 101: 2, 109: 3, 110: 4, 144: 5, 127: 6, 126: 7, 138: 8, 148: 9, 166: 11, 203: 15,
}  # fmt: skip
"""Registration number of the right half → part of ISO 8859."""
_TERM = re.compile(r"(?:ISO[-_ ]*(?:2022[-_ ]*)?IR[-_ ]*)(\d+)")


class _Half(NamedTuple):
    """What the bytes below or above 0x80 mean: how many make a character, and which."""

    bytes_each: int
    decode: Callable[[bytes], str]


def _half(codec: str, bytes_each: int = 1, *, before: bytes = b"", raised: bool = False) -> _Half:
    def decode(code: bytes) -> str:
        code = bytes(byte | 0x80 for byte in code) if raised else code
        return (before + code).decode(codec, "replace")

    return _Half(bytes_each, decode)


_ASCII = _half("ascii")
_UNDEFINED = _half("latin_1")
_KOREAN, _CHINESE, _KATAKANA = _half("cp949", 2), _half("gbk", 2), _half("shift_jis")
_LOWER = {
    b"(B": _ASCII,
    b"(J": _ASCII,  # JIS X 0201, but for Yen sign and overline
    b"$@": _half("euc_jp", 2, raised=True),
    b"$B": _half("euc_jp", 2, raised=True),
    b"$(D": _half("euc_jp", 2, before=b"\x8f", raised=True),
}
_FINAL = dict(
    zip((100, 101, 109, 110, 144, 127, 126, 138, 148, 166, 203), b"A B C D L G F H M T b".split(), strict=True)
)
_UPPER_BY_NUMBER: dict[int | None, _Half] = {number: _half(f"iso8859_{part}") for number, part in _ISO_8859.items()} | {
    13: _KATAKANA,
    58: _CHINESE,
    149: _KOREAN,
}
_UPPER = {b"-" + final: _UPPER_BY_NUMBER[number] for number, final in _FINAL.items()} | {
    b")I": _KATAKANA,
    b"$)A": _CHINESE,
    b"$)C": _KOREAN,
}
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
    """Registration number of a term, also of one that is misspelt (``ISO-IR 100``); −1: GB18030, 192: UTF-8."""
    term = term.strip().upper()
    if term.startswith(("GB18030", "GBK", "GB2312")):
        return -1
    if term.replace("-", "") == "UTF8":
        return 192
    match = _TERM.fullmatch(term)
    return int(match[1]) if match else None


def _decode(raw: bytes, numbers: list[int | None], resets: frozenset[int]) -> str:
    first = numbers[0] if numbers else None
    if raw.isascii() and _ESCAPE not in raw:
        return raw.decode("ascii")
    if first == -1:
        return raw.decode("gb18030", "replace")
    extended = len(numbers) > 1 or first in (58, 149)
    if first != 192 and (_ESCAPE in raw or extended):
        # Bytes above 0x80 without an escape sequence, or after the line that had it, belong to the next set that has any.
        stated = (_UPPER_BY_NUMBER[number] for number in numbers if number in _UPPER_BY_NUMBER)
        return _iso_2022(raw, next(stated, _UNDEFINED), resets)
    if first == 13:
        return raw.decode("shift_jis", "replace")
    if first is not None and first in _ISO_8859:
        return raw.decode(f"iso8859_{_ISO_8859[first]}", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin_1")


def _iso_2022(raw: bytes, first_upper: _Half, resets: frozenset[int]) -> str:
    """Follow the escape sequences; what resets the character sets does so for both halves (PS3.5 6.1.2.5.3)."""
    at, text, lower, upper = 0, "", _ASCII, first_upper
    while at < len(raw):
        if raw[at] == _ESCAPE:
            escape = next((e for e in _DESIGNATIONS if raw.startswith(e, at + 1)), b"")
            lower, upper = _LOWER.get(escape, lower), _UPPER.get(escape, upper)
            at += 1 + len(escape)
            continue
        is_control = raw[at] < 0x20
        if is_control or (lower.bytes_each == 1 and raw[at] in resets):
            text += chr(raw[at])
            if raw[at] in resets:
                lower, upper = _ASCII, first_upper
            at += 1
            continue
        half = upper if raw[at] >= 0x80 else lower
        text += half.decode(raw[at : at + half.bytes_each])
        at += half.bytes_each
    return text
