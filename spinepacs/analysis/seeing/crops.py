"""A film → one crop for each place along the spine: turned so that the spine runs straight down, scaled to the body.

The same function cuts them for training and for the product, so that the reader network sees what it learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.normalise import halved

PAD_VALUE = 114
_NEIGHBOURS = 5
"""A crop is scaled by the median √area of so many bodies around: one wrong outline must not set it."""
_SMOOTHING_PITCHES = 2.0
"""Width of the Gaussian over neighbours through which the spine's direction is drawn."""

Floats = NDArray[np.float64]


class Place(NamedTuple):
    """Where to look: centre (x, y) px, √area of the bodies there, px, and a unit vector along the spine to the foot."""

    centre: Floats
    size_px: float
    footwards: Floats


class Frame(NamedTuple):
    """A kind of crop: its height and width, px, and √area of the body in it, px."""

    height: int
    width: int
    body_px: float

    @property
    def shape(self) -> tuple[int, int]:
        """Of a crop's array."""
        return self.height, self.width

    def to_film(self, place: Place, change: Floats | None = None) -> Floats:
        """(2, 3) affine: px of the crop at a place → px of the film; corners of pixels at whole numbers in both.

        Parameters
        ----------
        change
            (2, 2), training only: applied to vectors of the crop before the film is looked up (stretch, mirror).
        """
        down = place.footwards
        turn = np.array([[down[1], down[0]], [-down[0], down[1]]]) * (place.size_px / self.body_px)
        if change is not None:
            turn = turn @ change
        return np.column_stack([turn, place.centre - turn @ np.array([self.width / 2, self.height / 2])])


NAMES = Frame(160, 128, 26.0)
"""For what a body is called: three bodies above it and below are in view, ribs, alae and crests beside it."""
EDGES = Frame(96, 96, 40.0)
"""For where a body ends: it and the discs, with the plates that face it."""


def places(centres: Floats, sizes_px: Floats, towards: Floats) -> list[Place]:
    """A place for each body, and one beyond either end.

    Parameters
    ----------
    centres
        (N, 2) of the bodies in order from head to foot, N ≥ 1.
    sizes_px
        (N,) √area of each.
    towards
        (2,) unit vector along the whole spine, to the foot.

    Returns
    -------
    N + 2 places: the one above the first body, those of the bodies, the one below the last.
    """
    axes = directions(centres, towards)
    sizes = _smooth(sizes_px)
    pitches = np.hypot(*np.diff(centres, axis=0).T) if len(centres) > 1 else sizes[:1]
    above = centres[0] - axes[0] * pitches[0]
    below = centres[-1] + axes[-1] * pitches[-1]
    rows = [0, *range(len(centres)), -1]
    where = [above, *centres, below]
    return [Place(centre, float(sizes[row]), axes[row]) for centre, row in zip(where, rows, strict=True)]


def directions(centres: Floats, towards: Floats) -> Floats:
    """(N, 2) unit vectors along the spine at centres sorted along ``towards``: lines through each one's neighbours."""
    across = np.array([-towards[1], towards[0]])
    along, aside = centres @ towards, centres @ across
    usual = max(float(np.median(np.hypot(*np.diff(centres, axis=0).T))), 1e-6) if len(centres) > 1 else 1.0
    pitches = (along[:, None] - along[None, :]) / usual
    weight = np.exp(-(pitches**2) / (2 * _SMOOTHING_PITCHES**2))
    weight /= weight.sum(axis=1, keepdims=True)
    beside = along[None, :] - (weight @ along)[:, None]
    variance = (weight * beside**2).sum(axis=1)
    slope = (weight * beside) @ aside / np.maximum(variance, 1e-6 * usual**2)
    vectors = towards + slope[:, None] * across
    unit: Floats = vectors / np.hypot(vectors[:, 0], vectors[:, 1])[:, None]
    return unit


def _smooth(sizes: Floats) -> Floats:
    half = _NEIGHBOURS // 2
    padded = np.pad(sizes, half, mode="edge")
    return np.median(np.stack([padded[i : i + len(sizes)] for i in range(_NEIGHBOURS)]), axis=0)


class Film:
    """A film as displayed, from which crops are cut."""

    def __init__(self, display: NDArray[np.uint8]) -> None:
        self._display = display

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self._display.shape
        return rows, columns

    def cut(self, place: Place, frame: Frame = NAMES, change: Floats | None = None) -> NDArray[np.uint8]:
        """The crop at a place, (height, width) uint8, with :data:`PAD_VALUE` beyond the film.

        Parameters
        ----------
        change
            As for :meth:`Frame.to_film`.
        """
        times = max(place.size_px / frame.body_px, 1e-6)
        halvings = max(int(np.floor(np.log2(times))), 0)
        # Pixel centres lie at halves in our coordinates and at whole numbers in OpenCV's.
        matrix = frame.to_film(place, change)
        matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2
        matrix /= 2**halvings
        matrix[:, 2] -= 0.5
        picture = self._display
        for _ in range(halvings):
            picture = halved(picture)
        cut = cv2.warpAffine(
            picture,
            matrix,
            frame.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=PAD_VALUE,
        )
        return np.asarray(cut, np.uint8)


def hidden_above(crop: NDArray[np.uint8], sizes: float = 0.6) -> NDArray[np.uint8]:
    """A crop for names that shows only the body in its middle and what lies below: where the sacrum is, without ribs.

    Parameters
    ----------
    sizes
        How far above its middle what is shown begins, in √area of the body.
    """
    shown = crop.copy()
    shown[: round(NAMES.height / 2 - sizes * NAMES.body_px)] = PAD_VALUE
    return shown


def to_batch(crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Crops → (N, 1, height, width) float32, each with mean 0 and deviation 1: windows and exposures fall away."""
    batch = np.stack(crops).astype(np.float32)[:, None]
    mean = batch.mean(axis=(2, 3), keepdims=True)
    deviation = batch.std(axis=(2, 3), keepdims=True)
    standard: NDArray[np.float32] = (batch - mean) / np.maximum(deviation, 4.0)
    return standard
