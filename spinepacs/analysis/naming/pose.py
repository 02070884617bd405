"""View and facing of a film from its vertebrae, for films whose header does not say.

Both are simple on purpose and answer "unknown" when unsure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import Level, Region
from spinepacs.domain.findings import Spine, Vertebra
from spinepacs.domain.geometry import Endplate
from spinepacs.domain.study import View

_SHAPES = {
    # Width ÷ height of a body: lateral below the first, AP above the second. Film medians of T1–L5: 481 AP films 1.45
    # to 2.30 (5 %–95 %, least 1.28), 15 lateral ones 1.02 to 1.33. Necks have deeper bodies for their
    # height. A network draws lateral bodies up to 1.5 where it is unsure: that is left UNKNOWN.
    Region.CERVICAL: (1.5, 1.8),
    Region.THORACIC: (1.36, 1.5),
    Region.LUMBAR: (1.36, 1.5),
}
NATURAL = {
    View.AP: {Region.CERVICAL: 1.8, Region.THORACIC: 1.8, Region.LUMBAR: 1.8},
    View.LATERAL: {Region.CERVICAL: 1.4, Region.THORACIC: 1.17, Region.LUMBAR: 1.17},
}
"""Width ÷ height of bodies that are not stretched, the middle of the same film medians; necks: 10 cervical films."""
_LEAST_BODIES = 3
_LEAST_CURVE_DEG = 12.0
"""Sum of lordoses minus kyphosis from which facing is believed: less is within a straight or reclined spine."""
_NECK = range(Level.C2, Level.T3)
_LEAST_NECK_BODIES = 4
_LEAST_NECK_TILT_DEG = 4.0
"""Mean tilt of the neck's endplates from which it is believed: with it none of 56 synthetic necks, 15 full-spine and 10
cervical films was turned round."""
_CLEAR_CURVE_DEG = 20.0
"""The same sum from which it stands against a header: 24 to 118 on 18 films, all to the right side."""
_BESIDE = (0.12, 0.45)
"""How far in front of a body and behind it bone is looked for, shares of its depth."""
_ACROSS = tuple(
    np.linspace(*span, 9)[:, None]
    for span in ((-_BESIDE[1], -_BESIDE[0]), (0.1, 0.9), (1 + _BESIDE[0], 1 + _BESIDE[1]))
)
"""At a body's left, on it, and at its right: shares of its width, 0 left, 1 right."""
_DOWN = np.linspace(0.2, 0.8, 7)[:, None, None]
"""The middle of its height."""
_LEAST_BONE_BEHIND = 0.4
"""How much brighter one side of the neck's bodies must be, as a share of the body's own contrast: 0.63 to 2.1 on 27
films, and always behind, where arches and spines are; in chest and loin it tells nothing."""
_CURVES = {
    # Region: first and last level that bend its own way, and the sign of the bend (lordosis +1, kyphosis −1). Not the
    # neck's: of 56 synthetic necks a quarter bends the other way.
    Region.THORACIC: (Level.T2, Level.T11, -1.0),
    Region.LUMBAR: (Level.L1, Level.S1, 1.0),
}


def view_from_picture(vertebrae: Sequence[Vertebra]) -> View:
    """AP where most bodies are clearly wider than high, LATERAL where most are not, else UNKNOWN."""
    votes = [_view_of(region, shape) for region, shape in _shapes(vertebrae)]
    if len(votes) < _LEAST_BODIES:
        return View.UNKNOWN
    return next(
        (view for view in (View.AP, View.LATERAL) if votes.count(view) > len(votes) / 2), View.UNKNOWN
    )


def width_for_height(vertebrae: Sequence[Vertebra], view: View) -> float | None:
    """Median over the bodies of width ÷ height, over the natural one of a view; None where too few show both."""
    times = [shape / NATURAL[view][region] for region, shape in _shapes(vertebrae)]
    return float(np.median(times)) if len(times) >= _LEAST_BODIES else None


def _shapes(vertebrae: Sequence[Vertebra]) -> list[tuple[Region, float]]:
    """Width ÷ height of each body that shows both plates, with its region."""
    return [
        (vertebra.level.region, (vertebra.upper.width_px + vertebra.lower.width_px) / 2 / height)
        for vertebra in vertebrae
        if vertebra.upper and vertebra.lower and (height := _height_px(vertebra)) > 0
    ]


