import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.measuring.measure import disc_heights
from spinepacs.analysis.naming.label import label
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.domain.study import View
from tests import phantoms

L3_L4 = DiscLevel(Level.L3, Level.L4)


def _discs(phantom, spacing=None, view=View.LATERAL, anterior_left=True):
    return disc_heights(label(phantom.detections(), view, anterior_left), spacing)


@given(
    lefts=st.lists(st.floats(8, 45), min_size=5, max_size=5),
    rights=st.lists(st.floats(8, 45), min_size=5, max_size=5),
    flare=st.floats(-0.03, 0.06),
    degrees=st.floats(-30, 30),
    scale=st.floats(0.3, 1.5),
)
def test_heights_index_and_wedge_are_those_that_were_drawn(lefts, rights, flare, degrees, scale):
    phantom = phantoms.spine(left_px=lefts, right_px=rights, flare=flare)
    moved = phantom.moved(phantoms.rotation(degrees, 1500, 900, scale), 1500, 900)
    spacing = Spacing(0.15, 0.15, SpacingBasis.CALIBRATED)
    discs = _discs(moved, spacing)
    assert [disc.disc for disc in discs] == list(phantom.discs)
    for disc in discs:
        truth = phantom.discs[disc.disc]
        assert disc.anterior_mm == pytest.approx(truth.left_px * scale * 0.15, abs=0.01)
        assert disc.middle_mm == pytest.approx(truth.middle_px * scale * 0.15, abs=0.01)
        assert disc.posterior_mm == pytest.approx(truth.right_px * scale * 0.15, abs=0.01)
        assert disc.height_index == pytest.approx(truth.index, abs=1e-4)
        assert disc.wedge_deg == pytest.approx(truth.wedge_deg, abs=0.01)


def test_the_front_may_be_on_either_side_or_unknown():
    phantom = phantoms.spine(left_px=44, right_px=30)
    left = _discs(phantom, anterior_left=True)[0]
    right = _discs(phantom, anterior_left=False)[0]
    assert left.anterior_px == right.posterior_px == pytest.approx(44)
    assert left.wedge_deg == -right.wedge_deg > 0
    neither = _discs(phantom, view=View.AP)[0]
    assert (neither.left_px, neither.right_px) == pytest.approx((44, 30))
    assert (neither.anterior_px, neither.posterior_px) == (None, None)
    assert set(neither.lines_px) == {"left", "middle", "right"}


def test_the_lines_are_as_long_as_the_heights_and_lead_from_head_to_foot():
    for disc in _discs(phantoms.spine(left_px=50, right_px=20, lean_deg=8)):
        assert set(disc.lines_px) == {"anterior", "middle", "posterior"}
        for name, line in disc.lines_px.items():
            assert np.hypot(*(line[1] - line[0])) == pytest.approx(getattr(disc, f"{name}_px"))
            assert line[1, 1] > line[0, 1]


def test_without_a_spacing_there_are_no_millimetres():
    disc = _discs(phantoms.spine())[0]
    assert disc.middle_px > 0
    assert [getattr(disc, f"{name}_mm") for name in ("anterior", "middle", "posterior", "left", "right")] == [
        None
    ] * 5


@given(st.floats(0.5, 2.0), st.floats(-20, 20))
def test_pixels_that_are_not_square_change_neither_millimetres_nor_angles(ratio, degrees):
    phantom = phantoms.spine(left_px=44, right_px=30)
    turned = phantom.moved(phantoms.rotation(degrees, 1500, 900), 1500, 900)
    squeezed = turned.moved(np.array([[1, 0, 0], [0, 1 / ratio, 0]]), round(1500 / ratio), 900)
    true = _discs(phantom, Spacing(0.2, 0.2, SpacingBasis.CALIBRATED))
    found = _discs(squeezed, Spacing(0.2 * ratio, 0.2, SpacingBasis.CALIBRATED))
    for one, other in zip(true, found, strict=True):
        assert other.anterior_mm == pytest.approx(one.anterior_mm, abs=0.02)
        assert other.posterior_mm == pytest.approx(one.posterior_mm, abs=0.02)
        assert other.wedge_deg == pytest.approx(one.wedge_deg, abs=0.05)
        assert other.height_index == pytest.approx(one.height_index, abs=1e-3)
        assert other.anterior_px == pytest.approx(other.anterior_mm / (0.2 * ratio**0.5))


def test_a_slip_along_the_disc_does_not_change_its_height():
    phantom = phantoms.spine(left_px=40, right_px=40)
    slipped = {
        level: body + ([25, 0] if level >= Level.L4 else [0, 0]) for level, body in phantom.bodies.items()
    }
    discs = {disc.disc: disc for disc in _discs(dataclasses.replace(phantom, bodies=slipped))}
    assert discs[L3_L4].anterior_px == pytest.approx(40, abs=0.01)
    assert discs[L3_L4].posterior_px == pytest.approx(40, abs=0.01)


def test_a_disc_beside_a_missing_vertebra_is_not_measured():
    discs = _discs(phantoms.spine().without(Level.L3))
    assert [disc.disc.name for disc in discs] == ["L1/L2", "L4/L5", "L5/S1"]


def test_there_is_no_disc_between_c1_and_c2():
    discs = _discs(phantoms.neck())
    assert discs[0].disc.name == "C2/C3"


def test_endplates_that_overlap_have_no_negative_height():
    phantom = phantoms.spine(left_px=20, right_px=20)
    sunk = {
        level: body + ([0, -26] if level >= Level.L4 else [0, 0]) for level, body in phantom.bodies.items()
    }
    discs = {disc.disc: disc for disc in _discs(dataclasses.replace(phantom, bodies=sunk))}
    assert discs[L3_L4].anterior_px == 0
    assert discs[L3_L4].height_index == 0
