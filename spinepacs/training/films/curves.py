"""Curves of the spine in the frontal plane, drawn from what scoliosis films show.

The modes are principal components of the tilt of T1 to L5 in the 367 training films (never the validation films) of
the AP set, both sides alike: mode times its standard deviation, degrees. Six hold 98 % of the variance.
"""

from __future__ import annotations

import numpy as np

from spinepacs.training.films.mesh import Floats

T1, L5 = 7, 23
MODES_DEG = np.array([
    [-2.3, -5.0, -9.3, -13.6, -15.6, -14.3, -9.5, -2.4, 5.6, 13.0, 16.8, 16.1, 11.6, 4.5, -2.7, -6.0, -5.7],
    [-0.6, -1.4, -1.1, 0.5, 2.7, 5.0, 7.1, 8.7, 8.5, 7.3, 4.2, -1.4, -7.4, -12.5, -14.1, -11.1, -6.8],
    [5.5, 6.8, 6.7, 4.8, 1.8, -1.3, -3.4, -4.1, -3.0, -0.9, 1.4, 3.1, 2.8, 0.3, -3.5, -4.9, -4.4],
    [0.4, 0.1, -0.8, -2.2, -3.4, -4.2, -4.3, -3.3, -2.2, -1.5, -2.2, -3.5, -4.8, -4.4, -2.4, -0.6, 1.1],
    [-3.1, -3.3, -2.3, -0.5, 1.0, 1.3, 0.2, -1.7, -3.0, -3.3, -1.7, 0.2, 1.5, 1.3, -1.4, -3.1, -3.7],
    [2.7, 1.6, -0.5, -2.4, -1.8, -0.4, 1.6, 1.6, 0.6, -1.0, -1.9, -1.2, 0.3, 1.5, 0.5, -0.6, -2.1],
])  # fmt: skip


def draw_curve(rng: np.random.Generator, count: int, strength: float) -> tuple[Floats, Floats]:
    """Draw coronal tilt and axial turn of `count` vertebrae from C1 to S1, (count,) rad each.

    strength: 0 for a straight spine, 1 for the curves of scoliosis films (largest Cobb angle about 37 degrees in the
    middle, 80 in the strongest films). The bodies turn as the curve bends, most at its apex.
    """
    scores = rng.normal(0, 1, len(MODES_DEG)) * strength * np.exp(rng.normal(-0.05, 0.3))
    level = np.arange(count, dtype=float)
    drawn = np.interp(level + rng.normal(0, 0.6), np.arange(T1, L5 + 1), scores @ MODES_DEG)
    # The head looks straight whatever the chest does, and the sacrum takes up part of the last tilt.
    drawn[:T1] *= np.linspace(0.1, 0.95, T1)
    drawn[-1] *= rng.uniform(0.2, 0.7)
    tilt = np.radians(drawn + rng.normal(0, 1.5) + rng.normal(0, 0.6, count))
    bend = np.convolve(np.pad(np.gradient(np.radians(drawn)), 2, mode="edge"), np.ones(5) / 5, mode="valid")
    return tilt, rng.uniform(0.2, 1.5) * bend + rng.normal(0, np.radians(2.5))
