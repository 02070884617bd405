"""Each bomb ends in its answer, in a process whose memory is measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.bombs import BOMBS
from tests.fuzz.child import Reader

MOST_MB = 400
"""What one hostile file may cost: the pixels of the largest image that is decoded take 200 MB, an inflated file 256."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    with Reader(tmp_path_factory.mktemp("reader")) as started:
        yield started


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, while a bomb is made
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_takes_little_memory(reader: Reader, tmp_path: Path, name: str) -> None:
    kind = name.rpartition("_")[2]
    path = tmp_path / (f"film.{kind}" if kind in ("png", "jpg") else "film.dcm")
    BOMBS[name].write(path)
    report = reader.read(path)
    assert report.outcome in BOMBS[name].codes, report
    assert report.peak_mb < MOST_MB, report
    assert reader.starts == 1
