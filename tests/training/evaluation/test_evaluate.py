"""The whole way: labelled films in, figures, tables and pictures out."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spinepacs.analysis.seeing.gaps import Gap
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from spinepacs.pipeline import Pipeline
from spinepacs.settings.sections import ModelSettings, OutputSettings
from spinepacs.training.data.dataset import Film, LabelledBody
from spinepacs.training.evaluation.evaluate import Conditions, evaluate, main, read_films
from spinepacs.training.evaluation.figures import set_figures
from spinepacs.training.evaluation.film import evaluate_film, outline_iou, read_grey
from spinepacs.training.evaluation.report import worst_first, write_report
from spinepacs.training.evaluation.segmenters import Heads, RememberingSegmenter
from spinepacs.training.metrics.detections import FilmResult, summary

REPOSITORY = Path(__file__).parents[3]
MODEL = REPOSITORY / "models" / "spine"


class PaintedSegmenter(RememberingSegmenter):
    """Sees the bodies that are painted on a film, the surer the brighter, and keeps the product's way around it."""

    def __init__(self) -> None:
        self.manifest = replace(Manifest.load(MODEL), window_body_px=0.0, score_threshold=0.5)

    def run_network(self, tensor: NDArray[np.float32]) -> Heads:
        raise AssertionError("nothing is inferred")

    def detect_missing(
        self, display: NDArray[np.uint8], gaps: Sequence[Gap], *_: Any
    ) -> tuple[Detection, ...]:
        sure = self.manifest
        self.manifest = replace(sure, score_threshold=0.1)
        found = [one for one in self.detect_whole(display) if any(gap.holds(one) for gap in gaps)]
        self.manifest = sure
        return tuple(found)

    def detect_whole(self, display: NDArray[np.uint8], *_: Any) -> tuple[Detection, ...]:
        contours = cv2.findContours(
            (display > 20).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )[0]
        found = []
        for row, contour in enumerate(sorted(contours, key=lambda one: float(one[:, 0, 1].mean()))):
            points = contour[:, 0].astype(np.float64) + 0.5
            x, y = points.mean(axis=0).astype(int)
            score = float(display[y, x]) / 255
            scores = np.zeros(25, np.float32)
            scores[Level.L1 + row] = score
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            found.append(Detection(scores, score, box, Outline(points)))
        kept = [one for one in found if one.score >= self.manifest.score_threshold]
        return tuple(sorted(kept, key=lambda one: -one.score))


def _film(folder: Path, name: str, greys: tuple[int, ...], group: str = "g") -> Film:
    """L1 … in a straight column, each painted with its grey."""
    image = np.zeros((260, 160), np.uint8)
    bodies = []
    for row, grey in enumerate(greys):
        top = 20 + 40 * row
        image[top : top + 30, 60:100] = grey
        quad = [[60, top], [99, top], [99, top + 29], [60, top + 29]]
        bodies.append(LabelledBody(Level.L1 + row, np.array(quad, np.float32)))
    cv2.imwrite(str(folder / name), image)
    return Film(folder / name, 160, 260, group, "lateral", tuple(bodies))


@pytest.fixture
def results(tmp_path: Path) -> list[FilmResult]:
    films = [
        _film(tmp_path, "clear.png", (250, 240, 230, 220), "a"),
        _film(tmp_path, "faint.png", (250, 240, 230, 60), "b"),
        _film(tmp_path, "dark.png", (250, 10, 10, 240), "c"),
    ]
    return [evaluate_film(PaintedSegmenter(), film) for film in films]


def test_what_is_below_the_threshold_is_on_the_curve_and_not_in_the_reading(
    results: list[FilmResult],
) -> None:
    faint = results[1]
    assert len(faint.scores) == 4
    assert faint.reading is not None
    assert [body.found for body in faint.reading.bodies] == [True, True, True, False]
    figures = summary(results, 0.5)
    assert figures["recall"] == pytest.approx(9 / 12)
    assert summary(results, 0.2)["recall"] == pytest.approx(10 / 12)
    assert figures["mask_map50_agnostic"] == pytest.approx(84 / 101)
    assert figures["films_with_all_bodies"] == pytest.approx(1 / 3)


