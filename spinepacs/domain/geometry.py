"""Points, outlines, endplates, pixel spacing and the letterbox.

Native pixel coordinates follow DICOM's SCOORD (PS3.3 C.18.6.1.1): x = column, y = row, the top-left
corner of the top-left pixel is (0, 0) and its centre (0.5, 0.5). Resizing is then a pure scale.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from spinepacs.later import Later

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Later("numpy")

Points: TypeAlias = "NDArray[np.float64]"
"""(N, 2) float64 array of x, y in native pixels, unless a name says otherwise."""
Move = Callable[[Points], Points]
"""(N, 2) points of one picture to those of another."""

_Pixel = TypeVar("_Pixel", bound="np.generic")


def stretching(x: float, y: float) -> Move:
    """Points of a picture to those of the same picture, stretched so many times along x and y."""
    times = np.array([x, y])
    return lambda points: points * times


class PointPx(NamedTuple):
    """A point in native pixel coordinates."""

    x: float
    y: float


@dataclass(frozen=True)
class Outline:
    """A closed polygon in native pixels; the last point joins the first.

    Parameters
    ----------
    points
        (N, 2) float64, N >= 3, x and y in px.

    Raises
    ------
    ValueError
        If the array is not (N >= 3, 2).
    """

    points: Points

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[0] < 3 or self.points.shape[1] != 2:
            raise ValueError(f"an outline needs (N >= 3, 2) points, not {self.points.shape}")

    def moved(self, move: Move) -> Outline:
        """The same polygon on another picture."""
        return Outline(move(self.points))

    @cached_property
    def area_px(self) -> float:
        """Enclosed area in square px (shoelace formula)."""
        (x, y), (next_x, next_y) = self.points.T, self._following
        return float(abs(np.dot(x, next_y) - np.dot(y, next_x)) / 2)

    @cached_property
    def centroid(self) -> PointPx:
        """Centre of the enclosed area; the mean of the points where the area vanishes."""
        (x, y), (next_x, next_y) = self.points.T, self._following
        cross = x * next_y - next_x * y
        if abs(cross.sum()) < 1e-9:
            return PointPx(float(x.mean()), float(y.mean()))
        cx = ((x + next_x) * cross).sum() / (3 * cross.sum())
        cy = ((y + next_y) * cross).sum() / (3 * cross.sum())
        return PointPx(float(cx), float(cy))

    @property
    def _following(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x and y of the point after each one."""
        x, y = self.points.T
        return np.concatenate([x[1:], x[:1]]), np.concatenate([y[1:], y[:1]])


@dataclass(frozen=True)
class Endplate:
    """One endplate of a vertebral body.

    ``left`` and ``right`` are the corners as seen in the image (smaller and larger x in the frame of the
    vertebra when cranial is up); which of them is anterior is a property of the reading.

    Parameters
    ----------
    left, right
        The two corners, px.
    curve
        (M, 2) float64 points along the endplate from ``left`` to ``right``, px.
    spreads
        How widely the network that placed the left and the right corner scattered either: standard deviations, as
        shares of the usual √area of bodies around; None where they follow from the outline.
    spurs
        How far a spur (osteophyte) stands out beyond the left and the right corner, as the network sees it: shares of
        the plate's width; None where no network says.
    """

    left: PointPx
    right: PointPx
    curve: Points
    spreads: tuple[float, float] | None = None
    spurs: tuple[float, float] | None = None

    def moved(self, move: Move) -> Endplate:
        """The same endplate on another picture; its corners keep their names, which are those with the head up."""
        left, right = move(np.array([self.left, self.right])).tolist()
        return replace(self, left=PointPx(*left), right=PointPx(*right), curve=move(self.curve))

    @property
    def spread(self) -> float | None:
        """Root mean square of both spreads."""
        return None if self.spreads is None else float(np.hypot(*self.spreads) / np.sqrt(2))

    @cached_property
    def middle(self) -> PointPx:
        """Point of the curve half-way between the corners, px."""
        axis = np.subtract(self.right, self.left)
        along = (self.curve - np.asarray(self.left)) @ axis / max(float(axis @ axis), 1e-12)
        order = np.argsort(along)
        x = np.interp(0.5, along[order], self.curve[order, 0])
        y = np.interp(0.5, along[order], self.curve[order, 1])
        return PointPx(float(x), float(y))

    @property
    def width_px(self) -> float:
        """Distance between the corners, px."""
        return float(np.hypot(*np.subtract(self.right, self.left)))


