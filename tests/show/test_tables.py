"""The rows of a batch's JSON and CSV files: everything that is graded is in them."""

from __future__ import annotations

import json
from dataclasses import replace

from spinepacs.domain.anatomy import Level
from spinepacs.domain.findings import Reading
from spinepacs.domain.measures import Unit
from spinepacs.domain.signs import Deformity, Finding, Scheme, Side, Sign
from spinepacs.show import tables
from tests.dicom import readings


def reading() -> Reading:
    found = readings.reading(readings.header())
    assert found.spine
    wedge = Finding(
        Sign.VERTEBRAL_DEFORMITY, Level.C5, Scheme.GENANT, 0.27, Unit.RATIO, 2, 2, form=Deformity.WEDGE
    )
    spine = replace(found.spine, missing=(Level.C4,), notes=("VERTEBRAE_MISSING",))
    return replace(
        found, spine=spine, findings=(*found.findings, wedge), notes=("METAL", "VERTEBRAE_MISSING")
    )


def test_findings_have_their_sides_forms_and_ranges() -> None:
    rows = tables.findings_to_rows("film.dcm", reading())
    assert {tuple(row) for row in rows} == {tables.FINDING_COLUMNS}
    assert [row["side"] for row in rows if row["sign"] == "osteophytes"] == [Side.UPPER_ANTERIOR]
    assert [row["form"] for row in rows if row["place"] == "C5" and row["form"]] == ["wedge"]
    (lost,) = [row for row in rows if row["place"] == "C4/C5" and row["sign"] == "disc_height_loss"]
    assert (lost["lowest_grade"], lost["highest_grade"], lost["expected"]) == (1, 2, 0.3)
    assert (lost["reference_scheme"], lost["reference_grade"]) == ("kettler", 1)


def test_conclusions_have_their_sentence_and_reason() -> None:
    signs, withheld = tables.conclusions_to_rows("film.dcm", reading())
    assert signs["span"] == "C2-C7"
    assert signs["statement"] == "moderate_signs"
    assert (withheld["published_degree"], withheld["reason"]) == (None, "TOO_FEW_DISCS")


def test_every_row_of_a_film_has_its_notes_and_missing_levels() -> None:
    rows = tables.reading_to_rows("film.dcm", reading())
    assert {row["notes"] for row in rows} == {"METAL VERTEBRAE_MISSING"}
    assert {row["missing_levels"] for row in rows} == {"C4"}
    assert set().union(*rows) <= set(tables.COLUMNS)


def test_json_holds_marks_and_support() -> None:
    read = json.loads(json.dumps(tables.reading_to_json("film.dcm", reading())))
    assert read["notes"] == ["METAL", "VERTEBRAE_MISSING"]
    assert read["conclusions"][0]["support"][0]["sign"] == "disc_height_loss"
    assert all("lines_px" in finding for finding in read["findings"])
