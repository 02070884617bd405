"""Drawing primitives of the picture: anti-aliased lines, text with a dark halo, labels that keep apart, a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from spinepacs.dicom.overlay.letters import Chip, Colour, Picture, length_px, token_px, write
from spinepacs.domain.geometry import Points

_SHIFT = 4
"""Fractional bits of cv2's coordinates: lines are placed to 1/16 px."""


@dataclass(frozen=True)
class Label:
    """A text beside the spine.

    Parameters
    ----------
    text
        One line.
    at_y
        Where its middle should be, native px.
    colour
        RGB.
    size_px
        Height of the text, px of the picture.
    left
        At the left of the spine, else at its right.
    chips
        Behind the text.
    """

    text: str
    at_y: float
    colour: Colour
    size_px: int
    left: bool
    chips: tuple[Chip, ...] = ()


@dataclass(frozen=True)
class Stroke:
    """A line: (N, 2) points in native px, RGB, width in px of the picture."""

    points: Points
    colour: Colour
    width_px: int
    closed: bool


@dataclass(frozen=True)
class Area:
    """A filled polygon: (N, 2) points in native px, RGB, and how much of the film it hides (0-1)."""

    points: Points
    colour: Colour
    opacity: float


@dataclass(frozen=True)
class Row:
    """A paragraph beside the film, with chips behind it; an empty one is a gap."""

    text: str
    colour: Colour = (225, 225, 225)
    chips: tuple[Chip, ...] = ()


def strokes(picture: Picture, many: Sequence[Stroke], scale: float) -> None:
    """Draw lines with a half-transparent dark rim; ``scale`` takes native px to the picture, which is changed."""
    lines = [_placed(stroke.points, scale) for stroke in many]
    if not lines:
        return
    inside = _box(np.concatenate(lines), picture, 4)
    rims = picture[inside].copy()
    corner = np.array([inside[1].start, inside[0].start]) << _SHIFT
    for stroke, points in zip(many, lines, strict=True):
        shifted = [points - corner]
        cv2.polylines(rims, shifted, stroke.closed, (0, 0, 0), stroke.width_px + 2, cv2.LINE_AA, _SHIFT)
    picture[inside] = cv2.addWeighted(rims, 0.5, picture[inside], 0.5, 0)
    for stroke, points in zip(many, lines, strict=True):
        cv2.polylines(picture, [points], stroke.closed, stroke.colour, stroke.width_px, cv2.LINE_AA, _SHIFT)


def areas(picture: Picture, many: Sequence[Area], scale: float) -> None:
    """Tint polygons; changes ``picture``."""
    for area in many:
        points = _placed(area.points, scale)
        inside = _box(points, picture, 2)
        tinted = picture[inside].copy()
        corner = np.array([inside[1].start, inside[0].start]) << _SHIFT
        cv2.fillPoly(tinted, [points - corner], area.colour, cv2.LINE_AA, _SHIFT)
        picture[inside] = cv2.addWeighted(tinted, area.opacity, picture[inside], 1 - area.opacity, 0)


def canvas_with(display: NDArray[np.uint8], scale: float, height_px: int, width_px: int) -> Picture:
    """Return a black picture with the film at its top left; reduced by area averaging, enlarged by interpolation."""
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = (round(display.shape[1] * scale), round(display.shape[0] * scale))
    film = display if scale == 1 else cv2.resize(display, size, interpolation=way)
    picture: Picture = np.zeros((height_px, width_px, 3), np.uint8)
    cv2.cvtColor(film, cv2.COLOR_GRAY2RGB, dst=picture[: film.shape[0], : film.shape[1]])
    return picture


@dataclass(frozen=True)
class PlacedLabel:
    """Where a label goes: its left edge, its middle and its width, px of the picture."""

    label: Label
    x: float
    y: float
    width: float


def placed(
    shape: tuple[int, ...], columns: Sequence[Sequence[Label]], obstacles: Points, scale: float
) -> list[PlacedLabel]:
    """Find places for columns of labels beside the obstacles, each column outside the one before it.

    Parameters
    ----------
    shape
        Height and width of the picture, px.
    columns
        Labels of one column keep apart from each other.
    obstacles
        (N, 2) points of the picture (px) that text should not cover.
    scale
        Takes native px to the picture.
    """
    found = []
    for column in columns:
        free_y, taken = {True: 0.0, False: 0.0}, [obstacles]
        for label in sorted(column, key=lambda label: label.at_y):
            half = label.size_px * 0.6
            for left in (True, False) if label.left else (False,):
                y = min(max(label.at_y * scale, free_y[left] + half), shape[0] - half)
                x, width = _beside(obstacles, y, label, left)
                if x >= 2:
                    break
            free_y[left] = y + half
            x = float(np.clip(x, 2, max(2, shape[1] - width - 2)))
            found.append(PlacedLabel(label, x, y, width))
            taken.append(np.array([[x + dx, y + dy] for dx in (0, width) for dy in (-half, 0, half)]))
        obstacles = np.concatenate(taken)
    return found


