"""The person who has corrected a reading, in the objects of the film: when, and in which letters."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset

from spinepacs.domain.corrections import Correction


def signed_at(header: Dataset, correction: Correction) -> datetime:
    """When a person corrected it, in the time zone that the film states, else in that of this machine."""
    raw = header.get("TimezoneOffsetFromUTC") or b""
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
    stated = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", text.strip())
    if not stated:
        return correction.made_at.astimezone()
    minutes = int(f"{stated[1]}1") * (int(stated[2]) * 60 + int(stated[3]))
    return correction.made_at.astimezone(timezone(timedelta(minutes=minutes)))


def encodings_of(header: Dataset) -> list[str]:
    """Python's names of the encodings of our objects of a film; ASCII where it states none that is known."""
    try:
        stated = header.get("SpecificCharacterSet")
        found = convert_encodings(stated) if stated else []
    except (LookupError, ValueError, TypeError):
        found = []
    return ["ascii" if name == default_encoding else name for name in found] or ["ascii"]


def can_hold(header: Dataset, words: str) -> bool:
    """Whether the character set of a film's objects has all letters of a text."""
    for encoding in encodings_of(header):
        try:
            words.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            continue
        return True
    return False
