"""Drawing primitives of the picture: anti-aliased lines, text with a dark halo, labels that keep apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinepacs.geometry import Points

Colour = tuple[int, int, int]
"""RGB, 0-255."""

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""

_SHIFT = 4
"""Fractional bits of cv2's coordinates: lines are placed to 1/16 px."""


@dataclass(frozen=True)
class Label:
    """A text beside the spine.

    Parameters
    ----------
    text
        ASCII, one line.
    at_y_px
        Where its middle should be, px of the picture.
    colour
        RGB.
    size_px
        Height of the text.
    left
        At the left of the spine, else at its right.
    """

    text: str
    at_y_px: float
    colour: Colour
    size_px: int
    left: bool


@dataclass(frozen=True)
class Stroke:
    """A line: (N, 2) points in native px, RGB, width in px of the picture."""

    points: Points
    colour: Colour
    width_px: int
    closed: bool


def strokes(picture: Picture, many: Sequence[Stroke], scale: float) -> None:
    """Draw lines with a half-transparent dark rim; ``scale`` takes native px to the picture, which is changed."""
    # cv2 counts from pixel centres, SCOORD from pixel corners.
    placed = [np.round((s.points * scale - 0.5) * (1 << _SHIFT)).astype(np.int32) for s in many]
    rims = picture.copy()
    for stroke, points in zip(many, placed, strict=True):
        cv2.polylines(rims, [points], stroke.closed, (0, 0, 0), stroke.width_px + 2, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(rims, 0.5, picture, 0.5, 0, dst=picture)
    for stroke, points in zip(many, placed, strict=True):
        cv2.polylines(picture, [points], stroke.closed, stroke.colour, stroke.width_px, cv2.LINE_AA, _SHIFT)


def reduced(display: NDArray[np.uint8], scale: float) -> Picture:
    """Return the film in grey, reduced by area averaging, as RGB."""
    small = (
        display if scale == 1 else cv2.resize(display, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    )
    picture: Picture = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    return picture


def labels(picture: Picture, texts: Sequence[Label], obstacles: Points) -> None:
    """Write labels beside the obstacles, none over another of its side; changes ``picture``.

    Parameters
    ----------
    obstacles
        (N, 2) points of the picture (px) that text should not cover.
    """
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    free_y = {True: 0.0, False: 0.0}
    for label in sorted(texts, key=lambda label: label.at_y_px):
        half, face = label.size_px / 2, font(label.size_px)
        y = min(max(label.at_y_px, free_y[label.left] + half), picture.shape[0] - half)
        free_y[label.left] = y + half
        x = _beside(obstacles, y, label, picture.shape[1], face.getlength(label.text))
        halo = max(1, round(label.size_px / 9))
        draw.text((x, y), label.text, label.colour, face, "lm", stroke_width=halo, stroke_fill=(0, 0, 0))
    picture[:] = np.asarray(canvas)


def beads(stroke: Stroke, step_px: float = 4.0) -> Points:
    """(N, 2) points along a line, at most ``step_px`` apart: corners alone do not say where a side is."""
    points = np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closed else stroke.points
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0, length[-1], int(length[-1] / step_px) + 2)
    return np.stack([np.interp(at, length, points[:, axis]) for axis in (0, 1)], axis=1)


def footer(lines_of_text: Sequence[str], width_px: int, size_px: int) -> Picture:
    """Return a black band with text wrapped to ``width_px``, to stand below the film."""
    face, margin = font(size_px), size_px // 2
    rows = [row for text in lines_of_text for row in _wrap(text, face, width_px - 2 * margin)]
    canvas = Image.new("RGB", (width_px, round(len(rows) * size_px * 1.4) + 2 * margin))
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(rows):
        draw.text((margin, margin + number * size_px * 1.4), row, (225, 225, 225), face)
    return np.array(canvas)


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font: no font has to be installed."""
    face = ImageFont.load_default(size_px)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the one from PyPI")
    return face


def _beside(obstacles: Points, y: float, label: Label, width_px: int, text_px: float) -> float:
    """Left edge of a text: a gap away from what stands at its height, but inside the picture."""
    away = np.abs(obstacles[:, 1] - y)
    near = obstacles[away < max(label.size_px, away.min() + 1), 0]
    gap = label.size_px * 0.8
    wanted = near.min() - gap - text_px if label.left else near.max() + gap
    return float(np.clip(wanted, 2, max(2, width_px - text_px - 2)))


def _wrap(text: str, face: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Break a text at spaces so that each row fits."""
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and face.getlength(longer) > width_px:
            rows.append(word)
        else:
            rows[-1] = longer
    return rows