def _view_of(region: Region, shape: float) -> View:
    lateral_below, ap_above = _SHAPES[region]
    return View.LATERAL if shape < lateral_below else View.AP if shape > ap_above else View.UNKNOWN


def anterior_left_from_picture(vertebrae: Sequence[Vertebra]) -> bool | None:
    """Facing of a lateral film by its curves: loins open their discs to the front, the chest to the back.

    Where neither shows, by the neck: upright, its endplates slope down to the front.

    Returns
    -------
    True if anterior is at the image's left, False if at the right, None if curves and slopes are too flat to tell.
    """
    bend = _bend_deg(vertebrae)
    if abs(bend) >= _LEAST_CURVE_DEG:
        return bend > 0
    tilt = _neck_tilt_deg(vertebrae)
    return None if abs(tilt) < _LEAST_NECK_TILT_DEG else tilt < 0


def shown_facing(spine: Spine, display: NDArray[np.uint8]) -> bool | None:
    """Facing that a lateral film shows so clearly that a header which says otherwise is doubted; as above.

    By the curves of chest and loin, and by the bone behind the neck's bodies, which stays where it is; their tilt is
    left out, which a patient changes by nodding.

    Parameters
    ----------
    display
        (rows, columns) uint8, bright bone on dark ground, the head up.
    """
    bend, behind = _bend_deg(spine.vertebrae), _brighter_at_right(spine.vertebrae, display)
    said = {
        value > 0
        for value, least in ((bend, _CLEAR_CURVE_DEG), (behind, _LEAST_BONE_BEHIND))
        if abs(value) >= least
    }
    return said.pop() if len(said) == 1 else None


def _brighter_at_right(vertebrae: Sequence[Vertebra], display: NDArray[np.uint8]) -> float:
    """Median over the neck's bodies of (right − left) ÷ contrast; 0 where fewer than three can be told."""
    found = []
    for vertebra in vertebrae:
        if vertebra.level.region is Region.CERVICAL and vertebra.upper and vertebra.lower:
            left, body, right = (_grey(vertebra.upper, vertebra.lower, display, across) for across in _ACROSS)
            found.append((right - left) / max(body - min(left, right), 5.0))
    known = np.array(found)[np.isfinite(found)]
    return float(np.median(known)) if known.size >= _LEAST_BODIES else 0.0


def _grey(upper: Endplate, lower: Endplate, display: NDArray[np.uint8], across: NDArray[np.float64]) -> float:
    """Mean grey at the middle of a body's height over (N, 1) shares of its width; NaN beyond the film."""
    plates = [np.asarray(p.left) + across * np.subtract(p.right, p.left) for p in (upper, lower)]
    x, y = np.moveaxis((1 - _DOWN) * plates[0] + _DOWN * plates[1], -1, 0).astype(np.intp)
    inside = x.min() >= 0 <= y.min() and x.max() < display.shape[1] and y.max() < display.shape[0]
    return float(display[y, x].mean()) if inside else float("nan")


def _neck_tilt_deg(vertebrae: Sequence[Vertebra]) -> float:
    """Mean tilt of C2 to T2 (°), positive where the right is lower; 0 where too little of a neck shows, or it lies."""
    neck = [vertebra for vertebra in vertebrae if vertebra.level in _NECK]
    tilts = [tilt for vertebra in neck if (tilt := _tilt_deg(vertebra)) is not None]
    if len(tilts) < _LEAST_NECK_BODIES:
        return 0.0
    across, down = np.subtract(neck[-1].outline.centroid, neck[0].outline.centroid)
    return float(np.mean(tilts)) if down > abs(across) else 0.0


def _bend_deg(vertebrae: Sequence[Vertebra]) -> float:
    """Sum of lordosis and kyphosis (°), positive where they say that the front is at the left."""
    bend = 0.0
    for first, last, sign in _CURVES.values():
        bend += sign * _opening_to_left_deg([one for one in vertebrae if first <= one.level <= last])
    return bend


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
