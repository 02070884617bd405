"""Readings as plain rows: what JSON and CSV files of a batch hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from spinepacs.domain.findings import DiscHeight, Reading, Vertebra
from spinepacs.domain.geometry import Endplate, Points
from spinepacs.domain.measures import Measure
from spinepacs.domain.signs import Conclusion, Finding, Sign

Row = dict[str, Any]

_DISC_MEASURES = tuple(
    field.name
    for field in fields(DiscHeight)
    if field.name.endswith(("_px", "_mm")) and field.name != "lines_px"
)
COLUMNS = (
    "film", "study_uid", "sop_uid", "state", "reason_code", "reason", "view", "spacing_basis", "row_mm", "column_mm",
    "notes", "missing_levels",
    "item", "name", "raw_level", "score", "level_reason", "level_margin", "height_index", "wedge_deg", *_DISC_MEASURES,
    "finding", "computed_grade", "published_grade", "finding_reason", "measure_reason",
    "model", "model_version", "policy", "policy_version", "other_level",
)  # fmt: skip
"""Columns of readings.csv, in order."""
_FILM = ("film", "study_uid", "sop_uid", "view")
_VERSIONS = ("model", "model_version", "policy", "policy_version")
MEASURE_COLUMNS = (
    *_FILM, "quantity", "place", "value", "unit", "uncertainty", "basis", "apex", "convex_left", "reason", *_VERSIONS,
)  # fmt: skip
"""Columns of measures.csv, in order."""
FINDING_COLUMNS = (
    *_FILM, "sign", "place", "side", "form", "scheme", "value", "unit", "uncertainty", "basis",
    "computed_grade", "published_grade", "reason", "lowest_grade", "highest_grade", "expected", "expected_from",
    "reference_scheme", "reference_grade", *_VERSIONS,
)  # fmt: skip
"""Columns of findings.csv, in order."""
CONCLUSION_COLUMNS = (
    *_FILM, "area", "span", "scheme", "computed_degree", "published_degree", "statement", "sentence", "reason",
    "for_age", *_VERSIONS,
)  # fmt: skip
"""Columns of conclusions.csv, in order."""


def reading_to_json(film: str, reading: Reading) -> Row:
    """One reading with all its details, ready for ``json.dump``; coordinates in native px."""
    spine, spacing = reading.spine, reading.spacing
    return {
        "film": film,
        "study_uid": reading.study_uid,
        "series_uid": reading.series_uid,
        "sop_uid": reading.sop_uid,
        "state": "refused" if reading.refusal else "read",
        "refusal": asdict(reading.refusal) if reading.refusal else None,
        "versions": asdict(reading.versions),
        "rows": reading.rows,
        "columns": reading.columns,
        "spacing": asdict(spacing) if spacing else None,
        "view": str(spine.view) if spine else None,
        "anterior_left": spine.anterior_left if spine else None,
        "anterior_basis": spine.anterior_basis if spine else None,
        "missing_levels": [level.name for level in spine.missing] if spine else [],
        "notes": list(reading.notes),
        "vertebrae": [_vertebra(vertebra) for vertebra in (spine.vertebrae if spine else ())],
        "discs": [_disc(disc) for disc in reading.discs],
        "measures": [_measure(measure) | _lines(measure.lines_px) for measure in reading.measures],
        "findings": [_finding(finding) | _lines(finding.marks_px) for finding in reading.findings],
        "conclusions": [
            _conclusion(conclusion) | {"support": [_where(finding) for finding in conclusion.support]}
            for conclusion in reading.conclusions
        ],
        "seconds": {step: round(seconds, 4) for step, seconds in reading.seconds.items()},
    }


def measures_to_rows(film: str, reading: Reading) -> list[Row]:
    """One row for each measure."""
    return _rows(film, reading, MEASURE_COLUMNS, map(_measure, reading.measures))


def findings_to_rows(film: str, reading: Reading) -> list[Row]:
    """One row for each graded sign."""
    return _rows(film, reading, FINDING_COLUMNS, map(_finding, reading.findings))


def conclusions_to_rows(film: str, reading: Reading) -> list[Row]:
    """One row for each region and one for all of them."""
    return _rows(film, reading, CONCLUSION_COLUMNS, map(_conclusion, reading.conclusions))


def _rows(film: str, reading: Reading, columns: Sequence[str], items: Iterable[Row]) -> list[Row]:
    common = _common(film, reading)
    return [{name: (common | item).get(name) for name in columns} for item in items]


def reading_to_rows(film: str, reading: Reading) -> list[Row]:
    """One row for each vertebra and each disc; a refused film is one row with its reason."""
    common = _common(film, reading)
    rows = [
        common | _vertebra_row(vertebra) for vertebra in (reading.spine.vertebrae if reading.spine else ())
    ]
    graded = {finding.disc: finding for finding in reading.findings if finding.sign is Sign.DISC_HEIGHT_LOSS}
    reasons = {measure.place: measure.reason or "" for measure in reading.measures}
    rows += [
        common | _disc_row(disc, graded.get(disc.disc)) | {"measure_reason": reasons.get(disc.disc, "")}
        for disc in reading.discs
    ]
    return rows or [common]


def _common(film: str, reading: Reading) -> Row:
    spacing, versions = reading.spacing, reading.versions
    return {
        "film": film,
        "study_uid": reading.study_uid,
        "sop_uid": reading.sop_uid,
        "state": "refused" if reading.refusal else "read",
        "reason_code": reading.refusal.code if reading.refusal else "",
        "reason": reading.refusal.reason if reading.refusal else "",
        "view": str(reading.spine.view) if reading.spine else "",
        "spacing_basis": str(spacing.basis) if spacing else "",
        "row_mm": spacing.row_mm if spacing else None,
        "column_mm": spacing.column_mm if spacing else None,
        "notes": " ".join(reading.notes),
        "missing_levels": " ".join(level.name for level in reading.spine.missing) if reading.spine else "",
        "model": versions.model_name,
        "model_version": versions.model_version,
        "policy": versions.policy_name,
        "policy_version": versions.policy_version,
    }


def _vertebra(vertebra: Vertebra) -> Row:
    return {
        "level": vertebra.level.name,
        "raw_level": vertebra.raw_level.name,
        "raw_score": round(float(vertebra.raw_score), 4),
        "level_reason": vertebra.level_reason,
        "level_margin": _margin(vertebra),
        "other_level": _other(vertebra),
        "score": round(float(vertebra.score), 4),
        "outline_px": vertebra.outline.points.round(2).tolist(),
        "upper_endplate_px": _endplate(vertebra.upper),
        "lower_endplate_px": _endplate(vertebra.lower),
    }


def _margin(vertebra: Vertebra) -> float | None:
    return None if vertebra.level_margin is None else round(vertebra.level_margin, 2)


def _other(vertebra: Vertebra) -> str | None:
    return vertebra.other_level.name if vertebra.other_level is not None else None


def _endplate(endplate: Endplate | None) -> Row | None:
    if endplate is None:
        return None
    return {
        "left": [round(value, 2) for value in endplate.left],
        "right": [round(value, 2) for value in endplate.right],
        "curve": endplate.curve.round(2).tolist(),
    }


def _disc(disc: DiscHeight) -> Row:
    return {
        "disc": disc.disc.name,
        "height_index": disc.height_index,
        "wedge_deg": disc.wedge_deg,
        **{name: getattr(disc, name) for name in _DISC_MEASURES},
        "lines_px": {name: line.round(2).tolist() for name, line in disc.lines_px.items()},
    }


def _measure(measure: Measure) -> Row:
    names = ("quantity", "value", "unit", "uncertainty", "basis", "convex_left", "reason")
    apex = measure.apex.name if measure.apex is not None else None
    return {"place": measure.place.name, "apex": apex, **{name: getattr(measure, name) for name in names}}


def _finding(finding: Finding) -> Row:
    names = (
        "value", "unit", "uncertainty", "basis", "scheme", "computed_grade", "published_grade", "reason",
        "expected", "expected_from", "form", "reference_scheme", "reference_grade",
    )  # fmt: skip
    lowest, highest = finding.grade_range or (None, None)
    row = {name: getattr(finding, name) for name in names}
    return _where(finding) | row | {"lowest_grade": lowest, "highest_grade": highest}


def _where(finding: Finding) -> Row:
    return {"sign": finding.sign, "place": finding.place.name, "side": finding.side}


def _conclusion(conclusion: Conclusion) -> Row:
    row = {
        field.name: getattr(conclusion, field.name) for field in fields(conclusion) if field.name != "support"
    }
    return row | {"span": conclusion.span.name if conclusion.span else None}


def _lines(lines: Sequence[Points]) -> Row:
    return {"lines_px": [line.round(2).tolist() for line in lines]}


def _vertebra_row(vertebra: Vertebra) -> Row:
    return {
        "item": "vertebra",
        "name": vertebra.level.name,
        "raw_level": vertebra.raw_level.name,
        "score": round(float(vertebra.score), 4),
        "level_reason": vertebra.level_reason,
        "level_margin": _margin(vertebra),
        "other_level": _other(vertebra) or "",
    }


def _disc_row(disc: DiscHeight, finding: Finding | None) -> Row:
    row: Row = {"item": "disc", "name": disc.disc.name}
    row |= {name: getattr(disc, name) for name in ("height_index", "wedge_deg", *_DISC_MEASURES)}
    if finding:
        row |= {
            "finding": finding.sign,
            "computed_grade": finding.computed_grade,
            "published_grade": finding.published_grade,
            "finding_reason": finding.reason or "",
        }
    return row
