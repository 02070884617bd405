"""A reading as rows: what :mod:`spinepacs.store.rebuilding` makes readings of again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table

from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import DiscHeight, Reading, Vertebra
from spinepacs.domain.geometry import Endplate, Points
from spinepacs.domain.measures import Measure, Place
from spinepacs.domain.signs import Conclusion, Finding
from spinepacs.later import Later
from spinepacs.store.tables import conclusions, discs, findings, measures, notes, vertebrae

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = Later("numpy")

Row = dict[str, Any]
_Lines = list[list[list[float | None]]]
_WHERES = ("anterior", "middle", "posterior", "left", "right")


def reading_row(reading: Reading) -> Row:
    """The reading's own row, without its keys."""
    spacing, spine, refusal = reading.spacing, reading.spine, reading.refusal
    return {
        "study_uid": reading.study_uid,
        "series_uid": reading.series_uid,
        "sop_uid": reading.sop_uid,
        **vars(reading.versions),
        "rows_px": int(reading.rows),
        "columns_px": int(reading.columns),
        "row_mm": spacing and spacing.row_mm,
        "column_mm": spacing and spacing.column_mm,
        "spacing_basis": spacing and spacing.basis.value,
        "magnification": spacing and spacing.magnification,
        "view_position": spine and spine.view.value,
        "anterior_left": spine and spine.anterior_left,
        "anterior_basis": spine.anterior_basis if spine else "",
        "missing_levels": " ".join(level.name for level in spine.missing) if spine else "",
        "notes": " ".join(reading.notes),
        "refusal_code": refusal.code if refusal else "",
        "refusal_reason": refusal.reason if refusal else "",
        "author": reading.correction.draft.author if reading.correction else "",
        "seconds": {step: _number(seconds, 6) for step, seconds in reading.seconds.items()},
    }


def _vertebra_row(vertebra: Vertebra) -> Row:
    centre = vertebra.outline.centroid
    return {
        "level": vertebra.level.name,
        "level_order": int(vertebra.level),
        "raw_level": vertebra.raw_level.name,
        "raw_score": vertebra.raw_score,
        "level_reason": vertebra.level_reason,
        "score": vertebra.score,
        "centre_x_px": centre.x,
        "centre_y_px": centre.y,
        "area_px": vertebra.outline.area_px,
        "outline_px": _points(vertebra.outline.points),
        "upper_px": _endplate(vertebra.upper),
        "lower_px": _endplate(vertebra.lower),
        "level_margin": vertebra.level_margin,
        "other_level": vertebra.other_level.name if vertebra.other_level is not None else None,
    }


def _disc_row(height: DiscHeight) -> Row:
    measured = {
        f"{where}_{unit}": getattr(height, f"{where}_{unit}") for where in _WHERES for unit in ("px", "mm")
    }
    return {
        "disc": height.disc.name,
        "disc_order": int(height.disc.upper),
        "upper_level": height.disc.upper.name,
        "lower_level": height.disc.lower.name,
        **measured,
        "height_index": height.height_index,
        "wedge_deg": height.wedge_deg,
        "lines_px": {where: _points(line) for where, line in height.lines_px.items()},
    }


def _finding_row(finding: Finding) -> Row:
    return {
        "kind": finding.sign.value,
        "disc": finding.disc.name if finding.disc is not None else None,
        "level": finding.level.name if finding.level is not None else None,
        "place": finding.place.name,
        "level_order": int(_upper(finding.place)),
        "side": finding.side or "",
        "scheme": finding.scheme.value,
        "value": finding.value,
        "unit": finding.unit.value,
        "uncertainty": finding.uncertainty,
        "basis": finding.basis,
        "computed_grade": finding.computed_grade,
        "published_grade": finding.published_grade,
        "reason": finding.reason or "",
        "lowest_grade": finding.grade_range and finding.grade_range[0],
        "highest_grade": finding.grade_range and finding.grade_range[1],
        "expected": finding.expected,
        "expected_from": finding.expected_from,
        "form": finding.form,
        "reference_scheme": finding.reference_scheme,
        "reference_grade": finding.reference_grade,
        "marks_px": _lines(finding.marks_px),
    }


def _upper(place: Place) -> Level:
    """The vertebra, or the upper one of a disc or span: sorts from head to foot."""
    return place if isinstance(place, Level) else place.upper


def _measure_rows(measures: Sequence[Measure]) -> list[Row]:
    """Their lines are written together: a whole spine has 500, each of which would cost numpy three calls."""
    lines = iter(_lines([line for measure in measures for line in measure.lines_px]))
    return [_measure_row(measure, list(islice(lines, len(measure.lines_px)))) for measure in measures]


def _measure_row(measure: Measure, lines: _Lines) -> Row:
    upper, lower = measure.levels
    return {
        "quantity": measure.quantity.value,
        "place": measure.place.name,
        "upper_level": upper.name,
        "lower_level": lower.name,
        "level_order": int(upper),
        "value": measure.value,
        "unit": measure.unit.value,
        "uncertainty": measure.uncertainty,
        "basis": measure.basis,
        "apex": measure.apex.name if measure.apex is not None else None,
        "convex_left": measure.convex_left,
        "lines_px": lines,
        "reason": measure.reason or "",
    }


def _conclusion_row(conclusion: Conclusion) -> Row:
    return {
        "area": conclusion.area.value,
        "span": conclusion.span and conclusion.span.name,
        "scheme": conclusion.scheme.value,
        "computed_degree": conclusion.computed_degree,
        "published_degree": conclusion.published_degree,
        "statement": conclusion.statement.value,
        "sentence": conclusion.sentence,
        "reason": conclusion.reason or "",
        "for_age": conclusion.for_age,
        "support": [
            {"finding": finding.sign.value, "place": finding.place.name, "side": finding.side or ""}
            for finding in conclusion.support
        ],
    }


def _lines(lines: Sequence[Points]) -> _Lines:
    """Lines of any lengths, rounded all at once."""
    if not lines:
        return []
    points = iter(_points(np.concatenate(lines)))
    return [list(islice(points, len(line))) for line in lines]


def _endplate(endplate: Endplate | None) -> dict[str, Any] | None:
    """Corners and curve, spreads and spurs where they are known, as JSON holds them."""
    if endplate is None:
        return None
    left, right = _points(np.array([endplate.left, endplate.right]))
    found: dict[str, Any] = {"left": left, "right": right, "curve": _points(endplate.curve)}
    if endplate.spreads is not None:
        found["spreads"] = [_number(spread, 5) for spread in endplate.spreads]
    if endplate.spurs is not None:
        found["spurs"] = [_number(share, 5) for share in endplate.spurs]
    return found


def _points(points: NDArray[np.float64]) -> list[list[float | None]]:
    """(N, 2) px as lists, to a thousandth of a pixel."""
    if np.isfinite(points).all():
        rounded: list[list[float | None]] = np.round(points, 3).tolist()
        return rounded
    return [[_number(value, 3) for value in point] for point in points.tolist()]


def _number(value: float, digits: int) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


PARTS: dict[Table, Callable[[Reading], list[Row]]] = {
    vertebrae: lambda reading: list(map(_vertebra_row, reading.spine.vertebrae)) if reading.spine else [],
    discs: lambda reading: list(map(_disc_row, reading.discs)),
    findings: lambda reading: list(map(_finding_row, reading.findings)),
    measures: lambda reading: _measure_rows(reading.measures),
    conclusions: lambda reading: list(map(_conclusion_row, reading.conclusions)),
    notes: lambda reading: [{"code": code} for code in reading.notes],
}
"""What belongs to a reading, as rows without its key."""
