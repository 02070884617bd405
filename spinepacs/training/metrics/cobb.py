"""The three angles of the AASCE challenge (MICCAI 2019) from the corners of T1 to L5.

The product has its own curves (``analysis.measuring.coronal``); these are computed only to be comparable with what
is published on that set, from the labelled corners and the product's alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ANGLES = ("cobb_aasce_main", "cobb_aasce_upper", "cobb_aasce_lower")


def aasce_angles(corners_px: Floats, height_px: int) -> Floats:
    """Main, upper and lower angle, (3,) degrees.

    Parameters
    ----------
    corners_px
        (n, 4, 2) of n ≥ 3 bodies from head to foot: upper left, upper right, lower right, lower left.
    height_px
        Of the film: whether the main curve lies in its upper half decides where the others are looked for.

    Notes
    -----
    Wang et al. 2021, Med Image Anal 72: 102115. A body's tilt is that of the line between the middles of its sides. The
    main angle is the greatest between two bodies. Where the spine crosses the line from its first to its last plate
    (S-shaped), the others are the greatest above the main curve and below it, or, if that lies in the lower half of the
    film, the greatest above and the next above that one; else those from the main curve's ends to the first and last
    body.
    """
    across = corners_px[:, [1, 2]].mean(axis=1) - corners_px[:, [0, 3]].mean(axis=1)
    tilts = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    angles = np.abs(tilts[:, None] - tilts[None])
    first, last = (int(place) for place in np.unravel_index(angles.argmax(), angles.shape))
    main = angles[first, last]
    if not is_s_shaped(corners_px):
        return np.array([main, angles[0, first], angles[-1, last]])
    upper_mids = corners_px[:, :2].mean(axis=1)
    start = int(angles[first, : first + 1].argmax())
    if upper_mids[first, 1] + upper_mids[last, 1] < height_px:
        third = angles[last, last:].max()
    else:
        third = angles[start, : start + 1].max()
    return np.array([main, angles[first, start], third])


def is_s_shaped(corners_px: Floats) -> bool:
    """Whether the middles of the plates lie on both sides of the line from the first to the last one.

    As in the challenge, the last upper plate does not count, nor does a crossing too small for the slope of the line.
    """
    middles = np.stack([corners_px[:, :2].mean(axis=1), corners_px[:, 2:].mean(axis=1)], axis=1).reshape(
        -1, 2
    )
    way = middles[-1] - middles[0]
    aside = (middles[1:-2] - middles[0]) @ np.array([-way[1], way[0]])
    left, right = aside[aside < 0].sum(), aside[aside > 0].sum()
    return bool(-4 * left * right >= 1e-4 * (way[0] * way[1]) ** 2 and left * right < 0)
