from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.domain.anatomy import Level
from spinepacs.training.data.dataset import (
    CLASS_NAMES,
    Film,
    LabelledBody,
    LabelsError,
    read_ap_corners,
    read_lateral_corners,
    read_yolo_seg,
    split_by_group,
    write_split,
)
from spinepacs.training.data.doubts import suspicion


def test_the_classes_are_the_levels_in_order() -> None:
    assert CLASS_NAMES[0] == "C1"
    assert CLASS_NAMES[int(Level.T1)] == "T1"
    assert CLASS_NAMES[24] == "S1"
    assert len(CLASS_NAMES) == 25


def test_ap_corners_become_quads_in_ring_order(ap_folder: Path) -> None:
    film = read_ap_corners(ap_folder)[0]
    assert [body.class_id for body in film.bodies] == list(range(7, 24))
    assert film.bodies[0].outline_px.tolist() == [[35, 10], [65, 10], [65, 22], [35, 22]]
    assert (film.width_px, film.height_px, film.group) == (100, 300, "0")


def test_ap_films_say_which_classes_they_do_not_label(ap_folder: Path) -> None:
    unlabelled = {CLASS_NAMES[c] for c in read_ap_corners(ap_folder)[0].unlabelled}
    assert unlabelled == {"C1", "C2", "C3", "C4", "C5", "C6", "C7", "S1"}


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"corners\.csv is missing"):
        read_ap_corners(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "corners.csv").write_text("film,corner\n")
    with pytest.raises(LabelsError, match="lacks the columns x, y"):
        read_lateral_corners(tmp_path)


def test_only_finished_synthetic_films_are_read(yolo_folder: Path) -> None:
    films = read_yolo_seg(yolo_folder)
    assert [film.name for film in films] == ["s0.png", "s1.png"]
    assert films[0].view == "lateral"


def test_yolo_shares_become_native_pixels(yolo_folder: Path) -> None:
    body = read_yolo_seg(yolo_folder)[0].bodies[0]
    assert body.class_id == int(Level.L4)
    np.testing.assert_allclose(body.outline_px[0], [0.3 * 160 - 0.5, 0.2 * 200 - 0.5], atol=1e-4)


def test_without_truth_every_film_counts(yolo_folder: Path) -> None:
    for path in (yolo_folder / "truth").iterdir():
        path.unlink()
    (yolo_folder / "truth").rmdir()
    assert len(read_yolo_seg(yolo_folder)) == 3


def _with_body(film: Film, index: int, outline: list[list[float]], class_id: int | None = None) -> Film:
    bodies = list(film.bodies)
    number = bodies[index].class_id if class_id is None else class_id
    bodies[index] = LabelledBody(number, np.array(outline, np.float32))
    return replace(film, bodies=tuple(bodies))


def test_sound_labels_are_not_suspected(ap_folder: Path) -> None:
    assert suspicion(read_ap_corners(ap_folder)[0]) is None


@pytest.mark.parametrize(
    ("outline", "class_id", "why"),
    [
        ([[35, 58], [65, 70], [65, 58], [35, 70]], None, "crossed"),
        ([[35, 58], [65, 58], [65, 70], [35, 70]], 7, "twice"),
        ([[35, 58], [65, 58], [65, 84], [35, 84]], None, "overlaps"),
        ([[35, 55], [65, 55], [65, 76], [35, 76]], None, "taller|overlaps"),
        ([[35, 2], [65, 2], [65, 9], [35, 9]], None, "above"),
    ],
)
def test_doubtful_labels_are_found(
    ap_folder: Path, outline: list[list[float]], class_id: int | None, why: str
) -> None:
    film = _with_body(read_ap_corners(ap_folder)[0], 3, outline, class_id)
    assert (suspicion(film) or "") != ""
    assert any(word in str(suspicion(film)) for word in why.split("|"))


def _films(sizes: list[int]) -> list[Film]:
    return [
        Film(Path(f"{group}-{k}.png"), 10, 10, str(group), "ap", ())
        for group, n in enumerate(sizes)
        for k in range(n)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_never_split(seed: int) -> None:
    films = _films([1, 9, 4, 1, 20, 3, 2, 7, 1, 1, 12])
    training, validation = split_by_group(films, 0.2, seed)
    assert not {film.group for film in training} & {film.group for film in validation}
    assert len(training) + len(validation) == len(films)
    assert 0 < len(validation) <= round(0.2 * len(films))


def test_the_split_is_the_same_for_the_same_seed_whatever_the_order() -> None:
    films = _films([3, 2, 5, 1, 1, 4])
    first, second = split_by_group(films, 0.3, 1), split_by_group(films[::-1], 0.3, 1)
    assert {film.name for film in first[1]} == {film.name for film in second[1]}


def test_the_written_split_names_every_film(tmp_path: Path) -> None:
    training, validation = split_by_group(_films([3, 2, 5]), 0.3, 1)
    write_split(tmp_path / "split.csv", training, validation)
    rows = (tmp_path / "split.csv").read_text().splitlines()
    assert rows[0] == "film,group,part"
    assert len(rows) == 11
