"""Rows on a screen: what they hold is shown as it is."""

from __future__ import annotations

from spinepacs.show.listing import as_text


def test_square_brackets_are_words_and_no_styles():
    """A reason may name an extra, a tag or an errno; Rich would take them for markup and leave them out."""
    reason = "pip install 'spinepacs[train]': [Errno 13], [bold]no[/bold] file"
    assert reason in as_text([{"reason": reason}], "table")
