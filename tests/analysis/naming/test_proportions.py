"""Stretched pictures, by the real model on films of the demo: the film as it was made says what is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.naming import proportions
from spinepacs.analysis.naming.polarity import find_bright
from spinepacs.analysis.naming.pose import width_for_height
from spinepacs.analysis.naming.proportions import PROPORTIONS_RESTORED, as_read, find_natural
from spinepacs.analysis.seeing.normalise import stretched
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.reading.film import read_film
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.geometry import Turn, stretching
from spinepacs.domain.study import View

ROOT = Path(__file__).resolve().parents[3]
LUMBAR, AP = "2-lumbar-lateral", "4-full-spine-ap"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.open(ROOT / "models" / "spine", threads=1)


@pytest.fixture(scope="module")
def films():
    loaded = {name: read_film(ROOT / "demo" / "films" / f"{name}.dcm").radiograph for name in (LUMBAR, AP)}
    return {name: replace(film, spacing=None) for name, film in loaded.items()}


def _native(found, film):
    """The spine in px of the film as it came, by level."""
    spine = found.spine.moved(found.move) if found.move else found.spine
    return {vertebra.level: np.asarray(vertebra.outline.centroid) for vertebra in spine.vertebrae}


@pytest.mark.parametrize("name", [LUMBAR, AP])
def test_a_natural_film_is_read_as_before(segmenter, films, name):
    found, before = find_natural(segmenter, films[name]), find_bright(segmenter, films[name])
    assert found.move is None
    assert found.spine.notes == before.spine.notes
    assert [v.level for v in found.spine.vertebrae] == [v.level for v in before.spine.vertebrae]


@pytest.mark.parametrize("name", [LUMBAR, AP])
@pytest.mark.parametrize("width", [0.45, 2.2])
def test_a_stretched_film_is_read_as_the_same_film_at_natural_proportions(segmenter, films, name, width):
    film, true = stretched(films[name], width), find_bright(segmenter, films[name]).spine
    found = find_natural(segmenter, film)
    assert PROPORTIONS_RESTORED in found.spine.notes
    assert found.spine.view is films[name].view
    shape = width_for_height(found.spine.vertebrae, found.spine.view)
    assert 0.85 < shape < 1.15
    back = stretching(films[name].columns / film.columns, films[name].rows / film.rows)
    seen = {level: back(point) for level, point in _native(found, film).items()}
    # A body that the border cuts may be too little to be found again.
    named = {body.level: body for body in true.vertebrae if body.outline.points[:, 1].min() > 1}
    assert len(named) >= len(true.vertebrae) - 1
    assert set(named) <= set(seen)
    for level, vertebra in named.items():
        low, high = vertebra.outline.points.min(axis=0), vertebra.outline.points.max(axis=0)
        assert (low < seen[level]).all(), level.name
        assert (seen[level] < high).all(), level.name


def test_without_a_stated_view_it_stays_unknown(segmenter, films):
    film = replace(stretched(films[AP], 2.2), view=View.UNKNOWN)
    spine = find_natural(segmenter, film).spine
    assert (spine.view, spine.anterior_left) == (View.UNKNOWN, None)
    assert "VIEW_FROM_PICTURE" not in spine.notes


def test_a_spacing_is_believed(segmenter, films):
    spaced = read_film(ROOT / "demo" / "films" / f"{AP}.dcm").radiograph
    assert spaced.spacing is not None
    film = replace(stretched(films[AP], 2.2), spacing=spaced.spacing)
    found = find_natural(segmenter, film)
    assert found.move is None
    assert isinstance(found.spine, Refusal) or PROPORTIONS_RESTORED not in found.spine.notes


def test_what_shows_no_spine_at_any_width_is_refused_as_before(segmenter, films):
    rng = np.random.default_rng(3)
    noise = rng.normal(120, 40, (640, 640)).clip(0, 255).astype(np.uint8)
    film = replace(films[LUMBAR], display=noise, values=noise.astype(np.float32), turn=None)
    found = find_natural(segmenter, film)
    assert isinstance(found.spine, Refusal)
    assert found.spine.code == find_bright(segmenter, film).spine.code


def test_a_turn_and_a_stretch_are_both_undone(films, monkeypatch):
    film = films[LUMBAR]
    upright = proportions.Upright(film.turned(Turn.CLOCKWISE), Turn.CLOCKWISE, Refusal("X", "x"))
    monkeypatch.setattr(proportions, "find_bright", lambda *_: upright)
    monkeypatch.setattr(proportions, "_restored", lambda *_: (upright, 2.0))
    move = find_natural(None, film).move
    wide = stretched(film, 2.0)
    there = Turn.CLOCKWISE.to_upright(wide.rows, wide.columns)
    points = np.array([[10.0, 20.0], [film.columns / 2, film.rows / 3]])
    gone = there(points * [wide.columns / film.columns, wide.rows / film.rows])
    np.testing.assert_allclose(move(gone), points)


def test_a_large_film_does_not_grow_without_bound(films):
    film = stretched(films[AP], 3.0)
    assert max(stretched(film, 1 / 8).display.shape) <= 4096
    assert stretched(film, 1.0) is film


def test_a_spine_that_fills_little_of_the_film_is_odd(segmenter, films):
    seen = find_bright(segmenter, films[AP])
    assert isinstance(seen.spine, Spine)
    assert not proportions._is_odd(seen)
    assert proportions._is_odd(seen._replace(spine=replace(seen.spine, vertebrae=seen.spine.vertebrae[:4])))


@pytest.mark.parametrize("turn", [Turn.NONE, Turn.HALF])
def test_a_reading_that_is_corrected_is_looked_at_as_it_was_read(segmenter, films, turn):
    film = replace(stretched(films[AP], 2.2), turn=turn).turned(Turn(-turn % 4))
    found = find_natural(segmenter, film)
    assert found.turn is turn
    notes = (*found.film.notes, *found.spine.notes)
    _, again, spine, back = as_read(film, found.spine.moved(found.move), notes)
    assert again is turn
    assert width_for_height(spine.vertebrae, View.AP) == pytest.approx(1.0, abs=0.02)
    for one, other in zip(spine.moved(back).vertebrae, found.spine.moved(found.move).vertebrae, strict=True):
        np.testing.assert_allclose(one.outline.points, other.outline.points, atol=1e-6)
