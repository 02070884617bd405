"""One ledger, two databases: a test that takes ``ledger`` or ``url`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import column, select, table, text

from spinepacs.store.ledger import Ledger
from tests.peers import disk
from tests.peers_postgresql import PostgreSQL, postgresql_with_tables


@pytest.fixture(scope="session")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL with a template database that holds our tables."""
    with postgresql_with_tables() as running:
        yield running


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that holds our tables."""
    path = tmp_path_factory.mktemp("template") / "ledger.sqlite"
    Ledger.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    return str(request.getfixturevalue("server").create_database())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with our tables, and no rows."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    server = request.getfixturevalue("server")
    return str(server.create_database(server.template))


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    with disk(tmp_path / "disk", "1m") as folder:
        yield folder


@pytest.fixture
def empty_ledger_disk(tmp_path: Path) -> Iterator[Path]:
    """One of 2 MB, which holds a ledger that is empty."""
    with disk(tmp_path / "disk", "2m") as folder:
        yield folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    with disk(tmp_path / "disk", "48m") as folder:
        yield folder


Ask = Callable[..., Any]


@pytest.fixture
def ask(ledger: Ledger) -> Ask:
    """Values of one column: ``ask("studies", "state", study_uid="1.2.3")``; in the order of the first column."""

    def answer(name: str, wanted: str, **where: object) -> list[Any]:
        source = table(name, column(wanted), *(column(key) for key in where))
        question = select(source.c[wanted]).where(*(source.c[key] == value for key, value in where.items()))
        return [row[wanted] for row in ledger.rows(question.order_by(text("1")))]

    return answer
