"""Logging in: with the right password only, not too often, and to pages of this site only."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from spinepacs.store.accounts import AccountRole
from spinepacs.store.tables import audit_events
from spinepacs.web import login
from spinepacs.web.guard import COOKIE, LOGIN_COOKIE
from spinepacs.web.login import local
from spinepacs.web.passwords import Guesses
from tests.web.consoles import PASSWORD, Answer, Console, Visitor


def attempt(visitor: Visitor, name: str, password: str, onward: str = "/") -> Answer:
    page = visitor.get("/login")
    (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', page.text)
    return visitor.post("/login", {"csrf": csrf, "name": name, "password": password, "next": onward})


def trail(site: Console) -> list[tuple[str, str, str]]:
    rows = site.ledger.rows(select(audit_events).where(audit_events.c.account != ""))
    return [(row["action"], row["account"], row["peer"]) for row in rows]


def test_the_right_password_opens_and_the_audit_trail_has_it(site: Console) -> None:
    site.account("anna")
    visitor = site.stranger()
    answer = attempt(visitor, "anna", PASSWORD, "/studies?state=failed")
    assert (answer.status, answer.headers["Location"]) == (303, "/studies?state=failed")
    cookie = next(value for value in answer.headers.get_all("Set-Cookie") or () if value.startswith(COOKIE))
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert visitor.get("/queue").status == 200
    visitor.post("/logout", {"csrf": visitor.csrf})
    assert trail(site) == [("login", "anna", "127.0.0.1"), ("logout", "anna", "127.0.0.1")]


def test_what_is_wrong_is_not_told_and_a_name_that_is_none_is_not_kept(site: Console) -> None:
    site.account("anna")
    site.account("gone")
    site.ledger.accounts.disable("gone")
    tried = [
        ("anna", "wrong"),
        ("gone", PASSWORD),
        ("hunter2-my-password", PASSWORD),
        ("anna", "x" * 5000),
        ("", ""),
    ]
    answers = [attempt(site.stranger(), *each) for each in tried]
    assert {answer.status for answer in answers} == {403}
    assert len({re.sub(r'value="[^"]+"', "", answer.text) for answer in answers}) == 1
    assert COOKIE not in {name for answer in answers for name in str(answer.headers)}
    assert [name for _, name, _ in trail(site)] == ["anna", "gone", "unknown", "anna", "unknown"]


def test_too_many_guesses_are_not_listened_to_though_the_last_is_right(site: Console) -> None:
    site.account("anna")
    visitor = site.stranger()
    statuses = [attempt(visitor, "anna", "wrong").status for _ in range(6)]
    assert statuses == [403] * 5 + [429]
    answer = attempt(visitor, "anna", PASSWORD)
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 301
    assert visitor.get("/queue").status == 303


def test_a_form_of_another_page_logs_nobody_in(site: Console) -> None:
    """Else a foreign page could let a person work under the attacker's name."""
    site.account("anna")
    visitor = site.stranger()
    form = {"name": "anna", "password": PASSWORD, "next": "/"}
    assert visitor.post("/login", form | {"csrf": ""}).status == 403
    visitor.get("/login")
    assert visitor.post("/login", form | {"csrf": "guessed"}).status == 403
    assert COOKIE not in visitor.cookies
    assert LOGIN_COOKIE in visitor.cookies


@pytest.mark.parametrize(
    "path",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "evil", "",
     "/a\r\nSet-Cookie: x=1", "/ä", "/a b", "/x\\y"],
)  # fmt: skip
def test_a_login_leads_to_pages_of_this_site_only(site: Console, path: str) -> None:
    assert local(path) == "/"
    site.account("anna")
    assert attempt(site.stranger(), "anna", PASSWORD, path).headers["Location"] == "/"


def test_guesses_are_forgotten_after_their_time_and_never_fill_the_memory() -> None:
    now = [0.0]
    guesses = Guesses(2, 10, clock=lambda: now[0])
    for _ in range(3):
        guesses.add("a")
    assert guesses.wait_s("a") == 10
    assert guesses.wait_s("b") == 0
    now[0] = 10.5
    assert guesses.wait_s("a") == 0
    for number in range(Guesses._MOST_KEYS + 5):
        guesses.add(number)
    assert len(guesses._times) == Guesses._MOST_KEYS


def test_of_a_long_name_only_its_beginning_is_remembered(site: Console) -> None:
    assert attempt(site.stranger(), "x" * 60_000, "no password").status == 403
    assert max(len(name) for name, _peer in login._BY_ACCOUNT_AND_PEER._times) <= 128


def test_an_account_that_only_sends_cannot_log_in(site: Console) -> None:
    site.account("ct1", AccountRole.SENDER)
    visitor = site.stranger()
    assert attempt(visitor, "ct1", PASSWORD).status == 403
    assert COOKIE not in visitor.cookies
