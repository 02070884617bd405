"""A second, closer look: the network reads windows along the spine that the whole film has shown.

A full-spine film shrunk to the network's input leaves a cervical body a few pixels high. The first pass still finds
most of the spine; from where its bodies lie and how large they are, windows are cut from the film so that a body is
``window_body_px`` high in the network's input. Outlines come from the closer look, and the level scores of both
looks are averaged, since only the whole film shows what lies around.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.seeing.normalise import STRIDE_PX
from spinepacs.domain.findings import Detection
from spinepacs.domain.geometry import Outline

_WORTHWHILE = 1.3
"""Windows that magnify by less than this, compared with the first pass, show nothing new."""
_LARGEST_ENLARGEMENT = 2.0
"""Input px for a native px: beyond it there is nothing left to see."""
_OVERLAP_BODIES = 3.0
"""Neighbouring windows share so many bodies, so that each body is whole in one of them."""
_BESIDE_BODIES = 3.0
"""So many bodies' heights are shown on either side of the spine."""
_SAME = 0.5
"""Two outlines of one look that overlap by more (intersection over union) are one vertebra; C1 and the dens overlap by
less."""
_SAME_ACROSS_LOOKS = 0.2
"""The same for outlines of different looks: where the closer look shows a vertebra, the first look's coarse outline of
it is often half beside it."""
_WORTH_OF_FIRST_LOOK = 0.3
"""Of a score of the first look beside the closer one's, where both show one vertebra: its outline is the coarser. Both
values were chosen on 30 AP, 15 lateral and 12 synthetic films; they agree."""
_EDGE_PX = 2.0
"""Input px: a box nearer to the window's edge is cut off by it."""

Floats = NDArray[np.float64]


class Window(NamedTuple):
    """A rectangle of the film, native px; it may reach beyond the film."""

    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def cut(self, display: NDArray[np.uint8], pad_value: int) -> NDArray[np.uint8]:
        """The window's pixels, (height, width) uint8, with ``pad_value`` beyond the film."""
        canvas = np.full((self.height_px, self.width_px), pad_value, np.uint8)
        top, left = max(self.top_px, 0), max(self.left_px, 0)
        part = display[top : self.top_px + self.height_px, left : self.left_px + self.width_px]
        y, x = top - self.top_px, left - self.left_px
        canvas[y : y + part.shape[0], x : x + part.shape[1]] = part
        return canvas


def plan_windows(
    found: Sequence[Detection], rows: int, columns: int, input_px: int, body_px: float
) -> tuple[tuple[Window, ...], int]:
    """Windows from head to foot that cover what was found, and half a window beyond both ends.

    Parameters
    ----------
    found
        Detections of the whole film, native px.
    rows, columns
        Size of the film, px.
    input_px
        Height of a window in the network's input.
    body_px
        Height that a body is to have in the input.

    Returns
    -------
    windows
        Empty where nothing was found or a closer look would show nothing new.
    input_width_px
        Width of every window in the network's input, a multiple of 32: they are read in one batch.
    """
    if not found:
        return (), 0
    centres = np.array([detection.outline.centroid for detection in found])
    sizes = np.sqrt([detection.outline.area_px for detection in found])
    order = np.argsort(centres[:, 1])
    centres, sizes = centres[order], _smooth(sizes[order])
    whole_scale = input_px / max(rows, columns)
    spans = []
    for top, local in _steps(centres[:, 1], sizes, rows, input_px / body_px):
        height = max(local * input_px / body_px, input_px / _LARGEST_ENLARGEMENT)
        if input_px / height >= _WORTHWHILE * whole_scale:
            spans.append(_Span(top, height, *_across(centres, top, height), _BESIDE_BODIES * local))
    if not spans:
        return (), 0
    share = max((span.right - span.left + 2 * span.margin) / span.height for span in spans)
    width_px = min(STRIDE_PX * math.ceil(share * input_px / STRIDE_PX), input_px)
    return tuple(span.window(width_px / input_px) for span in spans), width_px


class _Span(NamedTuple):
    """A stretch of the spine, native px: from its top on, from the leftmost to the rightmost body, and the margin."""

    top: float
    height: float
    left: float
    right: float
    margin: float

    def window(self, share: float) -> Window:
        """The window around it whose width is a share of its height."""
        width = self.height * share
        left = (self.left + self.right - width) / 2
        return Window(round(left), round(self.top), round(width), round(self.height))


