"""The tracer: a third, small network that draws each body's outline and corners from a crop around it.

The detector outlines a body from masks of a quarter of its input's size. The tracer sees each one at a scale of its
own, turned so that the spine runs straight down, and says of each cell of a map whether it lies inside the body, how
likely each of the four corners lies there, and perhaps how far a spur would stand out there. A model folder need not
have one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spinepacs.analysis.seeing.crops import EDGES, Film, places, to_batch
from spinepacs.analysis.seeing.endplates import endplates_between
from spinepacs.analysis.seeing.manifest import Manifest
from spinepacs.analysis.seeing.outline import largest_level_line, simplified
from spinepacs.analysis.seeing.sessions import open_for_crops
from spinepacs.domain.geometry import Endplate, Outline

FILE = "tracer.onnx"
MAP_STRIDE = 2
"""Px of a crop along each axis of a cell of the answers."""
MAPS = 5
"""The four corners, clockwise from the upper left one, and inside the body; one more may tell of spurs, as shares of
the plate's width."""
MAP = (EDGES.height // MAP_STRIDE, EDGES.width // MAP_STRIDE)

_MIRRORED = [1, 0, 3, 2, 4, 5]
"""The maps of a crop in those of its mirror image."""
_REACH = 3
"""Cells around the likeliest one of which a corner's place is the mean."""
_TOLERANCE = 0.04
"""Largest deviation of the simplified outline, cells."""
_OUTSIDE = -1e4
_LIKE = (0.6, 1.7)
"""Area of the outline ÷ that of the detector's: beyond it, another thing was outlined."""
_MOST_AWAY = 0.3
"""Distance of its centre from the detector's, as a share of √area."""
_MARGIN_PX = 1.0
"""A corner that lies nearer to the film's border, or beyond it, is a guess: the body is cut off."""

Floats = NDArray[np.float64]


class Traced(NamedTuple):
    """What was drawn of one body, px of the film; None where a plate's corners are not both on the film."""

    outline: Outline
    upper: Endplate | None
    lower: Endplate | None


class Tracer:
    """One ONNX Runtime session over ``tracer.onnx``; not shared between threads or processes."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._input_name: str = session.get_inputs()[0].name

    @classmethod
    def open(cls, folder: Path, manifest: Manifest, threads: int, *, int8: bool = False) -> Self | None:
        """The tracer of a model folder, in 8 bits if that is wanted and there; None where the manifest names none.

        Raises
        ------
        BadModel
            If the weights are not those of the manifest, or not those of a tracer.
        """
        if not manifest.tracer_sha256:
            return None
        answers = [(maps, *MAP) for maps in (MAPS, MAPS + 1)]
        path, sha256 = manifest.form(folder, FILE, manifest.tracer_sha256, int8=int8)
        return cls(open_for_crops(path, sha256, threads, EDGES, *answers))

    def trace(
        self,
        display: NDArray[np.uint8],
        outlines: Sequence[Outline],
        towards: Floats,
        rows: Sequence[int] | None = None,
    ) -> list[Traced | None]:
        """Draw the bodies of a spine again.

        Parameters
        ----------
        display
            (rows, columns) uint8, bright bone on dark ground, square pixels.
        outlines
            From head to foot, at least one, px of ``display``.
        towards
            (2,) unit vector along the spine, to the foot.
        rows
            Which of them; all where it is not given.

        Returns
        -------
        One for each of those outlines; None where something else was outlined than that.
        """
        centres = np.array([outline.centroid for outline in outlines])
        sizes = np.sqrt([outline.area_px for outline in outlines])
        where = places(centres, sizes, towards)[1:-1]
        if rows is not None:
            where, outlines = [where[row] for row in rows], [outlines[row] for row in rows]
        film = Film(display)
        answers = self.maps([film.cut(place, EDGES) for place in where])
        moves = [EDGES.to_film(place) for place in where]
        seen = MAP_STRIDE * corner_places(answers[:, :4])
        corners = np.stack([one @ move[:, :2].T + move[:, 2] for one, move in zip(seen, moves, strict=True)])
        spreads = corner_spreads(answers[:, :4]) * MAP_STRIDE / EDGES.body_px
        drawn = [_outline(mask, move, film.shape) for mask, move in zip(answers[:, 4], moves, strict=True)]
        alike = [
            one if one and _is_like(one, outline) else None
            for one, outline in zip(drawn, outlines, strict=True)
        ]
        spurs = values_at(answers[:, MAPS], seen / MAP_STRIDE) if answers.shape[1] > MAPS else None
        return _with_plates(alike, corners, spreads, spurs, film.shape)

    def maps(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, 5 or 6, 48, 48) answers for N crops: the mean of what is said of each one and of its mirror image; one
        batch."""
        batch = to_batch(crops)
        both = np.concatenate([batch, batch[..., ::-1]])
        plain, mirrored = np.split(self._session.run(None, {self._input_name: both})[0], 2)
        answer: NDArray[np.float32] = (plain + mirrored[:, _MIRRORED[: plain.shape[1]], :, ::-1]) / 2
        return answer


def corner_places(logits: NDArray[np.float32]) -> Floats:
    """(N, 4, 2) x, y in cells, of (N, 4, h, w) logits: the mean place around the likeliest cell."""
    number, four, height, width = logits.shape
    flat = logits.reshape(number * four, height * width)
    best_y, best_x = np.divmod(flat.argmax(axis=1), width)
    reach = np.arange(-_REACH, _REACH + 1)
    y = np.clip(best_y[:, None] + reach, 0, height - 1)
    x = np.clip(best_x[:, None] + reach, 0, width - 1)
    near = flat.reshape(-1, height, width)[np.arange(len(flat))[:, None, None], y[:, :, None], x[:, None]]
    share = np.exp(near.astype(np.float64) - near.max(axis=(1, 2), keepdims=True))
    share /= share.sum(axis=(1, 2), keepdims=True)
    across, down = (share.sum(axis=1) * (x + 0.5)).sum(axis=1), (share.sum(axis=2) * (y + 0.5)).sum(axis=1)
    return np.stack([across, down], axis=1).reshape(number, four, 2)


def corner_spreads(logits: NDArray[np.float32]) -> Floats:
    """(N, 4) standard deviations, cells, of the places that (N, 4, h, w) logits tell of: over the whole map."""
    share = np.exp(logits - logits.max(axis=(2, 3), keepdims=True))
    share /= share.sum(axis=(2, 3), keepdims=True)
    variance = np.zeros(share.shape[:2])
    for axis in (2, 3):
        along = share.sum(axis=axis, dtype=np.float64)
        at = np.arange(along.shape[2]) + 0.5
        variance += along @ at**2 - (along @ at) ** 2
    return np.sqrt(np.maximum(variance, 0.0))


def values_at(maps: NDArray[np.float32], places: Floats) -> Floats:
    """(N, P) of (N, h, w) maps at (N, P, 2) x, y in cells, straight between the middles of cells."""
    number, height, width = maps.shape
    x, y = (np.clip(places[..., axis] - 0.5, 0, size - 1) for axis, size in ((0, width), (1, height)))
    left, top = (np.minimum(at.astype(int), size - 2) for at, size in ((x, width), (y, height)))
    row = np.arange(number)[:, None]
    found = np.zeros(x.shape)
    for down, share_y in ((0, 1 - y + top), (1, y - top)):
        for across, share_x in ((0, 1 - x + left), (1, x - left)):
            found += share_y * share_x * maps[row, top + down, left + across]
    return found


def _outline(mask: NDArray[np.float32], move: Floats, shape: tuple[int, int]) -> Outline | None:
    """The line around the cells inside, px of a film of ``shape``."""
    ringed = np.full((MAP[0] + 2, MAP[1] + 2), _OUTSIDE)
    ringed[1:-1, 1:-1] = mask
    loop = largest_level_line(ringed)
    if loop is None:
        return None
    cells = np.clip(simplified(loop - 0.5, _TOLERANCE), 0, MAP[::-1])
    points = cells * MAP_STRIDE @ move[:, :2].T + move[:, 2]
    return Outline(np.clip(points, 0, shape[::-1])) if len(points) > 2 else None


def _is_like(drawn: Outline, outline: Outline) -> bool:
    """Whether both are outlines of the same thing."""
    if not _LIKE[0] * outline.area_px < drawn.area_px < _LIKE[1] * outline.area_px:
        return False
    return bool(
        np.hypot(*np.subtract(drawn.centroid, outline.centroid)) < _MOST_AWAY * np.sqrt(outline.area_px)
    )


def _with_plates(
    outlines: Sequence[Outline | None],
    corners: Floats,
    spreads: Floats,
    spurs: Floats | None,
    shape: tuple[int, int],
) -> list[Traced | None]:
    """The outlines with their plates: ``corners`` (N, 4, 2) px of a film of ``shape``, the others (N, 4)."""
    rows = [row for row, outline in enumerate(outlines) if outline]
    kept = [outline for outline in outlines if outline]
    inside = np.all((corners > _MARGIN_PX) & (corners < np.array(shape[::-1]) - _MARGIN_PX), axis=2)
    plates = []
    for ends, upper in (([0, 1], True), ([3, 2], False)):
        drawn = endplates_between([one.points for one in kept], corners[rows][:, ends], upper=upper)
        both = map(tuple, spreads[rows][:, ends].tolist())
        there = inside[rows][:, ends].all(axis=1).tolist()
        out = [None] * len(rows) if spurs is None else map(tuple, spurs[rows][:, ends].tolist())
        plates.append(
            [
                replace(plate, spreads=much, spurs=far) if plate and seen else None
                for plate, much, far, seen in zip(drawn, both, out, there, strict=True)
            ]
        )
    traced: list[Traced | None] = [None] * len(outlines)
    for row, outline, upper, lower in zip(rows, kept, *plates, strict=True):
        traced[row] = Traced(outline, upper, lower)
    return traced
