"""A short run of the reading fuzzer; the long one is ``python -m tests.fuzz read --minutes 30``."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.child import FOUND, Reader
from tests.fuzz.mutate import KEYWORDS, mutant, put
from tests.fuzz.read import fuzz

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, while a file is made


def test_the_same_seed_and_number_make_the_same_file() -> None:
    numbers = range(30)
    assert [mutant(7, number) for number in numbers] == [mutant(7, number) for number in numbers]
    assert [mutant(7, number) for number in numbers] != [mutant(8, number) for number in numbers]


@pytest.mark.parametrize("seed", [1, None], ids=["a known seed", "a fresh seed"])
def test_mutated_files_end_in_an_outcome(
    tmp_path: Path, reader: Reader, seed: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = random.SystemRandom().randrange(10**9) if seed is None else seed
    tally = fuzz(reader, tmp_path / "saved", chosen, seconds=5, most=60)
    with capsys.disabled():
        print(f"\nfuzz seed {chosen}: {tally}")
    assert not tally.found, f"seed {chosen}: {tally.found}"
    assert tally.executions


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.sampled_from(KEYWORDS), st.binary(max_size=64), min_size=1, max_size=3))
def test_any_bytes_as_values_end_in_an_outcome(
    tmp_path: Path, reader: Reader, values: dict[str, bytes]
) -> None:
    data = bytearray(corpus.plain())
    for keyword, value in values.items():
        put(data, keyword, value)
    path = tmp_path / "film.dcm"
    path.write_bytes(data)
    report = reader.read(path)
    assert report.outcome not in (*FOUND, "NOT_ENCODED"), report


def test_a_child_that_dies_or_hangs_is_told_and_replaced(tmp_path: Path) -> None:
    """What the fuzzer rests on."""
    path = tmp_path / "film.dcm"
    path.write_bytes(corpus.plain())
    with Reader(tmp_path / "child") as reader:
        assert reader.read(path).outcome == "READ"
        reader.limit_s = 0.0
        assert reader.read(path).outcome == "HANG"
        reader.limit_s = 30.0
        assert reader.read(path).outcome == "READ"
        assert reader.pid
        os.kill(reader.pid, signal.SIGKILL)
        assert reader.read(path).outcome == "CRASH"
        assert reader.starts == 2
