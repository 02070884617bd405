"""Accounts and sessions, on both databases; every login, view and change is in the audit trail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spinepacs.store.accounts import AccountRole
from spinepacs.store.ledger import Ledger

SOON = timedelta(hours=1)


def test_roles_include_those_below_them() -> None:
    sender, viewer, reader, administrator = AccountRole
    assert administrator.includes(reader)
    assert administrator.includes(sender)
    assert not reader.includes(sender), "who looks does not store"
    assert not sender.includes(viewer), "and who stores does not look"
    assert reader.includes(viewer)
    assert reader.includes(reader)
    assert not viewer.includes(reader)
    assert not reader.includes(administrator)


def test_a_name_is_given_once_and_stays(ledger: Ledger) -> None:
    accounts = ledger.accounts
    assert accounts.add("anna", AccountRole.READER, "hash")
    assert not accounts.add("anna", AccountRole.VIEWER, "other")
    found = accounts.find("anna")
    assert found
    assert (found.role, found.password_hash, found.disabled_at) == (AccountRole.READER, "hash", None)
    assert accounts.find("Anna") is None
    assert accounts.able() == 1
    assert accounts.disable("anna")
    assert not accounts.disable("otto")
    assert accounts.able() == 0
    assert [account.name for account in accounts.all()] == ["anna"]
    assert accounts.set_password("anna", "new")
    assert accounts.able() == 1


@pytest.mark.parametrize("end", ["log_out", "disable", "set_password", "time"])
def test_a_session_ends(ledger: Ledger, end: str) -> None:
    accounts = ledger.accounts
    accounts.add("anna", AccountRole.READER, "hash")
    accounts.add("otto", AccountRole.READER, "hash")
    now = datetime.now(UTC)
    accounts.log_in("a", "anna", "192.0.2.7", now + SOON if end != "time" else now - SOON)
    accounts.log_in("o", "otto", "192.0.2.8", now + SOON)
    ends: dict[str, Callable[[], Any]] = {
        "log_out": lambda: accounts.log_out("a", "192.0.2.7"),
        "disable": lambda: accounts.disable("anna"),
        "set_password": lambda: accounts.set_password("anna", "new"),
        "time": lambda: None,
    }
    if end != "time":
        found = accounts.of_session("a")
        assert found
        assert found.name == "anna"
    ends[end]()
    assert accounts.of_session("a") is None
    assert accounts.of_session("o"), "nobody else's"


def test_sessions_that_expired_are_cleared_away(ledger: Ledger, ask: Callable[..., list[Any]]) -> None:
    ledger.accounts.add("anna", AccountRole.READER, "hash")
    for n in range(3):
        ledger.accounts.log_in(f"old{n}", "anna", "", datetime.now(UTC) - SOON)
    ledger.accounts.log_in("new", "anna", "", datetime.now(UTC) + SOON)
    assert ask("web_sessions", "token_sha256") == ["new"]


def test_the_audit_trail_names_account_and_address(ledger: Ledger, ask: Callable[..., list[Any]]) -> None:
    ledger.accounts.add("anna", AccountRole.READER, "hash")
    ledger.accounts.log_in("a", "anna", "192.0.2.7", datetime.now(UTC) + SOON)
    ledger.accounts.note("viewed", "anna", "192.0.2.7", "1.2.3")
    ledger.accounts.log_out("a", "192.0.2.7")
    ledger.accounts.log_out("a", "192.0.2.7")
    assert ask("audit_events", "action", account="anna") == ["login", "logout", "viewed"]
    assert ask("audit_events", "study_uid", action="viewed") == ["1.2.3"]
    assert set(ask("audit_events", "peer", account="anna")) == {"192.0.2.7"}


@pytest.mark.parametrize("end", ["end_tokens", "disable", "set_password", "time"])
def test_a_token_ends(ledger: Ledger, end: str) -> None:
    accounts = ledger.accounts
    accounts.add("ct1", AccountRole.SENDER, "hash")
    accounts.add("otto", AccountRole.VIEWER, "hash")
    assert not accounts.add_token("x", "nobody", None)
    now = datetime.now(UTC)
    assert accounts.add_token("a", "ct1", now - SOON if end == "time" else now + SOON)
    assert accounts.add_token("o", "otto", None)
    if end != "time":
        found = accounts.of_token("a")
        assert found
        assert (found.name, found.role) == ("ct1", AccountRole.SENDER)
    ends: dict[str, Callable[[], Any]] = {
        "end_tokens": lambda: accounts.end_tokens("ct1"),
        "disable": lambda: accounts.disable("ct1"),
        "set_password": lambda: accounts.set_password("ct1", "new"),
        "time": lambda: None,
    }
    ends[end]()
    assert accounts.of_token("a") is None
    assert accounts.of_token("o"), "nobody else's"
    assert accounts.of_session("o") is None, "a token is no session"
