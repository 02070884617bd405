"""Where a vertebra is missing between two others, the network looks again: closer, and with a lower threshold.

The chain says where: two neighbours in it whose levels are not consecutive. What is found there has to fit into the
chain like everything else, at the price of its own low confidence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.windows import Window
from spinepacs.domain.findings import Detection, Spine

GAP_SCORE = 0.05
"""Least confidence of what is found in a gap: where a vertebra must be, little evidence will do."""
GAP_BODY_PX = 56.0
"""Height of a body in the input: half as large again as in the second look."""
_LEAST_DISTANCE = 0.45
"""Bodies' heights from both neighbours: what lies nearer is one of them, seen again."""


class Gap(NamedTuple):
    """Centroids (x, y) of the vertebrae above and below what is missing, and the body height between them; px."""

    above: NDArray[np.float64]
    below: NDArray[np.float64]
    body_px: float

    def window(self, input_px: int) -> Window:
        """A square around the gap in which a body is :data:`GAP_BODY_PX` high at the network's input."""
        side = round(self.body_px * input_px / GAP_BODY_PX)
        left, top = np.round((self.above + self.below) / 2 - side / 2).astype(int)
        return Window(int(left), int(top), side, side)

    def holds(self, detection: Detection) -> bool:
        """Whether a detection lies between the two, beside neither of them, and near the line that joins them."""
        axis = self.below - self.above
        length = max(float(np.hypot(*axis)), 1e-9)
        offset = np.asarray(detection.outline.centroid) - self.above
        along = float(offset @ axis) / length
        aside = abs(float(offset[0] * axis[1] - offset[1] * axis[0])) / length
        nearest = min(along, length - along)
        return nearest > _LEAST_DISTANCE * self.body_px and aside < self.body_px


def find_gaps(spine: Spine, factor: NDArray[np.float64]) -> tuple[Gap, ...]:
    """Gaps inside the chain of a spine in native px, in those of a picture whose x, y times ``factor`` are native."""
    gaps = []
    for upper, lower in zip(spine.vertebrae, spine.vertebrae[1:], strict=False):
        if lower.level - upper.level > 1:
            sizes = [np.sqrt(one.outline.area_px / factor.prod()) for one in (upper, lower)]
            centres = [np.asarray(one.outline.centroid) / factor for one in (upper, lower)]
            gaps.append(Gap(centres[0], centres[1], float(np.mean(sizes))))
    return tuple(gaps)
