"""The tracer: what it draws of bodies lies where their crops were cut, and what it guesses is not taken."""

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from spinepacs.analysis.naming.spine import find_bodies, find_spine, named
from spinepacs.analysis.seeing.crops import EDGES, places
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.analysis.seeing.tracer import MAP, MAP_STRIDE, MAPS, Tracer, corner_places, corner_spreads
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Spine
from spinepacs.domain.geometry import Outline
from spinepacs.domain.study import View
from spinepacs.errors import BadModel
from spinepacs.training.evaluation.film import radiograph_of
from tests import models, phantoms

PHANTOM = phantoms.spine()
DOWN = np.array([0.0, 1.0])


SPREAD = 0.8


def _corner_map(x, y, spread=SPREAD):
    """Logits of a corner at x, y in cells."""
    row, column = np.indices(MAP) + 0.5
    return -((row - y) ** 2 + (column - x) ** 2) / (2 * spread**2)


def _maps(body, place):
    """What a perfect network answers of a body (4, 2) at a place."""
    move = EDGES.to_film(place)
    cells = (body - move[:, 2]) @ np.linalg.inv(move[:, :2]).T / MAP_STRIDE
    row, column = np.indices(MAP) + 0.5
    line = cells.astype(np.float32).reshape(-1, 1, 2)
    inside = [
        cv2.pointPolygonTest(line, (float(x), float(y)), True)
        for x, y in zip(column.flat, row.flat, strict=True)
    ]
    return np.stack([*(_corner_map(*corner) for corner in cells), np.reshape(inside, MAP)])


class _Drawn(Tracer):
    """Answers with what it is told of the bodies, whatever the crops show."""

    def __init__(self, answer):
        self._answer, self.rows = answer, []

    def trace(self, display, outlines, towards, rows=None):
        self.rows.append(list(range(len(outlines)) if rows is None else rows))
        return super().trace(display, outlines, towards, rows)

    def maps(self, crops):
        assert all(crop.shape == EDGES.shape for crop in crops)
        return self._answer[self.rows[-1]].astype(np.float32)


def _outlines(phantom=PHANTOM):
    return [phantom.outline(level) for level in phantom.bodies]


def _places(outlines):
    centres = np.array([outline.centroid for outline in outlines])
    return places(centres, np.sqrt([outline.area_px for outline in outlines]), DOWN)[1:-1]


def _answer(outlines, bodies):
    return np.stack([_maps(body, at) for body, at in zip(bodies, _places(outlines), strict=True)])


@pytest.mark.parametrize("at", [(10.3, 20.8), (30.0, 11.5), (47.4, 0.6)])
def test_a_corner_is_placed_between_cells(at):
    answer = np.stack([_corner_map(*at)] * 4)[None].astype(np.float32)
    np.testing.assert_allclose(corner_places(answer), np.broadcast_to(at, (1, 4, 2)), atol=0.15)


@pytest.mark.parametrize("spread", [0.8, 1.5, 3.0])
def test_the_spread_of_a_corner_is_told(spread):
    answer = np.stack([_corner_map(20.3, 30.1, spread)] * 4)[None].astype(np.float32)
    np.testing.assert_allclose(corner_spreads(answer), np.full((1, 4), spread * np.sqrt(2)), rtol=1e-3)


def test_what_is_drawn_lies_on_the_film_where_it_was_seen():
    true = list(PHANTOM.bodies.values())
    # The detector's outlines are a little off, and too small.
    seen = [Outline((o.points - o.centroid) * 0.9 + o.centroid + [3.0, -2.0]) for o in _outlines()]
    tracer = _Drawn(_answer(seen, true))
    for body, traced in zip(true, tracer.trace(PHANTOM.picture(), seen, DOWN), strict=True):
        size = np.sqrt(traced.outline.area_px)
        for plate, (left, right) in ((traced.upper, body[[0, 1]]), (traced.lower, body[[3, 2]])):
            np.testing.assert_allclose([plate.left, plate.right], [left, right], atol=0.02 * size)
            np.testing.assert_allclose(plate.middle, (left + right) / 2, atol=0.02 * size)
            assert plate.spread == pytest.approx(SPREAD * np.sqrt(2) * MAP_STRIDE / EDGES.body_px, rel=1e-3)
        assert traced.outline.area_px == pytest.approx(Outline(body).area_px, rel=0.03)
        np.testing.assert_allclose(traced.outline.centroid, Outline(body).centroid, atol=0.02 * size)