def _across(centres: Floats, top: float, height: float) -> tuple[float, float]:
    """Least and largest x of the bodies between top and bottom; of the nearest body where there is none."""
    near = np.abs(centres[:, 1] - (top + height / 2)) <= height / 2
    x = centres[near, 0] if near.any() else centres[[np.abs(centres[:, 1] - top).argmin()], 0]
    return float(x.min()), float(x.max())


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


def placed(
    windows: Sequence[Window],
    found: Sequence[Sequence[Detection]],
    shape: tuple[int, ...],
    input_px: int,
) -> list[Detection]:
    """What each window shows, in the film's px, without the bodies that a window's edge cuts.

    Parameters
    ----------
    windows, found
        The windows, and the detections in px of each.
    shape
        Rows and columns of the film.
    input_px
        Height of a window in the network's input.
    """
    return [
        _moved(detection, window)
        for window, detections in zip(windows, found, strict=True)
        for detection in detections
        if _is_whole(detection.box_px, window, _EDGE_PX * window.height_px / input_px, shape)
    ]


def join(found: Sequence[Detection], closer: Sequence[Detection]) -> tuple[Detection, ...]:
    """Detections of both looks without doubles, best first.

    Of what overlaps, the best is kept, the closer look's outline before the first one's; its level scores are the mean
    of both looks, and its confidence is the greatest.
    """
    ranked = [(one.score, True, one) for one in closer]
    ranked += [(one.score * _WORTH_OF_FIRST_LOOK, False, one) for one in found]
    groups: list[_Group] = []
    for _, is_closer, one in sorted(ranked, key=lambda item: -item[0]):
        overlaps = [_overlap(one, group.kept) / _same(is_closer, group) for group in groups]
        if overlaps and max(overlaps) > 1:
            groups[int(np.argmax(overlaps))].seen[is_closer].append(one)
        else:
            groups.append(_Group(one, is_closer, {is_closer: [one], not is_closer: []}))
    return tuple(sorted((_together(group) for group in groups), key=lambda item: -item.score))


class _Group(NamedTuple):
    """One vertebra: the detection whose outline is kept, its look, and all detections of it by look."""

    kept: Detection
    is_closer: bool
    seen: dict[bool, list[Detection]]


def _same(is_closer: bool, group: _Group) -> float:
    return _SAME if is_closer is group.is_closer else _SAME_ACROSS_LOOKS


def _together(group: _Group) -> Detection:
    """One vertebra with what all looks say of its level: windows that share a body say almost the same, so the looks
    are averaged, not the detections."""
    means = [np.mean([one.class_scores for one in looks], axis=0) for looks in group.seen.values() if looks]
    score = max(one.score for looks in group.seen.values() for one in looks)
    return replace(group.kept, class_scores=np.mean(means, axis=0, dtype=np.float32), score=score)


def _moved(detection: Detection, window: Window) -> Detection:
    """From the window's px to the film's."""
    corner = np.array([window.left_px, window.top_px], np.float64)
    outline = Outline(detection.outline.points + corner)
    return replace(detection, box_px=detection.box_px + np.tile(corner, 2), outline=outline)


def _is_whole(box: Floats, window: Window, edge: float, shape: tuple[int, ...]) -> bool:
    """Whether the window's edge cuts nothing off; where it lies beyond the film there is nothing to cut off."""
    left, top = max(0, -window.left_px), max(0, -window.top_px)
    right = min(window.width_px, shape[1] - window.left_px)
    bottom = min(window.height_px, shape[0] - window.top_px)
    inside = (left or box[0] > edge, top or box[1] > edge)
    beyond = (
        right < window.width_px or box[2] < window.width_px - edge,
        bottom < window.height_px or box[3] < window.height_px - edge,
    )
    return all(inside) and all(beyond)


def _overlap(first: Detection, second: Detection) -> float:
    """Intersection over union of two bodies' convex hulls.

    Boxes would not do: those of neighbours in a tilted spine overlap too.
    """
    # As plain numbers: nearly all of a thousand pairs lie apart, and numpy takes 3 µs to say so.
    left, top, right, bottom = first.box_px.tolist()
    other_left, other_top, other_right, other_bottom = second.box_px.tolist()
    if left >= other_right or top >= other_bottom or other_left >= right or other_top >= bottom:
        return 0.0
    hulls = [cv2.convexHull(item.outline.points.astype(np.float32)) for item in (first, second)]
    common = cv2.intersectConvexConvex(*hulls)[0]
    areas = sum(cv2.contourArea(hull) for hull in hulls)
    return float(common / max(areas - common, 1e-9))
