"""Formulas of lateral films, each on stacks of endplates (…, K, 3, 2) in the plane of ``plates``.

Disc height after Frobin, Brinckmann, Biggemann, Tillotson and Burton 1997 (Clin Biomech 12, suppl: S1, "Precision
measurement of disc height, vertebral height and sagittal plane displacement from lateral radiographic views of the
lumbar spine"): the midplane of a body runs through the middles of its front and back walls; the ventral height is the
sum of the distances of the two facing front corners from the bisectrix of the two midplanes, ÷ mean depth of the upper
vertebra. Where a body shows one endplate only (C2, S1), that endplate stands for its midplane and its depth.
"""

from __future__ import annotations

import numpy as np

from spinepacs.analysis.measuring.plates import (
    BACK,
    FRONT,
    MIDDLE,
    Array,
    along,
    distance,
    dot,
    footwards,
    length,
    opening_deg,
    unit,
)
from spinepacs.domain.anatomy import Level
from spinepacs.domain.measures import Quantity

DISC_PLATES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Plates of a disc's formula: body above or below (0, 1), upper or lower plate (0, 1)."""
DISC_LINKS = ("body", "disc", "body")
BODY_PLATES = ((-1, 0), (-1, 1), (0, 0), (0, 1), (1, 0), (1, 1))
"""Plates of a body's formula: itself and its neighbours."""
BODY_LINKS = ("body", "disc", "body", "disc", "body")
REGIONS = {
    # The last level of the lumbar spine is S1 where it shows, else L5.
    Quantity.CERVICAL_LORDOSIS: (((Level.C2, 1), (Level.C7, 1)),),
    Quantity.THORACIC_KYPHOSIS: (((Level.T4, 0), (Level.T12, 1)),),
    Quantity.LUMBAR_LORDOSIS: (((Level.L1, 0), (Level.S1, 0)), ((Level.L1, 0), (Level.L5, 1))),
}
"""First and last plate of the regional angles, in the order in which they are tried."""
_GRADED = range(Level.T4, Level.L4 + 1)
"""Genant's method is made for T4 to L4."""


def disc(plates: Array) -> dict[Quantity, Array]:
    """Measures of discs and motion segments from the plates that ``DISC_PLATES`` names; lengths in px."""
    top, above, below, bottom = np.moveaxis(plates, -3, 0)
    first, second = along(above), along(below)
    bisectrix = unit(first + second)
    heights = dot(below - above, footwards(bisectrix)[..., None, :])
    mid = unit(_midplane(top, above) + _midplane(bottom, below))
    ventral = dot(below[..., FRONT, :] - above[..., FRONT, :], footwards(mid))
    slip = dot(below[..., BACK, :] - above[..., BACK, :], bisectrix)
    between = distance(above, below)
    return {
        Quantity.DISC_HEIGHT_ANTERIOR: heights[..., FRONT],
        Quantity.DISC_HEIGHT_MIDDLE: heights[..., MIDDLE],
        Quantity.DISC_HEIGHT_POSTERIOR: heights[..., BACK],
        Quantity.DISC_HEIGHT_FROBIN: ventral / _mean_of_known(length(top), length(above)),
        Quantity.DISC_HEIGHT_DABBS: (between[..., FRONT] + between[..., BACK]) / 2,
        Quantity.DISC_HEIGHT_HURXTHAL: between[..., MIDDLE],
        Quantity.DISC_HEIGHT_INDEX: (heights[..., FRONT] + heights[..., BACK])
        / (length(above) + length(below)),
        Quantity.DISC_ANGLE: opening_deg(first, second),
        Quantity.SEGMENT_ANGLE: opening_deg(along(top), _known(along(bottom), second)),
        Quantity.SLIP: slip,
        Quantity.SLIP_SHARE: slip / length(below),
    }


def body(plates: Array) -> dict[Quantity, Array]:
    """Measures of bodies from the plates that ``BODY_PLATES`` names; lengths in px.

    The loss of height is that of Genant, Wu, van Kuijk and Nevitt 1993 (J Bone Miner Res 8: 1137): of the front or the
    middle against the back, or of the back against the neighbours' backs, whichever is the greatest.
    """
    heights = distance(plates[..., 0::2, :, :], plates[..., 1::2, :, :])
    front, middle, back = (heights[..., 1, point] for point in (FRONT, MIDDLE, BACK))
    wedge, biconcave = front / back, middle / back
    crush = back / _mean_of_known(heights[..., 0, BACK], heights[..., 2, BACK])
    least = np.minimum(np.minimum(wedge, biconcave), np.where(np.isnan(crush), 1.0, crush))
    return {
        Quantity.VERTEBRA_HEIGHT_ANTERIOR: front,
        Quantity.VERTEBRA_HEIGHT_MIDDLE: middle,
        Quantity.VERTEBRA_HEIGHT_POSTERIOR: back,
        Quantity.VERTEBRA_DEPTH: length(plates[..., 2:4, :, :]).mean(axis=-1),
        Quantity.WEDGE_RATIO: wedge,
        Quantity.BICONCAVITY_RATIO: biconcave,
        Quantity.CRUSH_RATIO: crush,
        Quantity.VERTEBRA_HEIGHT_LOSS: 1 - least,
    }


def genant_grade(loss: float) -> int:
    """Genant's grade of a loss of height: 1 (mild) from 20 %, 2 (moderate) from 25 %, 3 (severe) over 40 %."""
    return int(loss >= 0.20) + int(loss >= 0.25) + int(loss > 0.40)


def is_graded(level: Level) -> bool:
    """Whether Genant's loss of height is defined for a level."""
    return level in _GRADED


def lordosis(plates: Array) -> Array:
    """(…) angle (°) between two plates (…, 2, 3, 2), positive where they open to the front."""
    return opening_deg(along(plates[..., 0, :, :]), along(plates[..., 1, :, :]))


def _midplane(one: Array, other: Array) -> Array:
    """(…, 2) unit direction of the midplane, or of the one plate that is known."""
    corners = (BACK, FRONT)
    spans = [plate[..., corners[0], :] - plate[..., corners[1], :] for plate in (one, other)]
    return unit(_known(spans[0], np.zeros(1)) + _known(spans[1], np.zeros(1)))


def _known(value: Array, otherwise: Array) -> Array:
    return np.where(np.isnan(value), otherwise, value)


def _mean_of_known(one: Array, other: Array) -> Array:
    return (_known(one, other) + _known(other, one)) / 2
