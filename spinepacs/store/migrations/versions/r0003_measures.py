"""Every measure, every sign and every conclusion has its row.

Rows of r0002 stay as they are; what they did not hold is NULL, or empty as the texts of these tables are. The views
that read the changed table are dropped here and made anew by r0004.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, ForeignKey, Integer, MetaData, Table, UniqueConstraint, text

from spinepacs.store.columns import Key, Measure, PlainJson, SafeText

revision = "r0003"
down_revision = "r0002"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Table("readings", metadata, Column("reading_id", Key, primary_key=True))  # what the new tables refer to

MEASURES = Table(
    "measures",
    metadata,
    Column("measure_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("quantity", SafeText, nullable=False),
    Column("place", SafeText, nullable=False),
    Column("upper_level", SafeText, nullable=False),
    Column("lower_level", SafeText, nullable=False),
    Column("level_order", Integer, nullable=False),
    Column("value", Measure),
    Column("unit", SafeText, nullable=False),
    Column("uncertainty", Measure),
    Column("basis", SafeText),
    Column("apex", SafeText),
    Column("convex_left", Boolean),
    Column("lines_px", PlainJson, nullable=False),
    UniqueConstraint("reading_id", "quantity", "place"),
)

CONCLUSIONS = Table(
    "conclusions",
    metadata,
    Column("conclusion_id", Key, primary_key=True),
    Column("reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("area", SafeText, nullable=False),
    Column("span", SafeText),
    Column("scheme", SafeText, nullable=False),
    Column("computed_degree", Integer),
    Column("published_degree", Integer),
    Column("statement", SafeText, nullable=False),
    Column("sentence", SafeText, nullable=False),
    Column("reason", SafeText, nullable=False),
    Column("for_age", SafeText),
    Column("support", PlainJson, nullable=False),
    UniqueConstraint("reading_id", "area"),
)

NOTES = Table(
    "notes",
    metadata,
    Column("reading_id", Key, ForeignKey("readings.reading_id"), primary_key=True),
    Column("code", SafeText, primary_key=True),
)

_NEW_IN_FINDINGS = (
    Column("place", SafeText, nullable=False, server_default=""),
    Column("level_order", Integer, nullable=False, server_default="0"),
    Column("side", SafeText, nullable=False, server_default=""),
    Column("scheme", SafeText, nullable=False, server_default="spinepacs"),
    Column("uncertainty", Measure),
    Column("basis", SafeText),
    Column("lowest_grade", Integer),
    Column("highest_grade", Integer),
    Column("expected", Measure),
    Column("expected_from", SafeText),
    Column("form", SafeText),
    Column("reference_scheme", SafeText),
    Column("reference_grade", Integer),
    Column("marks_px", PlainJson),
)

# r0002 knew one sign, the loss of disc height, whose unit was called "ratio"; in UCUM it is 1.
_OLD_FINDINGS = """
UPDATE findings SET place = coalesce(disc, level, ''),
    unit = CASE unit WHEN 'ratio' THEN '1' ELSE unit END,
    level_order = coalesce(
        (SELECT d.disc_order FROM discs d WHERE d.reading_id = findings.reading_id AND d.disc = findings.disc),
        (SELECT v.level_order FROM vertebrae v
         WHERE v.reading_id = findings.reading_id AND v.level = findings.level),
        0)
"""


def upgrade() -> None:
    """Add the tables and columns, and fill them from what is there."""
    for view in ("study_summary", "vertebra_findings", "disc_findings"):
        op.execute(f"DROP VIEW {view}")
    metadata.create_all(op.get_bind(), [MEASURES, CONCLUSIONS, NOTES], checkfirst=False)
    for column in _NEW_IN_FINDINGS:
        op.add_column("findings", column)
    op.execute(_OLD_FINDINGS)
    _notes_of_old_readings()
    op.create_index(
        "uq_findings_reading_id_kind_place_side",
        "findings",
        ["reading_id", "kind", "place", "side"],
        unique=True,
    )
    op.drop_index("ix_findings_reading_id", "findings")
    op.create_index("ix_findings_kind_published_grade", "findings", ["kind", "published_grade"])
    op.create_index("ix_measures_quantity_place", "measures", ["quantity", "place"])
    op.create_index("ix_conclusions_area_published_degree", "conclusions", ["area", "published_degree"])
    op.create_index("ix_notes_code", "notes", ["code"])


def _notes_of_old_readings() -> None:
    """One row for each code that a reading lists."""
    connection = op.get_bind()
    listed = connection.execute(text("SELECT reading_id, notes FROM readings WHERE notes <> ''")).all()
    rows = [
        {"reading_id": key, "code": code} for key, codes in listed for code in dict.fromkeys(codes.split())
    ]
    if rows:
        connection.execute(NOTES.insert(), rows)
