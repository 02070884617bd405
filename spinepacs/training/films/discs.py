"""Discs and what joins two vertebrae: heights, narrowing, slips, fusion, gas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spinepacs.training.films.anatomy import LEVELS
from spinepacs.training.films.build import Build
from spinepacs.training.films.mesh import Floats

# Mean height of the disc below C2 to L6, mm.
_DISCS_MM = (
    4.0, 4.1, 4.1, 4.2, 4.2, 4.3,
    4.2, 4.0, 4.0, 4.1, 4.2, 4.2, 4.2, 4.3, 4.6, 4.9, 5.3, 5.8,
    7.0, 7.6, 8.4, 9.4, 8.8, 8.8,
)  # fmt: skip
DISC_MM = dict(enumerate(_DISCS_MM, start=1))
C7 = LEVELS.index("C7")
# Shares of the lower plate's depth that part Meyerding's grades (Surg Gynecol Obstet 1932;54:371).
MEYERDING = (0.25, 0.50, 0.75, 1.0)


@dataclass(frozen=True)
class Discs:
    """What lies below each level, (N,) each; 0 or False where there is nothing.

    height_mm: of the disc. slip: how far the upper body stands behind (positive) or before (negative) the lower one,
    as a share of the lower one's depth. fused: joined by bone. gas: a vacuum in the disc. healthy_mm: height before
    anything narrowed it. usual_mm: mean height of healthy discs of that level and build.
    """

    height_mm: Floats
    slip: Floats
    fused: tuple[bool, ...]
    gas: tuple[bool, ...]
    healthy_mm: Floats
    usual_mm: Floats


def draw_discs(rng: np.random.Generator, levels: tuple[str, ...], build: Build) -> Discs:
    """Draw the discs below the levels; narrowed ones mostly at C4-C6 and L3-L5."""
    count, adult = len(levels), build.cortex == 1
    usual, healthy, heights = np.zeros((3, count))
    fused, gas = [False] * count, [False] * count
    for i in range(1, count - 1):
        region, number = levels[i][0], int(levels[i][1:])
        often = (region == "C" and 4 <= number <= 6) or (region == "L" and number >= 3)
        usual[i] = DISC_MM[i] * build.disc
        healthy[i] = heights[i] = DISC_MM[i] * rng.normal(1, 0.12) * build.disc
        narrow = adult and rng.random() < (0.22 if often else 0.08)
        if narrow:
            heights[i] *= rng.uniform(0.2, 0.75)
        gas[i] = bool(narrow and rng.random() < 0.12)
        fused[i] = bool(rng.random() < (0.006 if often else 0.003))
        if fused[i]:
            heights[i] *= rng.uniform(0.1, 0.5)
    if build.deep_seated:
        heights[-2] *= rng.uniform(0.15, 0.5)
    heights, healthy = np.maximum(heights, 0.6), np.maximum(healthy, 0.6)
    return Discs(heights, draw_slips(rng, count), tuple(fused), tuple(gas), healthy, usual)


def draw_slips(rng: np.random.Generator, count: int) -> Floats:
    """Draw slips as shares of the depth below: grade I at C3-C5 and L3-L5, higher grades forward at L4 and L5."""
    slips = np.zeros(count)
    for i in (2, 3, 4, count - 4, count - 3, count - 2):
        if rng.random() < 0.12:
            slips[i] = rng.uniform(0.05, 0.22) * rng.choice([-1, 1], p=[0.65, 0.35])
    if rng.random() < 0.035:
        grade = int(rng.choice([2, 3, 4, 5], p=[0.55, 0.25, 0.12, 0.08]))
        low = count - 2 if grade > 2 or rng.random() < 0.6 else count - 3
        slips[low] = -(0.25 * grade - rng.uniform(0.03, 0.22))
    return slips


def meyerding_grade(share: float) -> int:
    """Return Meyerding's grade of a slip as a share of depth, either way: 0 below 3 %, 1 to 4 by quarters, 5 beyond.

    3 % (about 1 mm) is what this project takes as no slip.
    """
    size = abs(share)
    return 0 if size < 0.03 else 1 + int(np.searchsorted(MEYERDING, size, side="left"))
