"""From the outline of a vertebral body to its endplates: corners and curve, sub-pixel.

The corner is where the endplate's line meets the wall's line, not a point of the outline: outlines are round at the
corners, and osteophytes sit there. The endplate's line is the chord between 10 % and 90 % of a fitted parabola's
width, so that a concave endplate is measured at its rim, as readers do (Frobin et al. 1997, Clin Biomech
12, suppl: "Precision measurement of disc height, vertebral height and sagittal plane displacement").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.geometry import Endplate, PointPx, Points

Array = NDArray[np.float64]

_FITTED: Array = np.linspace(0.12, 0.88, 15)
"""Shares of the width that the parabola is fitted to: nearer to the corners the outline is round."""
_POWERS: Array = np.vander(_FITTED - 0.5, 3)
_CHORD = (0.1, 0.9)
"""With these ranges, on 743 bodies of 44 synthetic lateral films, half of the corners err by less than 0.8 % of the
depth from true outlines; narrower ones tilt more, wider ones gain little and see more of osteophytes."""
_CHORD_POWERS: Array = np.vander(np.array(_CHORD) - 0.5, 3)
_WALL: Array = np.linspace(0.15, 0.5, 8)
"""Depths below the endplate, as shares of the body's lesser extent, that a wall's line is fitted to."""
_CURVE: Array = np.linspace(0.0, 1.0, 17)
_TURNS = 3
_LEAST_KNOWN = 5
_MOST_TURN = np.cos(np.radians(45))
"""A side that lies further off the expected direction is another side of the body, or the outline is no body's."""
_STANDS_OUT = 0.04
"""Corners may lie off the outline by this share of the endplate's width: a rounded corner does, but at a sharp one
(C2's lower lip, S1) the lines meet far beyond the bone."""
_OVERSHOOT = 0.12
"""Corners may lie outside the outline (round corners) by this share of the endplate's width, and no more."""


_STANDS_APART = 0.08
"""The same, of corners that were seen apart from the outline: where both disagree (rods, shoulders), it holds."""
_MOST_BOW = 0.2
"""An endplate is curved by less than this share of its width."""


def find_endplates(outlines: Sequence[Points], towards: Array, rightwards: Array) -> list[Endplate | None]:
    """One endplate of each outline, all at once (numpy works on the whole spine in each step).

    Parameters
    ----------
    outlines
        B arrays (N, 2) float64, the outlines of bodies, px.
    towards
        (B, 2) float64 unit vectors from each body to its endplate (cranial or caudal); 40° off is near enough.
    rightwards
        (B, 2) float64 unit vectors at right angles to them: ``left`` and ``right`` of the results follow them.

    Returns
    -------
    B endplates; None where the outline has no such side (too small, too ragged).
    """
    if not outlines:
        return []
    points, origins = _stacked(outlines)
    along, height = _in_frame(points, towards, rightwards)
    low, high = along.min(axis=1), along.max(axis=1)
    ends = np.stack([low + (high - low) / 6, high - (high - low) / 6], axis=1)
    expected = towards
    for _ in range(_TURNS):
        slope = _endplate_line(along, height, ends)[0]
        towards, rightwards = _turned(towards, rightwards, np.arctan(slope))
        along, height = _in_frame(points, towards, rightwards)
        ends = _corners(along, height, ends)
    curves = _curves(along, height, ends, towards, rightwards)
    curves[:, (0, -1)] = _drawn_in(curves[:, (0, -1)], points, _STANDS_OUT)
    curves += origins[:, None]
    sound = np.isfinite(curves).all(axis=(1, 2)) & _plausible(along, ends)
    sound &= np.einsum("bx,bx->b", expected, towards) > _MOST_TURN
    return [_endplate(curve) if good else None for curve, good in zip(curves, sound, strict=True)]


