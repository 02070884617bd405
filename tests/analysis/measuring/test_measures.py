"""All measures of a film against spines of exactly known geometry."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinepacs.analysis.measuring import coronal, sagittal
from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.geometry import Spacing, SpacingBasis
from spinepacs.domain.measures import Measure, Quantity, Unit
from spinepacs.domain.study import View
from tests import phantoms

Q = Quantity
L3_L4 = DiscLevel(Level.L3, Level.L4)
MM = Spacing(0.15, 0.15, SpacingBasis.CALIBRATED)


def _measures(phantom, spacing=MM, view=View.LATERAL, anterior_left=True):
    spine = label(phantom.detections(), view, anterior_left if view is View.LATERAL else None)
    return {(m.quantity, m.place): m for m in measure(spine, spacing)}


def _moved(phantom, level_from, shift):
    bodies = {
        level: body + (shift if level >= level_from else [0, 0]) for level, body in phantom.bodies.items()
    }
    return dataclasses.replace(phantom, bodies=bodies)


@given(
    lefts=st.lists(st.floats(8, 45), min_size=5, max_size=5),
    rights=st.lists(st.floats(8, 45), min_size=5, max_size=5),
    degrees=st.floats(-30, 30),
    scale=st.floats(0.3, 1.5),
    mirror=st.booleans(),
)
def test_lateral_measures_are_those_that_were_drawn(lefts, rights, degrees, scale, mirror):
    phantom = phantoms.spine(left_px=lefts, right_px=rights)
    moved = phantom.moved(phantoms.rotation(degrees, 1500, 900, scale, mirror), 1500, 900)
    found = _measures(moved, anterior_left=not mirror)
    mm = 0.15 * scale
    for disc, truth in phantom.discs.items():
        near = {
            Q.DISC_HEIGHT_ANTERIOR: truth.left_px * mm,
            Q.DISC_HEIGHT_MIDDLE: truth.middle_px * mm,
            Q.DISC_HEIGHT_POSTERIOR: truth.right_px * mm,
            Q.DISC_HEIGHT_DABBS: truth.middle_px * mm,
            Q.DISC_HEIGHT_HURXTHAL: truth.middle_px * mm,
            Q.SLIP: 0.0,
        }
        for quantity, value in near.items():
            assert found[quantity, disc].value == pytest.approx(value, abs=0.01)
            assert found[quantity, disc].basis is SpacingBasis.CALIBRATED
        assert found[Q.DISC_ANGLE, disc].value == pytest.approx(truth.wedge_deg, abs=0.01)
        assert found[Q.SEGMENT_ANGLE, disc].value == pytest.approx(truth.wedge_deg, abs=0.01)
        # The bodies are rectangles: their midplanes open as their endplates do.
        assert found[Q.DISC_HEIGHT_FROBIN, disc].value == pytest.approx(truth.left_px / 170, abs=1e-3)
    total = sum(truth.wedge_deg for truth in phantom.discs.values())
    whole = found[Q.LUMBAR_LORDOSIS, Span(Level.L1, Level.S1)]
    assert whole.value == pytest.approx(total, abs=0.02)
    assert found[Q.VERTEBRA_HEIGHT_ANTERIOR, Level.L3].value == pytest.approx(130 * mm, abs=0.01)
    assert found[Q.VERTEBRA_DEPTH, Level.L3].value == pytest.approx(170 * mm, abs=0.01)
    assert found[Q.VERTEBRA_HEIGHT_LOSS, Level.L3].value == pytest.approx(0, abs=1e-3)


@given(st.floats(-30, 30), st.booleans())
def test_a_slip_is_found_with_its_sign_and_leaves_the_heights(slip_px, anterior_left):
    phantom = phantoms.spine(left_px=40, right_px=40)
    # What lies below L3 moves to the image's right: L3 slips to the left.
    found = _measures(_moved(phantom, Level.L4, [slip_px, 0]), None, anterior_left=anterior_left)
    forwards = slip_px if anterior_left else -slip_px
    assert found[Q.SLIP, L3_L4].value == pytest.approx(forwards, abs=0.01)
    assert found[Q.SLIP, L3_L4].unit is Unit.PX
    assert found[Q.SLIP_SHARE, L3_L4].value == pytest.approx(forwards / 170, abs=1e-4)
    assert found[Q.DISC_HEIGHT_ANTERIOR, L3_L4].value == pytest.approx(40, abs=0.01)
    assert found[Q.DISC_HEIGHT_DABBS, L3_L4].value == pytest.approx(np.hypot(40, slip_px), abs=0.01)


def test_frobins_height_is_taken_from_the_midplanes():
    """A wedged body turns its midplane by half its wedge; the height follows it, here worked out by hand."""
    upper = np.array([[[0.0, 0], [50, 0], [100, 0]], [[0, 60], [50, 70], [100, 80]]])
    lower = np.array([[[0.0, 110], [50, 110], [100, 110]], [[0, 190], [50, 190], [100, 190]]])
    value = sagittal.disc(np.concatenate([upper, lower]))[Q.DISC_HEIGHT_FROBIN]
    midplane = np.array([100, 10]) / np.hypot(100, 10)
    bisectrix = midplane + np.array([1, 0])
    down = np.array([-bisectrix[1], bisectrix[0]]) / np.hypot(*bisectrix)
    assert value == pytest.approx(np.array([0, 50]) @ down / ((100 + np.hypot(100, 20)) / 2))


@pytest.mark.parametrize(
    ("front", "middle", "back", "loss", "grade"),
    [(130, 130, 130, 0, 0), (101, 115, 130, 0.223, 1), (85, 107, 130, 0.346, 2), (70, 100, 130, 0.462, 3),
     (100, 100, 100, 0.231, 1), (130, 90, 130, 0.308, 2)],
)  # fmt: skip
def test_genants_loss_is_the_greatest_of_wedge_concavity_and_crush(front, middle, back, loss, grade):
    def body(top, heights):
        ends = np.array([0.0, 85.0, 170.0])
        return np.stack([np.stack([ends, np.full(3, top)], 1), np.stack([ends, top + np.array(heights)], 1)])

    stack = np.concatenate(
        [body(0, [130, 130, 130]), body(170, [front, middle, back]), body(340, [130, 130, 130])]
    )
    found = float(sagittal.body(stack)[Q.VERTEBRA_HEIGHT_LOSS])
    assert found == pytest.approx(loss, abs=1e-3)
    assert sagittal.genant_grade(found) == grade


def test_genants_loss_is_given_where_his_method_is_defined():
    found = _measures(phantoms.spine(phantoms.WHOLE, rows=6000))
    graded = [place for quantity, place in found if quantity is Q.VERTEBRA_HEIGHT_LOSS]
    assert (graded[0], graded[-1]) == (Level.T4, Level.L4)


def test_the_neck_is_measured_from_c2_and_the_chest_counts_kyphosis():
    found = _measures(phantoms.spine((Level.C2, *phantoms.WHOLE), rows=6000, left_px=40, right_px=42))
    wedge = next(iter(phantoms.spine(phantoms.WHOLE, left_px=40, right_px=42).discs.values())).wedge_deg
    assert found[Q.CERVICAL_LORDOSIS, Span(Level.C2, Level.C7)].value == pytest.approx(5 * wedge, abs=0.02)
    assert found[Q.THORACIC_KYPHOSIS, Span(Level.T4, Level.T12)].value == pytest.approx(-8 * wedge, abs=0.02)
    assert found[Q.LUMBAR_LORDOSIS, Span(Level.L1, Level.L5)].value == pytest.approx(4 * wedge, abs=0.02)


def test_without_a_front_only_what_needs_none_is_measured():
    quantities = {
        quantity for quantity, _ in _measures(phantoms.spine(left_px=40, right_px=40), anterior_left=None)
    }
    assert Q.DISC_HEIGHT_MIDDLE in quantities
    assert not quantities & {Q.DISC_HEIGHT_ANTERIOR, Q.SLIP, Q.DISC_ANGLE, Q.VERTEBRA_HEIGHT_LOSS}


def test_oblique_films_are_not_measured():
    spine = label(phantoms.spine().detections(), View.OBLIQUE, None)
    assert measure(spine, MM) == ()


def _bent(tilts, levels=tuple(Level)[Level.T1 : Level.S1]):
    """An AP spine whose bodies tilt (°, clockwise) as given."""
    middle, bodies = np.zeros(2), {}
    for level, tilt in zip(levels, np.radians(tilts), strict=True):
        right, down = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
        corners = [
            -55 * right - 30 * down,
            55 * right - 30 * down,
            55 * right + 30 * down,
            30 * down - 55 * right,
        ]
        bodies[level] = middle + np.array(corners)
        middle = middle + 75 * down
    return phantoms.Phantom(1700, 900, {level: body + np.array([450, 80]) for level, body in bodies.items()})


TWO_CURVES = [-4, -8, -14, -18, -20, -14, -2, 10, 18, 22, 14, 4, -6, -10, -6, 0, 2]
"""T1 to L5: from T5 to T10 by 42°, from T10 to L2 by 32°, above and below by 16° and 12°."""


def test_cobb_angles_end_vertebrae_and_apices_are_those_that_were_drawn():
    found = [m for m in _measures(_bent(TWO_CURVES), None, View.AP).values() if m.quantity.startswith("cobb")]
    assert [(m.quantity, m.place.name, m.convex_left) for m in found] == [
        (Q.COBB_MAIN, "T5-T10", False),
        (Q.COBB_OTHER, "T1-T5", True),
        (Q.COBB_OTHER, "T10-L2", True),
        (Q.COBB_OTHER, "L2-L5", False),
    ]
    assert [m.value for m in found] == pytest.approx([42, 16, 32, 12], abs=0.02)
    assert found[0].apex is Level.T8


@given(st.floats(-20, 20), st.floats(0.4, 1.4), st.booleans())
def test_cobb_angles_do_not_change_when_the_film_is_turned_scaled_or_mirrored(degrees, scale, mirror):
    phantom = _bent(TWO_CURVES)
    moved = phantom.moved(phantoms.rotation(degrees, 1700, 900, scale, mirror), 1700, 900)
    main = next(m for m in _measures(moved, None, View.AP).values() if m.quantity is Q.COBB_MAIN)
    assert main.value == pytest.approx(42, abs=0.02)
    assert (main.place, main.convex_left) == (Span(Level.T5, Level.T10), mirror)


def test_the_aasce_convention_is_the_angle_between_midlines():
    """Corners in the manner of the AASCE set (tl, tr, bl, br; px) whose angle was worked out by its own definition."""
    quads = [
        [[100, 50], [160, 42], [102, 88], [163, 84]],
        [[98, 100], [160, 100], [99, 139], [161, 141]],
        [[101, 150], [163, 158], [97, 190], [159, 200]],
    ]
    points = np.full((25, 2, 3, 2), np.nan)
    for level, (tl, tr, bl, br) in zip((Level.T5, Level.T6, Level.T7), np.array(quads, float), strict=True):
        points[level] = [[tl, (tl + tr) / 2, tr], [bl, (bl + br) / 2, br]]
    (curve,) = coronal.curves(points)
    assert (curve.first, curve.last) == (Level.T5, Level.T7)
    first, last = np.array([60.5, -6.0]), np.array([62.0, 9.0])
    cosine = first @ last / np.hypot(*first) / np.hypot(*last)
    stack = points[[Level.T5, Level.T7]].reshape(4, 3, 2)
    assert coronal.cobb(stack)[Q.COBB_MAIN] == pytest.approx(np.degrees(np.arccos(cosine)))


def test_ap_measures_are_named_as_such():
    phantom = _moved(phantoms.spine(left_px=44, right_px=30), Level.L4, [12, 0])
    found = _measures(phantom, view=View.AP)
    assert not any(quantity.startswith(("disc_", "vertebra_", "slip")) for quantity, _ in found)
    truth = phantom.discs[DiscLevel(Level.L1, Level.L2)]
    assert found[Q.AP_DISC_HEIGHT_LEFT, DiscLevel(Level.L1, Level.L2)].value == pytest.approx(
        44 * 0.15, abs=0.01
    )
    assert found[Q.AP_DISC_WEDGE, DiscLevel(Level.L1, Level.L2)].value == pytest.approx(
        truth.wedge_deg, abs=0.01
    )
    tilt = np.radians(2.5 * truth.wedge_deg)
    assert found[Q.LATERAL_LISTHESIS, L3_L4].value == pytest.approx(12 * 0.15 * np.cos(tilt), abs=0.02)
    assert found[Q.AP_VERTEBRA_WEDGE, Level.L3].value == pytest.approx(0, abs=0.01)


@given(st.floats(0.5, 2.0), st.floats(-20, 20))
def test_pixels_that_are_not_square_change_no_measure(ratio, degrees):
    phantom = phantoms.spine(left_px=44, right_px=30)
    turned = phantom.moved(phantoms.rotation(degrees, 1500, 900), 1500, 900)
    squeezed = turned.moved(np.array([[1, 0, 0], [0, 1 / ratio, 0]]), round(1500 / ratio), 900)
    true = _measures(phantom, Spacing(0.2, 0.2, SpacingBasis.CALIBRATED))
    found = _measures(squeezed, Spacing(0.2 * ratio, 0.2, SpacingBasis.CALIBRATED))
    assert found.keys() == true.keys()
    for key, one in found.items():
        assert one.value == pytest.approx(true[key].value, abs=0.05), key


@pytest.mark.parametrize("levels", [phantoms.WHOLE, phantoms.LUMBAR])
def test_each_quantity_stands_once_at_each_place_and_its_lines_lie_on_the_film(levels):
    phantom = phantoms.spine(levels, rows=6000, left_px=42, right_px=42)
    spine = label(phantom.detections(), View.LATERAL, False)
    found = measure(spine, MM)
    assert len({(m.quantity, m.place) for m in found}) == len(found)
    for one in found:
        for line in one.lines_px:
            assert line.shape == (2, 2)
            assert ((line > 0) & (line < [900, 6000])).all()
    by_name = {(m.quantity, m.place): m for m in found}
    for quantity in (Q.DISC_HEIGHT_ANTERIOR, Q.DISC_HEIGHT_HURXTHAL):
        height = by_name[quantity, L3_L4]
        (line,) = height.lines_px
        assert np.hypot(*(line[1] - line[0])) * 0.15 == pytest.approx(height.value)


def test_millimetres_need_a_basis_and_nothing_else_has_one():
    with pytest.raises(ValueError, match="basis"):
        Measure(Q.SLIP, L3_L4, 3.0, Unit.MM)
    with pytest.raises(ValueError, match="basis"):
        Measure(Q.SLIP_SHARE, L3_L4, 0.1, Unit.RATIO, basis=SpacingBasis.CALIBRATED)
