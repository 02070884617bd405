"""The check says what is missing and what the daemon's start will make, and itself makes and changes nothing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from spinepacs.cli.main import main
from spinepacs.settings.settings import load
from spinepacs.store import lock
from spinepacs.store.accounts import AccountRole
from spinepacs.store.engine import Database
from spinepacs.store.ledger import Ledger
from tests import peers
from tests.store.test_read_only import snapshot

QUESTIONS = ("check", "status", "queue", "findings", "audit")
NOBODY = 65534
ROOT = Path(__file__).parents[2]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of an installation that has never run, in a folder of its own."""
    folder = tmp_path / "etc"
    folder.mkdir()
    path = folder / "spinepacs.toml"
    path.write_text(
        f'[storage]\nspool = "{tmp_path}/state/spool"\ndatabase_url = "sqlite:///{tmp_path}/state/ledger.sqlite"\n'
        "reserve_mb = 0\n"
        f"[listener]\nport = {peers.free_port()}\n[health]\nport = {peers.free_port()}\n"
        f"[web]\nport = {peers.free_port()}\n"
    )
    return path


def run(command: str, config: Path, *more: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, [command, "--config", str(config), *more])
    return result.exit_code, result.output


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("state", ["new", "used", "old"])
def test_a_question_changes_nothing(tmp_path: Path, config: Path, question: str, state: str):
    if state != "new":
        url = load(config).storage.database_url
        Ledger.open(url).close()
        (tmp_path / "state" / "spool").mkdir()
        if state == "old":
            database = Database(url)
            with database.transaction() as connection:
                connection.execute(text("UPDATE alembic_version SET version_num = 'r0001'"))
            database.close()
    before = snapshot(tmp_path)
    run(question, config)
    assert snapshot(tmp_path) == before


def test_it_says_what_the_start_will_make(tmp_path: Path, config: Path):
    code, said = run("check", config)
    assert code == 0, said
    assert "not there yet: the daemon's start makes it" in said
    assert "no tables yet: the start of `spinepacs serve` makes them" in said
    assert "free" in said


def test_tables_of_another_version_are_told(config: Path):
    url = load(config).storage.database_url
    Ledger.open(url).close()
    database = Database(url)
    for revision, code, words in (
        ("r0001", 0, "brings them up to date"),
        ("r9999", 1, "of a newer spinepacs"),
    ):
        with database.transaction() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = :new"), {"new": revision})
        assert run("check", config)[0] == code
        assert words in run("check", config)[1]
    database.close()