def test_a_doubtful_body_in_a_gap_is_published_and_stands_behind_surer_ones(tmp_path: Path) -> None:
    result = evaluate_film(PaintedSegmenter(), _film(tmp_path, "f.png", (250, 240, 60, 230, 75)))
    assert result.reading is not None
    assert [body.found for body in result.reading.bodies] == [True, True, True, True, False]
    np.testing.assert_allclose(result.scores * 255, [250, 240, 230, 75, 60])
    assert result.mask_iou.argmax(axis=1).tolist() == [0, 1, 3, 4, 2]


@pytest.mark.parametrize(
    ("own", "stated", "expected"),
    [("lateral", None, "lateral"), ("ap", None, "ap"), ("ap", View.LATERAL, "lateral")],
)
def test_the_header_states_the_films_view_or_what_is_asked(
    tmp_path: Path, own: str, stated: View | None, expected: str
) -> None:
    film = replace(_film(tmp_path, "f.png", (200, 200, 200)), view=own)
    reading = evaluate_film(PaintedSegmenter(), film, view=stated).reading
    assert reading is not None
    assert reading.published_view == expected


def test_inverted_films_are_shown_with_black_bone(tmp_path: Path) -> None:
    film = _film(tmp_path, "f.png", (200,))
    assert read_grey(film.path, inverted=True)[25, 70] == 55


def test_a_missing_film_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        read_grey(tmp_path / "gone.png")


def test_figures_have_intervals_and_parts(results: list[FilmResult]) -> None:
    lateral = [*results, replace(results[0], view="ap", group="d")]
    told = set_figures(lateral, resamples=50)
    assert told["films"] == 4
    assert told["groups"] == 4
    recall = told["figures"]["recall"]
    assert recall["low"] < recall["value"] < recall["high"]
    assert set(told["by_view"]) == {"ap", "lateral"}
    assert told["by_view"]["ap"]["figures"]["recall"] == {"value": 1.0, "low": None, "high": None}
    assert list(told["by_level"]) == ["L1", "L2", "L3", "L4"]
    assert told["by_region"]["lumbar"]["bodies"] == 16
    assert told["label_distribution"]["L2"] == 4
    curve = told["curves"]["mask"]["agnostic"]
    assert curve["recall"][0] == pytest.approx(14 / 16, abs=1e-4)
    assert curve["recall"][60] == pytest.approx(13 / 16, abs=1e-4)
    assert curve["best_f1"] == pytest.approx(2 * 14 / 30, abs=1e-4)
    assert told["figures"]["mask_best_f1"]["value"] == pytest.approx(curve["best_f1"], abs=1e-4)


def test_the_worst_film_is_told_first(results: list[FilmResult], tmp_path: Path) -> None:
    readings = [result.reading for result in results if result.reading]
    assert [one.name for one in worst_first(readings)] == ["dark.png", "faint.png", "clear.png"]
    write_report(tmp_path / "out", {"model": {}}, {"set": readings}, {"set": set_figures(results, 20)})
    with (tmp_path / "out" / "films.csv").open(newline="") as file:
        films = list(csv.DictReader(file))
    assert [(row["film"], row["missed"]) for row in films] == [
        ("dark.png", "L2 L3"),
        ("faint.png", "L4"),
        ("clear.png", ""),
    ]
    with (tmp_path / "out" / "bodies.csv").open(newline="") as file:
        bodies = list(csv.DictReader(file))
    assert len(bodies) == 12
    assert sum(row["published_level"] == row["level"] for row in bodies) >= 7
    told = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert told["sets"]["set"]["by_film"][0]["film"] == "dark.png"


