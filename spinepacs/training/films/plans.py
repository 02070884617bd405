"""The kinds of films that are drawn, and how often each is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Plan:
    """A kind of film: share of the mix, the levels framed, margins (mm, low and high) above, below and beside them.

    view: "lateral", "ap" or "oblique".
    """

    region: str
    view: str
    share: float
    top: str
    bottom: str
    above_mm: tuple[float, float]
    below_mm: tuple[float, float]
    width: tuple[float, float]  # of the height
    height_px: tuple[int, int]

    @property
    def lateral(self) -> bool:
        """Whether the rays run from side to side (nearly, on oblique films of this kind)."""
        return self.view == "lateral"


PLANS = (
    Plan("full", "lateral", 0.33, "C2", "S1", (10, 130), (50, 220), (0.37, 0.50), (1600, 2200)),
    Plan("cervical", "lateral", 0.13, "C1", "C7", (15, 55), (15, 75), (0.8, 1.1), (1000, 1500)),
    Plan("lumbar", "lateral", 0.10, "T11", "S1", (-10, 60), (10, 100), (0.6, 0.85), (1100, 1600)),
    Plan("thoracic", "lateral", 0.08, "C7", "L1", (10, 70), (10, 70), (0.45, 0.75), (1200, 1600)),
    Plan("full", "ap", 0.19, "T1", "L5", (0, 45), (5, 80), (0.28, 0.44), (1600, 2200)),
    Plan("full", "ap", 0.06, "C7", "S1", (-15, 60), (-25, 110), (0.34, 0.48), (1600, 2200)),
    Plan("lumbar", "ap", 0.03, "T11", "S1", (-10, 60), (10, 100), (0.6, 0.85), (1100, 1600)),
    Plan("cervical", "ap", 0.025, "C3", "T2", (20, 60), (10, 60), (0.7, 1.0), (1000, 1500)),
    Plan("thoracic", "ap", 0.025, "T1", "L1", (10, 50), (10, 60), (0.4, 0.75), (1200, 1600)),
    Plan("lumbar", "oblique", 0.015, "T12", "S1", (-5, 60), (10, 80), (0.6, 0.85), (1100, 1600)),
    Plan("cervical", "oblique", 0.015, "C2", "T1", (15, 55), (10, 60), (0.7, 1.0), (1000, 1500)),
)


def choose_plan(rng: np.random.Generator, plans: tuple[Plan, ...] = PLANS) -> Plan:
    """Draw the kind of a film."""
    shares = np.array([plan.share for plan in plans])
    return plans[int(rng.choice(len(plans), p=shares / shares.sum()))]
