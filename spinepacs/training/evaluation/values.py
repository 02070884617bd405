"""Measures of the product beside the same measures of the labelled marks, and disc heights beside the patient's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from spinepacs.analysis.measuring.measure import disc_heights
from spinepacs.domain.anatomy import DiscLevel, Level, Span
from spinepacs.domain.findings import Refusal, Spine, Vertebra
from spinepacs.domain.geometry import Spacing
from spinepacs.domain.measures import Measure, Place, Quantity, Unit
from spinepacs.training.data.dataset import Film
from spinepacs.training.evaluation.marks import labelled_discs, published_place
from spinepacs.training.evaluation.truth import FilmTruth, Points
from spinepacs.training.metrics.cobb import ANGLES, aasce_angles
from spinepacs.training.metrics.values import ComparedValue

PATIENT_HEIGHT, HEIGHT_SHARE = "disc_height_patient", "disc_height_of_depth"
"""Mean disc height against that drawn into the patient, mm; against that of the labelled corners, both over the depth
of the labelled upper vertebra."""
_LEAST_BODIES = 3
_ANYWHERE = Span(Level.C1, Level.S1)
Measures = Mapping[tuple[Quantity, Place], Measure]


def by_place(measures: Sequence[Measure]) -> dict[tuple[Quantity, Place], Measure]:
    """Measures by what and where; the largest curve of a film wherever it lies, the others not at all."""
    return {
        (one.quantity, _ANYWHERE if one.quantity is Quantity.COBB_MAIN else one.place): one
        for one in measures
        if one.quantity is not Quantity.COBB_OTHER
    }


def compared(product: Measures, marks: Measures, bodies: Mapping[Level, Vertebra]) -> Iterator[ComparedValue]:
    """Every measure of the labelled marks that the product has too; lengths only where they are in mm."""
    for (quantity, place), true in marks.items():
        at = published_place(place, bodies)
        found = None if at is None else product.get((quantity, at))
        if found is not None and found.unit is not Unit.PX:
            yield ComparedValue(
                quantity.value,
                found.unit.value,
                true.place.name,
                int(true.levels[0]),
                true.value,
                found.value,
                float("nan") if found.uncertainty is None else found.uncertainty,
            )


def mean_heights(spine: Spine | Refusal, spacing: Spacing | None) -> dict[DiscLevel, float]:
    """Mean of a disc's heights at both ends, mm, or px where the film has no spacing."""
    found = {}
    side_mm = 1.0 if spacing is None else float(np.sqrt(spacing.row_mm * spacing.column_mm))
    for disc in () if isinstance(spine, Refusal) else disc_heights(spine, spacing):
        ends = (disc.anterior_px, disc.posterior_px, disc.left_px, disc.right_px)
        found[disc.disc] = side_mm * float(np.mean([end for end in ends if end is not None]))
    return found


def compared_heights(
    product: Mapping[DiscLevel, float],
    marks: Mapping[DiscLevel, float],
    depths: Mapping[Level, float],
    bodies: Mapping[Level, Vertebra],
    drawn_mm: Mapping[Level, float],
) -> Iterator[ComparedValue]:
    """Mean heights of discs as mm of the patient, where they are known, and as shares of the labelled depth.

    Parameters
    ----------
    product, marks
        See :func:`mean_heights`.
    depths
        By level: labelled depth of the body, in the unit of the heights; empty on films that are not lateral.
    drawn_mm
        By the level above: height of the disc that was drawn.
    """
    for disc in labelled_discs(bodies):
        at = published_place(disc, bodies)
        if not isinstance(at, DiscLevel) or at not in product or disc not in marks:
            continue
        place, level, found = disc.name, int(disc.upper), product[at]
        if disc.upper in drawn_mm:
            name = PATIENT_HEIGHT if depths else f"ap_{PATIENT_HEIGHT}"
            yield ComparedValue(name, "mm", place, level, drawn_mm[disc.upper], found)
        if depth := depths.get(disc.upper):
            yield ComparedValue(HEIGHT_SHARE, "1", place, level, marks[disc] / depth, found / depth)


def drawn_heights_mm(film: Film, truth: FilmTruth) -> dict[Level, float]:
    """Heights that were drawn, by the level above the disc; of a level that comes twice the first."""
    drawn: dict[Level, float] = {}
    for (above, _), height_mm in truth.disc_mm.items():
        drawn.setdefault(Level(film.bodies[above].class_id), height_mm)
    return drawn


def compared_cobb(spine: Spine | Refusal, marks: Spine | Refusal, film: Film) -> Iterator[ComparedValue]:
    """The three AASCE angles of a film whose labels show all of T1 to L5, from labelled corners and the product's."""
    if isinstance(spine, Refusal) or isinstance(marks, Refusal) or film.view != "ap":
        return
    labelled, found = _corners(marks), _corners(spine)
    if len(labelled) < Level.L5 - Level.T1 + 1 or len(found) < _LEAST_BODIES:
        return
    true, ours = aasce_angles(labelled, film.height_px), aasce_angles(found, film.height_px)
    for name, truth, value in zip(ANGLES, true.tolist(), ours.tolist(), strict=True):
        yield ComparedValue(name, Unit.DEGREE.value, "T1-L5", int(Level.T1), truth, value)


def _corners(spine: Spine) -> Points:
    """(n, 4, 2) corners of T1 to L5, as far as they show both plates, from head to foot."""
    both = [one for one in spine.vertebrae if Level.T1 <= one.level <= Level.L5 and one.upper and one.lower]
    rows = [
        [one.upper.left, one.upper.right, one.lower.right, one.lower.left]
        for one in both
        if one.upper and one.lower
    ]
    return np.array(rows, np.float64).reshape(-1, 4, 2)
