"""Every code of the private scheme that a result may hold."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

from pydicom.sr.coding import Code

import spinepacs.dicom
from spinepacs.dicom.codes import PRIVATE_SCHEME
from spinepacs.dicom.report import sign_codes
from spinepacs.domain.measures import Reason
from spinepacs.domain.signs import GRADE_NAMES
from spinepacs.domain.words import NOTES
from tests.conformance.markdown import table

HIGHEST_REFERENCE_GRADE = 5
"""Meyerding's."""


def private_codes() -> dict[str, str]:
    """Meaning of each, by its value."""
    found = [*_named(), *_made()]
    return {code.value: code.meaning for code in found if code.scheme_designator == PRIVATE_SCHEME}


def _named() -> Iterator[Code]:
    """Those that stand in a module of ``spinepacs.dicom`` under a name of their own, or in a dict."""
    for module in pkgutil.walk_packages(spinepacs.dicom.__path__, "spinepacs.dicom."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if not name.startswith("__"):
                yield from _within(value)


def _within(value: Any) -> Iterator[Code]:
    if isinstance(value, Code):
        yield value
    elif isinstance(value, dict):
        yield from (code for one in list(value.values()) for code in _within(one))
    elif isinstance(value, (tuple, list, frozenset)):
        yield from (code for one in value for code in _within(one))


def _made() -> Iterator[Code]:
    """Those that functions make of what they are about."""
    for sign, names in GRADE_NAMES.items():
        yield from (sign_codes.grade_code(sign, grade) for grade in range(len(names)))
    yield from (sign_codes.reference_code(grade) for grade in range(HIGHEST_REFERENCE_GRADE + 1))
    yield from (sign_codes.reason_code(reason) for reason in Reason)
    yield from (sign_codes.note_code(note) for note in NOTES)


def listed() -> str:
    """The table."""
    return table(
        ("code", "meaning"), [(f"`{value}`", words) for value, words in sorted(private_codes().items())]
    )
