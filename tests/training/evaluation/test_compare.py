"""A film whose truth is known, read right and read wrong: values and grades stand beside the right ones."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spinepacs.analysis.judging.policy import Policy
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Endplate, Outline, PointPx
from spinepacs.domain.study import View
from spinepacs.settings.shipped import shipped
from spinepacs.training.data.dataset import Film, read_lateral_corners, read_yolo_seg
from spinepacs.training.evaluation.agreement import agreement_figures
from spinepacs.training.evaluation.compare import Rules, compare
from spinepacs.training.evaluation.marks import by_label, published_place, true_spine
from spinepacs.training.evaluation.tables import tables, write_agreement
from spinepacs.training.evaluation.truth import film_truth
from spinepacs.training.metrics.grades import BELOW_USUAL, CONCLUSION, NOT_FOUND, UNKNOWN, GradedSign
from spinepacs.training.metrics.reading import FilmReading
from spinepacs.training.metrics.values import ComparedValue

LEVELS = ["T11", "T12", "L1", "L2", "L3", "L4", "L5"]
WIDTH, HEIGHT, PITCH, MM_PER_PX = 40, 30, 38, 0.5
RULES = Rules(Policy.load(shipped("config", "grading.toml")))
SIZE = (320, 240)


def _quad(row: int) -> list[list[float]]:
    """Upper left, upper right, lower right, lower left of a body in a straight column."""
    top = 10.0 + PITCH * row
    return [[100, top], [100 + WIDTH, top], [100 + WIDTH, top + HEIGHT], [100, top + HEIGHT]]


def _record(**beside: Any) -> dict[str, Any]:
    rows = []
    for row, level in enumerate(LEVELS):
        quad = _quad(row)
        spurs = {"anterior": 0.0, "posterior": 9.0, "lateral": 9.0}
        rows.append(
            {
                "level": level,
                "outline_px": quad,
                "corners_px": quad,
                "upper_endplate_px": quad[:2],
                "lower_endplate_px": [quad[3], quad[2]],
                "osteophytes_mm": {"upper": dict(spurs), "lower": dict(spurs)},
                "sclerosis_grade": {"upper": 0, "lower": 0},
            }
        )
    discs = [f"{upper}/{lower}" for upper, lower in pairwise(LEVELS)]
    return {
        "view": "lateral",
        "facing": "left",
        "spacing_mm": 0.6,
        "magnification": 1.2,
        "disc_heights_mm": dict.fromkeys(discs, 4.0),
        "disc_sides_mm": {disc: {"mean": 4.0, "healthy": 4.0, "usual": 4.2} for disc in discs},
        "slips": {disc: {"percent": 0.0, "meyerding": 0} for disc in discs},
        "vertebrae": rows,
    } | beside


def _written(folder: Path, record: dict[str, Any]) -> Film:
    for part in ("images", "labels", "truth"):
        (folder / part).mkdir(exist_ok=True)
    cv2.imwrite(str(folder / "images" / "f.png"), np.full(SIZE, 90, np.uint8))
    lines = []
    for row in record["vertebrae"]:
        numbers = (np.array(row["outline_px"]) / [SIZE[1], SIZE[0]]).ravel()
        level = "L5" if row["level"] == "L6" else row["level"]
        lines.append(f"{int(Level[level])} " + " ".join(f"{n:.6f}" for n in numbers))
    (folder / "labels" / "f.txt").write_text("\n".join(lines))
    (folder / "truth" / "f.json").write_text(json.dumps(record))
    return read_yolo_seg(folder)[0]


def _moved(vertebra: Vertebra, down: float) -> Vertebra:
    def plate(one: Endplate | None) -> Endplate | None:
        if one is None:
            return None
        return Endplate(
            PointPx(one.left.x, one.left.y + down),
            PointPx(one.right.x, one.right.y + down),
            one.curve + np.array([0, down]),
        )

    outline = Outline(vertebra.outline.points + np.array([0, down]))
    return replace(vertebra, outline=outline, upper=plate(vertebra.upper), lower=plate(vertebra.lower))


def _compared(
    film: Film, spine: Spine | Refusal, bodies: dict[int, Vertebra]
) -> tuple[dict[tuple[str, str], ComparedValue], dict[tuple[str, str], GradedSign]]:
    display = np.full(SIZE, 90, np.uint8)
    values, grades = compare(spine, display, film, film_truth(film), bodies, RULES)
    assert len({(one.quantity, one.place) for one in values}) == len(values)
    return {(one.quantity, one.place): one for one in values}, {(one.sign, one.place): one for one in grades}


@pytest.fixture
def film(tmp_path: Path) -> Film:
    record = _record()
    record["disc_sides_mm"]["L3/L4"] |= {"healthy": 10.0, "usual": 5.6}
    record["slips"]["L4/L5"] = {"percent": 30.0, "meyerding": 2}
    record["vertebrae"][3]["osteophytes_mm"]["lower"]["anterior"] = 0.15 * WIDTH * MM_PER_PX
    record["vertebrae"][1]["sclerosis_grade"]["upper"] = 2
    record["vertebrae"][2]["fracture"] = {"genant": 2, "height_lost": 0.3}
    return _written(tmp_path, record)


def _marks(film: Film) -> tuple[Spine, dict[int, Vertebra]]:
    spine = true_spine(film, film_truth(film), View.LATERAL)
    return spine, dict(enumerate(spine.vertebrae))


def test_true_marks_have_no_error(film: Film) -> None:
    values, grades = _compared(film, *_marks(film))
    assert len(values) > 100
    for one in values.values():
        assert one.found == pytest.approx(one.true, abs=1e-4), one
    assert values["disc_height_patient", "L1/L2"].true == 4.0
    assert values["disc_height_of_depth", "L1/L2"].true == pytest.approx(8 / WIDTH)
    for one in grades.values():
        assert (one.computed, one.value) == (one.marks, pytest.approx(one.marks_value, nan_ok=True)), one


def test_what_was_drawn_is_graded_by_the_policys_thresholds_alone(film: Film) -> None:
    _, grades = _compared(film, *_marks(film))
    drawn = {key: one.drawn for key, one in grades.items() if one.drawn}
    assert drawn == {
        ("disc_height_loss", "L3/L4"): 3,
        (BELOW_USUAL, "L3/L4"): 2,
        ("spondylolisthesis", "L4/L5"): 2,
        ("osteophytes", "L2/L3"): 2,
        ("subchondral_sclerosis", "T11/T12"): 2,
        ("disc_degeneration", "T11/T12"): 1,
        ("disc_degeneration", "L2/L3"): 1,
        ("disc_degeneration", "L3/L4"): 1,
        ("vertebral_deformity", "L1"): 2,
        (CONCLUSION, "thoracic"): 1,
        (CONCLUSION, "lumbar"): 1,
    }
    assert grades["disc_height_loss", "L3/L4"].drawn_value == pytest.approx(0.6)
    assert grades["disc_height_loss", "L3/L4"].computed < 3  # the marks do not show it


def test_a_body_drawn_too_low_changes_both_its_discs(film: Film) -> None:
    spine, _ = _marks(film)
    vertebrae = tuple(_moved(one, 4) if one.level is Level.L3 else one for one in spine.vertebrae)
    values, grades = _compared(film, replace(spine, vertebrae=vertebrae), dict(enumerate(vertebrae)))
    heights = {place: one for (quantity, place), one in values.items() if quantity == "disc_height_patient"}
    errors = {place: one.found - one.true for place, one in heights.items()}
    wrong = {
        "L2/L3": pytest.approx(4 * MM_PER_PX, abs=1e-4),
        "L3/L4": pytest.approx(-4 * MM_PER_PX, abs=1e-4),
    }
    assert errors == {place: wrong.get(place, pytest.approx(0, abs=1e-4)) for place in errors}
    assert grades["disc_height_loss", "L3/L4"].computed > grades["disc_height_loss", "L3/L4"].marks


def test_a_chain_one_level_too_high_is_compared_by_body(film: Film) -> None:
    spine, _ = _marks(film)
    vertebrae = tuple(replace(one, level=Level(one.level - 1)) for one in spine.vertebrae)
    values, grades = _compared(film, replace(spine, vertebrae=vertebrae), dict(enumerate(vertebrae)))
    assert values["disc_height_patient", "L4/L5"].found == pytest.approx(4.0, abs=1e-4)
    assert grades["disc_height_loss", "L4/L5"].value != grades["disc_height_loss", "L4/L5"].marks_value


def test_what_was_not_found_has_no_grade(film: Film) -> None:
    spine, bodies = _marks(film)
    left = tuple(one for one in spine.vertebrae if one.level is not Level.L2)
    values, grades = _compared(
        film, replace(spine, vertebrae=left), {place: one for place, one in bodies.items() if one in left}
    )
    assert ("disc_height_patient", "L1/L2") not in values
    for place in ("L1/L2", "L2/L3"):
        missed = grades["disc_height_loss", place]
        assert (missed.computed, missed.published, missed.reason) == (UNKNOWN, UNKNOWN, NOT_FOUND)
    assert published_place(Level.L2, dict(zip([Level.L1], left, strict=False))) is None


def test_a_film_that_is_refused_has_truth_and_no_answers(film: Film) -> None:
    values, grades = _compared(film, Refusal("NO_VERTEBRA_FOUND", ""), {})
    assert not values
    assert {one.computed for one in grades.values()} == {UNKNOWN}
    assert grades["disc_height_loss", "L3/L4"].marks != UNKNOWN


def test_films_of_before_full_heights_were_written_have_values_and_no_grades(tmp_path: Path) -> None:
    film = _written(tmp_path, _record(disc_sides_mm={"L4/L5": {"mean": 4.0}}))
    values, grades = _compared(film, *_marks(film))
    assert values
    assert not grades


def test_of_a_sixth_lumbar_vertebra_and_below_nothing_is_compared(tmp_path: Path) -> None:
    record = _record()
    record["vertebrae"][-1]["level"] = "L6"
    record["vertebrae"][-2]["level"] = "L5"
    record["disc_heights_mm"] |= {"L3/L5": 4.0, "L5/L6": 9.0}
    film = _written(tmp_path, record)
    spine = true_spine(film, film_truth(film), View.LATERAL)
    assert [one.level for one in spine.vertebrae][-2:] == [Level.L3, Level.L5]


def test_a_lone_sacral_plate_is_found_by_its_ends(tmp_path: Path) -> None:
    rows = [
        ("f.png", f"L5{end}", x, y)
        for end, x, y in (("TB", 40, 50), ("TF", 80, 50), ("BF", 80, 80), ("BB", 40, 80))
    ]
    rows += [("f.png", "S1TB", 40, 90), ("f.png", "S1TF", 80, 90)]
    with (tmp_path / "corners.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("film", "corner", "x", "y"), *rows])
    cv2.imwrite(str(tmp_path / "f.png"), np.full((200, 160), 90, np.uint8))
    film = read_lateral_corners(tmp_path)[0]
    truth = film_truth(film)
    spine = true_spine(film, truth, View.LATERAL)
    assert [one.level for one in spine.vertebrae] == [Level.L5, Level.S1]
    assert spine.anterior_left is False
    near, far = (
        replace(spine, vertebrae=(spine.vertebrae[0], _moved(spine.vertebrae[1], down))) for down in (5, 25)
    )
    assert Level.S1 in by_label(near, film, truth, {0: near.vertebrae[0]})
    assert Level.S1 not in by_label(far, film, truth, {0: far.vertebrae[0]})


def test_a_real_film_is_graded_against_its_labelled_corners(tmp_path: Path) -> None:
    """Nothing was drawn there: what the rules make of its corners is the truth, for signs that corners show."""
    low = LEVELS.index("L4")  # the disc above it is 8 - 5 px high
    rows = [
        ("f.png", f"{level}{end}", *point)
        for row, level in enumerate(LEVELS)
        for end, point in zip(
            ("TF", "TB", "BB", "BF"), np.add(_quad(row), [0, -5 * (row >= low)]), strict=True
        )
    ]
    with (tmp_path / "corners.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("film", "corner", "x", "y"), *rows])
    cv2.imwrite(str(tmp_path / "f.png"), np.full(SIZE, 90, np.uint8))
    film = read_lateral_corners(tmp_path)[0]
    spine, bodies = _marks(film)
    _, grades = _compared(film, spine, bodies)
    assert {sign for sign, _ in grades} == {"disc_height_loss", "spondylolisthesis", "vertebral_deformity"}
    low_disc = grades["disc_height_loss", "L3/L4"]
    assert low_disc.drawn == 3
    assert all(one.computed == one.drawn for one in grades.values())
    back = tuple(_moved(one, 5) if one.level >= Level.L4 else one for one in spine.vertebrae)
    _, grades = _compared(film, replace(spine, vertebrae=back), dict(enumerate(back)))
    missed = grades["disc_height_loss", "L3/L4"]
    assert missed.drawn == missed.marks == 3
    assert missed.computed < 2


def test_an_ap_film_has_the_challenges_angles(ap_folder: Path) -> None:
    from spinepacs.training.data.dataset import read_ap_corners

    film = read_ap_corners(ap_folder)[0]
    spine = true_spine(film, film_truth(film), View.AP)
    tilted = [
        replace(one, upper=_tilted(one.upper, 4.0), lower=_tilted(one.lower, 4.0))
        if one.level is Level.T5
        else one
        for one in spine.vertebrae
    ]
    display = np.zeros((film.height_px, film.width_px), np.uint8)
    bodies = dict(enumerate(tilted))
    values, grades = compare(
        replace(spine, vertebrae=tuple(tilted)), display, film, film_truth(film), bodies, RULES
    )
    found = {one.quantity: one for one in values}
    angle = float(np.degrees(np.arctan(4 / 30)))
    assert (found["cobb_aasce_main"].true, found["cobb_aasce_main"].found) == pytest.approx(
        (0, angle), abs=1e-6
    )
    assert found["cobb_main"].found == pytest.approx(angle)
    assert not grades


def _tilted(plate: Endplate | None, down: float) -> Endplate:
    assert plate is not None
    right = PointPx(plate.right.x, plate.right.y + down)
    return Endplate(plate.left, right, np.array([plate.left, right]))


@pytest.fixture
def reading(film: Film) -> FilmReading:
    spine, bodies = _marks(film)
    display = np.full(SIZE, 90, np.uint8)
    values, grades = compare(spine, display, film, film_truth(film), bodies, RULES)
    cobb = tuple(
        ComparedValue(f"cobb_aasce_{name}", "deg", "T1-L5", 7, 40.0, found)
        for name, found in (("main", 40.0), ("upper", 44.0), ("lower", 48.0))
    )
    return FilmReading("f.png", "g", "lateral", "lateral", (), (), None, (), 0.1, values + cobb, grades)


def test_figures_tables_and_files_hold_what_was_compared(
    reading: FilmReading, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spinepacs.training.evaluation.report import show

    told = agreement_figures([reading, reading], np.ones((3, 2)))
    assert told["values"]["disc_height_patient"]["count"] == 12
    assert told["values"]["disc_height_patient"]["by_level"]["L4/L5"]["figures"]["mean_error"]["value"] == 0
    assert told["cobb"]["figures"]["smape_percent"]["value"] == pytest.approx(100 * 12 / 252, abs=1e-4)
    assert told["cobb"]["figures"]["smape_main_percent"]["value"] == 0
    stages = told["grades"]["disc_height_loss"]
    assert stages["drawn"] == [10, 0, 0, 2, 0]
    assert np.array(stages["confusion"]["computed"]).sum(axis=1).tolist() == stages["drawn"]
    assert set(stages["by_region"]) == {"thoracic", "lumbar"}
    json.dumps(told, allow_nan=False)
    show(tables("films", told))
    printed = capsys.readouterr().out
    assert "4.762" in printed
    assert "L4/L5" in printed
    write_agreement(tmp_path, {"films": [reading]})
    with (tmp_path / "grades.csv").open(newline="") as file:
        rows = {(row["sign"], row["place"]): row for row in csv.DictReader(file)}
    assert rows["disc_height_loss", "L3/L4"]["drawn"] == "3"
    assert rows["subchondral_sclerosis", "T11/T12"]["published"] == ""
    with (tmp_path / "values.csv").open(newline="") as file:
        assert sum(row["quantity"] == "disc_height_patient" for row in csv.DictReader(file)) == 6


def test_films_without_truth_have_neither_tables_nor_files(reading: FilmReading, tmp_path: Path) -> None:
    bare = replace(reading, values=(), grades=())
    told = agreement_figures([bare], np.ones((1, 1)))
    assert not told
    assert not list(tables("films", told))
    write_agreement(tmp_path, {"films": [bare]})
    assert not list(tmp_path.glob("*.csv"))


def test_charts_are_drawn(reading: FilmReading, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    from spinepacs.training.evaluation.charts import draw_agreement

    told = agreement_figures([reading, reading], np.ones((3, 2)))
    draw_agreement(tmp_path / "out", "films", told, [reading, reading])
    pictures = {path.name: cv2.imread(str(path)) for path in (tmp_path / "out").iterdir()}
    kinds = ("bland-altman", "errors", "stages", "meyerding", "signs")
    assert set(pictures) == {f"{kind}-films.png" for kind in kinds}
    assert all(picture.std() > 5 for picture in pictures.values())
