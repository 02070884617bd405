"""The upgrade of a cluster with work in it, as docs/scale.md says: stop all, start one on the new version, the others.

Three machines on one PostgreSQL and one spool end in the middle of everything. What they leave is put into the tables
of an older version, all of it that these can hold; so the start finds what an older version would have left.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from pydicom import dcmread
from sqlalchemy import select

from spinepacs.cluster.engine import install
from spinepacs.dicom.reading.header import read_header
from spinepacs.store import migration
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.progress import progress_of
from spinepacs.store.tables import arrivals, outbox, readings
from tests import films, peers
from tests.daemons import Daemon, destination
from tests.store import makers
from tests.system.account import settle_account
from tests.system.load import small_film
from tests.system.site import Site, site
from tests.test_privacy import send

OLD = "r0016"
"""The tables of the first version with campaigns."""

OF_ARCHIVE = 16

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]


def put_into_old_tables(url: str, old: str) -> None:
    """Make a database with older tables, and take over every row and column that they have, keys and counters too."""
    database = Database(old)
    config = Config()
    config.set_main_option("script_location", str(migration._FOLDER))
    config.set_main_option("path_separator", "os")
    with database.transaction() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, OLD)
    database.close()
    install(old)
    with psycopg.connect(url) as source, psycopg.connect(old) as target:
        target.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
        has, had = _columns(target), _columns(source)
        for table in has.keys() - {"alembic_version", "procrastinate_version"}:
            both = ", ".join(f'"{name}"' for name in has[table] if name in had[table])
            target.execute(f"DELETE FROM {table}".encode())  # noqa: S608 - what the migrations have put there
            with (
                source.cursor().copy(f"COPY {table} ({both}) TO STDOUT".encode()) as rows,
                target.cursor().copy(f"COPY {table} ({both}) FROM STDIN".encode()) as taken,
            ):
                for row in rows:
                    taken.write(row)
        sequences = "SELECT sequencename, last_value FROM pg_sequences WHERE last_value IS NOT NULL"
        for name, value in source.execute(sequences).fetchall():
            target.execute(
                "SELECT setval(%s::regclass, %s) WHERE to_regclass(%s) IS NOT NULL", (name, value, name)
            )


def _columns(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Of each of our tables and of the engine's, what can be written."""
    found: dict[str, list[str]] = {}
    for table, column in connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND is_generated = 'NEVER' ORDER BY ordinal_position"
    ).fetchall():
        found.setdefault(table, []).append(column)
    return found


def revision(url: str) -> str:
    with psycopg.connect(url) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def begin(there: Site, folder: Path) -> dict[str, str]:
    """Let all three machines work, and kill them when the campaign is half done; what was acknowledged."""
    listener = there.machines[0].daemon
    taken = stored(listener, folder, range(2))
    archive = folder / "archive"
    archive.mkdir()
    for number in range(OF_ARCHIVE):
        films.write(small_film(1000 + 2 * number), archive / f"{number}.dcm")
    with there.ledger() as ledger:
        peers.wait_until(
            lambda: ledger.counts().studies == {"recorded": 1}, 300, "a study that waits to be sent"
        )
        arguments = [sys.executable, "-m", "spinepacs", "campaign", "start", "old", "--from", str(archive)]
        subprocess.run([*arguments, "--config", str(listener.config)], check=True, capture_output=True)
        campaign = ledger.campaigns.named("old")
        peers.wait_until(
            lambda: progress_of(ledger, campaign).films.get("read", 0) > 1, 300, "a part of the campaign"
        )
        taken |= stored(listener, folder, range(2, 6))
        for machine in there.machines:
            machine.kill()
        assert progress_of(ledger, campaign).films["read"] < OF_ARCHIVE, "nothing is left of the campaign"
    return taken


def stored(to: Daemon, folder: Path, numbers: Iterable[int]) -> dict[str, str]:
    """Films that were acknowledged: SOP UID to Study UID."""
    taken = {}
    for number in numbers:
        film = small_film(number)
        assert send(to.port, [films.write(film, folder / f"{number}.dcm")]) == [0]
        taken[str(film.SOPInstanceUID)] = str(film.StudyInstanceUID)
    return taken


