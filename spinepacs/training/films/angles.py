"""Angles between plates, from the corners of bodies on a film; the true ones where the corners are true.

Corners are (4, 2) px, clockwise on the film from the upper corner on the film's left, as in `film_truth.Truth`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from spinepacs.training.films.mesh import Floats

# Name -> (level, whether its upper plate) of both plates. Kyphosis counts positive where the spine bends forward,
# lordosis where it bends backward.
SAGITTAL = {
    "cervical_lordosis_c2_c7": (("C2", False), ("C7", False), -1),
    "thoracic_kyphosis_t4_t12": (("T4", True), ("T12", False), 1),
    "thoracic_kyphosis_t5_t12": (("T5", True), ("T12", False), 1),
    "lumbar_lordosis_l1_s1": (("L1", True), ("S1", True), -1),
}
LEAST_COBB_DEG = 5.0


def plate_degrees(corners: Floats, upper: bool) -> float:
    """Return the tilt of a plate against the film's rows, degrees, positive where its right end is lower."""
    start, end = corners[[0, 1]] if upper else corners[[3, 2]]
    return float(np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0])))


def sagittal_angles(corners: Mapping[str, Floats], facing: str) -> dict[str, float]:
    """Return the sagittal angles (degrees) of a lateral film as far as their levels are there.

    corners: by level. facing: side of the film the patient looks to ("left" or "right"). Besides those of SAGITTAL:
    "sacral_slope", of the upper plate of S1 to the horizontal, positive where its front is lower.
    """
    # Seen facing right, a body that leans forward has its right end lower.
    forward = 1 if facing == "right" else -1
    found = {}
    for name, ((top, top_upper), (bottom, bottom_upper), sign) in SAGITTAL.items():
        if top in corners and bottom in corners:
            lean = plate_degrees(corners[bottom], bottom_upper) - plate_degrees(corners[top], top_upper)
            found[name] = round(-sign * forward * lean, 2)
    if "S1" in corners:
        found["sacral_slope"] = round(forward * plate_degrees(corners["S1"], True), 2)
    return found


def cobb_angles(corners: Mapping[str, Floats]) -> list[dict[str, float | str]]:
    """Return the curves of a frontal film of 5 degrees and more, the largest first.

    corners: by level, from the top (without C1, whose plates are no lines, and S1). Each curve has its
    `degrees` (Cobb 1948: upper plate of the upper end vertebra against lower plate of the lower one), `upper`,
    `lower` and `apex` (the most level body between), and `convex`, the side of the film ("left", "right").
    """
    levels = list(corners)
    tilts = np.array([(plate_degrees(c, True) + plate_degrees(c, False)) / 2 for c in corners.values()])
    ends = _turning_points(tilts)
    curves: list[dict[str, float | str]] = []
    for above, below in pairwise(ends):
        first, last = levels[above], levels[below]
        degrees = plate_degrees(corners[last], False) - plate_degrees(corners[first], True)
        if abs(degrees) < LEAST_COBB_DEG:
            continue
        middle = above + int(np.argmin(np.abs(tilts[above : below + 1] - (tilts[above] + tilts[below]) / 2)))
        # Tilting clockwise downwards, the right ends draw together: the curve bulges to the left.
        side = "left" if degrees < 0 else "right"
        curves.append(
            {
                "degrees": round(abs(degrees), 2),
                "upper": first,
                "lower": last,
                "apex": levels[middle],
                "convex": side,
            }
        )
    return sorted(curves, key=lambda curve: -float(curve["degrees"]))


def _turning_points(tilts: Floats) -> list[int]:
    """Return the ends of the chain and where the tilt turns, without wiggles below 3 degrees."""
    points = [0]
    for k in range(1, len(tilts)):
        if len(points) > 1 and (tilts[k] - tilts[points[-1]]) * (tilts[points[-1]] - tilts[points[-2]]) >= 0:
            points[-1] = k
        elif abs(tilts[k] - tilts[points[-1]]) >= 3.0:
            points.append(k)
        elif len(points) == 1:
            continue
    return points