def endplates_between(outlines: Sequence[Points], corners: Array, *, upper: bool) -> list[Endplate | None]:
    """The endplates of outlines whose corners are known.

    Parameters
    ----------
    outlines
        B arrays (N, 2) float64, px.
    corners
        (B, 2, 2) float64: the left and the right one, px.
    upper
        Whether they are the sides towards the head, or those towards the foot.

    Returns
    -------
    B endplates; None where the corners do not lie on such a side of the outline.
    """
    if not outlines:
        return []
    points, origins = _stacked(outlines)
    ends = _drawn_in(corners - origins[:, None], points, _STANDS_APART)
    across = ends[:, 1] - ends[:, 0]
    width = np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-6)
    rightwards = across / width[:, None]
    towards = np.stack([rightwards[:, 1], -rightwards[:, 0]], axis=1) * (1 if upper else -1)
    along, height = _in_frame(points, towards, rightwards)
    first, chord = (np.einsum("bx,bx->b", ends[:, 0], axis)[:, None] for axis in (rightwards, towards))
    at = first + _CURVE * width[:, None]
    top = profile(along, height, at)
    inner = (
        (np.abs(top - chord) < _MOST_BOW * width[:, None]) & (_FITTED[0] < _CURVE) & (_FITTED[-1] > _CURVE)
    )
    top = np.where(inner, top, chord)
    curves = origins[:, None] + at[:, :, None] * rightwards[:, None] + top[:, :, None] * towards[:, None]
    sound = inner.any(axis=1) & _plausible(along, np.concatenate([at[:, :1], at[:, -1:]], axis=1))
    return [_endplate(curve) if good else None for curve, good in zip(curves, sound, strict=True)]


def _stacked(outlines: Sequence[Points]) -> tuple[Array, Array]:
    """(B, N, 2) outlines about their own centres, the shorter ones filled up with their last point, and the centres."""
    most = max(len(outline) for outline in outlines)
    points = np.stack([outline[np.minimum(np.arange(most), len(outline) - 1)] for outline in outlines])
    origins = np.stack([outline.mean(axis=0) for outline in outlines])
    return points - origins[:, None], origins


def _in_frame(points: Array, towards: Array, rightwards: Array) -> tuple[Array, Array]:
    """(B, N) coordinates along the endplate and towards it."""
    return np.einsum("bnx,bx->bn", points, rightwards), np.einsum("bnx,bx->bn", points, towards)


def _turned(towards: Array, rightwards: Array, angle: Array) -> tuple[Array, Array]:
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return cosine * towards - sine * rightwards, cosine * rightwards + sine * towards


def _endplate_line(along: Array, height: Array, ends: Array) -> tuple[Array, Array]:
    """(B,) slopes and offsets of the endplates between ``ends`` (B, 2); NaN where there is too little."""
    width = ends[:, 1] - ends[:, 0]
    top: Array = profile(along, height, ends[:, :1] + _FITTED * width[:, None])
    known = np.isfinite(top)
    top = np.nan_to_num(top)
    misfit = np.where(known, np.abs(_parabola(top, known) @ _POWERS.T - top), 0.0)
    usual = np.maximum(3 * np.median(misfit, axis=1, keepdims=True), 1e-6)
    first, second = (_parabola(top, known & (misfit <= usual)) @ _CHORD_POWERS.T).T
    enough = (known.sum(axis=1) >= _LEAST_KNOWN) & (width > 1e-6)
    slope = (second - first) / ((_CHORD[1] - _CHORD[0]) * np.where(enough, width, np.nan))
    return slope, first - slope * (ends[:, 0] + _CHORD[0] * width)


def _parabola(top: Array, used: NDArray[np.bool_]) -> Array:
    """(B, 3) coefficients by least squares over the points ``used`` (B, M)."""
    weighted = np.where(used[:, None, :], _POWERS.T, 0.0)
    normal = weighted @ _POWERS + 1e-12 * np.eye(3)
    return np.asarray(np.linalg.solve(normal, weighted @ top[:, :, None])[:, :, 0], np.float64)


def _corners(along: Array, height: Array, ends: Array) -> Array:
    """(B, 2) where the two walls meet the endplate, along the endplate (which lies almost level in this frame)."""
    slope, offset = _endplate_line(along, height, ends)
    reach = np.minimum(np.ptp(along, axis=1), np.ptp(height, axis=1))
    at = (slope * ends.mean(axis=1) + offset)[:, None] - _WALL * reach[:, None]
    met = []
    for sign in (-1.0, 1.0):
        lean, start = _wall_line(at, sign * profile(height, sign * along, at))
        met.append((lean * offset + start) / (1 - lean * slope))
    return np.stack(met, axis=1)


