"""A picture that was stretched → its spine at natural proportions: data sets give every film as a square, for instance.

Only films without a pixel spacing are suspected. One that reads well and shows bodies of a usual shape costs nothing
more; another one is looked at with other proportions, and the best of them is kept if it is clearly better.

Natural films of all kinds have a mean confidence of 0.55 and more, and bodies as wide for their height as
:data:`spinepacs.analysis.naming.pose.NATURAL` says.

Note: ``PROPORTIONS_RESTORED``. Where the header does not state the view it stays unknown then, since it is told by the
bodies' shape; where it does, they are brought to its usual shape, and every measure carries the error of that.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spinepacs.analysis.naming.polarity import as_read as seen_as
from spinepacs.analysis.naming.polarity import find_bright
from spinepacs.analysis.naming.pose import NATURAL, width_for_height
from spinepacs.analysis.naming.spine import named
from spinepacs.analysis.naming.upright import Upright, fills, turn_of
from spinepacs.analysis.seeing.normalise import stretched
from spinepacs.analysis.seeing.segment import Segmenter, Step, untimed
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.geometry import Move, Turn, stretching
from spinepacs.domain.study import Radiograph, View

PROPORTIONS_RESTORED = "PROPORTIONS_RESTORED"

_WIDTHS = tuple(2 ** (half / 2) for half in (-3, -2, -1, 1, 2, 3))
"""Other widths that are tried: √2 to either side is read almost as well as the natural one."""
_LEAST_SCORE = 0.56
"""Mean confidence below which a film is looked at again: stretched to half or twice its width it is 0.3 to 0.6."""
_USUAL = (0.7, 1.36)
"""Width for height of the bodies over the natural one. Film medians of natural films: 0.8 to 1.28."""
_CLEARLY_BETTER = (1.25, 1.0)
"""Confidences must add up to so many times as much, and so much more."""
_AS_GOOD = 0.95
"""What is enough where the bodies' shape itself says that the film is stretched."""
_CLOSE = 0.1
"""Of the logarithm: proportions that are closer to natural are left alone."""


class Found(NamedTuple):
    """A film with its head up and at natural proportions, its spine in px of it, and how it got there.

    ``move`` takes px of it to those of the film as it came; None: they are the same.
    """

    film: Radiograph
    turn: Turn
    spine: Spine | Refusal
    move: Move | None


def find_natural(segmenter: Segmenter, film: Radiograph, step: Step = untimed) -> Found:
    """Find the spine of a film as ``find_bright`` does, and of a stretched one once that is undone."""
    seen = find_bright(segmenter, film, step)
    width = 1.0
    if film.spacing is None and _is_odd(seen):
        seen, width = _restored(segmenter, film, seen, step)
    return Found(seen.film, seen.turn, seen.spine, _back(film, stretched(film, width), seen.turn))


def as_read(
    film: Radiograph, spine: Spine, notes: Collection[str]
) -> tuple[Radiograph, Turn, Spine, Move | None]:
    """The parts of :class:`Found` for a spine in px of a film, as when a reading with these notes was made.

    How far it was stretched is told from the spine once more, which may differ by as much as was left alone then.
    """
    turn, width = turn_of(notes), 1.0
    if PROPORTIONS_RESTORED in notes and spine.view in NATURAL:
        turned = spine.moved(turn.to_upright(film.rows, film.columns)) if turn else spine
        times = width_for_height(turned.vertebrae, spine.view) or 1.0
        width = times if turn.is_sideways else 1 / times
    came = stretched(film, width)
    upright, _ = seen_as(came, notes)
    spine = (
        spine.moved(stretching(came.columns / film.columns, came.rows / film.rows)) if width != 1.0 else spine
    )
    spine = spine.moved(turn.to_upright(came.rows, came.columns)) if turn else spine
    return upright, turn, spine, _back(film, came, turn)


def _back(film: Radiograph, came: Radiograph, turn: Turn) -> Move | None:
    """From px of a film that was stretched and then turned to those of the film; None: it was not."""
    if came is film:
        return turn.to_film(film.rows, film.columns) if turn else None
    unturned: Move = turn.to_film(came.rows, came.columns)
    unstretched = stretching(film.columns / came.columns, film.rows / came.rows)
    return lambda points: unstretched(unturned(points))


def _is_odd(seen: Upright) -> bool:
    spine = seen.spine
    if isinstance(spine, Refusal):
        return True
    scores = [vertebra.score for vertebra in spine.vertebrae]
    return (
        float(np.mean(scores)) < _LEAST_SCORE
        or not fills(spine, seen.film.rows)
        or _is_unusual(spine, seen.film)
    )


def _is_unusual(spine: Spine, film: Radiograph) -> bool:
    """Whether the bodies are too wide, or too narrow, for the view that the header states, or for any."""
    views = [film.view] if _is_stated(film) else list(NATURAL)
    times = [shape for view in views if (shape := width_for_height(spine.vertebrae, view))]
    least, most = _USUAL
    return bool(times) and not any(least <= each <= most for each in times)


def _is_stated(film: Radiograph) -> bool:
    return film.view in NATURAL and film.view_is_sure


def _restored(segmenter: Segmenter, film: Radiograph, seen: Upright, step: Step) -> tuple[Upright, float]:
    """The best reading at other proportions with their width; the first one where none is clearly better."""
    as_it_is = _confidence(segmenter, film, step)
    found = {width: _confidence(segmenter, stretched(film, width), step) for width in _widths(seen, film)}
    best = max(found, key=lambda width: found[width])
    times, more = _CLEARLY_BETTER
    enough = max(times * as_it_is, as_it_is + more)
    if isinstance(seen.spine, Spine) and _is_unusual(seen.spine, film):
        enough = _AS_GOOD * as_it_is
    if found[best] < enough:
        return seen, 1.0
    again = find_bright(segmenter, stretched(film, best), step)
    if (finer := _finer(again, film)) != 1.0:
        best *= finer
        again = find_bright(segmenter, stretched(film, best), step)
    if isinstance(again.spine, Refusal):
        return seen, 1.0
    return again._replace(spine=_noted(again.spine, film)), best


def _widths(seen: Upright, film: Radiograph) -> tuple[float, ...]:
    """What is tried: the usual ones, and that which would give the bodies that are seen their natural shape."""
    finer = _finer(seen, film)
    return _WIDTHS if finer == 1.0 else (*_WIDTHS, finer)


def _finer(seen: Upright, film: Radiograph) -> float:
    """Width that would give the bodies their natural shape; 1 where that is not known, or near."""
    if isinstance(seen.spine, Refusal) or not _is_stated(film) or seen.turn.is_sideways:
        return 1.0
    times = width_for_height(seen.spine.vertebrae, film.view)
    return 1 / times if times and abs(np.log(times)) > _CLOSE else 1.0


def _confidence(segmenter: Segmenter, film: Radiograph, step: Step) -> float:
    """What a first look gives to the vertebrae of its chain, added up."""
    spine = named(segmenter.detect_whole(film.display, step), film)
    return 0.0 if isinstance(spine, Refusal) else sum(vertebra.score for vertebra in spine.vertebrae)


def _noted(spine: Spine, film: Radiograph) -> Spine:
    notes = (*(note for note in spine.notes if note != "VIEW_FROM_PICTURE"), PROPORTIONS_RESTORED)
    if _is_stated(film):
        return replace(spine, notes=notes)
    return replace(spine, view=View.UNKNOWN, anterior_left=None, anterior_basis="", notes=notes)
