"""The tables come about by migrations only, and these are what the code believes."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

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


def at(revision: str, url: str) -> None:
    """Tables as an older version left them."""
    config = Config()
    config.set_main_option("script_location", str(migration._FOLDER))
    config.set_main_option("path_separator", "os")
    database = Database(url)
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    database.close()


OLD_ROWS = (
    """INSERT INTO studies (study_uid, state, due_at, first_arrival_at, last_arrival_at, changed_at, patient_id,
       patient_sex, patient_age_years, study_date, accession_number, study_description, modality, body_part)
       VALUES ('1.2', 'recorded', :t, :t, :t, :t, 'PAT-1', 'F', 61.5, '2026-01-02', 'ACC-1', '', 'DX', 'LSPINE')""",
    """INSERT INTO arrivals (arrival_id, sop_uid, sop_class_uid, transfer_syntax_uid, sha256, size_bytes, source,
       calling_ae, called_ae, peer, received_at, state, study_uid, series_uid)
       VALUES (7, '1.2.3', 'c', 't', 'aa', 5, 'network', 'A', 'B', 'p', :t, 'selected', '1.2', '1.2.1')""",
    """INSERT INTO readings (reading_id, arrival_id, study_uid, series_uid, sop_uid, model_name, model_version,
       policy_name, policy_version, read_at, rows_px, columns_px, anterior_basis, missing_levels, notes, seconds)
       VALUES (9, 7, '1.2', '1.2.1', '1.2.3', 'm', '1', 'p', '1', :t, 10, 10, '', '', '', '{}')""",
    """INSERT INTO discs (reading_id, disc, disc_order, upper_level, lower_level, lines_px)
       VALUES (9, 'L4/L5', 22, 'L4', 'L5', '{}')""",
    """INSERT INTO objects (sop_uid, reading_id, kind, sop_class_uid, series_uid, transfer_syntax_uid, sha256,
       size_bytes) VALUES ('1.2.4', 9, 'SEG', 'c', '1.2.2', 't', 'bb', 5)""",
)
WHEN = {"t": "2026-01-02 03:04:05.000000+00:00"}


def test_films_of_an_older_version_keep_their_readings_and_get_their_studys_patient(empty_url: str) -> None:
    at("r0009", empty_url)
    database = Database(empty_url)
    with database.transaction() as connection:
        for row in OLD_ROWS:
            connection.execute(text(row), WHEN)
        trail = connection.execute(text("SELECT count(*) FROM audit_events")).scalar_one()
    Ledger.open(empty_url).close()
    with database.transaction() as connection:
        question = "SELECT patient_id, accession_number, disc, reading_id FROM disc_measures WHERE is_current"
        assert connection.execute(text(question)).all() == [("PAT-1", "ACC-1", "L4/L5", 9)]
        assert connection.execute(text("SELECT count(*) FROM audit_events")).scalar_one() == trail
        if database.is_sqlite:
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        # Its triggers are there again, and one published reading under one model and policy is still all there can be.
        again = OLD_ROWS[2].replace("(9, 7,", "(10, 7,").replace("seconds)", "seconds, refusal_code)")
        connection.execute(text(again.replace("'{}')", "'{}', 'NO_VERTEBRA_FOUND')")), WHEN)
        newest = text("SELECT action FROM audit_events ORDER BY audit_id DESC LIMIT 1")
        assert connection.execute(newest).scalar_one() == "not-read"
    with pytest.raises((IntegrityError, Permanent)), database.transaction() as connection:
        connection.execute(text(OLD_ROWS[2].replace("(9, 7,", "(11, 7,")), WHEN)
    database.close()


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
