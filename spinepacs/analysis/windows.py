"""A second, closer look: the network reads square windows along the spine that the whole film has shown.

A full-spine film shrunk to the network's input leaves a cervical body a few pixels high. The first pass still finds
most of the spine; from where its bodies lie and how large they are, windows are cut from the film so that a body is
``window_body_px`` high in the network's input. Outlines come from the closer look, and the level scores of both
looks are averaged, since only the whole film shows what lies around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.findings import Detection
from spinepacs.geometry import Outline

_WORTHWHILE = 1.3
"""Windows that magnify by less than this, compared with the first pass, show nothing new."""
_LARGEST_ENLARGEMENT = 2.0
"""Input px for a native px: beyond it there is nothing left to see."""
_OVERLAP_BODIES = 3.0
"""Neighbouring windows share so many bodies, so that each body is whole in one of them."""
_SAME = 0.3
"""Two outlines that overlap by more (intersection over union) are one vertebra."""
_EDGE_PX = 2.0
"""Input px: a box nearer to the window's edge is cut off by it."""

Floats = NDArray[np.float64]


class Window(NamedTuple):
    """A square of the film, native px; it may reach beyond the film."""

    left_px: int
    top_px: int
    side_px: int

    def cut(self, display: NDArray[np.uint8], pad_value: int) -> NDArray[np.uint8]:
        """The window's pixels, (side, side) uint8, with ``pad_value`` beyond the film."""
        canvas = np.full((self.side_px, self.side_px), pad_value, np.uint8)
        top, left = max(self.top_px, 0), max(self.left_px, 0)
        part = display[top : self.top_px + self.side_px, left : self.left_px + self.side_px]
        y, x = top - self.top_px, left - self.left_px
        canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        return canvas


def plan_windows(
    found: Sequence[Detection], rows: int, columns: int, input_px: int, body_px: float
) -> tuple[Window, ...]:
    """Windows from head to foot that cover what was found, and half a window beyond both ends.

    Parameters
    ----------
    found
        Detections of the whole film, native px.
    rows, columns
        Size of the film, px.
    input_px
        Side of the network's square input.
    body_px
        Height that a body is to have in the input.

    Returns
    -------
    Empty where nothing was found or a closer look would show nothing new.
    """
    if not found:
        return ()
    centres = np.array([detection.outline.centroid for detection in found])
    sizes = np.sqrt([detection.outline.area_px for detection in found])
    order = np.argsort(centres[:, 1])
    centres, sizes = centres[order], _smooth(sizes[order])
    whole_scale = min(input_px / rows, input_px / columns)
    windows = []
    for top, local in _steps(centres[:, 1], sizes, rows, input_px / body_px):
        side = max(round(local * input_px / body_px), round(input_px / _LARGEST_ENLARGEMENT))
        if input_px / side < _WORTHWHILE * whole_scale:
            continue
        near = np.abs(centres[:, 1] - (top + side / 2)) <= side / 2
        x = centres[near, 0] if near.any() else centres[[np.abs(centres[:, 1] - top).argmin()], 0]
        windows.append(Window(round((x.min() + x.max()) / 2 - side / 2), round(top), side))
    return tuple(windows)


def _smooth(sizes: Floats) -> Floats:
    """Median over five neighbours: one wrong outline must not set a window's scale."""
    padded = np.pad(sizes, 2, mode="edge")
    return np.median(np.stack([padded[i : i + len(sizes)] for i in range(5)]), axis=0)


def _steps(y: Floats, sizes: Floats, rows: int, bodies: float) -> Iterator[tuple[float, float]]:
    """Top of each window and the size of the bodies in it, px."""
    top = max(y[0] - sizes[0] * bodies / 2, -sizes[0])
    last = min(y[-1] + sizes[-1] * bodies / 2, rows + sizes[-1])
    while True:
        local = float(np.interp(top + sizes[np.abs(y - top).argmin()] * bodies / 2, y, sizes))
        side = local * bodies
        yield float(min(top, max(last - side, top - side))), local
        if top + side >= last:
            return
        top += side - _OVERLAP_BODIES * local


def look_closer(
    detect: Callable[[NDArray[np.uint8]], Sequence[Detection]],
    display: NDArray[np.uint8],
    found: Sequence[Detection],
    windows: Sequence[Window],
    pad_value: int,
    input_px: int,
) -> tuple[Detection, ...]:
    """Read the windows and join what they show with what the whole film showed.

    Parameters
    ----------
    detect
        Reads one picture: (rows, columns) uint8 → detections in its px.
    display
        The film.
    found
        Detections of the whole film, native px.

    Returns
    -------
    Detections in native px, best first; no vertebra twice.
    """
    closer: list[Detection] = []
    for window in windows:
        edge = _EDGE_PX * window.side_px / input_px
        for detection in detect(window.cut(display, pad_value)):
            if _is_whole(detection.box_px, window, edge, display.shape):
                closer.append(_moved(detection, window))
    return join(found, closer)


def join(found: Sequence[Detection], closer: Sequence[Detection]) -> tuple[Detection, ...]:
    """Detections of both looks without doubles: the closer outline, the mean of the level scores."""
    kept: list[Detection] = []
    for detection in sorted(closer, key=lambda item: -item.score):
        if not any(_overlap(detection, other) > _SAME for other in kept):
            kept.append(detection)
    joined, seen_again = [], set[int]()
    for detection in kept:
        overlaps = np.array([_overlap(detection, other) for other in found])
        seen_again.update(np.flatnonzero(overlaps > _SAME).tolist())
        joined.append(
            _averaged(detection, found[int(overlaps.argmax())]) if (overlaps > _SAME).any() else detection
        )
    missed = [one for index, one in enumerate(found) if index not in seen_again]
    return tuple(sorted([*joined, *missed], key=lambda item: -item.score))


def _averaged(closer: Detection, whole: Detection) -> Detection:
    """One vertebra seen in both looks."""
    scores = (closer.class_scores + whole.class_scores) * np.float32(0.5)
    return replace(closer, class_scores=scores, score=max(closer.score, whole.score))


def _moved(detection: Detection, window: Window) -> Detection:
    """From the window's px to the film's."""
    corner = np.array([window.left_px, window.top_px], np.float64)
    outline = Outline(detection.outline.points + corner)
    return replace(detection, box_px=detection.box_px + np.tile(corner, 2), outline=outline)


def _is_whole(box: Floats, window: Window, edge: float, shape: tuple[int, ...]) -> bool:
    """Whether the window's edge cuts nothing off; where it lies beyond the film there is nothing to cut off."""
    left, top = max(0, -window.left_px), max(0, -window.top_px)
    right = min(window.side_px, shape[1] - window.left_px)
    bottom = min(window.side_px, shape[0] - window.top_px)
    inside = (left or box[0] > edge, top or box[1] > edge)
    beyond = (
        right < window.side_px or box[2] < window.side_px - edge,
        bottom < window.side_px or box[3] < window.side_px - edge,
    )
    return all(inside) and all(beyond)


def _overlap(first: Detection, second: Detection) -> float:
    """Intersection over union of two bodies' convex hulls.

    Boxes would not do: those of neighbours in a tilted spine overlap too.
    """
    one, other = first.box_px, second.box_px
    if (one[:2] >= other[2:]).any() or (other[:2] >= one[2:]).any():
        return 0.0
    hulls = [cv2.convexHull(item.outline.points.astype(np.float32)) for item in (first, second)]
    common = cv2.intersectConvexConvex(*hulls)[0]
    areas = sum(cv2.contourArea(hull) for hull in hulls)
    return float(common / max(areas - common, 1e-9))
