"""Whether bone is bright: told from the picture where no header is to be believed, and put right.

Bodies are denser than the discs between them, and on AP films than what lies beside them; the air beside the patient is
dark. Measured as they are and inverted on 15 lateral, 10 cervical, 40 AP and 4 demo films: none of the 69 was called a
negative, and no negative a film; 62 of the 69 negatives were told, and 60 of the films.

Notes: ``POLARITY_FROM_PICTURE``, a negative was turned round; ``POLARITY_UNCLEAR``, the header contradicts itself and
the picture does not tell (nothing is published).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from spinepacs.analysis.naming.upright import Upright, find_upright, turn_of
from spinepacs.analysis.seeing.segment import Segmenter, Step, untimed
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.geometry import Endplate, Turn
from spinepacs.domain.study import Radiograph, View

_LEAST_DISCS = 4
_BRIGHT, _HALF, _DARK = 0.65, 0.5, 0.35
"""Share of the discs that are darker than their bodies: 0.53 to 1.0 (one: 0.40) on films, 0.0 to 0.62 on negatives."""
_LEAST_DARKER = 1.5
"""Grey levels by which the bodies of a negative are darker than the discs, where the share alone is to decide."""
_LEAST_AIR = 30.0
"""Grey levels by which the borders at the sides are brighter than the film: at most 14 on films, up to 127 on
negatives."""
_LEAST_BESIDE = 5.0
"""Grey levels by which AP bodies are darker than what lies beside them: films have them brighter by 23 or more."""

Vector = NDArray[np.float64]


class _Bone(Enum):
    BRIGHT = 1
    UNCLEAR = 0
    DARK = -1


def find_bright(segmenter: Segmenter, film: Radiograph, step: Step = untimed) -> Upright:
    """Find the spine of a film as ``find_upright`` does, and of a negative once it is turned round.

    A film whose bone is bright costs a look at some thousand pixels more.
    """
    seen = find_upright(segmenter, film, step)
    if isinstance(seen.spine, Refusal):
        return seen
    bone = _bone(seen.spine, seen.film.display)
    if bone is _Bone.DARK:
        again = find_upright(segmenter, replace(film, display=255 - film.display), step)
        if isinstance(again.spine, Spine) and _bone(again.spine, again.film.display) is not _Bone.DARK:
            return _noted(again, "POLARITY_FROM_PICTURE")
    if bone is not _Bone.BRIGHT and "POLARITY_INCONSISTENT" in film.notes:
        return _noted(seen, "POLARITY_UNCLEAR")
    return seen


def as_read(film: Radiograph, notes: Collection[str]) -> tuple[Radiograph, Turn]:
    """The film as it was looked at when a reading with these notes was made, and how it was turned for that."""
    told = tuple(note for note in ("POLARITY_FROM_PICTURE", "POLARITY_UNCLEAR") if note in notes)
    if "POLARITY_FROM_PICTURE" in told:
        film = replace(film, display=255 - film.display)
    turn = turn_of(notes)
    return replace(film, notes=film.notes + told).turned(turn), turn


def _noted(seen: Upright, note: str) -> Upright:
    return seen._replace(film=replace(seen.film, notes=(*seen.film.notes, note)))


def _bone(spine: Spine, display: NDArray[np.uint8]) -> _Bone:
    """Tell whether bone is bright on a film with its head up."""
    darker, beside = _discs_darker(spine, display), _sides_darker(spine, display)
    if len(darker) < _LEAST_DISCS:
        return _Bone.UNCLEAR
    share, by = float((darker > 0).mean()), float(np.median(darker))
    if share >= _BRIGHT:
        return _Bone.BRIGHT
    is_dark = (
        (share <= _DARK and by <= -_LEAST_DARKER)
        or _air(display) > _LEAST_AIR
        or (spine.view is View.AP and beside < -_LEAST_BESIDE)
    )
    return _Bone.DARK if share <= _HALF and by < 0 and is_dark else _Bone.UNCLEAR


def _discs_darker(spine: Spine, display: NDArray[np.uint8]) -> Vector:
    """(N,) how much darker each disc is than the two bodies at it, grey levels."""
    pairs = [
        (_quad(above.upper, above.lower), _quad(above.lower, below.upper), _quad(below.upper, below.lower))
        for above, below in zip(spine.vertebrae, spine.vertebrae[1:], strict=False)
        if below.level == above.level + 1 and above.upper and above.lower and below.upper and below.lower
    ]
    if not pairs:
        return np.empty(0)
    across = (0.25, 0.75)
    quads = np.array(pairs)
    bodies = _grey(quads[:, 0], display, across, (0.2, 0.9)) + _grey(quads[:, 2], display, across, (0.1, 0.8))
    return bodies / 2 - _grey(quads[:, 1], display, across, (0.35, 0.65))


def _sides_darker(spine: Spine, display: NDArray[np.uint8]) -> float:
    """Median over the bodies of how much darker the darker of their sides is, grey levels; 0 where there is none."""
    quads = np.array([_quad(v.upper, v.lower) for v in spine.vertebrae if v.upper and v.lower])
    if not len(quads):
        return 0.0
    middle = (0.3, 0.7)
    sides = [_grey(quads, display, across, middle) for across in ((-0.45, -0.12), (1.12, 1.45))]
    return float(np.median(_grey(quads, display, (0.1, 0.9), middle) - np.minimum(*sides)))


def _air(display: NDArray[np.uint8]) -> float:
    """How much brighter the borders at both sides are than the film, grey levels (medians)."""
    width, step = max(2, display.shape[1] // 50), max(1, min(display.shape) // 100)
    borders = np.concatenate([display[::step, :width], display[::step, -width:]])
    return float(np.median(borders) - np.median(display[::step, ::step]))


def _quad(above: Endplate | None, below: Endplate | None) -> Vector:
    """(2, 2, 2) corners: plate above and below, left and right, x and y."""
    return np.array([[plate.left, plate.right] for plate in (above, below) if plate])


def _grey(
    quads: Vector, display: NDArray[np.uint8], across: tuple[float, float], down: tuple[float, float]
) -> Vector:
    """(N,) mean grey of a part of each quad (N, 2, 2, 2), shares of its width and height; at most to the edge."""
    u, v = np.linspace(*across, 9)[:, None], np.linspace(*down, 5)[:, None, None]
    left, right = quads[:, :, 0, None, :], quads[:, :, 1, None, :]
    rows = left + u * (right - left)
    points = rows[:, 0, None] + v * (rows[:, 1, None] - rows[:, 0, None])
    x, y = np.moveaxis(points, -1, 0).astype(np.intp)
    inside = display[y.clip(0, display.shape[0] - 1), x.clip(0, display.shape[1] - 1)]
    return np.asarray(inside.mean(axis=(1, 2)), np.float64)
