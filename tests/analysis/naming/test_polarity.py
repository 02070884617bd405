"""Negatives, by the real model on films of the demo, as they are and inverted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinepacs.analysis.naming.polarity import find_bright
from spinepacs.analysis.naming.upright import find_upright
from spinepacs.analysis.seeing.segment import Segmenter
from spinepacs.dicom.reading.film import read_film

ROOT = Path(__file__).resolve().parents[3]
FILMS = ["1-cervical-lateral", "2-lumbar-lateral", "4-full-spine-ap"]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.open(ROOT / "models" / "spine", threads=1)


@pytest.fixture(scope="module")
def films():
    return {name: read_film(ROOT / "demo" / "films" / f"{name}.dcm").radiograph for name in FILMS}


def _negative(film, *notes):
    return replace(film, display=255 - film.display, notes=notes)


@pytest.mark.parametrize("name", FILMS)
def test_a_film_stays_as_it_is_even_if_its_header_is_not_of_one_mind(segmenter, films, name):
    film = replace(films[name], notes=("POLARITY_INCONSISTENT",))
    seen = find_bright(segmenter, film)
    assert seen.film is film
    assert seen.spine.notes == find_upright(segmenter, film).spine.notes


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("notes", [(), ("POLARITY_INCONSISTENT",)])
def test_a_negative_is_turned_round_and_read_like_the_film(segmenter, films, name, notes):
    seen = find_bright(segmenter, _negative(films[name], *notes))
    true = find_upright(segmenter, films[name]).spine
    assert seen.film.notes == (*notes, "POLARITY_FROM_PICTURE")
    np.testing.assert_array_equal(seen.film.display, films[name].display)
    assert [v.level for v in seen.spine.vertebrae] == [v.level for v in true.vertebrae]
    for one, other in zip(seen.spine.vertebrae, true.vertebrae, strict=True):
        np.testing.assert_array_equal(one.outline.points, other.outline.points)


@pytest.mark.parametrize(("notes", "said"), [((), ()), (("POLARITY_INCONSISTENT",), ("POLARITY_UNCLEAR",))])
def test_where_the_picture_does_not_tell_only_a_header_of_two_minds_is_doubted(
    segmenter, films, notes, said, monkeypatch
):
    flat = replace(films["2-lumbar-lateral"], notes=notes)
    seen = find_upright(segmenter, flat)
    grey = seen._replace(film=replace(seen.film, display=np.full_like(flat.display, 90)))
    monkeypatch.setattr("spinepacs.analysis.naming.polarity.find_upright", lambda *_: grey)
    assert find_bright(segmenter, flat).film.notes == notes + said