def test_spurs_are_read_where_the_corners_are():
    true = list(PHANTOM.bodies.values())
    outlines = _outlines()
    row, column = np.indices(MAP) + 0.5
    slope = np.repeat((column + 100 * row)[None, None], len(true), axis=0) / 1e4
    answer = np.concatenate([_answer(outlines, true), slope], axis=1)
    for body, at, traced in zip(
        true, _places(outlines), _Drawn(answer).trace(PHANTOM.picture(), outlines, DOWN), strict=True
    ):
        move = EDGES.to_film(at)
        cells = (body - move[:, 2]) @ np.linalg.inv(move[:, :2]).T / MAP_STRIDE
        expected = (cells[:, 0] + 100 * cells[:, 1]) / 1e4
        np.testing.assert_allclose(traced.upper.spurs, expected[[0, 1]], atol=2e-3)
        np.testing.assert_allclose(traced.lower.spurs, expected[[3, 2]], atol=2e-3)


def test_a_tracer_without_spurs_says_nothing_of_them():
    outlines = _outlines()
    traced = _Drawn(_answer(outlines, list(PHANTOM.bodies.values()))).trace(PHANTOM.picture(), outlines, DOWN)
    assert {plate.spurs for one in traced for plate in (one.upper, one.lower)} == {None}


def test_something_else_than_the_body_is_not_taken():
    outlines, bodies = _outlines(), list(PHANTOM.bodies.values())
    answer = _answer(outlines, bodies)
    answer[1] = _maps(bodies[1] * 0.6 + bodies[1].mean(axis=0) * 0.4, _places(outlines)[1])
    answer[2, 4] = -1.0
    traced = _Drawn(answer).trace(PHANTOM.picture(), outlines, DOWN)
    assert [one is None for one in traced] == [False, True, True, False, False, False]


def test_a_body_that_the_border_cuts_has_no_plate_there():
    first = next(iter(PHANTOM.bodies.values()))
    cut = PHANTOM.moved(np.array([[1.0, 0, 0], [0, 1.0, -first[:, 1].mean()]]), PHANTOM.rows, PHANTOM.columns)
    outlines = [Outline(np.clip(one.points, 0, None)) for one in _outlines(cut)]
    answer = _answer(outlines, list(cut.bodies.values()))
    traced = _Drawn(answer).trace(cut.picture(), outlines, DOWN)
    assert traced[0].upper is None
    assert traced[0].lower is not None
    assert traced[0].outline.points.min() >= 0
    assert all(one.upper and one.lower for one in traced[1:])


def test_a_spine_is_redrawn_and_keeps_its_names(tmp_path):
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM), threads=1)
    film = radiograph_of(PHANTOM.picture(), View.LATERAL)
    before, found = find_spine(segmenter, film)
    assert isinstance(before, Spine)
    true = [PHANTOM.bodies[body.level] for body in before.vertebrae]
    segmenter.tracer = _Drawn(_answer([body.outline for body in before.vertebrae], true))
    after, redrawn = find_spine(segmenter, film)
    assert isinstance(after, Spine)
    kept = [
        replace(new, outline=old.outline, upper=old.upper, lower=old.lower, level_margin=old.level_margin)
        for new, old in zip(after.vertebrae, before.vertebrae, strict=True)
    ]
    assert kept == list(before.vertebrae)
    as_drawn = named(redrawn, film)
    assert [body.level_margin for body in after.vertebrae] == [
        body.level_margin for body in as_drawn.vertebrae
    ]
    for new, old, body in zip(after.vertebrae, before.vertebrae, true, strict=True):
        assert (new.upper is None, new.lower is None) == (old.upper is None, old.lower is None)
        if new.upper:
            np.testing.assert_allclose([new.upper.left, new.upper.right], body[:2], atol=1.5)
    first, last = find_bodies(segmenter, film)
    assert all(
        (one.outline.points == old.outline.points).all() for one, old in zip(last, redrawn, strict=True)
    )
    assert all(
        (one.outline.points == old.outline.points).all() for one, old in zip(first, found, strict=True)
    )
    # The detections are those of before, with the outlines of the spine.
    assert [one.score for one in redrawn] == [one.score for one in found]
    assert {id(body.outline) for body in after.vertebrae} <= {id(one.outline) for one in redrawn}


def test_plates_settle_after_the_last_naming(tmp_path, monkeypatch):
    """What settles by names is not read again: it would speak for them."""
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM), threads=1)
    film = radiograph_of(PHANTOM.picture(), View.LATERAL)
    before, _ = find_spine(segmenter, film)
    true = [PHANTOM.bodies[body.level] for body in before.vertebrae]
    segmenter.tracer = _Drawn(_answer([body.outline for body in before.vertebrae], true))
    unsettled, _ = find_spine(segmenter, film)

    def moved(vertebrae, view, anterior_left, size):
        assert (view, anterior_left, size) == (View.LATERAL, before.anterior_left, film.display.shape[::-1])
        return tuple(body.moved(lambda points: points + 3) for body in vertebrae)

    monkeypatch.setattr("spinepacs.analysis.naming.spine.settled", moved)
    after, found = find_spine(segmenter, film)
    for new, old in zip(after.vertebrae, unsettled.vertebrae, strict=True):
        np.testing.assert_allclose(new.outline.points, old.outline.points + 3)
        assert (new.level, new.level_margin) == (old.level, old.level_margin)
    assert {id(body.outline) for body in after.vertebrae} <= {id(one.outline) for one in found}
    _, read = find_bodies(segmenter, film)
    assert {one.outline.points.tobytes() for one in read} >= {
        body.outline.points.tobytes() for body in unsettled.vertebrae
    }


