"""Tells a person what is wrong in a settings file, where, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from spinepacs.settings import destinations, notifications

_KINDS = {*destinations.KINDS, *notifications.KINDS}

_BRACKETS = {
    "tuple_type": "a list of tables, in double brackets: one [[{0}]] for each",
    "model_type": "one table, in single brackets: [{0}]",
}
"""What is wrong with a section as a whole, by pydantic's types of errors."""

_KIND_AT = 2
"""Where pydantic puts the kind of a destination or a notification between its number and the key."""


def explain(path: Path, error: ValidationError) -> str:
    """Put a validation error into one line for each mistake: file, line, key, what is wrong, what to do."""
    text, lines = path.read_text(encoding="utf-8"), []
    for item in error.errors():
        location = tuple(part for n, part in enumerate(item["loc"]) if n != _KIND_AT or part not in _KINDS)
        keys = [str(part) for part in location]
        remedy = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            remedy = "no such key; see config/spinepacs.toml for those that exist, or remove the line"
        elif len(keys) == 1 and item["type"] in _BRACKETS:
            remedy = _BRACKETS[item["type"]].format(keys[0])
        number = _line_of(text, location)
        lines.append(f"{path}:{number}: {'.'.join(keys) or 'settings'}: {remedy}")
    return "\n".join(lines)


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """Find the line of a key, since tomllib keeps no positions: walk the tables in the order of the file."""
    tables = [part for part in location if isinstance(part, str)]
    index = next((part for part in location if isinstance(part, int)), 0)
    if len(tables) > 1 and re.search(rf"^\s*\[{re.escape('.'.join(tables[:2]))}\]", text, re.MULTILINE):
        tables = [".".join(tables[:2]), *tables[2:]]  # a table within a table, with a head of its own
    section, key = (tables[0] if tables else ""), (tables[1] if len(tables) > 1 else "")
    best, seen, inside = 1, -1, False
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line)
        if header:
            inside = header[2] == section
            seen += inside
            inside = inside and (header[1] == "[" or seen == index)
            best = number if inside else best
        elif (inside and key and re.match(rf"\s*{re.escape(key)}\s*=", line)) or (
            not key and re.match(rf"\s*{re.escape(section)}\s*=", line)
        ):
            return number
    return best
