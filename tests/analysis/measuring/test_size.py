"""Spacings that vertebrae contradict: found by their size, at any age and in both views."""

from dataclasses import replace

import numpy as np
import pytest

from spinepacs.analysis.measuring.size import with_possible_spacing
from spinepacs.analysis.naming.label import label
from spinepacs.domain.findings import Refusal
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.domain.study import Radiograph, View
from tests import phantoms

WIDTH_PX = 170.0


def _film(depth_mm, *, levels=phantoms.LUMBAR, view=View.LATERAL, age=None, oblong=1.0):
    """A film whose bodies are so deep (or wide), and its spine."""
    phantom = phantoms.spine(levels, width_px=WIDTH_PX, height_px=130 if view is View.LATERAL else 90)
    spine = label(phantom.detections(), view, True if view is View.LATERAL else None)
    side_mm = depth_mm / WIDTH_PX
    display = np.zeros((phantom.rows, phantom.columns), np.uint8)
    spacing = Spacing(side_mm * oblong, side_mm, SpacingBasis.DETECTOR_PLANE)
    film = Radiograph(
        "1", "1", "1", display.astype(np.float32), display, spacing, view, True, "", age_years=age
    )
    return film, spine


@pytest.mark.parametrize(
    ("depth_mm", "levels", "view", "age", "possible"),
    [
        (34.0, phantoms.LUMBAR, View.LATERAL, 50, True),
        (34.0 * 1.5, phantoms.LUMBAR, View.LATERAL, 50, True),  # magnified, uncorrected
        (42.0 * 1.5, phantoms.LUMBAR, View.LATERAL, None, True),  # and a giant
        (25.0, phantoms.LUMBAR, View.LATERAL, 80, True),
        (8.5, phantoms.LUMBAR, View.LATERAL, 0.1, True),  # a newborn
        (8.5, phantoms.LUMBAR, View.LATERAL, None, True),
        (8.5, phantoms.LUMBAR, View.LATERAL, 40, False),
        (3.4, phantoms.LUMBAR, View.LATERAL, None, False),  # a decimal point one place off
        (2.5, phantoms.LUMBAR, View.LATERAL, 0.1, False),
        (340.0, phantoms.LUMBAR, View.LATERAL, None, False),
        (34.0 / 25.4, phantoms.LUMBAR, View.LATERAL, None, False),  # inches
        (34.0 / 2.54, phantoms.LUMBAR, View.LATERAL, 40, False),
        (16.0, phantoms.CERVICAL, View.LATERAL, 50, True),
        (4.0, phantoms.CERVICAL, View.LATERAL, 0.1, True),
        (1.6, phantoms.CERVICAL, View.LATERAL, None, False),
        (160.0, phantoms.CERVICAL, View.LATERAL, 50, False),
        (45.0, phantoms.LUMBAR, View.AP, 50, True),
        (45.0 * 1.5, phantoms.LUMBAR, View.AP, 50, True),
        (12.0, phantoms.LUMBAR, View.AP, 0.5, True),
        (4.5, phantoms.LUMBAR, View.AP, None, False),
        (4.0, phantoms.LUMBAR, View.UNKNOWN, None, False),
        (40.0, phantoms.LUMBAR, View.UNKNOWN, None, True),
    ],
)
def test_only_impossible_sizes_cost_the_millimetres(depth_mm, levels, view, age, possible):
    film, spine = _film(depth_mm, levels=levels, view=view, age=age)
    spine = replace(spine, view=view)
    believed = with_possible_spacing(film, spine)
    if possible:
        assert believed is film
    else:
        assert (believed.spacing, believed.notes) == (None, ("SPACING_IMPLAUSIBLE",))


def test_without_a_spacing_nothing_is_doubted():
    film, spine = _film(34.0)
    film = replace(film, spacing=None)
    assert with_possible_spacing(film, spine) is film


def test_oblong_pixels_of_an_impossible_size_are_refused():
    film, spine = _film(3.0, oblong=1.5)
    refusal = with_possible_spacing(film, spine)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "NON_SQUARE_PIXELS"