class SpacingBasis(StrEnum):
    """Where millimetres of a projection radiograph come from (PS3.3 10.7.1.3), best first."""

    CALIBRATED = "calibrated"
    """PixelSpacing with PixelSpacingCalibrationType FIDUCIAL."""
    MAGNIFICATION_CORRECTED = "magnification-corrected"
    """PixelSpacing with calibration type GEOMETRY, or ImagerPixelSpacing ÷ magnification factor."""
    CALIBRATED_UNKNOWN = "calibrated-unknown"
    """PixelSpacing that differs from ImagerPixelSpacing, without calibration type: corrected for magnification or
    calibrated with an object, the header does not say which or how."""
    DETECTOR_PLANE = "detector-plane"
    """ImagerPixelSpacing alone: objects are smaller than they measure."""
    UNCALIBRATED = "uncalibrated"
    """PixelSpacing alone, without calibration type: its plane is not stated."""


@dataclass(frozen=True)
class Spacing:
    """Size of a pixel and on what ground it is believed.

    Parameters
    ----------
    row_mm
        Distance between rows (along y), mm.
    column_mm
        Distance between columns (along x), mm.
    basis
        Where the figures come from.
    magnification
        Factor by which detector-plane spacing was divided; 1.0 where it was not.
    """

    row_mm: float
    column_mm: float
    basis: SpacingBasis
    magnification: float = 1.0

    @property
    def xy_mm(self) -> NDArray[np.float64]:
        """(2,) float64: multiply a vector in px (x, y) by it to get mm."""
        return np.array([self.column_mm, self.row_mm])


class Turn(IntEnum):
    """How a film is turned so that the head is up: quarters of a circle, clockwise; no pixel is lost.

    Mirrorings need none of their own: a mirrored film with its head up is read as it is, since front and back, and left
    and right of the image, change places on it and nothing else does.
    """

    NONE = 0
    CLOCKWISE = 1
    HALF = 2
    COUNTERCLOCKWISE = 3

    @property
    def is_sideways(self) -> bool:
        """Whether rows become columns."""
        return self in (Turn.CLOCKWISE, Turn.COUNTERCLOCKWISE)

    def upright(self, picture: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """(rows, columns, …) picture of the film → the one with the head up."""
        return np.ascontiguousarray(np.rot90(picture, -self)) if self else picture

    def as_filmed(self, picture: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """The other way round."""
        return np.ascontiguousarray(np.rot90(picture, self)) if self else picture

    def to_upright(self, rows: int, columns: int) -> Move:
        """Px of a film of rows × columns → px of the upright picture."""
        return self._quarters(self, rows, columns)

    def to_film(self, rows: int, columns: int) -> Move:
        """Px of the upright picture → px of a film of rows × columns."""
        shape = (columns, rows) if self.is_sideways else (rows, columns)
        return self._quarters(Turn(-self % 4), *shape)

    @staticmethod
    def _quarters(turn: Turn, rows: int, columns: int) -> Move:
        """Points of a picture of rows × columns after a clockwise turn of it."""
        size = np.array([columns, rows], np.float64)
        moves: dict[Turn, Move] = {
            Turn.NONE: lambda points: points,
            Turn.CLOCKWISE: lambda points: np.stack([size[1] - points[:, 1], points[:, 0]], axis=1),
            Turn.HALF: lambda points: size - points,
            Turn.COUNTERCLOCKWISE: lambda points: np.stack([points[:, 1], size[0] - points[:, 0]], axis=1),
        }
        return moves[turn]


@dataclass(frozen=True)
class Letterbox:
    """The exact transform between native pixels and the network's input.

    ``input = native * scale + pad``; the scale is equal along x and y.
    """

    scale: float
    pad_x_px: float
    pad_y_px: float
    input_height_px: int
    input_width_px: int

    @classmethod
    def fit(cls, rows: int, columns: int, input_height_px: int, input_width_px: int) -> Letterbox:
        """Fit a film of rows × columns into the input, centred, aspect kept."""
        scale = min(input_height_px / rows, input_width_px / columns)
        pad_x = (input_width_px - columns * scale) / 2
        pad_y = (input_height_px - rows * scale) / 2
        return cls(scale, pad_x, pad_y, input_height_px, input_width_px)

    def to_input(self, points: Points) -> Points:
        """Native px to input px; (N, 2) float64 in and out."""
        placed: Points = points * self.scale + np.array([self.pad_x_px, self.pad_y_px])
        return placed

    def to_native(self, points: Points) -> Points:
        """Input px to native px; (N, 2) float64 in and out."""
        native: Points = (points - np.array([self.pad_x_px, self.pad_y_px])) / self.scale
        return native
