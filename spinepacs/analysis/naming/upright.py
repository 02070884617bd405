"""A film → its spine with the head up: turned as the header says, or as the picture shows where that cannot be right.

A film that reads well costs nothing more. One that does not (no chain, a short one, one that lies or stands on its
head, that leaves out most of what is there, or whose levels are not those that the network sees) is looked at in the
other three positions, and the clearly best one is kept. On 4 demo, 15 lateral, 10 cervical and 20 AP films the network
agrees with the published levels at least twice, mostly ten times, as much with the head up as in any other position.

Notes beside those of :mod:`~spinepacs.analysis.naming.label`:

``TURNED_CLOCKWISE``, ``TURNED_HALF``, ``TURNED_COUNTERCLOCKWISE``   how the film was turned to be read
``TURN_FROM_PICTURE``         the header does not say which end is the head, the picture does
``ORIENTATION_CONTRADICTED``  the header says otherwise than the picture, which was believed
``FACING_CONTRADICTED``       the front is clearly at the other side than the header says: neither was believed
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spinepacs.analysis.naming.exposures import are_two
from spinepacs.analysis.naming.pose import shown_facing
from spinepacs.analysis.naming.spine import find_spine, named
from spinepacs.analysis.seeing.normalise import with_square_pixels
from spinepacs.analysis.seeing.segment import Segmenter, Step, untimed
from spinepacs.domain.findings import SURE_SCORE, Detection, Refusal, Spine
from spinepacs.domain.geometry import Turn
from spinepacs.domain.study import Radiograph

_SHORT = 0.5
"""Share of the film's height below which a chain is short: with the head up, films show 0.61 to 1.0 of it, and what the
network finds in part of a film that stands on its head 0.1 to 0.5."""
_LEAST_AGREEMENT = 0.2
"""Of a chain, by vertebra: 0.25 to 0.93 with the head up."""
_LYING = 0.7
"""Downward part of a chain's direction below which it lies."""
_CLEARLY_BETTER = (1.5, 1.0)
"""Another position must agree this many times as well, and by so much more, than the one that was looked at first."""
_SHIFTS = (0, -1, 1, -2, 2)
"""By how many levels the detector's answers may be off as a whole; where two fit alike, the first."""
_AS_GOOD = 0.7
"""What is enough for the position in which the chain itself says that the head is elsewhere."""
_UNCLEAR = Refusal(
    "ORIENTATION_UNCLEAR",
    "which end of this film is the head cannot be told, neither from the header nor from the picture: correct "
    "PatientOrientation and send it again",
)


_TWO = Refusal(
    "TWO_EXPOSURES", "this image holds two exposures of the spine: send each of them as an image of its own"
)


class Upright(NamedTuple):
    """A film with its head up (its ``film`` is turned), how it was turned, and its spine in px of the turned one."""

    film: Radiograph
    turn: Turn
    spine: Spine | Refusal


class _Look(NamedTuple):
    """What one position shows.

    ``agreement``: what the detector gives to the published levels, summed over the ``agreeing`` vertebrae that it names
    so itself; of two exposures, each of which has its own, to all that is surely there. Where a reader has its say,
    the detector's levels are taken to be shifted by as much as fits best. ``sure``: how many are surely there.
    """

    turn: Turn
    spine: Spine | Refusal
    agreement: float
    agreeing: int = 0
    sure: int = 0

    @classmethod
    def of(cls, turn: Turn, spine: Spine | Refusal, found: Sequence[Detection]) -> _Look:
        if are_two(found):
            sure = (one for one in found if one.score >= SURE_SCORE)
            return cls(turn, _TWO, float(sum(one.class_scores.max() for one in sure)))
        if isinstance(spine, Refusal):
            return cls(turn, spine, 0.0)
        shifts = _SHIFTS if any(one.evidence is not None for one in found) else (0,)
        same = [
            [
                vertebra.raw_score
                for vertebra in spine.vertebrae
                if vertebra.level == vertebra.raw_level + shift
            ]
            for shift in shifts
        ]
        best = max(same, key=sum)
        return cls(turn, spine, sum(best), len(best), sum(one.score >= SURE_SCORE for one in found))


