"""Write the catalogues of ``spinepacs/locale`` anew from the source: ``python -m tests.languages`` (docs/languages.md).

Texts that are new stand in each ``.po`` without a translation, those that are gone are gone from it, and the ``.mo``
that the program reads are compiled of what is there.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stderr
from io import BytesIO, StringIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from spinepacs.language import DOMAIN, FOLDER, LANGUAGES

PACKAGE = FOLDER.parent
KEYWORDS = {
    "_": None,
    "N_": None,
    "p_": ((1, "c"), 2),
    "NP_": ((1, "c"), 2),
    "n_": (1, 2),
    "private": (2,),  # meanings of our own codes
}
"""By which texts are known; the number is that of the argument, ``c`` its context."""
METHODS = [("**.py", "python"), ("**.html", "jinja2")]
_OPTIONS = {"**.html": {"trimmed": "true", "silent": "false"}}


def extracted() -> Catalog:
    """Every text of the source that is marked, with its files as comments."""
    found = Catalog(domain=DOMAIN, project="spinepacs", copyright_holder="spinepacs", charset="utf-8")
    with redirect_stderr(StringIO()):  # it warns of every f-string that is a value of a text
        texts = list(extract_from_dir(PACKAGE, METHODS, _OPTIONS, KEYWORDS))
    for file, _line, message, comments, context in texts:
        found.add(message, None, [(file, None)], auto_comments=comments, context=context)
    return found


def path_of(language: str, ending: str) -> Path:
    """The ``po`` or ``mo`` of a language."""
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.{ending}"


def catalogue(language: str) -> Catalog:
    """The catalogue of a language as people have written it; empty where there is none."""
    path = path_of(language, "po")
    if not path.exists():
        return Catalog(language, DOMAIN)
    with path.open("rb") as file:
        return read_po(file, language, DOMAIN)


def compiled(language: str) -> bytes:
    """What the program reads."""
    file = BytesIO()
    write_mo(file, catalogue(language))
    return file.getvalue()


def renewed(language: str) -> bytes:
    """The ``.po`` of a language with the texts of the source as it is; nothing is guessed."""
    known, found = catalogue(language), extracted()
    begun = known.creation_date  # stays: else no two branches could add a text without a conflict
    known.update(found, no_fuzzy_matching=True)
    known.obsolete.clear()
    known.creation_date = known.revision_date = begun
    known.header_comment = f"# Texts of spinepacs: {known.locale.english_name}. How: docs/languages.md"
    known.project, known.version, known.fuzzy = "spinepacs", "", False
    known.last_translator = known.language_team = known.msgid_bugs_address = ""
    file = BytesIO()
    write_po(file, known, width=110, sort_by_file=True, omit_header=False, include_lineno=False)
    return file.getvalue()


def main() -> None:
    """Write both files of every language, and say what is missing."""
    for language in LANGUAGES[1:]:
        path_of(language, "po").parent.mkdir(parents=True, exist_ok=True)
        path_of(language, "po").write_bytes(renewed(language))
        path_of(language, "mo").write_bytes(compiled(language))
        missing = [each.id for each in catalogue(language) if each.id and not _is_said(each.string)]
        sys.stdout.write(f"{language}: {len(catalogue(language))} texts, {len(missing)} not translated\n")


def _is_said(string: str | tuple[str, ...]) -> bool:
    return all(string) if isinstance(string, tuple) else bool(string)


if __name__ == "__main__":
    main()
