"""Brings the tables of a ledger up to date, with Alembic, in one transaction."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from spinepacs.errors import Permanent
from spinepacs.store.engine import Database
from spinepacs.store.tables import REVISION

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x5350494E  # "SPIN": any number that no other program on this PostgreSQL uses


def revision(connection: Connection) -> str | None:
    """Revision of the tables; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


class Tables(Enum):
    """How the tables of a database stand to this version."""

    NONE = "the database has no tables yet: the start of `spinepacs serve` makes them"
    OLDER = "its tables are older than this version: the start of `spinepacs serve` brings them up to date"
    CURRENT = "its tables are those of this version"
    NEWER = (
        "its tables are of a newer spinepacs: install that version, or go back to a copy (docs/upgrade.md)"
    )


def compare(database: Database) -> tuple[Tables, str]:
    """Say how the tables stand, and at which revision, and make nothing.

    Raises
    ------
    Transient
        If the database cannot be read now.
    """
    if database.file is not None and not os.path.exists(database.file):
        return Tables.NONE, f"there is no file {database.file}"
    with database.read() as connection:
        found = revision(connection)
    if found is None:
        return Tables.NONE, "it is empty"
    at = f"revision {found}, of this version {REVISION}"
    if found == REVISION:
        return Tables.CURRENT, f"revision {found}"
    return (Tables.NEWER if found > REVISION else Tables.OLDER), at


def check(database: Database) -> None:
    """Check that the tables are those of this version.

    Raises
    ------
    Permanent
        If they are not; the message says what to do.
    """
    tables, at = compare(database)
    if tables is not Tables.CURRENT:
        raise Permanent(f"{tables.value} ({at})")


def migrate(database: Database) -> None:
    """Bring the tables up to date; safe when several processes do so at once: the others wait.

    Raises
    ------
    Permanent
        If the tables come from a newer version.
    """
    with database.read() as connection:
        if revision(connection) == REVISION:
            return
    with database.transaction() as connection:
        if not database.is_sqlite:  # on SQLite the transaction itself is exclusive
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        _upgrade(connection)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # slow to import, and needed once per upgrade only
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = revision(connection)
    if found is not None and found not in known:
        raise Permanent(f"{Tables.NEWER.value} (revision {found}, of this version {REVISION})")
    command.upgrade(config, "head")
