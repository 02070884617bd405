"""An upgrade with work in the queue: the tables of the first version are brought up to date and the work goes on."""

from __future__ import annotations

import sqlite3
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from pydicom import dcmread

from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.study import Source
from spinepacs.store import migration
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool
from tests import films, peers
from tests.daemons import daemon, destination
from tests.store import makers
from tests.system.load import small_film

FIRST = "r0002"
"""The tables that the first version was shipped with."""

pytestmark = pytest.mark.peer


def take(ledger: Ledger, spool: Spool, path: Path, until: str) -> None:
    """Bring a film as far as the state says."""
    header, stored = read_header(path), spool.add([path.read_bytes()])
    where = {"source": Source.NETWORK, "calling_ae": "CT1", "called_ae": "SPINEPACS", "peer": "127.0.0.1"}
    uids = (header.sop_uid, header.sop_class_uid, header.transfer_syntax_uid)
    ledger.add_arrival(
        NewArrival(*uids, stored.sha256, stored.size_bytes, **where, received_at=datetime.now(UTC))
    )
    if until == "received":
        return
    (arrival,) = ledger.unregistered(1)
    ledger.register(arrival.arrival_id, header, None)
    ledger.mark_ready(header.study_uid)
    if until == "working":
        assert ledger.claim(makers.VERSIONS, 3)


def downgrade(new: Path, old: Path) -> None:
    """Write a database with the first version's tables, and every row and column that it had."""
    database = Database(f"sqlite:///{old}")
    config = Config()
    config.set_main_option("script_location", str(migration._FOLDER))
    config.set_main_option("path_separator", "os")
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, FIRST)
    database.close()
    with sqlite3.connect(old) as connection:
        connection.execute("ATTACH ? AS new", (str(new),))
        tables = connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            if table.startswith(("alembic", "sqlite")):
                continue
            columns = [
                [row[1] for row in connection.execute(f"PRAGMA {schema}.table_info({table})")]
                for schema in ("main", "new")
            ]
            both = ", ".join(column for column in columns[0] if column in columns[1])
            connection.execute(f"INSERT INTO main.{table} ({both}) SELECT {both} FROM new.{table}")  # noqa: S608
    connection.close()


def test_an_old_database_with_work_in_every_state_is_brought_up_to_date_and_the_work_goes_on(tmp_path):
    port = peers.free_port()
    paths = [films.write(small_film(2 * number), tmp_path / f"{number}.dcm") for number in range(4)]
    new, old = tmp_path / "ledger.sqlite", tmp_path / "old.sqlite"
    with daemon(tmp_path, [destination(port)]) as running:
        spool = Spool(Path(running.settings["storage"]["spool"]))
        with running.ledger() as ledger:
            take(ledger, spool, paths[0], "ready")
        running.start()
        peers.wait_until(lambda: running.states() == {"recorded": 1}, 60, "a study that cannot be delivered")
        assert running.terminate() == 0
        with running.ledger() as ledger:
            take(ledger, spool, paths[1], "working")
            take(ledger, spool, paths[2], "ready")
            take(ledger, spool, paths[3], "received")
        downgrade(new, old)
        for file in tmp_path.glob("ledger.sqlite*"):
            file.unlink()
        old.rename(new)

        with peers.dcmtk_storescp(tmp_path, "--fork", port=port) as pacs:
            running.start()
            peers.wait_until(lambda: running.states() == {"delivered": 4}, 60, "all four studies")
            assert running.terminate() == 0
            got = [dcmread(path, stop_before_pixels=True) for path in pacs.received()]
        counted = Counter((str(found.StudyInstanceUID), str(found.Modality)) for found in got)
        studies = {str(dcmread(path).StudyInstanceUID) for path in paths}
        assert counted == Counter({(study, kind): 1 for study in studies for kind in ("SEG", "SR", "OT")})
