"""Each bomb ends in its answer, in a process whose memory is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.bombs import BOMBS
from tests.fuzz.child import Reader

MOST_MB = 400
"""What one hostile file may cost: the pixels of the largest image that is decoded take 200 MB, an inflated file 256."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, while a bomb is made
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_takes_little_memory(reader: Reader, tmp_path: Path, name: str) -> None:
    kind = name.rpartition("_")[2]
    path = tmp_path / (f"film.{kind}" if kind in ("png", "jpg") else "film.dcm")
    BOMBS[name].write(path)
    starts = max(1, reader.starts)
    report = reader.read(path)
    assert report.outcome in BOMBS[name].codes, report
    assert report.peak_mb < MOST_MB, report
    assert reader.starts == starts
