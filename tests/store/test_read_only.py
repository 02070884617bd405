"""Questions are answered without making or changing anything, whoever asks and in whatever state the files are."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path

import pytest
from sqlalchemy import text

from spinepacs.errors import Permanent, ToMend, Transient
from spinepacs.store import lock
from spinepacs.store.engine import Access, Database
from spinepacs.store.ledger import Ledger
from spinepacs.store.migration import Tables, compare
from tests.peers_postgresql import PostgreSQL
from tests.store.makers import arrival


def snapshot(folder: Path) -> dict[str, object]:
    """Everything about a tree that a process could change; not SQLite's shared memory, which holds its locks."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mode,
            path.stat().st_uid,
            None if path.is_dir() or path.name.endswith("-shm") else path.read_bytes(),
        )
        for path in (folder, *folder.rglob("*"))
    }


def _killed_in_work(url: str) -> None:
    ledger = Ledger.open(url)
    ledger.add_arrival(arrival("1.9"))
    os._exit(9)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state' / 'ledger.sqlite'}"
    for ask in (Ledger.open_to_read, lambda url: Ledger.open(url, migrate=False)):
        with pytest.raises(Permanent, match="no tables yet"):
            ask(url)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_file_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a b%?#' / 'ledger.sqlite'}"
    with Ledger.open(url) as ledger:
        ledger.add_arrival(arrival())
    before = snapshot(tmp_path)
    with Ledger.open_to_read(url) as asked:
        assert asked.counts().arrivals == {"received": 1}
    assert snapshot(tmp_path) == before


def test_what_a_killed_daemon_had_committed_is_read(tmp_path: Path) -> None:
    """It is in the WAL only; the file itself knows nothing of it yet."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    child = multiprocessing.get_context("spawn").Process(target=_killed_in_work, args=(url,))
    child.start()
    child.join(30)
    before = snapshot(tmp_path)
    assert "ledger.sqlite-wal" in before
    with Ledger.open_to_read(url) as asked:
        assert asked.counts().arrivals == {"received": 1}
    assert snapshot(tmp_path) == before


def test_a_reader_sees_what_a_daemon_commits_and_may_not_write(ledger: Ledger, url: str) -> None:
    with Ledger.open_to_read(url) as asked:
        ledger.add_arrival(arrival())
        assert asked.counts().arrivals == {"received": 1}
        with pytest.raises((Permanent, Transient)):
            asked.add_event("command")
    assert ledger.counts().arrivals == {"received": 1}


def test_old_and_new_tables_are_told_and_left_alone(tmp_path: Path, sqlite_template: Path) -> None:
    for revision, said in (("r0001", Tables.OLDER), ("r9999", Tables.NEWER)):
        path = tmp_path / f"{revision}.sqlite"
        shutil.copy(sqlite_template, path)
        database = Database(f"sqlite:///{path}")
        with database.transaction() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        database.close()
        before = path.read_bytes()
        reader = Database(f"sqlite:///{path}", Access.READ)
        assert compare(reader)[0] is said
        reader.close()
        with pytest.raises(Permanent, match=revision):
            Ledger.open_to_read(f"sqlite:///{path}")
        assert path.read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_belongs_to_somebody_else_is_named_with_the_remedy(
    tmp_path: Path, sqlite_template: Path
) -> None:
    """As after a `check` by root of old, under which the service could never start again."""
    folder = tmp_path / "state"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "ledger.sqlite")
    os.chown(folder, 65534, 65534)
    (folder / "ledger.sqlite").chmod(0o600)
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o011)
    pid = os.fork()
    if pid == 0:  # no pytest from here on
        os.setgid(65534)
        os.setuid(65534)
        try:
            Ledger.open(f"sqlite:///{folder / 'ledger.sqlite'}")
        except ToMend as error:
            os._exit(0 if f"{folder / 'ledger.sqlite'} belongs to root" in str(error) else 2)
        except BaseException:
            os._exit(3)
        os._exit(4)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.peer
def test_a_user_who_may_make_no_tables_is_told_so(server: PostgreSQL) -> None:
    url = server.create_database()
    server.run(url, "CREATE ROLE guest LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    guest = Database(url.replace("spinepacs@", "guest@"), Access.READ)
    assert "guest may make no tables in the schema public" in guest.why_not_written(makes_tables=True)
    guest.close()
    with pytest.raises(ToMend, match="permission denied for schema public"):
        Ledger.open(url.replace("spinepacs@", "guest@"))


# -- the lock of the spool ---------------------------------------------------------------------------------


def test_a_spool_tells_who_works_on_it_and_since_when(tmp_path: Path) -> None:
    assert lock.look(tmp_path) is None
    with lock.only_daemon(tmp_path):
        holder = lock.look(tmp_path)
        assert holder is not None
        assert (holder.alive, holder.uid) == (True, os.geteuid())
        assert holder.since is not None
        with pytest.raises(Permanent, match="another spinepacs daemon works on"), lock.only_daemon(tmp_path):
            pass
        assert lock.look(tmp_path) == holder, "the one who was refused has changed nothing"
    after = lock.look(tmp_path)
    assert after is not None
    assert not after.alive
    assert after.last_sign >= holder.last_sign


def test_looking_at_the_lock_does_not_stop_a_start(tmp_path: Path) -> None:
    with lock.only_daemon(tmp_path):
        pass
    with (tmp_path / "lock").open("rb") as file:
        import fcntl
        import threading

        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.3, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with lock.only_daemon(tmp_path):
            pass
