"""docs/conformance.md says what the code does: its tables are those that the code gives now."""

from __future__ import annotations

import re

import pytest

from spinepacs.dicom.codes import PRIVATE_SCHEME
from tests.conformance.markdown import PAGE, filled, places
from tests.conformance.private_codes import private_codes
from tests.conformance.report import codes_in_results
from tests.conformance.tables import TABLES

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_has_room_for_each_table_once() -> None:
    assert sorted(places(TEXT)) == sorted(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_the_page_says_what_the_code_says(name: str) -> None:
    place = re.search(rf"<!-- from the code: {name} -->\n(.*?)\n<!-- end -->", TEXT, re.DOTALL)
    assert place
    assert place[1] == TABLES[name](), "write it anew: python -m tests.conformance"


def test_a_table_that_differs_would_be_seen() -> None:
    assert filled(TEXT, TABLES) == TEXT
    assert filled(TEXT, {name: lambda: "| other |" for name in TABLES}) != TEXT


def test_every_private_code_of_a_result_is_listed() -> None:
    ours = {value for scheme, value in codes_in_results() if scheme == PRIVATE_SCHEME}
    assert len(ours) > 30
    assert ours <= set(private_codes())
    assert all(len(value) <= 16 for value in private_codes())