def _wall_line(at: Array, wall: Array) -> tuple[Array, Array]:
    """(B,) slopes and offsets of lines through ``wall`` (B, M) over ``at`` (B, M), unknown points left out."""
    known = np.isfinite(wall)
    number = np.where(known.sum(axis=1) >= _LEAST_KNOWN, known.sum(axis=1), np.nan)
    wall, at = np.where(known, wall, 0), np.where(known, at, 0)
    mean_at, mean_wall = at.sum(axis=1) / number, wall.sum(axis=1) / number
    offset = np.where(known, at - mean_at[:, None], 0)
    lean = (offset * wall).sum(axis=1) / np.maximum((offset**2).sum(axis=1), 1e-12)
    return lean, mean_wall - lean * mean_at


def _curves(along: Array, height: Array, ends: Array, towards: Array, rightwards: Array) -> Array:
    """(B, 17, 2) points from corner to corner along the outline, about the bodies' centres."""
    slope, offset = _endplate_line(along, height, ends)
    at = ends[:, :1] + _CURVE * (ends[:, 1:] - ends[:, :1])
    chord = slope[:, None] * at + offset[:, None]
    top = profile(along, height, at)
    inner = np.isfinite(top) & (_CURVE > 0) & (_CURVE < 1)
    top = np.where(inner, top, chord)
    points: Array = at[:, :, None] * rightwards[:, None] + top[:, :, None] * towards[:, None]
    return points


def _drawn_in(corners: Array, outlines: Array, most: float) -> Array:
    """(B, 2, 2) corners, those further outside their outline (B, N, 2) than ``most`` of the width brought to it."""
    edges = np.roll(outlines, -1, axis=1) - outlines
    ways = corners[:, :, None] - outlines[:, None]
    lengths = np.maximum(np.einsum("bnx,bnx->bn", edges, edges), 1e-12)
    share = np.clip(np.einsum("bcnx,bnx->bcn", ways, edges) / lengths[:, None], 0, 1)
    off = ways - share[..., None] * edges[:, None]
    far = np.hypot(off[..., 0], off[..., 1])
    nearest = np.take_along_axis(off, far.argmin(axis=2)[:, :, None, None], axis=2)[:, :, 0]
    reach = most * np.hypot(*(corners[:, 1] - corners[:, 0]).T)
    excess = np.maximum(1 - reach[:, None] / np.maximum(far.min(axis=2), 1e-12), 0)
    drawn: Array = corners - np.where(_inside(ways, edges), 0, excess)[..., None] * nearest
    return drawn


def _inside(ways: Array, edges: Array) -> NDArray[np.bool_]:
    """(B, C) whether points lie inside polygons: ``ways`` (B, C, N, 2) from its points, its ``edges`` (B, N, 2)."""
    starts_over = ways[..., 1] > 0
    crossed = starts_over != np.roll(starts_over, -1, axis=2)
    cross = ways[..., 0] * edges[:, None, :, 1] - ways[..., 1] * edges[:, None, :, 0]
    odd: NDArray[np.bool_] = (crossed & ((cross > 0) == (edges[:, None, :, 1] > 0))).sum(axis=2) % 2 == 1
    return odd


def _plausible(along: Array, ends: Array) -> NDArray[np.bool_]:
    """(B,) whether the corners are where the outline is: neither far outside it nor on half of it."""
    low, high, width = along.min(axis=1), along.max(axis=1), ends[:, 1] - ends[:, 0]
    inside = (ends[:, 0] > low - _OVERSHOOT * width) & (ends[:, 1] < high + _OVERSHOOT * width)
    plausible: NDArray[np.bool_] = inside & (width > (high - low) / 2)
    return plausible


def _endplate(curve: Points) -> Endplate:
    return Endplate(PointPx(*curve[0].tolist()), PointPx(*curve[-1].tolist()), curve)


def profile(along: Array, across: Array, at: Array) -> Array:
    """Highest ``across`` of closed polygons at each position ``at`` of ``along``; NaN where a polygon is not.

    Parameters
    ----------
    along, across
        (B, N) float64 coordinates of B polygons.
    at
        (B, M) float64.

    Returns
    -------
    (B, M) float64.
    """
    run = np.roll(along, -1, axis=1) - along
    rise = np.roll(across, -1, axis=1) - across
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (at[:, :, None] - along[:, None]) / run[:, None]
        reached = across[:, None] + share * rise[:, None]
    found = np.where((share >= 0) & (share <= 1), reached, -np.inf).max(axis=2)
    return np.where(np.isfinite(found), found, np.nan)
