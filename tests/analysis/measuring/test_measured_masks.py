"""A thousand random spines, each body drawn as a mask, outlined as the product outlines masks, named and measured."""

import numpy as np
import pytest

from spinepacs.analysis.measuring.measure import measure
from spinepacs.analysis.naming.label import label
from spinepacs.analysis.seeing.outline import largest_level_line
from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline, Spacing, SpacingBasis
from spinepacs.domain.measures import Quantity
from spinepacs.domain.study import View
from tests import phantoms

LEVELS = (Level.L2, Level.L3, Level.L4, Level.L5)
SLIPPED = DiscLevel(Level.L3, Level.L4)
SPINES, PARTS = 1000, 10


def _outlined(body):
    """The outline of a convex body from its anti-aliased mask, px."""
    origin = np.floor(body.min(axis=0)) - 2
    columns, rows = (np.ceil(body.max(axis=0)) + 2 - origin).astype(int)
    y, x = np.mgrid[0:rows, 0:columns] + 0.5
    edges = np.roll(body, -1, axis=0) - body
    outwards = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.hypot(*edges.T)[:, None]
    outwards *= np.sign(((body - body.mean(axis=0)) * outwards).sum(axis=1))[:, None]
    starts = ((body - origin) * outwards).sum(axis=1)
    outside = np.max([u * x + v * y - start for (u, v), start in zip(outwards, starts, strict=True)], axis=0)
    return Outline(largest_level_line(np.clip(0.5 - outside, 0, 1) - 0.5) + 0.5 + origin)


def _detection(level, body):
    outline = _outlined(body)
    box = np.concatenate([outline.points.min(axis=0), outline.points.max(axis=0)])
    return Detection(phantoms.scores_of(level), 0.9, box, outline)


def _errors(random):
    """Errors of one spine: heights (mm), angles (°), slip (mm)."""
    lefts, rights = random.uniform(20, 60, (2, 3))
    rights[1] = lefts[
        1
    ]  # the disc with the slip is even: there the shift is the slip, whatever the convention
    shift = random.uniform(-40, 40)
    phantom = phantoms.spine(LEVELS, left_px=lefts, right_px=rights, lean_deg=float(random.uniform(-15, 15)))
    upper, lower = phantom.bodies[Level.L3][[3, 2]]
    step = shift * (lower - upper) / np.hypot(*(lower - upper))
    mirror, scale, ratio = bool(random.integers(2)), random.uniform(0.6, 1.4), random.uniform(0.8, 1.25)
    turn = phantoms.rotation(float(random.uniform(-30, 30)), 1500, 900, scale, mirror)
    bodies = {
        level: (body + (step if level >= Level.L4 else 0)) @ turn[:, :2].T + turn[:, 2]
        for level, body in phantom.bodies.items()
    }
    px_mm = np.array([0.15 * ratio, 0.15 / ratio])  # pixels that are not square: the film is squeezed
    detections = [_detection(level, body * 0.15 / px_mm) for level, body in bodies.items()]
    spine = label(detections, View.LATERAL, not mirror)
    spacing = Spacing(float(px_mm[1]), float(px_mm[0]), SpacingBasis.CALIBRATED)
    found = {(one.quantity, one.place): one.value for one in measure(spine, spacing)}
    mm = 0.15 * scale
    heights, angles = [], []
    for disc, truth in phantom.discs.items():
        heights.append(found[Quantity.DISC_HEIGHT_ANTERIOR, disc] - truth.left_px * mm)
        heights.append(found[Quantity.DISC_HEIGHT_POSTERIOR, disc] - truth.right_px * mm)
        angles.append(found[Quantity.DISC_ANGLE, disc] - truth.wedge_deg)
    return heights, angles, found[Quantity.SLIP, SLIPPED] - shift * mm


@pytest.mark.parametrize("part", range(PARTS))
def test_what_is_drawn_as_masks_is_measured_to_a_tenth_of_a_millimetre(part):
    random = np.random.default_rng(part)
    errors = [_errors(random) for _ in range(SPINES // PARTS)]
    heights, angles, slips = (np.abs(np.ravel(each)) for each in zip(*errors, strict=True))
    assert heights.max() < 0.1
    assert angles.max() < 0.3
    assert slips.max() < 0.1
