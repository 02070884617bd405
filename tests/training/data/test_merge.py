"""Several data sets merged by one file, their balance, and films that would leak."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from spinepacs.training.data.balance import balance, write_balance
from spinepacs.training.data.dataset import CLASS_NAMES, LabelsError
from spinepacs.training.data.merge import read_data

LINES = "\n".join(
    f"{k} 0.3 {y} 0.7 {y} 0.7 {y + 0.1} 0.3 {y + 0.1}" for k, y in ((0, 0.2), (1, 0.4), (2, 0.6))
)


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A YOLO-seg data set of L4, L5 and discs with a split of its own."""
    folder = tmp_path / "web"
    for part, count in (("train", 4), ("valid", 2), ("test", 1)):
        for kind in ("images", "labels"):
            (folder / part / kind).mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(
                str(folder / part / "images" / f"{part}{number}.png"), np.full((60, 40), 90, np.uint8)
            )
            (folder / part / "labels" / f"{part}{number}.txt").write_text(LINES)
    (folder / "data.json").write_text(json.dumps({"names": ["lumbar4", "L5", "disc"]}))
    (tmp_path / "classes.toml").write_text('[classes]\nlumbar4 = "L4"\ndisc = ""\n')
    return folder


def _data_file(folder: Path, *sources: str, head: str = 'class_map = "classes.toml"') -> Path:
    path = folder / "data.toml"
    path.write_text("\n".join([head, *(f"[[source]]\n{source}" for source in sources)]))
    return path


WEB = 'name = "web"\nkind = "yolo-seg"\npath = "web"\n'
AP = 'name = "ap"\nkind = "ap-corners"\npath = "ap"\n'


def test_two_sources_become_one_set(web: Path, ap_folder: Path, tmp_path: Path) -> None:
    data = read_data(
        _data_file(
            tmp_path, WEB + 'split = "given"', AP, head='class_map = "classes.toml"\nvalidation = 0.34'
        )
    )
    assert [(film.source, film.name) for film in data.validation if film.source == "web"] == [
        ("web", "valid0.png"),
        ("web", "valid1.png"),
    ]
    assert sum(film.source == "ap" for film in data.validation) == 2
    assert sum(film.source == "ap" for film in data.training) == 4
    assert data.shares == {"web": 0.5, "ap": 0.5}
    assert not {film.name for film in data.training + data.validation} & {"test0.png"}


def test_the_split_of_a_source_does_not_depend_on_the_others(
    web: Path, ap_folder: Path, tmp_path: Path
) -> None:
    head = 'class_map = "classes.toml"\nvalidation = 0.34'
    alone = read_data(_data_file(tmp_path, AP, head=head)).validation
    both = read_data(_data_file(tmp_path, WEB, AP, head=head)).validation
    assert [film.name for film in alone] == [film.name for film in both if film.source == "ap"]


@pytest.mark.parametrize(("split", "parts"), [("train", (7, 0)), ("validation", (0, 7))])
def test_all_of_a_source_may_go_to_one_part(
    web: Path, tmp_path: Path, split: str, parts: tuple[int, int]
) -> None:
    data = read_data(_data_file(tmp_path, WEB + f'split = "{split}"'))
    assert (len(data.training), len(data.validation)) == parts


def test_shares_are_weights(web: Path, ap_folder: Path, tmp_path: Path) -> None:
    data = read_data(_data_file(tmp_path, WEB + "share = 3", AP + "share = 1"))
    assert data.shares == {"web": 0.75, "ap": 0.25}


def test_a_given_split_that_parts_a_group_is_refused(web: Path, tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"group 0 is in .* use split = \"group\""):
        read_data(_data_file(tmp_path, WEB + "split = \"given\"\ngroup = '([0-9])$'"))


def test_films_without_vertebra_and_doubtful_ones_are_reported(web: Path, tmp_path: Path) -> None:
    (web / "train" / "labels" / "train0.txt").write_text("")
    (web / "train" / "labels" / "train1.txt").write_text(LINES.replace("1 0.3", "0 0.3"))
    data = read_data(_data_file(tmp_path, WEB + 'split = "given"\ndrop_doubtful = true'))
    assert sorted(line.rpartition("/")[2] for line in data.left_out) == [
        "train0.png: no vertebra",
        "train1.png: a level is given twice",
    ]
    assert [film.name for film in data.training] == ["train2.png", "train3.png"]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (WEB + 'splitt = "given"', r"source\.0\.splitt: Extra inputs are not permitted"),
        (WEB.replace("yolo-seg", "voc"), r"source\.0\.kind: Input should be"),
        (WEB.replace('"web"\nkind', '"x"\nkind').replace('path = "web"', 'path = "gone"'), "gone is missing"),
        (WEB + 'group = "("', "not a regular expression"),
        (WEB + "share = 1\n[[source]]\n" + AP, "source ap: give a share to every source"),
        (WEB + "[[source]]\n" + WEB, "'web' is given twice"),
        ("name =", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_explained(web: Path, ap_folder: Path, tmp_path: Path, source: str, why: str) -> None:
    with pytest.raises(LabelsError, match=why):
        read_data(_data_file(tmp_path, source))


def test_the_balance_counts_levels_films_and_groups(web: Path, ap_folder: Path, tmp_path: Path) -> None:
    data = read_data(_data_file(tmp_path, WEB + 'split = "given"', AP + 'split = "train"'))
    write_balance(tmp_path / "balance.csv", balance(data))
    with (tmp_path / "balance.csv").open(newline="") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert rows[""] == ["web train", "web validation", "ap train"]
    assert rows["L4"] == ["4", "2", "6"]
    assert rows["T1"] == ["–", "–", "6"]
    assert rows["bodies"] == ["8", "4", str(6 * 17)]
    assert rows["films"] == ["4", "2", "6"]
    assert rows["groups"] == ["4", "2", "3"]
    assert rows["views"] == ["unknown 4", "unknown 2", "ap 6"]
    assert len(rows) == len(CLASS_NAMES) + 5


def test_a_labelled_level_that_no_film_shows_counts_zero(web: Path, tmp_path: Path) -> None:
    data = read_data(_data_file(tmp_path, WEB))
    emptied = replace(
        data, training=tuple(replace(film, bodies=film.bodies[:1]) for film in data.training), validation=()
    )
    assert {row[0]: row[1] for row in balance(emptied)}["L5"] == "0"
