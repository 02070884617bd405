"""Tables in Markdown, and the places of the page that they stand in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/conformance.md"
_PLACE = re.compile(r"(<!-- from the code: ([a-z-]+) -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table; what would break it is escaped."""
    names = list(head)
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (names, *cells)]
    return "\n".join([lines[0], "|---" * len(names) + "|", *lines[1:]])


def places(text: str) -> list[str]:
    """Names of the tables that a page has room for."""
    return [match[2] for match in _PLACE.finditer(text)]


def filled(text: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """The page with each table as the code has it now."""
    return _PLACE.sub(lambda place: f"{place[1]}{tables[place[2]]()}\n{place[3]}", text)