def test_old_tables_under_a_running_daemon_are_not_well(config: Path):
    settings = load(config)
    Ledger.open(settings.storage.database_url).close()
    database = Database(settings.storage.database_url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r0001'"))
    database.close()
    settings.storage.spool.mkdir()
    with lock.only_daemon(settings.storage.spool):
        code, said = run("check", config)
    assert code == 1
    assert "the one that runs is of an older version" in said


@pytest.mark.parametrize("section", ["listener", "health"])
def test_a_port_that_another_program_has_is_told(config: Path, section: str):
    settings = load(config)
    with socket.create_server(("127.0.0.1", getattr(settings, section).port)):
        code, said = run("check", config)
        assert code == 1
        assert f"FAIL  {section} port" in said
        assert "is taken by another program" in said
        settings.storage.spool.mkdir(parents=True)
        with lock.only_daemon(settings.storage.spool):
            assert run("check", config)[0] == 0, "it is the daemon's own"


def test_an_address_that_this_machine_does_not_have_is_told(config: Path):
    config.write_text(config.read_text().replace("[listener]", '[listener]\nbind = "192.0.2.1"'))
    code, said = run("check", config)
    assert code == 1
    assert "this machine has no such address" in said


def test_a_watched_folder_that_is_not_there_is_told(tmp_path: Path, config: Path):
    with config.open("a") as file:
        file.write(f'[watch]\nfolder = "{tmp_path / "absent"}"\n')
    code, said = run("check", config)
    assert code == 1
    assert "mount its share" in said
    assert not (tmp_path / "absent").exists()


# -- as the user of the service ----------------------------------------------------------------------------


def python() -> tuple[str, str]:
    """An interpreter that everybody may run, and the folders where it finds us and what we use."""
    libraries = f"{ROOT}:{Path(click.__file__).parents[1]}"
    everybody = all(place.stat().st_mode & stat.S_IXOTH for place in Path(os.__file__).resolve().parents)
    return (sys.executable if everybody else "/usr/bin/python3"), libraries


def as_user(config: Path, *more: str) -> tuple[int, str]:
    """In a process of its own, which becomes another user for good."""
    interpreter, libraries = python()
    command = [interpreter, "-m", "spinepacs", "check", "--config", str(config), *more]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": libraries,
        "HOME": "/nonexistent",
        "LANG": "C.UTF-8",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd="/")
    if "Error" in done.stderr and "spinepacs: " not in done.stderr:
        pytest.skip(f"no interpreter that others may run: {done.stderr.splitlines()[-1]}")
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder of user nobody, which that user can reach."""
    folder = tmp_path / "state"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(parent.stat().st_mode | 0o011)
    return folder


@as_root
def test_root_checks_as_the_user_to_whom_the_state_belongs(state: Path, config: Path):
    code, said = as_user(config)
    assert code == 0, said
    assert "user: nobody" in said
    assert list(state.iterdir()) == []


@as_root
def test_a_database_that_root_has_made_is_told_with_the_remedy(state: Path, config: Path):
    url = load(config).storage.database_url
    Ledger.open(url).close()
    code, said = as_user(config)
    assert code == 1
    assert f"FAIL  database: the database: {state / 'ledger.sqlite'} belongs to root" in said
    assert "chown -R nobody" in said


@as_root
def test_a_spool_that_root_has_begun_is_told_with_the_remedy(state: Path, config: Path):
    (state / "spool" / "files").mkdir(parents=True)
    os.chown(state / "spool", NOBODY, NOBODY)
    code, said = as_user(config)
    assert code == 1
    assert "FAIL  user" in said
    assert "belongs to root, but the daemon's user is nobody" in said
    assert f"FAIL  spool: storage.spool: {state / 'spool' / 'files'} belongs to root" in said


@as_root
def test_a_folder_that_the_user_may_not_make_is_told(tmp_path: Path, config: Path, state: Path):
    shutil.rmtree(state)
    code, said = as_user(config, "--user", "nobody")
    assert code == 1
    assert f"nobody may make nothing in {tmp_path}, which belongs to root: install -d -o nobody" in said


@as_root
def test_settings_that_the_user_cannot_read_are_told(config: Path, state: Path):
    config.chmod(0o600)
    code, said = as_user(config)
    assert code == 2
    assert "Permission denied" in said


@as_root
def test_an_unknown_user_is_told(config: Path):
    code, said = as_user(config, "--user", "no-such-user")
    assert (code, "useradd --system no-such-user" in said) == (2, True)


def test_the_console_is_looked_at(config: Path):
    url = load(config).storage.database_url
    with Ledger.open(url) as ledger:
        code, said = run("check", config)
        assert "console: no account yet: `spinepacs account add NAME --role administrator`" in said
        ledger.accounts.add("anna", AccountRole.VIEWER, "hash")
    assert "console: 1 accounts\n" in run("check", config)[1]
    port = peers.free_port()
    config.write_text(config.read_text().partition("[web]")[0] + f'[web]\nbind = "0.0.0.0"\nport = {port}\n')
    code, said = run("check", config)
    assert code == 0, "a warning, since a hospital may have a network of its own for it"
    assert "is open to the network without TLS" in said
    with socket.create_server(("", port)):
        code, said = run("check", config)
    assert (code, f"console port: 0.0.0.0 port {port} is taken" in said) == (1, True)
    config.write_text(config.read_text() + "enabled = false\n")
    assert "console port" not in run("check", config)[1]


def test_dicomweb_is_looked_at(config: Path, tmp_path: Path):
    assert "DICOMweb" not in run("check", config)[1]
    port = peers.free_port()
    before = config.read_text()
    config.write_text(f"{before}\n[dicomweb]\nenabled = true\nport = {port}\n")
    with Ledger.open(load(config).storage.database_url) as ledger:
        code, said = run("check", config)
        assert "nobody may store yet: `spinepacs account add NAME --role sender`" in said
        ledger.accounts.add("ct1", AccountRole.SENDER, "hash")
        ledger.accounts.add("anna", AccountRole.VIEWER, "hash")
    assert "DICOMweb: 127.0.0.1, no TLS, 1 accounts that may store\n" in run("check", config)[1]
    with socket.create_server(("127.0.0.1", port)):
        code, said = run("check", config)
    assert (code, f"DICOMweb port: 127.0.0.1 port {port} is taken" in said) == (1, True)
    missing = tmp_path / "none.pem"
    config.write_text(config.read_text() + f'tls = true\ntls_certificate = "{missing}"\n')
    code, said = run("check", config)
    assert (code, str(missing) in said) == (1, True)