def leave_in_every_state(there: Site, folder: Path) -> dict[str, str]:
    """Leave three studies more: received, ready, and in the hands of a machine that is dead."""
    listener = there.machines[0].daemon
    listener.start()
    listener.wait_ready(300)
    taken = stored(listener, folder, (100, 102, 104))
    listener.kill()
    with there.ledger() as ledger:
        dead = ledger.machines.join("dead", "worker")
        first = read_header(folder / "100.dcm"), read_header(folder / "102.dcm")
        waiting = {each.sop_uid: each.arrival_id for each in ledger.unregistered(1000)}
        for header in first:
            ledger.register(waiting[header.sop_uid], header, None, urgent=header is first[0])
            ledger.mark_ready(header.study_uid)
        claim = ledger.claim(makers.VERSIONS, 30, machine_id=dead)
        assert claim is not None
        assert claim.study_uid == first[0].study_uid
        states = ledger.counts().studies
        assert {"ready", "working", "recorded"} <= set(states), states
        assert ledger.unregistered(1), "nothing has come and not been looked at"
    return taken


def test_nothing_is_lost_and_nothing_doubled_and_the_old_version_stays_out(tmp_path: Path) -> None:
    away = peers.free_port()
    with site(
        tmp_path, on_s3=False, destinations=[destination(away, "second", maximum_attempts=1000)]
    ) as there:
        daemons = [machine.daemon for machine in there.machines]
        for each in daemons:
            each.start()
        for each in daemons:
            each.wait_ready(300)
        taken = begin(there, tmp_path)
        taken |= leave_in_every_state(there, tmp_path)

        old = there.server.create_database()
        put_into_old_tables(there.url, old)
        there.server.put_in_place(old, there.url)
        assert revision(there.url) == OLD

        with peers.dcmtk_storescp(tmp_path, "--fork", ae_title="SECOND", port=away) as second:
            daemons[0].start()
            daemons[0].wait_ready(300)
            for each in daemons[1:]:
                each.start()
            assert revision(there.url) == migration.REVISION
            with there.ledger() as ledger:
                peers.wait_until(lambda: is_done(ledger, there, len(taken)), 300, "the end of all work")
                account = settle_account(taken, ledger, there.orthanc)
                assert account.is_settled, account
                of_campaign = select(readings.c.sop_uid).where(readings.c.sop_uid.not_in(list(taken)))
                read = Counter(row["sop_uid"] for row in ledger.rows(of_campaign))
                assert sorted(read.values()) == [1] * OF_ARCHIVE
                assert len(ledger.rows(select(arrivals.c.sop_uid))) == len(taken) + OF_ARCHIVE
            got = Counter(
                str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in second.received()
            )
            assert set(got) == there.orthanc.sop_uids()

            old_version_stays_out(there, tmp_path)
            for each in daemons:
                assert each.terminate(60) == 0


def is_done(ledger: Ledger, there: Site, taken: int) -> bool:
    """Whether the campaign has ended and everything else was delivered everywhere."""
    sent = Counter(row["state"] for row in ledger.rows(select(outbox.c.state)))
    is_sent = sent == {"sent": 2 * 3 * taken}
    return (
        is_sent
        and ledger.campaigns.named("old").state == "done"
        and len(there.orthanc.sop_uids()) == 3 * taken
    )


def old_version_stays_out(there: Site, folder: Path) -> None:
    """A machine on newer tables ends and says why; those of the new version go on meanwhile."""
    last = there.machines[2].daemon
    assert last.terminate(60) == 0
    there.server.run(there.url, "UPDATE alembic_version SET version_num = 'r9999'")
    last.start()
    assert last.process.wait(60) == 2
    assert "its tables are of a newer spinepacs: install that version" in last.log.read_text()
    before = len(there.orthanc.sop_uids())
    stored(there.machines[0].daemon, folder, [200])
    peers.wait_until(lambda: len(there.orthanc.sop_uids()) == before + 3, 120, "the others' work")
    there.server.run(there.url, f"UPDATE alembic_version SET version_num = '{migration.REVISION}'")  # noqa: S608
    last.start()
    last.wait_ready(300)
