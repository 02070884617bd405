"""One child for all tests of a process, since its start takes longer than most files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.child import Reader


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with Reader(tmp_path_factory.mktemp("reader")) as started:
        yield started
