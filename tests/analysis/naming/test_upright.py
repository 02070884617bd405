"""Films in every position, by the real model on films of the demo: the film as it was made says what is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.naming import upright
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.naming.spine import find_spine
from spinepacs.analysis.naming.upright import find_upright
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.reading.film import LoadedFilm, read_film
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.geometry import Turn
from spinepacs.domain.study import View
from tests import phantoms

ROOT = Path(__file__).resolve().parents[3]
LUMBAR, AP = "2-lumbar-lateral", "4-full-spine-ap"
POSITIONS = [Turn.CLOCKWISE, Turn.HALF, Turn.COUNTERCLOCKWISE]


class Counting(Segmenter):
    """Counts the pictures that the network reads."""

    seen = 0

    def infer(self, tensor):
        self.seen += len(tensor)
        return super().infer(tensor)


@pytest.fixture(scope="module")
def segmenter():
    return Counting.open(ROOT / "models" / "spine", threads=1)


@pytest.fixture(scope="module")
def films():
    loaded = {name: read_film(ROOT / "demo" / "films" / f"{name}.dcm") for name in (LUMBAR, AP)}
    assert all(isinstance(film, LoadedFilm) for film in loaded.values())
    return {name: film.radiograph for name, film in loaded.items()}


@pytest.fixture(scope="module")
def true_spines(segmenter, films):
    return {name: find_spine(segmenter, film)[0] for name, film in films.items()}


def _filmed(film, needed, **header):
    """A film as it would be had it been exposed so that ``needed`` brings the head up."""
    return replace(film.turned(Turn(-needed % 4)), **{"turn": None, "anterior_left": None, **header})


def _same(spine: Spine, true: Spine) -> None:
    assert [v.level for v in spine.vertebrae] == [v.level for v in true.vertebrae]
    for one, other in zip(spine.vertebrae, true.vertebrae, strict=True):
        np.testing.assert_allclose(one.outline.points, other.outline.points, atol=1e-6)


def test_an_upright_film_is_looked_at_no_more_than_before(segmenter, films, true_spines):
    segmenter.seen = 0
    find_spine(segmenter, films[LUMBAR])
    before, segmenter.seen = segmenter.seen, 0
    seen = find_upright(segmenter, replace(films[LUMBAR], turn=None))
    assert segmenter.seen == before
    assert (seen.turn, seen.spine.notes) == (Turn.NONE, true_spines[LUMBAR].notes)


@pytest.mark.parametrize("turn", POSITIONS)
def test_the_header_turns_a_film_and_costs_nothing(segmenter, films, true_spines, turn):
    segmenter.seen = 0
    find_spine(segmenter, films[LUMBAR])
    before, segmenter.seen = segmenter.seen, 0
    seen = find_upright(segmenter, _filmed(films[LUMBAR], turn, turn=turn, anterior_left=False))
    assert segmenter.seen == before
    assert (seen.turn, seen.spine.anterior_left, seen.spine.anterior_basis) == (turn, False, "header")
    assert seen.spine.notes[-1] == f"TURNED_{turn.name}"
    _same(seen.spine, true_spines[LUMBAR])


@pytest.mark.parametrize("name", [LUMBAR, AP])
@pytest.mark.parametrize("turn", POSITIONS)
def test_without_a_header_the_picture_turns_it(segmenter, films, true_spines, name, turn):
    seen = find_upright(segmenter, _filmed(films[name], turn))
    assert seen.turn is turn
    assert seen.spine.notes[-2:] == (f"TURNED_{turn.name}", "TURN_FROM_PICTURE")
    assert seen.spine.anterior_left == true_spines[name].anterior_left
    _same(seen.spine, true_spines[name])


@pytest.mark.parametrize("turn", POSITIONS)
def test_a_stale_header_gives_way_to_the_picture(segmenter, films, true_spines, turn):
    stale = _filmed(films[LUMBAR], turn, turn=Turn.NONE, anterior_left=True)
    seen = find_upright(segmenter, stale)
    assert "ORIENTATION_CONTRADICTED" in seen.spine.notes
    assert (seen.spine.anterior_left, seen.spine.anterior_basis) == (False, "picture")
    _same(seen.spine, true_spines[LUMBAR])


def test_an_upright_film_is_not_turned_by_a_stale_header(segmenter, films, true_spines):
    seen = find_upright(segmenter, replace(films[AP], turn=Turn.HALF))
    assert seen.turn is Turn.NONE
    assert "ORIENTATION_CONTRADICTED" in seen.spine.notes
    _same(seen.spine, true_spines[AP])


def test_a_header_with_the_front_at_the_back_is_not_believed(segmenter, films):
    spine = find_upright(segmenter, replace(films[LUMBAR], anterior_left=True)).spine
    assert "FACING_CONTRADICTED" in spine.notes
    assert (spine.view, spine.anterior_left, spine.anterior_basis) == (View.LATERAL, None, "")


@pytest.mark.parametrize(("read", "agreeing"), [(True, 5), (False, 0)])
def test_levels_that_a_reader_has_shifted_are_no_sign_of_a_film_upside_down(read, agreeing):
    told = np.eye(25)[Level.L4] * 9  # of the third body, which the detector calls L3
    found = [
        replace(
            one,
            evidence=told * (one.raw_level == Level.L3),
        )
        for one in phantoms.spine(phantoms.LUMBAR[:5]).detections()
    ]
    spine = label(found, View.AP, None)
    assert [vertebra.level - vertebra.raw_level for vertebra in spine.vertebrae] == [1] * 5
    unread = found if read else [replace(one, evidence=None) for one in found]
    look = upright._Look.of(Turn.NONE, spine, unread)
    assert look.agreeing == agreeing
    assert look.agreement == pytest.approx(sum(v.raw_score for v in spine.vertebrae) if read else 0)


def test_a_film_of_nothing_is_refused_as_before(segmenter, films):
    film = films[LUMBAR]
    noise = np.random.default_rng(3).normal(90, 8, film.display.shape).astype(np.uint8)
    seen = find_upright(segmenter, replace(film, display=noise, values=noise.astype(np.float32), turn=None))
    assert isinstance(seen.spine, Refusal)
    assert seen.spine.code in ("NO_VERTEBRA_FOUND", "TOO_FEW_VERTEBRAE")


def test_a_lying_spine_that_no_position_explains_is_refused(monkeypatch, films, true_spines):
    film = films[LUMBAR]
    lying = true_spines[LUMBAR].moved(Turn.CLOCKWISE.to_upright(film.rows, film.columns))
    nothing = (Refusal("NO_VERTEBRA_FOUND", "nothing"), ())
    monkeypatch.setattr(upright, "find_spine", lambda *_: (lying, ()))
    monkeypatch.setattr(upright, "_first_look", lambda _, __, turn, ___: upright._Look.of(turn, *nothing))
    assert find_upright(None, replace(film, turn=None)).spine.code == "ORIENTATION_UNCLEAR"


def _together(film, *displays, gap_px=0, grey=0, turned=Turn.NONE):
    """Several exposures on one image, beside each other."""
    rows = max(len(display) for display in displays)
    padded = [
        np.pad(one, ((0, rows - len(one)), (0, gap_px)), "constant", constant_values=grey) for one in displays
    ]
    picture = turned.as_filmed(np.hstack(padded))
    values = picture.astype(np.float32)
    return replace(film, display=picture, values=values, view=View.UNKNOWN, turn=None, spacing=None)


@pytest.mark.parametrize(
    ("gap_px", "grey", "turned"),
    [
        (0, 0, Turn.NONE),
        (3, 255, Turn.NONE),
        (60, 0, Turn.NONE),
        (60, 0, Turn.HALF),
        (0, 0, Turn.CLOCKWISE),
        (0, 0, Turn.COUNTERCLOCKWISE),
    ],
)
def test_two_exposures_beside_each_other_are_refused(segmenter, films, gap_px, grey, turned):
    lateral, frontal = films[LUMBAR].display, films[AP].display[900:1600]
    image = _together(films[LUMBAR], lateral, frontal, gap_px=gap_px, grey=grey, turned=turned)
    assert find_upright(segmenter, image).spine.code == "TWO_EXPOSURES"


def test_two_exposures_of_one_kind_of_two_sizes_or_below_each_other_are_refused(segmenter, films):
    film, lateral, frontal = films[LUMBAR], films[LUMBAR].display, films[AP].display[900:1600]
    laid = _together(film, lateral.T, frontal.T, gap_px=10)
    below = replace(laid, display=laid.display.T.copy(), values=np.asarray(laid.values).T.copy())
    for image in (
        _together(film, lateral, lateral[:, ::-1]),
        _together(film, lateral[::2, ::2].copy(), frontal),
        below,
    ):
        assert find_upright(segmenter, image).spine.code == "TWO_EXPOSURES"