def find_upright(segmenter: Segmenter, film: Radiograph, step: Step = untimed) -> Upright:
    """Turn a film upright and find its spine.

    Parameters
    ----------
    film
        As it was filmed.
    step
        Called as by :func:`~spinepacs.analysis.naming.spine.find_spine`.

    Returns
    -------
    Refused, beside what ``find_spine`` refuses, with ``TWO_EXPOSURES`` or ``ORIENTATION_UNCLEAR``.
    """
    look = _read(segmenter, film, film.turn or Turn.NONE, step)
    if _is_doubtful(look, film):
        look = _other_position(segmenter, film, look, step) or _unless_unclear(look)
    turned = film.turned(look.turn)
    spine = (
        look.spine if isinstance(look.spine, Refusal) else _noted(look.spine, look.turn, film.turn, turned)
    )
    return Upright(turned, look.turn, spine)


def turn_of(notes: Collection[str]) -> Turn:
    """How a film was turned to be read, by the notes of the reading."""
    return next((turn for turn in Turn if turn and f"TURNED_{turn.name}" in notes), Turn.NONE)


def _read(segmenter: Segmenter, film: Radiograph, turn: Turn, step: Step) -> _Look:
    return _Look.of(turn, *find_spine(segmenter, film.turned(turn), step))


def _is_doubtful(look: _Look, film: Radiograph) -> bool:
    spine = look.spine
    if isinstance(spine, Refusal):
        return True
    return bool(
        _own_turn(spine) is not Turn.NONE
        or look.agreeing * 2 < len(spine.vertebrae)
        or len(spine.vertebrae) * 2 < look.sure
        or not fills(spine, film.columns if look.turn.is_sideways else film.rows)
        or look.agreement < _LEAST_AGREEMENT * len(spine.vertebrae)
    )


def fills(spine: Spine, rows: int) -> bool:
    """Whether a spine is as long as one is on a film of so many rows with its head up."""
    extent_px = np.ptp(np.concatenate([vertebra.outline.points for vertebra in spine.vertebrae])[:, 1])
    return bool(extent_px >= _SHORT * rows)


def _own_turn(spine: Spine) -> Turn:
    """What would bring the head up if the chain's own direction is right."""
    first, last = (np.asarray(spine.vertebrae[n].outline.centroid) for n in (0, -1))
    across, down = (last - first) / max(float(np.hypot(*(last - first))), 1e-9)
    if abs(down) >= _LYING:
        return Turn.NONE if down > 0 else Turn.HALF
    return Turn.CLOCKWISE if across > 0 else Turn.COUNTERCLOCKWISE


def _other_position(segmenter: Segmenter, film: Radiograph, look: _Look, step: Step) -> _Look | None:
    """The best of the other positions by a first look, read as a whole; None where none is clearly better.

    What the header says of the front is not believed there: it says it of the position that it states.
    """
    turns = (Turn((look.turn + quarters) % 4) for quarters in (1, 2, 3))
    best = max((_first_look(segmenter, film, turn, step) for turn in turns), key=lambda one: one.agreement)
    times, more = _CLEARLY_BETTER
    enough = max(times * look.agreement, look.agreement + more)
    if isinstance(look.spine, Spine) and best.turn is (look.turn + _own_turn(look.spine)) % 4:
        enough = _AS_GOOD * look.agreement
    if best.agreement < enough:
        return None
    return (
        best if best.spine is _TWO else _read(segmenter, replace(film, anterior_left=None), best.turn, step)
    )


def _first_look(segmenter: Segmenter, film: Radiograph, turn: Turn, step: Step) -> _Look:
    turned = film.turned(turn)
    display, _ = with_square_pixels(turned.display, turned.spacing)
    found = segmenter.detect_whole(display, step)
    return _Look.of(turn, named(found, turned), found)


def _unless_unclear(look: _Look) -> _Look:
    if isinstance(look.spine, Spine) and _own_turn(look.spine) is not Turn.NONE:
        return look._replace(spine=_UNCLEAR)
    return look


def _noted(spine: Spine, turn: Turn, stated: Turn | None, turned: Radiograph) -> Spine:
    """The spine with the notes on its position; the front is unknown where header and picture contradict each other."""
    shown = shown_facing(spine, turned.display) if spine.anterior_basis == "header" else None
    contradicted = shown is not None and shown is not spine.anterior_left
    applies = {
        f"TURNED_{turn.name}": turn is not Turn.NONE,
        "TURN_FROM_PICTURE": stated is None and turn is not Turn.NONE,
        "ORIENTATION_CONTRADICTED": stated is not None and turn is not stated,
        "FACING_CONTRADICTED": contradicted,
    }
    noted = replace(spine, notes=spine.notes + tuple(code for code, true in applies.items() if true))
    return replace(noted, anterior_left=None, anterior_basis="") if contradicted else noted