def labels(picture: Picture, columns: Sequence[Sequence[Label]], obstacles: Points, scale: float) -> None:
    """Write labels where :func:`placed` puts them; changes ``picture``."""
    for each in placed(picture.shape, columns, obstacles, scale):
        _write_label(picture, each.x, each.y, each.label)


def beads(stroke: Stroke, step_px: float = 4.0) -> Points:
    """(N, 2) points along a line, at most ``step_px`` apart: corners alone do not say where a side is."""
    points = np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closed else stroke.points
    length = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0, length[-1], int(length[-1] / step_px) + 2)
    return np.stack([np.interp(at, length, points[:, axis]) for axis in (0, 1)], axis=1)


def panel(rows: Sequence[Row], width_px: int, size_px: int) -> Picture:
    """Return a black field with wrapped paragraphs, to stand beside or below the film."""
    margin = size_px
    lines = [line for row in rows for line in _wrapped(row, size_px, width_px - 2 * margin)]
    heights = [size_px * (1.45 if tokens else 0.6) for _, tokens in lines]
    picture: Picture = np.zeros((round(sum(heights)) + 2 * margin, width_px, 3), np.uint8)
    y = margin + size_px / 2
    for (colour, tokens), step in zip(lines, heights, strict=True):
        _write(picture, margin, y, tokens, size_px, colour)
        y += step
    return picture


def scale_bar(picture: Picture, length_px: float, text: str, size_px: int) -> None:
    """Draw a bar with ticks and its length at the bottom left; changes ``picture``."""
    x, y = size_px, picture.shape[0] - size_px
    tick = size_px / 3
    bar = np.array([[x, y - tick], [x, y], [x + length_px, y], [x + length_px, y - tick]])
    strokes(picture, [Stroke(bar + 0.5, (255, 255, 255), max(1, size_px // 10), False)], 1.0)
    labels(picture, [[Label(text, y - size_px * 0.8, (255, 255, 255), size_px, False)]], bar[:2], 1.0)


def _placed(points: Points, scale: float) -> NDArray[np.int32]:
    """Native px to cv2's fixed-point px; it counts from pixel centres, SCOORD from pixel corners."""
    return np.round((points * scale - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _box(placed: NDArray[np.int32], picture: Picture, margin_px: int) -> tuple[slice, slice]:
    """Part of the picture that holds the points: blending all of it would take most of the time."""
    low = np.clip((placed.min(axis=0) >> _SHIFT) - margin_px, 0, None)
    high = (placed.max(axis=0) >> _SHIFT) + margin_px + 1
    return slice(int(low[1]), max(int(high[1]), 1)), slice(int(low[0]), max(int(high[0]), 1))


def _write(
    picture: Picture, x: float, y: float, tokens: Sequence[str | Chip], size_px: int, colour: Colour
) -> None:
    for token in tokens:
        write(picture, x, y, token, size_px, colour)
        x += token_px(token, size_px)


def _write_label(picture: Picture, x: float, y: float, label: Label) -> None:
    """Write a label with a dark halo, and its chips."""
    write(picture, x, y, label.text, label.size_px, label.colour, max(1, round(label.size_px / 9)))
    x += length_px(label.text, label.size_px) + label.size_px * 0.4 * bool(label.text)
    _write(picture, x, y, label.chips, label.size_px, label.colour)


def _beside(obstacles: Points, y: float, label: Label, left: bool) -> tuple[float, float]:
    """Left edge and width of a label, a gap away from what stands at its height; below 0 where it has no room."""
    text_px = length_px(label.text, label.size_px)
    text_px += sum(token_px(chip, label.size_px) for chip in label.chips)
    text_px += label.size_px * 0.4 * bool(label.chips)
    away = np.abs(obstacles[:, 1] - y)
    near = obstacles[away < max(label.size_px, away.min() + 1), 0]
    gap = label.size_px * 0.6
    return float(near.min() - gap - text_px if left else near.max() + gap), text_px


def _wrapped(row: Row, size_px: int, width_px: float) -> list[tuple[Colour, list[str | Chip]]]:
    """Break a row between words and chips so that each line fits."""
    lines: list[list[str | Chip]] = [[]]
    used = 0.0
    tokens: tuple[str | Chip, ...] = (*row.text.split(), *row.chips)
    for token in tokens:
        wide = token_px(token, size_px)
        if lines[-1] and used + wide > width_px:
            lines.append([])
            used = 0.0
        lines[-1].append(token)
        used += wide
    return [(row.colour, _joined(line)) for line in lines]


def _joined(tokens: list[str | Chip]) -> list[str | Chip]:
    """Words that follow each other as one text: each text that is drawn costs."""
    joined: list[str | Chip] = []
    for token in tokens:
        last = joined[-1] if joined else None
        if isinstance(token, str) and isinstance(last, str):
            joined[-1] = f"{last} {token}"
        else:
            joined.append(token)
    return joined
