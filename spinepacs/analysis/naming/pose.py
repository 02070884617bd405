"""View and facing of a film from its vertebrae, for films whose header does not say.

Both are simple on purpose and answer "unknown" when unsure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level, Region
from spinepacs.domain.findings import Vertebra
from spinepacs.domain.study import View

_SHAPES = {
    # Width ÷ height of a body: lateral below the first, AP above the second. Film medians of T1–L5: 481 AP films 1.45
    # to 2.30 (5 %–95 %, least 1.28), 15 lateral ones 1.02 to 1.33. Necks have deeper bodies for their
    # height. A network draws lateral bodies up to 1.5 where it is unsure: that is left UNKNOWN.
    Region.CERVICAL: (1.5, 1.8),
    Region.THORACIC: (1.36, 1.5),
    Region.LUMBAR: (1.36, 1.5),
}
_LEAST_BODIES = 3
_LEAST_CURVE_DEG = 12.0
"""Sum of lordoses minus kyphosis from which facing is believed: less is within a straight or reclined spine."""
_NECK = range(Level.C2, Level.T3)
_LEAST_NECK_BODIES = 4
_LEAST_NECK_TILT_DEG = 4.0
"""Mean tilt of the neck's endplates from which it is believed: with it none of 56 synthetic necks, 15 full-spine and 10
cervical films was turned round."""
_CURVES = {
    # Region: first and last level that bend its own way, and the sign of the bend (lordosis +1, kyphosis −1). Not the
    # neck's: of 56 synthetic necks a quarter bends the other way.
    Region.THORACIC: (Level.T2, Level.T11, -1.0),
    Region.LUMBAR: (Level.L1, Level.S1, 1.0),
}


def view_from_picture(vertebrae: Sequence[Vertebra]) -> View:
    """AP where most bodies are clearly wider than high, LATERAL where most are not, else UNKNOWN."""
    votes = [
        _view_of(vertebra, (vertebra.upper.width_px + vertebra.lower.width_px) / 2 / height)
        for vertebra in vertebrae
        if vertebra.upper and vertebra.lower and (height := _height_px(vertebra)) > 0
    ]
    if len(votes) < _LEAST_BODIES:
        return View.UNKNOWN
    return next(
        (view for view in (View.AP, View.LATERAL) if votes.count(view) > len(votes) / 2), View.UNKNOWN
    )


def _view_of(vertebra: Vertebra, shape: float) -> View:
    lateral_below, ap_above = _SHAPES[vertebra.level.region]
    return View.LATERAL if shape < lateral_below else View.AP if shape > ap_above else View.UNKNOWN


def anterior_left_from_picture(vertebrae: Sequence[Vertebra]) -> bool | None:
    """Facing of a lateral film by its curves: loins open their discs to the front, the chest to the back.

    Where neither shows, by the neck: upright, its endplates slope down to the front.

    Returns
    -------
    True if anterior is at the image's left, False if at the right, None if curves and slopes are too flat to tell.
    """
    bend = 0.0
    for first, last, sign in _CURVES.values():
        chosen = [vertebra for vertebra in vertebrae if first <= vertebra.level <= last]
        bend += sign * _opening_to_left_deg(chosen)
    if abs(bend) >= _LEAST_CURVE_DEG:
        return bend > 0
    tilt = _neck_tilt_deg(vertebrae)
    return None if abs(tilt) < _LEAST_NECK_TILT_DEG else tilt < 0


def _neck_tilt_deg(vertebrae: Sequence[Vertebra]) -> float:
    """Mean tilt of C2 to T2 (°), positive where the right is lower; 0 where too little of a neck shows, or it lies."""
    neck = [vertebra for vertebra in vertebrae if vertebra.level in _NECK]
    tilts = [tilt for vertebra in neck if (tilt := _tilt_deg(vertebra)) is not None]
    if len(tilts) < _LEAST_NECK_BODIES:
        return 0.0
    across, down = np.subtract(neck[-1].outline.centroid, neck[0].outline.centroid)
    return float(np.mean(tilts)) if down > abs(across) else 0.0


def _opening_to_left_deg(vertebrae: Sequence[Vertebra]) -> float:
    """Total bend over the vertebrae (°), positive where the gaps open to the image's left; 0 for fewer than three."""
    tilts = [(vertebra.level, tilt) for vertebra in vertebrae if (tilt := _tilt_deg(vertebra)) is not None]
    if len(tilts) < _LEAST_BODIES:
        return 0.0
    level, tilt = np.array(tilts, float).T
    offset = level - level.mean()
    slope = float(offset @ tilt) / float(offset @ offset)
    return -slope * float(np.ptp(level))


def _tilt_deg(vertebra: Vertebra) -> float | None:
    """Direction of the endplates, left to right, clockwise from the image's x axis (°)."""
    directions: list[NDArray[np.float64]] = [
        np.subtract(endplate.right, endplate.left) / max(endplate.width_px, 1e-9)
        for endplate in (vertebra.upper, vertebra.lower)
        if endplate
    ]
    if not directions:
        return None
    x, y = np.sum(directions, axis=0)
    return float(np.degrees(np.arctan2(y, x)))


def _height_px(vertebra: Vertebra) -> float:
    if vertebra.upper is None or vertebra.lower is None:
        return 0.0
    return float(np.hypot(*np.subtract(vertebra.lower.middle, vertebra.upper.middle)))
