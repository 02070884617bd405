"""What the database holds, for people or for files: all of it, or cut at a limit, which is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from spinepacs.language import spoken
from spinepacs.show.listing import SHOWN, as_text, write_csv
from spinepacs.show.parquet import write_parquet
from spinepacs.show.sheet import draw as sheet
from spinepacs.store import queries
from spinepacs.store.ledger import Ledger

Row = dict[str, Any]


@dataclass
class Cut:
    """A limit of rows or films (None: none), and whether there was more."""

    limit: int | None
    is_cut: bool = False

    @property
    def asked(self) -> int | None:
        """How many to ask for: one more tells that there are more."""
        return None if self.limit is None else self.limit + 1

    def of(self, pages: Iterable[list[Row]]) -> Iterator[list[Row]]:
        """Pass pages on up to the limit."""
        left = self.limit
        for page in pages:
            shown = page[:left]
            self.is_cut |= len(shown) < len(page)
            left = None if left is None else left - len(shown)
            yield shown


def export(
    ledger: Ledger,
    what: str | None,
    style: str,
    file: TextIO,
    cut: Cut,
    filters: dict[str, Any],
) -> None:
    """Write whole films, or with ``what`` or as CSV and Parquet rows, to a file or the screen.

    Parameters
    ----------
    what
        One of :data:`spinepacs.show.listing.SHOWN`; None: whole films, and discs where these have no form.
    style
        ``table``, ``csv``, ``json`` or ``parquet``, which is written to the file's bytes.
    filters
        :class:`spinepacs.store.queries.Filters`.

    Raises
    ------
    BadSettings
        If a filter is none, or the extra for Parquet is not there.
    """
    if what is None and style in ("table", "json"):
        found = [row for page in cut.of([queries.find_films(ledger, cut.asked, **filters)]) for row in page]
        if style == "table" and filters.get("level") and spoken() != "en":
            found = queries.with_all_findings(ledger, found)
        print(sheet.draw(found) if style == "table" else as_text(found, style), file=file)
        return
    what = what or "discs"
    pages = cut.of(queries.find_pages(ledger, what, cut.asked, **filters))
    if style == "csv":
        write_csv(queries.columns_of(ledger, what), pages, file)
    elif style == "parquet":
        write_parquet(queries.columns_of(ledger, what), pages, file.buffer)
    else:
        rows = [row for page in pages for row in page]
        print(as_text(rows, style, SHOWN[what]), file=file)
