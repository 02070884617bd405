from __future__ import annotations

from pathlib import Path

import pytest

from spinepacs.training.data.classmap import read_class_map
from spinepacs.training.data.dataset import CLASS_NAMES, LabelsError

TEXT = """[classes]
"1" = "L1"
disc = ""
sacrum = "S1 unlabelled"
[classes.web-cervical]
"1" = "C1"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "classes.toml"
    file.write_text(TEXT)
    return file


@pytest.mark.parametrize(("source", "level"), [("web-lumbar", "L1"), ("web-cervical", "C1")])
def test_one_source_may_mean_something_else(path: Path, source: str, level: str) -> None:
    assert read_class_map(path, source).level("1") == CLASS_NAMES.index(level)


def test_left_out_names_are_known_and_have_no_level(path: Path) -> None:
    class_map = read_class_map(path, "web")
    assert class_map.knows("disc")
    assert class_map.level("disc") is None
    assert class_map.level("sacrum") is None


def test_a_level_stands_for_itself(path: Path) -> None:
    class_map = read_class_map(path, "web")
    assert class_map.level("T12") == CLASS_NAMES.index("T12")
    assert not class_map.knows("T13")


def test_what_no_name_stands_for_is_unlabelled(path: Path) -> None:
    unlabelled = read_class_map(path, "web").unlabelled(["1", "S1", "sacrum", "disc", "never heard of"])
    assert {CLASS_NAMES[number] for number in unlabelled} == set(CLASS_NAMES) - {"L1"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[classes]\n"x" = "L6"', "'x' = 'L6': give a level"),
        ('[classes]\n"x" = 3', "'x' = 3: give a level"),
        ("[classes", "not valid TOML"),
    ],
)
def test_a_wrong_map_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "classes.toml"
    file.write_text(text)
    with pytest.raises(LabelsError, match=why):
        read_class_map(file, "web")


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"nowhere\.toml: cannot be read"):
        read_class_map(tmp_path / "nowhere.toml", "web")
