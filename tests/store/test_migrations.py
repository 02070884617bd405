"""The tables come about by migrations only, and these are what the code believes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from spinepacs.errors import Permanent
from spinepacs.store import migration
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome
from spinepacs.store.tables import REVISION, metadata
from tests.store.makers import arrival

OPEN = "import sys; from spinepacs.store.ledger import Ledger; Ledger.open(sys.argv[1]).close()"


def test_the_newest_migration_is_the_one_that_the_code_expects() -> None:
    assert ScriptDirectory(str(migration._FOLDER)).get_heads() == [REVISION]


def test_the_migrations_make_the_tables_that_the_code_knows(url: str) -> None:
    database = Database(url)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, metadata) == []
    database.close()


def test_an_empty_database_is_not_touched_unless_asked(empty_url: str) -> None:
    with pytest.raises(Permanent, match="no tables yet"):
        Ledger.open(empty_url, migrate=False)
    Ledger.open(empty_url).close()
    Ledger.open(empty_url, migrate=False).close()


def test_an_upgrade_keeps_what_is_there(ledger: Ledger, url: str) -> None:
    ledger.add_arrival(arrival())
    with Ledger.open(url) as again:
        assert again.add_arrival(arrival()) is ArrivalOutcome.DUPLICATE


@pytest.mark.parametrize("migrate", [True, False])
def test_tables_of_a_newer_version_are_left_alone(url: str, migrate: bool) -> None:
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(Permanent, match="r9999"):
        Ledger.open(url, migrate=migrate)
    database.close()


def test_several_processes_may_open_an_empty_database_at_once(empty_url: str) -> None:
    starting = [subprocess.Popen([sys.executable, "-W", "error", "-c", OPEN, empty_url]) for _ in range(4)]
    assert [process.wait(timeout=60) for process in starting] == [0] * 4


def test_several_threads_may_open_an_empty_database_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        ledgers = list(pool.map(Ledger.open, [empty_url] * 8))
    assert [ledger.add_arrival(arrival()).value for ledger in ledgers] == ["new"] + ["duplicate"] * 7
    for ledger in ledgers:
        ledger.close()
