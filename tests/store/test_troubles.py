"""What the errors of a database mean: which pass, which a person must mend; asked of real servers where possible."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError

from spinepacs.errors import DatabaseAway, ToMend, failed
from spinepacs.store.ledger import Ledger
from spinepacs.store.troubles import translated
from tests.peers import free_port
from tests.peers_postgresql import PostgreSQL, postgresql

TO_MEND = {
    "u:wrong@{host}/postgres": 'password authentication failed for user "u"',
    "u@{host}/postgres": "no password supplied",
    "u:right@{host}/absent": 'database "absent" does not exist',
    "nobody:x@{host}/postgres": 'for user "nobody"',
    "u:right@{host}/postgres?sslmode=require": "server does not support SSL",
    "elsewhere:x@{host}/postgres": "no pg_hba.conf entry",
}


@pytest.fixture(scope="module")
def strict() -> PostgreSQL:
    """A server that asks for passwords."""
    with postgresql() as server:
        server.run(
            "postgres",
            "CREATE ROLE u LOGIN PASSWORD 'right'",
            "CREATE ROLE elsewhere LOGIN PASSWORD 'x'",
            "CREATE ROLE full LOGIN PASSWORD 'x' CONNECTION LIMIT 0",
        )
        rules = ["host all spinepacs all trust", "host all u,nobody,full all scram-sha-256"]
        (server.folder / "data" / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        server.stop()
        server.start()
        yield server


@pytest.mark.peer
@pytest.mark.parametrize(("url", "said"), TO_MEND.items())
def test_a_door_that_stays_shut_is_for_a_person_to_mend(strict: PostgreSQL, url: str, said: str) -> None:
    with pytest.raises(ToMend, match=r"does not let us in.*SPINEPACS_DATABASE_URL") as caught:
        Ledger.open("postgresql://" + url.format(host=f"127.0.0.1:{strict.port}"))
    assert said in str(caught.value)
    assert "wrong" not in str(caught.value).replace("is wrong", "")
    assert failed(caught.value).transient, "a password that is changed at night gives no study up"


@pytest.mark.peer
def test_a_full_house_passes(strict: PostgreSQL) -> None:
    with pytest.raises(DatabaseAway, match="too many connections"):
        Ledger.open(f"postgresql://full:x@127.0.0.1:{strict.port}/postgres")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "no.such.host.invalid:{port}"])
def test_who_does_not_answer_is_waited_for(host: str) -> None:
    with pytest.raises(DatabaseAway, match="does not answer"):
        Ledger.open(f"postgresql://u:secret@{host.format(port=free_port())}/name")


BEGINNING = 'connection failed: connection to server at "database", port 5432 failed: '


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("FATAL:  Passwort-Authentifizierung für Benutzer »spinepacs« fehlgeschlagen", ToMend),
        ("FATAL:  la base de données « films » n'existe pas", ToMend),
        ("FATAL:  no existe la base de datos «films»", ToMend),
        ("FATAL:  das Datenbanksystem startet", DatabaseAway),
        ("FATAL:  the database system is starting up", DatabaseAway),
        ("FATAL:  sorry, too many clients already", DatabaseAway),
        ('FATAL:  too many connections for database "films"', DatabaseAway),
        ('SSL error: certificate verify failed', ToMend),
        ('root certificate file "/root/.postgresql/root.crt" does not exist', ToMend),
        ("FATAL: no such database: films", ToMend),
        ("Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?", DatabaseAway),
        ("timeout expired", DatabaseAway),
    ],
)  # fmt: skip
def test_a_log_in_is_understood_in_every_language(words: str, meaning: type[Exception]) -> None:
    """psycopg knows no SQLSTATE of it, and the server speaks the language of its administrator."""
    url = make_url("postgresql+psycopg://spinepacs:geheim@database/films")
    error = OperationalError("", {}, psycopg.OperationalError(BEGINNING + words))
    with pytest.raises(meaning), translated(url):
        raise error
