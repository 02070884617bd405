#!/usr/bin/env bash
# One NaN through SQLAlchemy's Float: SQLite makes it NULL, PostgreSQL a number that is greater than every other
#
# Versions   SQLAlchemy 2.1.9, SQLite of Python and psycopg 3.3.9 with PostgreSQL (Debian's); all printed below.
# Behaviour  the same model, the same rows 3.0, NaN. SQLite has no NaN: it stores NULL, so that a column that is NOT NULL
#            raises IntegrityError for a value that was given. PostgreSQL stores it, holds it equal to itself and
#            above all numbers: thresholds "greater than", max() and ORDER BY ... DESC all find it first. Infinity is
#            stored by both.
# Seen       height > 1000: SQLite no row, PostgreSQL the NaN. max: 3.0 | nan. count(height): 1 | 2. avg: 3.0 | nan.
#            NOT NULL: IntegrityError | stored.
# Meaning    code that was tested on SQLite and runs on PostgreSQL answers "which discs are higher than ..." with the
#            ones that could not be measured. Let no NaN through to either: write None.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
postgres=
trap '[ -z "$postgres" ] || { kill -INT "$postgres"; wait "$postgres" || true; }; rm -rf "$work"' EXIT
bin=$(dirname "$(find /usr/lib/postgresql -path '*/bin/initdb' | sort | tail -n 1)")
"$bin/postgres" --version
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check sqlalchemy==2.1.9 "psycopg[binary]==3.3.9"
as=()  # PostgreSQL does not run as root
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=nobody --regid=nogroup --clear-groups); fi
mkdir "$work/server"
[ "$(id -u)" != 0 ] || chown nobody:nogroup "$work/server"
cd "$work/server"
"${as[@]}" "$bin/initdb" -D "$work/server/db" -U owner -A trust -E UTF8 --no-locale >/dev/null
"${as[@]}" "$bin/postgres" -D "$work/server/db" -k "$work/server" -c listen_addresses= >"$work/log" 2>&1 &
postgres=$!
"$work/venv/bin/python" - "$work/server" <<'END'
import sqlite3
import sys
import time
from math import isnan

from sqlalchemy import Column, Float, Integer, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError

METADATA = MetaData()
DISC = Table("disc", METADATA, Column("id", Integer, primary_key=True), Column("height_mm", Float))
STRICT = Table("strict_disc", METADATA, Column("id", Integer, primary_key=True), Column("height_mm", Float, nullable=False))
NAN = float("nan")


def plain(value):
    return "nan" if isinstance(value, float) and isnan(value) else value


def tell(url):
    engine = create_engine(url)
    for _ in range(100):
        try:
            engine.connect().close()
            break
        except OperationalError:
            time.sleep(0.2)
    METADATA.create_all(engine)
    height = DISC.c.height_mm
    with engine.begin() as connection:
        connection.execute(insert(DISC), [{"height_mm": 3.0}, {"height_mm": NAN}])
        seen = {
            "above 1000": connection.scalar(select(func.count()).where(height > 1000)),
            "is null": connection.scalar(select(func.count()).where(height.is_(None))),
            "count": connection.scalar(select(func.count(height))),
            "max": plain(connection.scalar(select(func.max(height)))),
            "mean": plain(connection.scalar(select(func.avg(height)))),
        }
    try:
        with engine.begin() as connection:
            connection.execute(insert(STRICT), [{"height_mm": NAN}])
        seen["not null"] = "stored"
    except IntegrityError:
        seen["not null"] = "IntegrityError"
    print(f"{engine.dialect.name:10}", seen)
    return list(seen.values())


print("SQLite", sqlite3.sqlite_version)
small = tell("sqlite://")
large = tell(f"postgresql+psycopg://owner@/postgres?host={sys.argv[1]}")
as_stated = small == [0, 1, 1, 3.0, 3.0, "IntegrityError"] and large == [1, 0, 2, "nan", "nan", "stored"]
sys.exit(0 if as_stated else 1)
END
