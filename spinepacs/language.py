"""In which language people are spoken to: gettext over the catalogues in ``locale/``, and one context variable.

Texts stand in the code in English and are what catalogues know them by. :func:`speaking` says at the edge (an object
that is written, a request, a command) which language holds; what makes words below asks nobody. A thread, an async task
and a process each have their own. Codes, names of levels, numbers and dates are the same in every language
(docs/languages.md).
"""

from __future__ import annotations

import gettext as catalogues
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Literal, get_args

Language = Literal["en", "ru", "de"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
"""Codes (RFC 5646), the one in which everything is written first."""
OWN_NAMES: dict[Language, str] = {"en": "English", "ru": "Русский", "de": "Deutsch"}
"""What each language calls itself."""
FOLDER = Path(__file__).parent / "locale"
"""Its folders hold ``LC_MESSAGES/spinepacs.po``, which people write, and ``.mo``, which is read here."""
DOMAIN = "spinepacs"

_spoken: ContextVar[Language] = ContextVar("language", default="en")


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Speak a language until the end of the block. Not around a ``yield``: whoever asks for more would speak it too."""
    token = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(token)


def spoken() -> Language:
    """The language that is spoken now; English where nobody has said anything else."""
    return _spoken.get()


@cache
def catalogue(language: Language) -> catalogues.NullTranslations:
    """The catalogue of a language; a text that it lacks is given in English."""
    if language == LANGUAGES[0]:
        return catalogues.NullTranslations()
    return catalogues.translation(DOMAIN, FOLDER, [language])


def _(text: str, /, **values: object) -> str:
    """Return a text in the language that is spoken, with values in the place of its names in braces."""
    return _filled(catalogue(spoken()).gettext(text), values)


def p_(context: str, text: str, /, **values: object) -> str:
    """Return a text of which English has one for several meanings; ``context`` says which."""
    return _filled(catalogue(spoken()).pgettext(context, text), values)


def n_(one: str, many: str, count: int, /, **values: object) -> str:
    """Return a text that depends on a number, which is its ``{count}``: English has two forms, Russian three."""
    return _filled(catalogue(spoken()).ngettext(one, many, count), {"count": count, **values})


def N_(text: str) -> str:  # noqa: N802 - gettext's name for it
    """Mark a text that is translated where it is shown, for instance in a table of a module."""
    return text


def NP_(context: str, text: str) -> str:  # noqa: N802 - gettext's name for it
    """Mark a text that is translated where it is shown, with its context."""
    return text


def _filled(text: str, values: dict[str, object]) -> str:
    return text.format(**values) if values else text
