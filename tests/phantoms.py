"""A small parametric spine of exactly known geometry: outlines, detections, label map, picture and true heights.

Bodies are trapezia, discs are mirror images about their bisectrix, so each height, wedge and index is known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.domain.anatomy import DiscLevel, Level
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline, Points

LUMBAR = (Level.L1, Level.L2, Level.L3, Level.L4, Level.L5, Level.S1)
CERVICAL = (Level.C2, Level.C3, Level.C4, Level.C5, Level.C6, Level.C7)
WHOLE = tuple(Level)[Level.C3 : Level.S1]


@dataclass(frozen=True)
class DiscTruth:
    """True measures of one disc; left and right as in the image before any rotation, px."""

    left_px: float
    right_px: float
    index: float
    wedge_deg: float
    """Positive if open to the left."""

    @property
    def middle_px(self) -> float:
        """Height half-way (endplates are straight), px."""
        return (self.left_px + self.right_px) / 2


@dataclass(frozen=True)
class Phantom:
    """Bodies from head to foot: level → (4, 2) corners (top left, top right, bottom right, bottom left), native px."""

    rows: int
    columns: int
    bodies: Mapping[Level, Points]
    discs: Mapping[DiscLevel, DiscTruth] = field(default_factory=dict)

    def moved(self, matrix: NDArray[np.float64], rows: int, columns: int) -> Phantom:
        """The same bodies after a (2, 3) affine map; the truth of the discs is left as it was."""
        bodies = {level: body @ matrix[:, :2].T + matrix[:, 2] for level, body in self.bodies.items()}
        return Phantom(rows, columns, bodies, self.discs)

    def without(self, *levels: Level) -> Phantom:
        """The same spine with some bodies not to be seen."""
        bodies = {level: body for level, body in self.bodies.items() if level not in levels}
        return Phantom(self.rows, self.columns, bodies, self.discs)

    def outline(self, level: Level, points_per_side: int = 12) -> Outline:
        """Densely sampled outline of one body, px."""
        corners = self.bodies[level]
        share = np.linspace(0, 1, points_per_side, endpoint=False)[:, None]
        sides = [a + share * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)]
        return Outline(np.vstack(sides))

    def detection(self, level: Level, class_scores: NDArray[np.float32] | None = None) -> Detection:
        """What a perfect network would find, unless other class scores are given."""
        outline = self.outline(level)
        box = np.concatenate([outline.points.min(axis=0), outline.points.max(axis=0)])
        return Detection(scores_of(level) if class_scores is None else class_scores, 0.9, box, outline)

    def detections(self) -> tuple[Detection, ...]:
        """All bodies, each as a perfect network would find it."""
        return tuple(self.detection(level) for level in self.bodies)

    def label_map(self) -> NDArray[np.uint8]:
        """(rows, columns) uint8: 0 for ground, level + 1 inside bodies."""
        label_map = np.zeros((self.rows, self.columns), np.uint8)
        for level, body in self.bodies.items():
            _fill(label_map, body, level + 1, cv2.LINE_8)
        return label_map

    def picture(self, bone: int = 190) -> NDArray[np.uint8]:
        """(rows, columns) uint8: bright bodies, edges anti-aliased, on darker soft tissue with a little noise."""
        across = np.sin(np.pi * np.linspace(0, 1, self.columns))
        noise = np.random.default_rng(0).normal(0, 3, (self.rows, self.columns))
        picture = np.clip(40 + 45 * across + noise, 0, 255).astype(np.uint8)
        for body in self.bodies.values():
            _fill(picture, body, bone, cv2.LINE_AA)
        return picture


def _fill(image: NDArray[np.uint8], corners: Points, value: int, line: int) -> None:
    """Fill a polygon given in SCOORD px: OpenCV counts from pixel centres, here with 4 bits of fraction."""
    fixed = np.round((corners - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(image, [fixed], value, lineType=line, shift=4)


def scores_of(level: Level, own: float = 0.8, neighbours: float = 0.1) -> NDArray[np.float32]:
    """(25,) float32 class scores: ``own`` for the level, ``neighbours`` for the ones beside it."""
    scores = np.full(len(Level), 0.002, np.float32)
    for other in (level - 1, level + 1):
        if 0 <= other < len(Level):
            scores[other] = neighbours
    scores[level] = own
    return scores


def spine(
    levels: Sequence[Level] = LUMBAR,
    *,
    width_px: float = 170.0,
    height_px: float = 130.0,
    left_px: float | Sequence[float] = 42.0,
    right_px: float | Sequence[float] = 34.0,
    flare: float = 0.0,
    lean_deg: float = 0.0,
    rows: int = 1500,
    columns: int = 900,
    top: tuple[float, float] | None = None,
) -> Phantom:
    """Draw a chain of bodies from head to foot.

    Parameters
    ----------
    left_px, right_px
        Disc heights at the left and right corners, px: one for all or one for each disc.
    flare
        How much wider the lower endplate is than the upper one, as a share; the next upper endplate is as wide.
    lean_deg
        Turn of the first body, clockwise.
    top
        Middle of the first upper endplate, px; the whole chain is centred on the film where not given.
    """
    lefts, rights = (
        np.broadcast_to(np.asarray(side, float), len(levels) - 1) for side in (left_px, right_px)
    )
    middle, angle, width = np.zeros(2), np.radians(lean_deg), width_px
    bodies: dict[Level, Points] = {}
    discs: dict[DiscLevel, DiscTruth] = {}
    for number, level in enumerate(levels):
        right, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        below, wide = middle + height_px * down, width * (1 + flare)
        ends = (middle - right * width / 2, middle + right * width / 2)
        bodies[level] = np.array([*ends, below + right * wide / 2, below - right * wide / 2])
        if number == len(levels) - 1:
            break
        left, other = float(lefts[number]), float(rights[number])
        half = np.arcsin((left - other) / 2 / wide)
        # Lower endplate, turned by the wedge: the bisectrix lies half-way between the two.
        bisectrix = angle - half
        middle = below + (left + other) / 2 * np.array([-np.sin(bisectrix), np.cos(bisectrix)])
        angle, width = angle - 2 * half, wide
        truth = DiscTruth(left, other, (left + other) / 2 / wide, float(np.degrees(2 * half)))
        if level > Level.C1:
            discs[DiscLevel.below(level)] = truth
    return _placed(Phantom(rows, columns, bodies, discs), top)


def neck() -> Phantom:
    """C2 to C7 with C1 around the top of C2, where it is in a lateral film."""
    below = spine(CERVICAL, width_px=100, height_px=85, left_px=30, right_px=25)
    atlas = below.bodies[Level.C2] * 0.9 + 0.1 * below.bodies[Level.C2].mean(axis=0) - np.array([10.0, 40.0])
    return Phantom(below.rows, below.columns, {Level.C1: atlas, **below.bodies}, below.discs)


def _placed(phantom: Phantom, top: tuple[float, float] | None) -> Phantom:
    every = np.vstack(list(phantom.bodies.values()))
    centre = np.array([phantom.columns / 2, phantom.rows / 2]) - (every.min(axis=0) + every.max(axis=0)) / 2
    shift = centre if top is None else np.array(top)
    return phantom.moved(np.column_stack([np.eye(2), shift]), phantom.rows, phantom.columns)


def rotation(
    degrees: float, rows: int, columns: int, scale: float = 1.0, mirror: bool = False
) -> NDArray[np.float64]:
    """(2, 3) affine map: turn clockwise about the film's middle, scale, and mirror left to right before it."""
    angle = np.radians(degrees)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirror:
        linear = linear @ np.diag([-1.0, 1.0])
    centre = np.array([columns / 2, rows / 2])
    return np.column_stack([linear, centre - linear @ centre])
