"""Dates and times as consoles have written them, in the form that DICOM has today (PS3.5 6.2, DA and TM).

ACR-NEMA wrote ``1993.04.06`` and ``10:20:30``; some senders put the form of their country, or date and time together,
into one element.  What can be read in two ways is not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

_DAY = re.compile(r"(\d{8}|\d{6}(?!\d)|\d{1,4}([-./: ])\d{1,2}\2\d{1,4})(?:[T ;,]*(.+))?")
_CLOCK = re.compile(
    r"(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:[.,](\d*))?)?)?"
    r"|(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d*))?)?"
    r"|(\d\d)\.(\d\d)\.(\d\d)(?:[.,](\d*))?)"
    r" *(?:([AP])\.?M\.?)? *(?:Z|[-+]\d\d:?\d\d)?"
)
_YEARS = range(1850, 2101)
"""In which a date may lie that is not in today's form: beyond them it is something else."""
_NINETEEN_HUNDREDS = 70
"""From here on a year of two digits is one of the last century, as POSIX has it: there are no older digital films."""


def date_of(value: str, *, is_birth: bool = False) -> str:
    """Read a date, with or without a time behind it.

    Parameters
    ----------
    value
        ``19930406``, ``1993.04.06``, ``1993-04-06T10:20:30``, ``06.04.1993``, ``25/12/1993``, ``93.04.06`` …
    is_birth
        Of a person's birth: a year of two digits may be of either century then, and is not read.

    Returns
    -------
    ``YYYYMMDD``; empty where it is no date, or could be two: ``04/06/1993``, ``03.04.06``, ``201012``.
    """
    match = _DAY.fullmatch(value.strip())
    if match is None or (match[3] and not _clock(match[3])):
        return ""
    if match[0] == match[1] and re.fullmatch(r"\d{8}", match[0]):
        return match[0] if _exists(int(match[0][:4]), int(match[0][4:6]), int(match[0][6:])) else ""
    read = {f"{day:%Y%m%d}" for day in _days(match[1], match[2] or "", is_birth)}
    return read.pop() if len(read) == 1 else ""


def time_of(value: str) -> str:
    """Read a time of day, alone or behind its date.

    Returns
    -------
    ``HH``, ``HHMM``, ``HHMMSS`` or ``HHMMSS.F`` with at most six decimals, the rest cut off; empty where it is none.
    """
    value = value.strip()
    if read := _clock(value):
        return read
    match = _DAY.fullmatch(value)
    return _clock(match[3]) if match and match[3] and date_of(value) else ""


def _days(text: str, mark: str, is_birth: bool) -> Iterator[date]:
    """All dates that a text may mean."""
    if mark:
        first, second, third = text.split(mark)
    elif len(text) == 8:
        first, second, third = text[:4], text[4:6], text[6:]
    elif int(text[:4]) in _YEARS and 1 <= int(text[4:]) <= 12:
        return  # 201012 may be a month
    else:
        first, second, third = text[:2], text[2:4], text[4:]
    orders = [(first, second, third), (third, second, first)]
    if mark and mark != ".":  # nobody who writes the month first puts dots
        orders.append((third, first, second))
    for year, month, day in orders:
        whole = _year(year, is_birth)
        if len(day) <= 2 and whole in _YEARS and (found := _exists(whole, int(month), int(day))):
            yield found


def _year(text: str, is_birth: bool) -> int:
    """Year in four digits; 0 where it has fewer and nobody knows the century."""
    if len(text) == 2 and not is_birth:
        return int(text) + (1900 if int(text) >= _NINETEEN_HUNDREDS else 2000)
    return int(text) if len(text) == 4 else 0


def _exists(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _clock(text: str) -> str:
    match = _CLOCK.fullmatch(text.strip().upper())
    if match is None:
        return ""
    hour, minute, second, fraction = next(
        match.groups()[n : n + 4] for n in (0, 4, 8) if match.groups()[n] is not None
    )
    if match[13]:
        if not 1 <= int(hour) <= 12:
            return ""
        hour = str(int(hour) % 12 + 12 * (match[13] == "P"))
    if int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 60:  # 60: a leap second
        return ""
    decimals = f".{fraction[:6]}" if fraction else ""
    return f"{int(hour):02d}{minute or ''}{second or ''}{decimals}"
