"""Measures of pictures whose width was told from the bodies: their ± holds what the guess may be wrong by."""

import pytest

from spinepacs.analysis.measuring.guessed import with_guessed_width
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.domain.geometry import stretching
from spinepacs.domain.measures import Quantity
from spinepacs.domain.study import View
from tests import phantoms
from tests.dicom.readings import LOCALISATION

HEIGHT, SHAPE = Quantity.DISC_HEIGHT_INDEX, Quantity.DISC_ANGLE


@pytest.fixture(scope="module")
def spine():
    return label(phantoms.spine(left_px=[44] * 5, right_px=[34] * 5).detections(), View.LATERAL, True)


def _of(measures, quantity):
    return {each.place: each for each in measures if each.quantity is quantity}


@pytest.mark.parametrize("quantity", [HEIGHT, SHAPE])
def test_a_film_that_is_wider_by_a_deviation_gives_a_value_within_the_new_error(spine, quantity):
    found = measure(spine, None, LOCALISATION)
    guessed = _of(with_guessed_width(found, spine, LOCALISATION), quantity)
    wider = _of(measure(spine.moved(stretching(1.083, 1.0)), None, LOCALISATION), quantity)
    assert guessed
    for place, before in _of(found, quantity).items():
        error = abs(wider[place].value - before.value)
        assert guessed[place].value == before.value
        assert guessed[place].uncertainty == pytest.approx(
            (before.uncertainty**2 + error**2) ** 0.5, rel=0.02
        )
        assert guessed[place].uncertainty > before.uncertainty


def test_without_a_known_error_none_is_made_up(spine):
    assert {each.uncertainty for each in with_guessed_width(measure(spine, None, None), spine, None)} == {
        None
    }


def test_what_cannot_be_measured_at_the_other_width_is_as_uncertain_as_its_kind(spine, monkeypatch):
    found = measure(spine, None, LOCALISATION)
    guessed = with_guessed_width(found, spine, LOCALISATION)
    largest = max(each.uncertainty for each in _of(guessed, SHAPE).values())
    first = next(iter(_of(found, SHAPE)))
    other = measure(spine.moved(stretching(1.083, 1.0)), None, LOCALISATION)
    left = [each for each in other if (each.quantity, each.place) != (SHAPE, first)]
    monkeypatch.setattr("spinepacs.analysis.measuring.guessed.measure", lambda *_: left)
    again = _of(with_guessed_width(found, spine, LOCALISATION), SHAPE)
    assert again[first].uncertainty == pytest.approx(largest, rel=0.05)
