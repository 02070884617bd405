"""Whether a film's spacing can be right, by the size that it gives to the bodies: else there are no mm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spinepacs.analysis.measuring.plates import Plates, length
from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Refusal, Spine
from spinepacs.domain.geometry import Spacing
from spinepacs.domain.study import Radiograph, View

_AT = (Level.C3, Level.C7, Level.T1, Level.T6, Level.T12, Level.L1, Level.L5)
_ADULT_MM = {
    View.LATERAL: (15.0, 18.0, 18.5, 26.0, 33.0, 34.0, 35.0),
    View.AP: (16.0, 22.0, 24.5, 26.0, 39.0, 41.0, 47.0),
}
"""Depth and width of the endplates at these levels, between them in proportion: Panjabi et al. 1991 (Spine 16: 861 and
888) and 1992 (Spine 17: 299), rounded."""
_POSSIBLE = (0.18, 2.0)
"""Size of a patient's bodies over an adult's. Least: newborns, about a quarter; fetuses of 17 to 30 weeks have 0.14 in
the loin (Szpinda et al. 2015, Arch Med Sci 11: 174). Most: a large adult, magnified by 1.5."""
_LEAST_GROWN = 0.4
"""The same of grown-ups: 0.67 to 0.73 on the demo's films, which are drawn small and measured from wall to wall."""
_GROWN_YEARS = 16
_LEAST_BODIES = 2
_SQUARE_WITHIN = 0.01


def with_possible_spacing(film: Radiograph, spine: Spine) -> Radiograph | Refusal:
    """The film, without a spacing that its bodies show to be impossible: then ``SPACING_IMPLAUSIBLE`` is noted.

    Parameters
    ----------
    film
        With its head up.
    spine
        Of it, named.

    Returns
    -------
    Refused as ``NON_SQUARE_PIXELS`` where even ratios would be wrong without it.
    """
    if film.spacing is None or _is_possible(spine, film.spacing, film.age_years):
        return film
    row_mm, column_mm = film.spacing.row_mm, film.spacing.column_mm
    if abs(row_mm / column_mm - 1) > _SQUARE_WITHIN:
        return Refusal(
            "NON_SQUARE_PIXELS",
            "the pixels are not square and the stated spacing cannot be right, by the size of the vertebrae: correct "
            "ImagerPixelSpacing or PixelSpacing",
        )
    return replace(film, spacing=None, notes=(*film.notes, "SPACING_IMPLAUSIBLE"))


def _is_possible(spine: Spine, spacing: Spacing, age_years: float | None) -> bool:
    sizes = _sizes(spine, spacing)
    if len(sizes) < _LEAST_BODIES:
        return True
    least, most = _POSSIBLE
    if age_years is not None and age_years >= _GROWN_YEARS:
        least = _LEAST_GROWN
    return least <= float(np.median(sizes)) <= most


def _sizes(spine: Spine, spacing: Spacing) -> list[float]:
    """Of each body that shows a plate: its length over an adult's of that level; of both views' mean where unknown."""
    plates = Plates.of(spine, spacing)
    lengths_mm = length(plates.points) * (plates.px_mm or 1.0)
    known = [_ADULT_MM[spine.view]] if spine.view in _ADULT_MM else list(_ADULT_MM.values())
    adult_mm = np.interp(np.arange(len(Level)), _AT, np.mean(known, axis=0))
    measured = range(Level.C3, Level.S1)
    of_level = {level: lengths_mm[level][np.isfinite(lengths_mm[level])] for level in measured}
    return [float(found.mean()) / adult_mm[level] for level, found in of_level.items() if found.size]
