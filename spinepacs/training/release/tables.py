"""The tables of a ``manifest.toml``, as text: what else stands in it, comments too, stays as it is."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path


def with_table(text: str, name: str, table: str, version: str) -> str:
    """The manifest with another version, and ``table`` before all others, in the place of older ones of that name."""
    text = without_table(with_version(text, version), name)
    first = re.search(r"^\[", text, flags=re.MULTILINE)
    place = first.start() if first else len(text)
    return f"{text[:place].rstrip()}\n\n{table.rstrip()}\n\n{text[place:]}"


def without_table(text: str, name: str) -> str:
    """The manifest without a table and its own tables; comments after an empty line are the next one's, and stay."""
    lines = r"(?:[^\[\n].*\n|\n+(?=[^\[\n#]))*\n*"
    return re.sub(rf"^\[{name}(?:\.\w+)?\]\n{lines}", "", text, flags=re.MULTILINE)


def with_version(text: str, version: str) -> str:
    """The manifest with another version."""
    return re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)


def sha256_of(path: Path) -> str:
    """Of a network's file, lower-case hexadecimal, as the manifest names it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
