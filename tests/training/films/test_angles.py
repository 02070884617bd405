"""Angles of synthetic films against bodies laid out at known angles."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed (extra: train)")

from spinepacs.training.films.angles import cobb_angles, plate_degrees, sagittal_angles

BODY = np.array([[-20.0, -12.0], [20.0, -12.0], [20.0, 12.0], [-20.0, 12.0]])
THORACIC = [f"T{n}" for n in range(1, 13)]


def body(degrees: float, down: float = 0.0) -> np.ndarray:
    """A body turned clockwise on the film, so that its right end is lower."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return BODY @ turn.T + np.array([100.0, 100.0 + down])


def test_a_plate_tilts_as_its_body_does() -> None:
    assert plate_degrees(body(17.0), upper=True) == pytest.approx(17.0)
    assert plate_degrees(body(-8.0), upper=False) == pytest.approx(-8.0)


def test_lordosis_kyphosis_and_slope_are_positive_in_a_healthy_spine_facing_right() -> None:
    tilts = {"C2": -10.0, "C7": 20.0, "T4": 15.0, "T5": 12.0, "T12": -20.0, "L1": -15.0, "S1": 38.0}
    found = sagittal_angles({level: body(tilt) for level, tilt in tilts.items()}, "right")
    assert found == pytest.approx(
        {
            "cervical_lordosis_c2_c7": 30.0,
            "thoracic_kyphosis_t4_t12": 35.0,
            "thoracic_kyphosis_t5_t12": 32.0,
            "lumbar_lordosis_l1_s1": 53.0,
            "sacral_slope": 38.0,
        }
    )


def test_the_mirrored_film_has_the_same_angles() -> None:
    tilts = {"T4": 15.0, "T5": 12.0, "T12": -20.0, "L1": -15.0, "S1": 38.0}
    right = sagittal_angles({level: body(tilt) for level, tilt in tilts.items()}, "right")
    left = sagittal_angles({level: body(-tilt) for level, tilt in tilts.items()}, "left")
    assert left == pytest.approx(right)


def test_an_angle_without_its_levels_is_left_out() -> None:
    assert sagittal_angles({"L1": body(-15.0)}, "right") == {}


def test_two_curves_meet_at_their_common_end_vertebra() -> None:
    tilts = [0, 8, 16, 20, 10, 0, -10, -20, -25, -15, -5, 5]
    curves = cobb_angles(
        {level: body(tilt, 30 * k) for k, (level, tilt) in enumerate(zip(THORACIC, tilts, strict=True))}
    )
    assert [(c["upper"], c["lower"]) for c in curves] == [("T4", "T9"), ("T9", "T12"), ("T1", "T4")]
    assert [c["degrees"] for c in curves] == pytest.approx([45.0, 30.0, 20.0])
    assert curves[0]["apex"] == "T6"


def test_the_convex_side_is_that_to_which_the_middle_lies() -> None:
    # From above, the chain goes to the right first and comes back: its bodies tilt towards the path's normal.
    down = np.linspace(0, 330, 12)
    across = 40 * np.sin(np.pi * down / 330)
    tilts = -np.degrees(np.arctan(np.gradient(across, down)))
    (curve,) = cobb_angles({level: body(t, y) for level, t, y in zip(THORACIC, tilts, down, strict=True)})
    assert curve["convex"] == "right"


def test_a_straight_spine_has_no_curve() -> None:
    assert cobb_angles({level: body(2.0, 30 * k) for k, level in enumerate(THORACIC)}) == []