def test_the_command_reads_a_folder_with_the_real_model(
    yolo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in (yolo_folder / "truth").iterdir():
        record.unlink()
    out = tmp_path / "out"
    given = ["--model", str(MODEL), "--synthetic", str(yolo_folder), "--out", str(out), "--workers", "1"]
    (yolo_folder / "truth").rmdir()
    assert main([*given, "--limit", "2", "--worst", "1"]) == 0
    assert "2 films" in capsys.readouterr().out
    told = json.loads((out / "figures.json").read_text())
    assert told["model"]["version"] == Manifest.load(MODEL).version
    # Even grey films: nothing is found, and that is a result.
    assert told["sets"]["synthetic"]["figures"]["recall"]["value"] == 0
    assert len(list((out / "overlays" / "synthetic").glob("*.png"))) == 1


def test_processes_read_what_one_process_reads(tmp_path: Path) -> None:
    films = [_film(tmp_path, f"{number}.png", (200, 180, 160, 140)) for number in range(3)]
    alone, together = (list(read_films(Conditions(MODEL, workers=count), films)) for count in (1, 2))
    assert [one.name for one in together] == ["0.png", "1.png", "2.png"]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)


def test_a_film_is_read_as_the_pipeline_reads_it(tmp_path: Path) -> None:
    path = REPOSITORY / "demo" / "films" / "1-cervical-lateral.dcm"
    quiet = OutputSettings(segmentation_enabled=False, report_enabled=False, overlay_enabled=False)
    published = Pipeline.open(ModelSettings(folder=MODEL), quiet, 1).read_film(path).reading.spine
    loaded = read_film(path)
    assert isinstance(loaded, LoadedFilm)
    assert published is not None
    cv2.imwrite(str(tmp_path / "f.png"), loaded.radiograph.display)
    film = Film(tmp_path / "f.png", loaded.radiograph.columns, loaded.radiograph.rows, "", "lateral", ())
    reading = evaluate_film(Conditions(MODEL).open(), film).reading
    assert reading is not None
    found = {one.published_level: one.outline_px for one in reading.found if one.published_level >= 0}
    assert sorted(found) == [vertebra.level for vertebra in published.vertebrae]
    for vertebra in published.vertebrae:
        np.testing.assert_array_equal(found[vertebra.level], vertebra.outline.points)


def test_conditions_reach_the_manifest() -> None:
    manifest = Conditions(MODEL, whole_film_only=True, min_score=0.4).open().manifest
    assert manifest.window_body_px == 0
    assert manifest.score_threshold == 0.4


def test_figures_without_a_report(tmp_path: Path) -> None:
    figures = evaluate(PaintedSegmenter(), [_film(tmp_path, "f.png", (250, 240, 230))], 0.5)
    assert figures["level_exact_raw"] == 1
    assert figures["level_exact_chain"] == 1


def test_pictures_are_drawn(results: list[FilmResult], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'train' is not installed")
    from spinepacs.training.evaluation.pictures import draw_figures

    draw_figures(tmp_path / "out", "set", set_figures(results, 20))
    pictures = {path.name: cv2.imread(str(path)) for path in (tmp_path / "out").iterdir()}
    assert set(pictures) == {f"{kind}-set.png" for kind in ("curves", "confusion", "distribution", "levels")}
    assert all(picture.std() > 5 for picture in pictures.values())


def test_an_overlay_shows_both_outlines_in_their_colours(results: list[FilmResult], tmp_path: Path) -> None:
    from spinepacs.training.evaluation.pictures import draw_overlay

    film = _film(tmp_path, "clear.png", (250, 240, 230, 220))
    assert results[0].reading is not None
    picture = draw_overlay(film, results[0].reading).astype(int)
    orange = (picture[..., 0] > picture[..., 2] + 60).sum()
    blue = (picture[..., 2] > picture[..., 0] + 60).sum()
    assert orange > 200
    assert blue > 50


def test_the_same_outline_overlaps_wholly() -> None:
    outline = np.array([[10, 10], [40, 12], [38, 30], [9, 28]], float)
    assert outline_iou(outline, outline) == 1


def test_a_shifted_square_overlaps_by_a_third() -> None:
    square = np.array([[0, 0], [20, 0], [20, 20], [0, 20]], float)
    assert outline_iou(square, square + np.array([10, 0])) == pytest.approx(1 / 3, abs=0.02)
