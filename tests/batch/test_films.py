"""Which files a batch takes, and what the results of each are called: the same whoever asks, from where and when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spinepacs.batch.films import Film, find_films
from spinepacs.batch.folder import try_out


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    try_out(folder)
    return folder


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0" * 128 + b"DICM")


def stems(films: list[Film]) -> list[str]:
    return [film.stems[0] for film in films]


def test_names_of_results_depend_on_nothing_but_the_path(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
):
    touch(tmp_path / "c/a/film.dcm", tmp_path / "c/b/film.dcm", tmp_path / "c/only.dcm")
    whole = find_films([tmp_path / "c"], out)
    assert stems(whole)[2] == "only"
    assert len(set(stems(whole))) == 3
    assert all(stem.startswith("film-") for stem in stems(whole)[:2])
    other_order = find_films([tmp_path / "c/b", tmp_path / "c/a"], out)
    assert set(stems(other_order)) == set(stems(whole)[:2])
    monkeypatch.chdir(tmp_path / "c")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    for spelt in (Path("."), Path("../c/a/.."), tmp_path / "link"):
        assert [film.key for film in find_films([spelt], Path("../out"))] == [film.key for film in whole]


def test_machines_may_mount_films_and_results_where_they_like(tmp_path: Path):
    keys = []
    for mount in ("mnt/a", "data/of/b"):
        touch(tmp_path / mount / "cohort/film.dcm")
        (tmp_path / mount / "out").mkdir()
        keys.append(find_films([tmp_path / mount / "cohort"], tmp_path / mount / "out")[0].key)
    assert keys[0] == keys[1]


def test_a_text_beside_a_film_does_not_change_its_name(tmp_path: Path, out: Path):
    touch(tmp_path / "c/film.dcm")
    (tmp_path / "c/film.txt").write_text("notes")
    assert find_films([tmp_path / "c"], out)[0].stems[0] == "film"


def test_names_that_differ_in_case_only_are_kept_apart(tmp_path: Path, out: Path):
    touch(tmp_path / "c/a/Film.dcm", tmp_path / "c/b/FILM.dcm")
    assert len({stem.casefold() for stem in stems(find_films([tmp_path / "c"], out))}) == 2


def test_a_name_that_is_a_uid_is_whole(tmp_path: Path, out: Path):
    touch(tmp_path / "c/1.2.840.1", tmp_path / "c/1.2.840.2")
    assert stems(find_films([tmp_path / "c"], out)) == ["1.2.840.1", "1.2.840.2"]


def test_a_long_name_is_cut(tmp_path: Path, out: Path):
    touch(tmp_path / "c" / f"{'ä' * 120}.dcm")
    (film,) = find_films([tmp_path / "c"], out)
    assert len(os.fsencode(f"{film.stems[0]}.overlay.dcm")) <= 255


def test_a_file_that_is_given_twice_is_one(tmp_path: Path, out: Path):
    touch(tmp_path / "c/film.dcm")
    films = find_films([tmp_path / "c", tmp_path / "c/film.dcm"], out)
    assert [(film.path.name, film.named) for film in films] == [("film.dcm", True)]


def test_results_beside_the_films_are_no_films(tmp_path: Path):
    touch(tmp_path / "film.dcm", tmp_path / "film.seg.dcm", tmp_path / "sub/other.seg.dcm")
    (tmp_path / "film.overlay.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "readings.csv").write_text("film")
    assert [film.path.name for film in find_films([tmp_path], tmp_path)] == ["film.dcm", "other.seg.dcm"]


def test_hidden_files_are_left_out(tmp_path: Path, out: Path):
    touch(tmp_path / "c/.hidden/film.dcm", tmp_path / "c/.film.dcm")
    assert find_films([tmp_path / "c"], out) == []
