"""Names that were read anew, put in the place of a set's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import LabelsError, read_ap_corners
from spinepacs.training.data.levels import Reading, read_levels, renamed

TABLE = Path(__file__).parents[3] / "docs" / "aasce-levels.csv"


@pytest.mark.parametrize(
    ("offset", "first", "last"),
    [(0, Level.T1, Level.L5), (1, Level.T2, Level.S1), (-1, Level.C7, Level.L4), (2, Level.T3, Level.S1)],
)
def test_every_label_moves_and_what_has_no_name_loses_it(
    ap_folder: Path, offset: int, first: Level, last: Level
) -> None:
    film = read_ap_corners(ap_folder)[0]
    moved = renamed([film], {film.name: Reading(offset, "")})[0]
    assert [body.class_id for body in moved.bodies] == list(range(first, last + 1))
    assert moved.bodies[0].outline_px.tolist() == film.bodies[0].outline_px.tolist()
    assert moved.unlabelled == frozenset(range(25)) - set(range(first, last + 1))


def test_undecided_films_and_those_nobody_read_are_left_out(ap_folder: Path) -> None:
    films = read_ap_corners(ap_folder)
    assert renamed(films, {films[0].name: Reading(None, ""), films[1].name: Reading(0, "six")}) == [films[1]]


def test_the_projects_own_table_is_read() -> None:
    readings = read_levels(TABLE)
    assert len(readings) == 481
    assert readings["ap-0001.jpg"] == Reading(0, "")
    assert readings["ap-0002.jpg"].offset is None


@pytest.mark.parametrize("text", ["film,note\na.jpg,\n", "film,offset,note\na.jpg,half,\n"])
def test_a_damaged_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "levels.csv").write_text(text)
    with pytest.raises(LabelsError, match=r"levels\.csv: .*columns film, offset, note"):
        read_levels(tmp_path / "levels.csv")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"levels\.csv: cannot be read"):
        read_levels(tmp_path / "levels.csv")
