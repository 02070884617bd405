"""The third leg: a study's result goes into the tables, and its objects into the outbox, in one transaction."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Table, insert, select

from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import DiscHeight, EncodedObject, ImageResult, Reading, StudyResult, Vertebra
from spinepacs.domain.geometry import Endplate, Points
from spinepacs.domain.measures import Measure, Place
from spinepacs.domain.signs import Conclusion, Finding
from spinepacs.domain.study import Arrival, StudyState
from spinepacs.errors import Permanent
from spinepacs.settings.destinations import Destination
from spinepacs.store.records import Claim, OutboxState
from spinepacs.store.rows import answered, unread
from spinepacs.store.states import end_attempt, is_open, move, settle
from spinepacs.store.tables import (
    arrivals,
    conclusions,
    discs,
    findings,
    measures,
    notes,
    objects,
    outbox,
    readings,
    vertebrae,
)

_Row = dict[str, Any]
_Rows = dict[Table, list[_Row]]

_WHERES = ("anterior", "middle", "posterior", "left", "right")


def record(
    connection: Connection,
    claim: Claim,
    result: StudyResult,
    stored: Mapping[str, str],
    destinations: Sequence[Destination],
) -> bool:
    """See Ledger.record."""
    images = _images_by_arrival(claim, result)
    if not is_open(connection, claim):
        return False
    rows: _Rows = {table: [] for table in (*_PARTS, objects, outbox)}
    for arrival_id, image in images.items():
        if not _is_read(connection, arrival_id, image.reading):
            reading_id = _add_reading(connection, arrival_id, image.reading)
            for table, row_of in _PARTS.items():
                rows[table] += [{"reading_id": reading_id, **row} for row in row_of(image.reading)]
            for item in image.objects:
                rows[objects].append(_object_row(reading_id, item, stored))
                rows[outbox] += _letters(claim.study_uid, item, destinations)
    for table, of_table in rows.items():
        if of_table:
            connection.execute(insert(table), of_table)
    end_attempt(connection, claim, "recorded")
    if unread(connection, claim.study_uid, claim.versions):  # a late image came meanwhile
        move(connection, claim.study_uid, StudyState.ARRIVING, attempts=0, reason_code="", reason="")
    else:
        settle(connection, claim.study_uid)
    return True


def _images_by_arrival(claim: Claim, result: StudyResult) -> dict[int, ImageResult]:
    """Find each arrival's result: they are in the order of the claim."""
    if len(result.images) != len(claim.arrivals):
        raise Permanent(f"the result holds {len(result.images)} images, {len(claim.arrivals)} were claimed")
    return {
        arrival.arrival_id: replace(image, reading=_reading_of(claim, arrival, image.reading))
        for arrival, image in zip(claim.arrivals, result.images, strict=True)
    }


def _reading_of(claim: Claim, arrival: Arrival, reading: Reading) -> Reading:
    """Check that a reading is that of the arrival; one whose header could not be read again gets the UIDs from it."""
    if reading.versions != claim.versions:
        raise Permanent("the result was made with another model or policy than was claimed")
    if reading.sop_uid not in ("", arrival.sop_uid):
        raise Permanent("the result is not in the order of the images that were claimed")
    return replace(
        reading, study_uid=claim.study_uid, series_uid=arrival.series_uid or "", sop_uid=arrival.sop_uid
    )


def _is_read(connection: Connection, arrival_id: int, reading: Reading) -> bool:
    this = arrivals.c.arrival_id == arrival_id
    return (
        connection.execute(select(arrivals.c.arrival_id).where(this, answered(reading.versions))).first()
        is not None
    )


def _add_reading(connection: Connection, arrival_id: int, reading: Reading) -> int:
    """Insert one reading; its key."""
    row = {"arrival_id": arrival_id, "read_at": datetime.now(UTC), **_reading_row(reading)}
    return int(connection.execute(insert(readings).returning(readings.c.reading_id), row).scalar_one())


def _reading_row(reading: Reading) -> _Row:
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
        "seconds": {step: _number(seconds, 6) for step, seconds in reading.seconds.items()},
    }


def _vertebra_row(vertebra: Vertebra) -> _Row:
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
    }


def _disc_row(height: DiscHeight) -> _Row:
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


def _finding_row(finding: Finding) -> _Row:
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


def _measure_row(measure: Measure) -> _Row:
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
        "lines_px": _lines(measure.lines_px),
        "reason": measure.reason or "",
    }


def _conclusion_row(conclusion: Conclusion) -> _Row:
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


def _lines(lines: Sequence[Points]) -> list[list[list[float | None]]]:
    return [_points(line) for line in lines]


def _endplate(endplate: Endplate | None) -> dict[str, Any] | None:
    """Corners and curve as JSON holds them."""
    if endplate is None:
        return None
    left, right = _points(np.array([endplate.left, endplate.right]))
    return {"left": left, "right": right, "curve": _points(endplate.curve)}


def _points(points: NDArray[np.float64]) -> list[list[float | None]]:
    """(N, 2) px as lists, to a thousandth of a pixel."""
    if np.isfinite(points).all():
        rounded: list[list[float | None]] = np.round(points, 3).tolist()
        return rounded
    return [[_number(value, 3) for value in point] for point in points.tolist()]


def _number(value: float, digits: int) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return round(float(value), digits) if math.isfinite(value) else None


_PARTS: dict[Table, Callable[[Reading], list[_Row]]] = {
    vertebrae: lambda reading: list(map(_vertebra_row, reading.spine.vertebrae)) if reading.spine else [],
    discs: lambda reading: list(map(_disc_row, reading.discs)),
    findings: lambda reading: list(map(_finding_row, reading.findings)),
    measures: lambda reading: list(map(_measure_row, reading.measures)),
    conclusions: lambda reading: list(map(_conclusion_row, reading.conclusions)),
    notes: lambda reading: [{"code": code} for code in reading.notes],
}
"""What belongs to a reading, as rows without its key."""


def _object_row(reading_id: int, item: EncodedObject, stored: Mapping[str, str]) -> _Row:
    if item.sop_uid not in stored:
        raise Permanent(f"object {item.sop_uid} is not in the spool; it must be stored before it is recorded")
    return {
        "sop_uid": item.sop_uid,
        "reading_id": reading_id,
        "kind": item.kind.value,
        "sop_class_uid": item.sop_class_uid,
        "series_uid": item.series_uid,
        "transfer_syntax_uid": item.transfer_syntax_uid,
        "sha256": stored[item.sop_uid],
        "size_bytes": len(item.part10),
    }


def _letters(study_uid: str, item: EncodedObject, destinations: Sequence[Destination]) -> list[_Row]:
    """Rows of an object's way to each destination that wants its kind."""
    now = datetime.now(UTC)
    letter = {"study_uid": study_uid, "sop_uid": item.sop_uid, "state": OutboxState.PENDING}
    return [
        {**letter, "destination": destination.name, "next_attempt_at": now, "created_at": now}
        for destination in destinations
        if item.kind.value in destination.send
    ]
