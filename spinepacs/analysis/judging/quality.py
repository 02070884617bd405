"""Whether a film is good enough, each verdict with a stable code that goes into the reading's notes.

``VIEW_UNKNOWN``, ``VIEW_OBLIQUE``   the projection is not known, or none that can be measured
``VIEW_MISMATCH``                   the header and the shape of the bodies name different projections
``WHOLE_CERVICAL``, ``WHOLE_THORACIC``, ``WHOLE_LUMBAR``   the region is on the film from end to end
``CUT_AT_BORDER``                   a named vertebra reaches the border of the film
``TILTED``                          the spine as a whole leans
``LOW_CONTRAST``                    bone hardly stands out from the soft tissue before it (lateral films)
``METAL``                           something much brighter than bone lies over a vertebra
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spinepacs.analysis.judging.texture import Texture
from spinepacs.analysis.measuring.plates import Array
from spinepacs.analysis.naming.pose import view_from_picture
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Spine
from spinepacs.domain.study import Radiograph, View

_WHOLE = {
    "WHOLE_CERVICAL": (Level.C2, Level.C7),
    "WHOLE_THORACIC": (Level.T1, Level.T12),
    "WHOLE_LUMBAR": (Level.L1, Level.L5),
}
_BORDER = 0.004
"""Share of the film's side within which an outline counts as cut."""
_TILTED_DEG = 20.0
_LEAST_CONTRAST = 4.0
"""Median over the bodies, in units of the noise."""


@dataclass(frozen=True)
class Quality:
    """The verdict on one film.

    Parameters
    ----------
    notes
        Codes, see the module.
    cut, metal
        Vertebrae at the border of the film, and under metal: what stands on them is not published.
    unfit
        Whether view or polarity are in doubt: nothing is published.
    """

    notes: tuple[str, ...] = ()
    cut: frozenset[Level] = frozenset()
    metal: frozenset[Level] = frozenset()
    unfit: bool = False


def quality(spine: Spine, film: Radiograph, texture: Texture) -> Quality:
    """Judge a film whose spine has been named."""
    cut = frozenset(v.level for v in spine.vertebrae if _at_border(v.outline.points, film))
    metal = frozenset(Level(n) for n in np.flatnonzero(texture.metal).tolist())
    found = {v.level for v in spine.vertebrae} - cut
    notes = [
        *_view_notes(spine),
        *(code for code, (first, last) in _WHOLE.items() if _all(first, last, found)),
    ]
    contrast = texture.contrasts[np.isfinite(texture.contrasts)]
    applies = {
        "CUT_AT_BORDER": bool(cut),
        "TILTED": abs(_lean_deg(spine)) > _TILTED_DEG,
        "LOW_CONTRAST": bool(contrast.size) and float(np.median(contrast)) < _LEAST_CONTRAST,
        "METAL": bool(metal),
    }
    notes += [code for code, true in applies.items() if true]
    unfit = "VIEW_MISMATCH" in notes or "POLARITY_UNCLEAR" in film.notes
    return Quality(tuple(notes), cut, metal, unfit)


def _all(first: Level, last: Level, found: set[Level]) -> bool:
    return all(Level(n) in found for n in range(first, last + 1))


def _view_notes(spine: Spine) -> Iterator[str]:
    if spine.view in (View.UNKNOWN, View.OBLIQUE):
        yield f"VIEW_{spine.view.value}"
    shown = view_from_picture(spine.vertebrae)
    if {shown, spine.view} == {View.AP, View.LATERAL}:
        yield "VIEW_MISMATCH"


def _at_border(points: Array, film: Radiograph) -> bool:
    size = np.array([film.columns, film.rows])
    margin = _BORDER * size
    return bool(((points <= margin) | (points >= size - margin)).any())


def _lean_deg(spine: Spine) -> float:
    """Direction from the last vertebra to the first, degrees from straight up; curves count as little as they can."""
    ends = [spine.vertebrae[n].outline.centroid for n in (0, -1)]
    x, y = np.subtract(ends[0], ends[1])
    return float(np.degrees(np.arctan2(x, abs(y))))
