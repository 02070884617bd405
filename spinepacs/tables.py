"""Readings as plain rows: what JSON and CSV files of a batch hold."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from spinepacs.findings import DiscHeight, Finding, Reading, Vertebra
from spinepacs.geometry import Endplate

Row = dict[str, Any]

_DISC_MEASURES = tuple(
    field.name
    for field in fields(DiscHeight)
    if field.name.endswith(("_px", "_mm")) and field.name != "lines_px"
)
COLUMNS = (
    "film", "study_uid", "sop_uid", "state", "reason_code", "reason", "view", "spacing_basis", "row_mm", "column_mm",
    "item", "name", "raw_level", "score", "level_reason", "height_index", "wedge_deg", *_DISC_MEASURES,
    "finding", "grade", "computed_grade", "finding_reason",
    "model", "model_version", "policy", "policy_version",
)  # fmt: skip
"""Columns of the CSV, in order."""


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
        "findings": [_finding(finding) for finding in reading.findings],
        "seconds": {step: round(seconds, 4) for step, seconds in reading.seconds.items()},
    }


def reading_to_rows(film: str, reading: Reading) -> list[Row]:
    """One row for each vertebra and each disc; a refused film is one row with its reason."""
    spacing, versions = reading.spacing, reading.versions
    common: Row = {
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
        "model": versions.model_name,
        "model_version": versions.model_version,
        "policy": versions.policy_name,
        "policy_version": versions.policy_version,
    }
    rows = [
        common | _vertebra_row(vertebra) for vertebra in (reading.spine.vertebrae if reading.spine else ())
    ]
    graded = {finding.disc: finding for finding in reading.findings if finding.disc is not None}
    rows += [common | _disc_row(disc, graded.get(disc.disc)) for disc in reading.discs]
    return rows or [common]


def _vertebra(vertebra: Vertebra) -> Row:
    return {
        "level": vertebra.level.name,
        "raw_level": vertebra.raw_level.name,
        "raw_score": round(float(vertebra.raw_score), 4),
        "level_reason": vertebra.level_reason,
        "score": round(float(vertebra.score), 4),
        "outline_px": vertebra.outline.points.round(2).tolist(),
        "upper_endplate_px": _endplate(vertebra.upper),
        "lower_endplate_px": _endplate(vertebra.lower),
    }


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


def _finding(finding: Finding) -> Row:
    row = asdict(finding)
    row["disc"] = finding.disc.name if finding.disc else None
    row["level"] = finding.level.name if finding.level is not None else None
    return row


def _vertebra_row(vertebra: Vertebra) -> Row:
    return {
        "item": "vertebra",
        "name": vertebra.level.name,
        "raw_level": vertebra.raw_level.name,
        "score": round(float(vertebra.score), 4),
        "level_reason": vertebra.level_reason,
    }


def _disc_row(disc: DiscHeight, finding: Finding | None) -> Row:
    row: Row = {"item": "disc", "name": disc.disc.name}
    row |= {name: getattr(disc, name) for name in ("height_index", "wedge_deg", *_DISC_MEASURES)}
    if finding:
        row |= {
            "finding": finding.kind,
            "grade": finding.published_grade,
            "computed_grade": finding.computed_grade,
            "finding_reason": finding.reason,
        }
    return row