class _SecondThought:
    """A reader that is sure of the detector's levels at first, and of the next higher ones once bodies are drawn."""

    def __init__(self):
        self.looks = 0

    def read(self, display, found, towards):
        self.looks += 1
        off = 0 if self.looks == 1 else -1
        told = [np.where(np.arange(25) == one.raw_level + off, 9.0, 0.0) for one in found]
        return tuple(replace(one, evidence=evidence) for one, evidence in zip(found, told, strict=True))


def test_bodies_are_named_once_more_as_they_were_drawn(tmp_path):
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM), threads=1)
    film = radiograph_of(PHANTOM.picture(), View.LATERAL)
    before, _ = find_spine(segmenter, film)
    true = [PHANTOM.bodies[body.level] for body in before.vertebrae]
    segmenter.tracer = _Drawn(_answer([body.outline for body in before.vertebrae], true))
    segmenter.reader = _SecondThought()
    after, _ = find_spine(segmenter, film)
    assert [body.level for body in after.vertebrae] == [body.level - 1 for body in before.vertebrae]
    # S1, which has one plate, has become L5, which has two: both are the tracer's.
    plates = [plate for body in after.vertebrae for plate in (body.upper, body.lower)]
    assert all(plate is not None and plate.spread is not None for plate in plates)
    last = len(before.vertebrae) - 1
    assert segmenter.tracer.rows == [list(range(last + 1)), [last]], "the others were drawn before"


def test_a_sacrum_keeps_no_lower_plate_and_the_axis_no_upper_one(tmp_path):
    neck = phantoms.spine(levels=phantoms.CERVICAL)
    segmenter = Segmenter.open(models.write_model(tmp_path / "m", neck), threads=1)
    film = radiograph_of(neck.picture(), View.LATERAL)
    before, _ = find_spine(segmenter, film)
    segmenter.tracer = _Drawn(
        _answer([body.outline for body in before.vertebrae], list(neck.bodies.values()))
    )
    after, _ = find_spine(segmenter, film)
    assert after.vertebrae[0].level is Level.C2
    assert after.vertebrae[0].upper is None
    assert after.vertebrae[0].lower is not None


def test_a_model_opens_the_tracer_that_its_manifest_names(tmp_path):
    answer = np.zeros((MAPS, *MAP))
    folder = models.write_model(tmp_path / "m", PHANTOM, tracer=answer)
    tracer = Segmenter.open(folder, threads=1).tracer
    assert tracer.maps([np.zeros(EDGES.shape, np.uint8)] * 3).shape == (3, MAPS, *MAP)
    assert Segmenter.open(models.write_model(tmp_path / "n", PHANTOM), threads=1).tracer is None
    (folder / "tracer.onnx").write_bytes(b"other")
    with pytest.raises(BadModel, match="altered or half-copied"):
        Segmenter.open(folder, threads=1)


def test_a_crop_and_its_mirror_image_are_asked_alike(tmp_path):
    answer = np.arange(MAPS * MAP[0] * MAP[1], dtype=float).reshape(MAPS, *MAP) / 1e3
    tracer = Segmenter.open(models.write_model(tmp_path / "m", PHANTOM, tracer=answer), threads=1).tracer
    (told,) = tracer.maps([np.zeros(EDGES.shape, np.uint8)])
    for one, other in ((0, 1), (3, 2), (4, 4)):  # corners that change places, and the inside, which does not
        np.testing.assert_allclose(told[one], (answer[one] + answer[other][:, ::-1]) / 2, rtol=1e-5)
        np.testing.assert_allclose(told[one], told[other][:, ::-1], rtol=1e-5)


def test_another_network_is_no_tracer(tmp_path):
    folder = models.write_model(tmp_path / "m", PHANTOM, tracer=np.zeros((MAPS, *MAP)))
    wrong = models.write_model(tmp_path / "w", PHANTOM, reader=np.zeros(26)) / "reader.onnx"
    (folder / "tracer.onnx").write_bytes(wrong.read_bytes())
    manifest = folder / "manifest.toml"
    named = hashlib.sha256(wrong.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().rsplit("sha256", 1)[0] + f'sha256 = "{named}"\n')
    with pytest.raises(BadModel, match="not those of a tracer"):
        Segmenter.open(folder, threads=1)
