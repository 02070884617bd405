"""What the errors of a database mean: try again, mend something first, or give up."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from spinepacs.errors import DatabaseAway, Permanent, SpinepacsError, ToMend
from spinepacs.store.rights import why_denied

_MAY_PASS = ("08", "25006", "40", "53", "55", "57", "58")
"""SQLSTATE classes: connection, read-only, rollback (deadlock), resources (disk), locks, shutdown, system."""

_TO_MEND = ("28", "3D000", "42501")
"""SQLSTATE: not let in, no such database, not allowed."""

_OF_A_DENIAL = re.compile(
    r"no password supplied|authentication failed|no pg_hba\.conf entry|does not support SSL|SSL error|certificate"
    r"|no such (?:database|user)",
    re.IGNORECASE,
)
"""What libpq and PgBouncer say where no patience helps. Before the log-in psycopg knows no SQLSTATE."""

_FULL_HOUSE = "too many connections"


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turn what the database raises into what should happen next.

    A unique constraint's IntegrityError passes: its catcher knows what it means. The original exception is
    not chained: drivers quote whole rows in theirs, and rows hold patient IDs.
    """
    try:
        yield
    except (SpinepacsError, IntegrityError):
        raise
    except PoolTimeout:
        raise DatabaseAway("all connections to the database are in use; try again") from None
    except DBAPIError as error:
        raise _meaning(error, url) from None


def summary(error: DBAPIError) -> str:
    """First line of the driver's message: PostgreSQL quotes rows in the others, and wrong values (22) here."""
    if str(getattr(error.orig, "sqlstate", "")).startswith("22"):
        return type(error.orig).__name__
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def _meaning(error: DBAPIError, url: URL) -> SpinepacsError:
    if isinstance(error.orig, sqlite3.Error):
        return _of_sqlite(error, Path(str(url.database)))
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return _of_connecting(error, url)
    if str(state).startswith(_TO_MEND):
        return ToMend(
            f"the database does not allow it: {summary(error)}; grant its user the right (docs/install.md)"
        )
    if str(state).startswith(_MAY_PASS):
        return DatabaseAway(f"the database cannot do it now: {summary(error)}")
    return Permanent(f"the database refuses: {summary(error)}")


def _of_connecting(error: DBAPIError, url: URL) -> SpinepacsError:
    """What a failed log-in means, whose words are all that there is; the server may speak any language.

    A server that names our user or database in quotes refuses them; what else it says (it starts, it ends) passes.
    """
    if not (
        error.connection_invalidated or type(error.orig).__name__ in ("OperationalError", "InterfaceError")
    ):
        return Permanent(f"the database refuses: {summary(error)}")
    said = " ".join(str(error.orig).split())
    answer = said.rpartition(" failed: ")[2] if "FATAL" not in said else said[said.index("FATAL") :]
    names = "|".join(re.escape(name) for name in (url.username, url.database) if name)
    is_named = names and re.search(rf'["«»„“”‘’‹›「『]\s?(?:{names})\s?["«»„“”‘’‹›」』]', answer)
    if _FULL_HOUSE not in said and (is_named or _OF_A_DENIAL.search(said)):
        return ToMend(
            f"the database does not let us in: {answer}; mend user, password, database name or sslmode in "
            "SPINEPACS_DATABASE_URL or storage.database_url, or the server (docs/install.md)"
        )
    return DatabaseAway(f"the database does not answer: {said}")


def _of_sqlite(error: DBAPIError, path: Path) -> SpinepacsError:
    words = summary(error)
    lasting = ("no such table", "no such column")  # no tables yet, or those of another version
    if not isinstance(error.orig, sqlite3.OperationalError) or words.startswith(lasting):
        return Permanent(f"the database refuses: {words}")
    denied = (
        why_file_is_denied(path)
        if words.startswith(("unable to open", "attempt to write a readonly"))
        else ""
    )
    return ToMend(denied) if denied else DatabaseAway(f"the database cannot do it now: {words}")


def why_file_is_denied(path: Path) -> str:
    """Why this user may not write an SQLite file, those that SQLite keeps beside it, or their folder; empty: it may."""
    beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    files = [path.parent, *(file for file in (path, *beside) if os.path.exists(file))]
    return next(filter(None, (why_denied("the database", file) for file in files)), "")
