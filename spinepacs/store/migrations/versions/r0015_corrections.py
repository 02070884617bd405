"""What persons correct: readings with an author, objects that are replaced, and one current reading of each film.

The current reading is the newest that a person has made, else the newest. Two readings of one film under one model and
policy stay impossible for models; a person may make as many as he likes.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, ForeignKey, Index, MetaData, Table, text

from spinepacs.store.columns import Key, PlainJson, SafeText, UtcTime
from spinepacs.store.migrations.versions import r0004_measure_views as r0004
from spinepacs.store.migrations.versions import r0010_own_patient as r0010
from spinepacs.store.migrations.versions import r0011_watched_folder as r0011
from spinepacs.store.migrations.versions import r0012_measure_reason as r0012

revision = "r0015"
down_revision = "r0014"

_NOT_CURRENT_BEFORE = r0004._IS_CURRENT
_IS_CURRENT = """NOT EXISTS (
        SELECT 1 FROM readings newer WHERE newer.arrival_id = r.arrival_id AND (
            (newer.author <> '' AND r.author = '')
            OR ((newer.author <> '') = (r.author <> '') AND newer.reading_id > r.reading_id))
    )"""
_CORRECTED = """NOT EXISTS (
        SELECT 1 FROM readings mine JOIN readings theirs ON theirs.arrival_id = mine.arrival_id
        WHERE mine.reading_id = m.reading_id AND theirs.author <> ''
        AND (mine.author = '' OR theirs.reading_id > mine.reading_id)
    )"""
_VIEWS = dict(r0010.VIEWS)
_VIEWS["film_readings"] = r0011.FILM_READINGS
_VIEWS["study_measures"], _VIEWS["disc_measures"], _VIEWS["disc_follow_up"] = r0012._VIEWS


def _now(name: str, view: str) -> str:
    view = view.replace(_NOT_CURRENT_BEFORE, _IS_CURRENT)
    if name == "film_readings":
        view = view.replace("a.file_name\n", "a.file_name, r.author\n")
    if name == "disc_follow_up":
        # What a person has corrected or rejected is not followed up under the names that it had.
        view = view.replace(
            "WHERE coalesce(m.measure_reason", f"WHERE {_CORRECTED} AND coalesce(m.measure_reason"
        )
    return view


VIEWS = {name: _now(name, view) for name, view in _VIEWS.items()}

_metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
for _table, _key, _type in (
    ("arrivals", "arrival_id", Key),
    ("studies", "study_uid", SafeText),
    ("readings", "reading_id", Key),
):
    Table(_table, _metadata, Column(_key, _type, primary_key=True))
_PENDING = text("state = 'pending'")
_CORRECTIONS = Table(
    "corrections",
    _metadata,
    Column("correction_id", Key, primary_key=True),
    Column("uid", SafeText, nullable=False, unique=True),
    Column("arrival_id", Key, ForeignKey("arrivals.arrival_id"), nullable=False, index=True),
    Column("study_uid", SafeText, ForeignKey("studies.study_uid"), nullable=False, index=True),
    Column("base_reading_id", Key, ForeignKey("readings.reading_id"), nullable=False),
    Column("author", SafeText, nullable=False),
    Column("organisation", SafeText, nullable=False, server_default=""),
    Column("reason", SafeText, nullable=False, server_default=""),
    Column("made_at", UtcTime, nullable=False),
    Column("operations", PlainJson, nullable=False),
    Column("drawn_by", SafeText, nullable=False, server_default=""),
    Column("state", SafeText, nullable=False),
    Column("ended_at", UtcTime),
    Column("refusal_code", SafeText, nullable=False, server_default=""),
    Column("refusal_reason", SafeText, nullable=False, server_default=""),
    Index(
        "uq_corrections_pending", "arrival_id", unique=True, sqlite_where=_PENDING, postgresql_where=_PENDING
    ),
    Index("ix_corrections_pending", "study_uid", sqlite_where=_PENDING, postgresql_where=_PENDING),
)


def upgrade() -> None:
    """Add the table and the columns, and make the views anew."""
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    op.add_column("readings", Column("author", SafeText, nullable=False, server_default=""))
    op.add_column("readings", Column("correction_id", Key))
    op.create_index("uq_readings_correction_id", "readings", ["correction_id"], unique=True)
    _CORRECTIONS.create(op.get_bind(), checkfirst=False)
    op.add_column("objects", Column("replaced_by", Key))
    op.drop_index("uq_readings_published", "readings")
    published = text("refusal_code = '' AND author = ''")
    op.create_index(
        "uq_readings_published",
        "readings",
        ["arrival_id", "model_name", "model_version", "policy_name", "policy_version"],
        unique=True,
        sqlite_where=published,
        postgresql_where=published,
    )
    for view in VIEWS.values():
        op.execute(view)
