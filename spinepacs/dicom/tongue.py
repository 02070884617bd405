"""The language of an object's texts: that of the settings, where the character set of the film has its letters.

Objects have the character set of their film, since the patient's name is copied as bytes (docs/output.md). A film whose
texts are all plain ASCII loses nothing when its objects state UTF-8 instead: those that are written in another language
than English do. Any other set without the letters that are needed leaves the object in English.
"""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from spinepacs.dicom import author
from spinepacs.dicom.identity import WORDS
from spinepacs.language import Language

LETTERS: dict[Language, str] = {
    "en": "",
    "ru": "АБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "de": "ÄÖÜäöüß",
}
"""Letters beyond ASCII: the texts of reports have no others, so that they fit into the language's own ISO 8859 set."""
CODES: dict[Language, Code] = {
    "en": Code("en", "RFC5646", "English"),
    "ru": Code("ru", "RFC5646", "Russian"),
    "de": Code("de", "RFC5646", "German"),
}
"""For the language of content (TID 1204)."""
UTF_8 = "ISO_IR 192"
_JIS_X_0201 = "shift_jis"
"""Python's stand-in for ISO_IR 13: it would write letters in two bytes, which that set does not have."""
_WITH_ASCII = frozenset(f"ISO_IR {n}" for n in (6, 100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 203))
"""Single-byte sets whose lower half is ASCII: of ISO_IR 13 it is not."""


def settle(dataset: Dataset, language: Language) -> Language:
    """Say in which language the texts of an object can be; its character set is widened where that changes nothing.

    Parameters
    ----------
    dataset
        The object with the texts that it has of its film, and none that has letters of its own.
    """
    if _JIS_X_0201 not in author.encodings_of(dataset) and author.can_hold(dataset, LETTERS[language]):
        return language
    stated = dataset.get("SpecificCharacterSet")
    if (not stated or (isinstance(stated, str) and stated in _WITH_ASCII)) and _is_ascii(dataset):
        dataset.SpecificCharacterSet = UTF_8
        return language
    return "en"


def _is_ascii(dataset: Dataset) -> bool:
    """Whether no text has a byte that another character set would show otherwise."""
    for tag in list(dataset.keys()):
        element: Any = dataset.get_item(tag)
        if element.VR == "SQ":
            if not all(map(_is_ascii, dataset[tag].value)):
                return False
        elif element.VR in WORDS and not _is_plain(element.value):
            return False
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, bytes):
        return value.isascii() and b"\x1b" not in value
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        return all(map(_is_plain, value))
    return value is None or str(value).isascii()
