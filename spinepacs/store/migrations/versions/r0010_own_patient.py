"""Each film keeps its own patient, and a study that names two says so; refused films can be seen to and read again.

The views take patient, sex, age, date, accession number and body part from the film, where they took them from the
study, whose row followed its newest film. Films of r0009 and before get what the views showed of them. A film that was
refused may be read once more by the same model and policy.
"""

from __future__ import annotations

import re
from typing import Any

from alembic import op
from sqlalchemy import Boolean, Column, Connection, Date, false, inspect, text

from spinepacs.store.columns import Key, Measure, SafeText, UtcTime
from spinepacs.store.migrations.versions import r0004_measure_views as r0004
from spinepacs.store.migrations.versions import r0005_commitment as r0005
from spinepacs.store.migrations.versions import r0009_level_margin as r0009

revision = "r0010"
down_revision = "r0009"

_OF_FILM = ("patient_id", "patient_sex", "patient_age_years", "study_date", "accession_number")

_NEW_IN_ARRIVALS: tuple[Column[Any], ...] = (
    Column("patient_id", SafeText, nullable=False, server_default=""),
    Column("patient_sex", SafeText, nullable=False, server_default=""),
    Column("patient_age_years", Measure),
    Column("study_date", Date),
    Column("accession_number", SafeText, nullable=False, server_default=""),
    Column("reread_after", Key),
)
_NEW_IN_STUDIES: tuple[Column[Any], ...] = (
    Column("patients_differ_at", UtcTime),
    Column("seen_at", UtcTime),
    Column("rereading", Boolean, nullable=False, server_default=false()),
)

_STUDYS = """s.study_uid, s.patient_id, s.patient_sex, s.patient_age_years, s.study_date, s.accession_number,
    s.body_part,"""
_FILMS = """s.study_uid, a.patient_id, a.patient_sex, a.patient_age_years, a.study_date, a.accession_number,
    CASE WHEN a.body_part <> '' THEN a.body_part ELSE s.body_part END AS body_part,"""
_JOIN = "JOIN studies s ON s.study_uid = r.study_uid"
_JOINS = f"{_JOIN} JOIN arrivals a ON a.arrival_id = r.arrival_id"


def _of_film(view: str) -> str:
    """The view, with the patient of the film."""
    return view.replace(_STUDYS, _FILMS).replace(_JOIN, _JOINS)


DELIVERIES = (
    r0005.DELIVERIES.replace("s.patient_id, s.accession_number", "a.patient_id, a.accession_number")
    .replace("JOIN studies s ON s.study_uid = q.study_uid", "JOIN arrivals a ON a.arrival_id = r.arrival_id")
)  # fmt: skip
STUDY_SUMMARY = r0005.STUDY_SUMMARY.replace(
    "\nFROM studies s",
    """,
    (SELECT count(DISTINCT a.patient_id) FROM arrivals a
     WHERE a.study_uid = s.study_uid AND a.state = 'selected' AND a.patient_id <> '') AS patients
FROM studies s""",
)
VIEWS = {
    "study_summary": STUDY_SUMMARY,
    "vertebra_findings": _of_film(r0009.VERTEBRA_FINDINGS),
    "disc_findings": _of_film(r0004.DISC_FINDINGS),
    "film_readings": _of_film(r0004.FILM_READINGS),
    "study_findings": _of_film(r0004.STUDY_FINDINGS),
    "study_measures": _of_film(r0004.STUDY_MEASURES),
    "study_conclusions": _of_film(r0004.STUDY_CONCLUSIONS),
    "disc_measures": _of_film(r0004.DISC_MEASURES),
    "disc_follow_up": r0004.DISC_FOLLOW_UP,
    "deliveries": DELIVERIES,
}


def upgrade() -> None:
    """Add the columns, fill those of the films, and make the views anew."""
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW {view}")
    for column in _NEW_IN_ARRIVALS:
        op.add_column("arrivals", column)
    for column in _NEW_IN_STUDIES:
        op.add_column("studies", column)
    of_study = ", ".join(
        f"{name} = (SELECT s.{name} FROM studies s WHERE s.study_uid = arrivals.study_uid)"  # noqa: S608 - fixed text
        for name in _OF_FILM
    )
    op.execute(f"UPDATE arrivals SET {of_study} WHERE study_uid IS NOT NULL")  # noqa: S608 - fixed text
    for name in ("patient_id", "study_date", "accession_number"):
        op.create_index(f"ix_arrivals_{name}", "arrivals", [name])
    _let_refused_films_be_read_again()
    for view in VIEWS.values():
        op.execute(view)


def _let_refused_films_be_read_again() -> None:
    """Of readings under one model and policy only those that were published stay unique."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _without_constraint(connection)
    else:
        (constraint,) = inspect(connection).get_unique_constraints("readings")
        op.drop_constraint(str(constraint["name"]), "readings")
    refused, published = text("refusal_code <> ''"), text("refusal_code = ''")
    op.create_index(
        "ix_readings_refused", "readings", ["reading_id"], sqlite_where=refused, postgresql_where=refused
    )
    op.create_index("ix_readings_arrival_id", "readings", ["arrival_id"])
    op.create_index(
        "uq_readings_published",
        "readings",
        ["arrival_id", "model_name", "model_version", "policy_name", "policy_version"],
        unique=True,
        sqlite_where=published,
        postgresql_where=published,
    )


def _without_constraint(connection: Connection) -> None:
    """Make the table anew, which is SQLite's only way; rows that refer to it are checked at the commit."""
    connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    parts = "SELECT sql FROM sqlite_master WHERE tbl_name = 'readings' AND sql IS NOT NULL ORDER BY type = 'table' DESC"
    table, *others = connection.exec_driver_sql(parts).scalars().all()
    without, times = re.subn(r",\s*CONSTRAINT \S+ UNIQUE \([^)]*\)", "", table)
    if times != 1:
        raise ValueError("the table readings is not that of r0001")
    connection.exec_driver_sql("CREATE TABLE readings_before AS SELECT * FROM readings")
    connection.exec_driver_sql("DROP TABLE readings")
    connection.exec_driver_sql(without)
    connection.exec_driver_sql("INSERT INTO readings SELECT * FROM readings_before")
    connection.exec_driver_sql("DROP TABLE readings_before")
    for other in others:  # its triggers too: they must not write the copy into the audit trail
        connection.exec_driver_sql(other)
