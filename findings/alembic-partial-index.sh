#!/usr/bin/env bash
# Alembic's comparison does not see that a partial unique index holds for other rows now
#
# Versions   Alembic 1.20.1, SQLAlchemy 2.1.9, SQLite of Python (printed below).
# Behaviour  "one open job per film" is a unique index with a condition. SQLAlchemy creates it, and its inspector reads
#            the condition back from the database. compare_metadata (autogenerate, `alembic check`) compares name,
#            columns and uniqueness only: an index whose condition was changed, or dropped altogether so that it is
#            unique for every row, gives an empty list of differences.
# Seen       database: unique where state = 'open'. Model: state = 'waiting' | no condition at all. Differences: none,
#            both times; a changed column or uniqueness of the same index is found.
# Meaning    the test "migrations lead to the models" passes while the constraint that keeps work from being done
#            twice protects other rows, or none. Compare inspector.get_indexes() yourself.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check alembic==1.20.1 sqlalchemy==2.1.9
"$work/venv/bin/python" - <<'END'
import sqlite3
import sys

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, create_engine, inspect, text


def model(condition="state = 'open'", column="film", unique=True):
    metadata = MetaData()
    job = Table("job", metadata, Column("id", Integer, primary_key=True), Column("film", String), Column("state", String))
    where = {} if condition is None else {"sqlite_where": text(condition)}
    Index("one_open_job", job.c[column], unique=unique, **where)
    return metadata


engine = create_engine("sqlite://")
model().create_all(engine)
read_back = str(inspect(engine).get_indexes("job")[0]["dialect_options"]["sqlite_where"])
print("SQLite", sqlite3.sqlite_version, "| condition read back:", read_back)


def differences(**changed):
    with engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), model(**changed))
    print(changed or "unchanged", "->", [difference[0] for difference in found])
    return len(found)


as_stated = read_back == "state = 'open'"
as_stated &= differences() == 0
as_stated &= differences(column="state") > 0 and differences(unique=False) > 0
as_stated &= differences(condition="state = 'waiting'") == 0 and differences(condition=None) == 0
sys.exit(0 if as_stated else 1)
END
