"""Text and chips of the picture, at whole px: each is rendered once and kept, as most words come again.

Rendering would be a third of a picture's time: a text with a halo takes Pillow 0.4 ms, a kept one a tenth of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from spinepacs.language import Language, spoken

Colour = tuple[int, int, int]
"""RGB, 0-255."""

Picture = NDArray[np.uint8]
"""(height, width, 3) uint8, RGB."""

FONT = Path(__file__).parent / "fonts" / "DejaVuSansCondensed.ttf"
"""Latin, Greek and Cyrillic letters of DejaVu Sans Condensed 2.37; its licence lies beside it."""

_MOST = 600
"""Texts that are kept: of 20 kB at most, mostly 2."""


@dataclass(frozen=True)
class Chip:
    """A short text on a coloured field, with a word of explanation after it in a legend."""

    text: str
    colour: Colour
    word: str = ""


class _Stamp(NamedTuple):
    """What is put on a picture: how much of each value (height, 3 × width) uint16, in what colour, and where it begins.

    ``colour`` is one RGB or one for each pixel, ``left`` and ``top`` are counted from the left end of the middle line.
    Rows hold the three values of each pixel one after the other: numpy takes short rows of three one by one.
    """

    cover: NDArray[np.uint16]
    colour: Colour | NDArray[np.uint8]
    left: int
    top: int


def token_px(token: str | Chip, size_px: int) -> float:
    """Width of a word or a chip with the space behind it."""
    if isinstance(token, str):
        return length_px(f"{token} ", size_px)
    word = length_px(token.word, size_px) + size_px * 0.6 if token.word else 0.0
    return length_px(token.text, size_px) + size_px * 0.8 + word


def length_px(text: str, size_px: int) -> float:
    """Width of a text."""
    return _length_px(text, size_px, spoken())


def write(
    picture: Picture, x: float, y: float, token: str | Chip, size_px: int, colour: Colour, halo_px: int = 0
) -> None:
    """Write a word, or a chip (black on its colour, its explanation behind it); changes ``picture``.

    Parameters
    ----------
    x, y
        The left end of its middle line; rounded.
    halo_px
        Width of the dark rim of a word.
    """
    x, y = round(x), round(y)
    if isinstance(token, Chip):
        _put(picture, x, y, _chip(token.text, token.colour, size_px, spoken()))
        wide = length_px(token.text, size_px) + size_px * 0.5
        if token.word:
            write(picture, x + wide + size_px * 0.3, y, token.word, size_px, colour)
        return
    if halo_px:
        _put(picture, x, y, _text(token, size_px, halo_px, spoken())._replace(colour=(0, 0, 0)))
    _put(picture, x, y, _text(token, size_px, 0, spoken())._replace(colour=colour))


@lru_cache(maxsize=4 * _MOST)
def _length_px(text: str, size_px: int, language: Language) -> float:
    return _font(size_px, language).getlength(text)


@lru_cache(maxsize=_MOST)
def _text(text: str, size_px: int, halo_px: int, language: Language) -> _Stamp:
    mask, (left, top) = _font(size_px, language).getmask2(
        text, "L", stroke_width=halo_px, anchor="lm", stroke_filled=True
    )
    cover = np.array(mask, np.uint16).reshape(mask.size[1], mask.size[0])
    return _Stamp(np.repeat(cover, 3, axis=1), (0, 0, 0), int(left), int(top))


@lru_cache(maxsize=_MOST)
def _chip(text: str, colour: Colour, size_px: int, language: Language) -> _Stamp:
    """A field with a dark rim, and the text in its middle."""
    face, half = _font(size_px, language), size_px * 0.55
    wide, middle = face.getlength(text) + size_px * 0.5, math.ceil(half)
    size, corners = (math.ceil(wide) + 1, 2 * middle + 1), (0, middle - half, wide, middle + half)
    field, shape = Image.new("RGB", size), Image.new("L", size)
    draw = ImageDraw.Draw(field)
    draw.rounded_rectangle(corners, half * 0.5, colour, (0, 0, 0))
    draw.text((wide / 2, middle), text, (0, 0, 0), face, "mm")
    ImageDraw.Draw(shape).rounded_rectangle(corners, half * 0.5, 255, 255)
    return _Stamp(np.repeat(np.array(shape, np.uint16), 3, axis=1), np.array(field), 0, -middle)


def _put(picture: Picture, x: int, y: int, stamp: _Stamp) -> None:
    """Blend a stamp into a picture as Pillow does, where it lies on it."""
    top, left = y + stamp.top, x + stamp.left
    rows, columns = stamp.cover.shape[0], stamp.cover.shape[1] // 3
    up, down = max(0, -top), max(0, min(rows, picture.shape[0] - top))
    start, end = max(0, -left), max(0, min(columns, picture.shape[1] - left))
    part = picture[top + up : top + down, left + start : left + end]
    inside = slice(up, down), slice(3 * start, 3 * end)
    cover, ink = stamp.cover[inside], np.asarray(stamp.colour, np.uint16)
    ink = np.tile(ink, end - start) if ink.ndim == 1 else ink.reshape(rows, -1)[inside]
    mixed = part.reshape(cover.shape) * (255 - cover)
    mixed += ink * cover
    mixed += np.uint16(128)
    mixed += mixed >> 8
    part[:] = (mixed >> 8).reshape(part.shape)


@lru_cache(maxsize=16)
def _font(size_px: int, language: Language) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font, which has the letters of English alone, or ours: none has to be installed."""
    if language != "en":
        return ImageFont.truetype(FONT, size_px)
    face = ImageFont.load_default(size_px)
    if not isinstance(face, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the one from PyPI")
    return face
