"""Who may see the console, as what, and who is logged in; every login and change is in the audit trail."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection, func, insert, or_, select, update

from spinepacs.store import events
from spinepacs.store.engine import Database
from spinepacs.store.tables import account_tokens, accounts, web_sessions


class AccountRole(StrEnum):
    """What an account may do."""

    SENDER = "sender"
    """Store images by DICOMweb, and nothing else: for systems."""
    VIEWER = "viewer"
    """See."""
    READER = "reader"
    """See, and decide what becomes of studies and results."""
    ADMINISTRATOR = "administrator"
    """All of it."""

    def includes(self, other: AccountRole) -> bool:
        """Whether it may do what ``other`` may."""
        return other in _INCLUDED[self]


_SEE = frozenset({AccountRole.VIEWER})
_DECIDE = _SEE | {AccountRole.READER}
_INCLUDED: Mapping[AccountRole, frozenset[AccountRole]] = {
    AccountRole.SENDER: frozenset({AccountRole.SENDER}),
    AccountRole.VIEWER: _SEE,
    AccountRole.READER: _DECIDE,
    AccountRole.ADMINISTRATOR: frozenset(AccountRole),
}


def sha256_of(token: str) -> str:
    """How the database knows a session, or a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Account:
    """A person (or a system) that may log in; ``disabled_at`` None: it may."""

    name: str
    role: AccountRole
    password_hash: str
    created_at: datetime
    password_at: datetime
    disabled_at: datetime | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "role", AccountRole(self.role))

    @property
    def may_log_in(self) -> bool:
        """Whether it is a person's, that is not disabled."""
        return self.disabled_at is None and self.role.includes(AccountRole.VIEWER)


@dataclass(frozen=True)
class Accounts:
    """The part of the ledger that is about people; each method is one transaction, as the ledger's.

    Sessions and tokens are known by the SHA-256 of what is shown: who reads the database cannot log in with it.
    """

    database: Database

    def add(self, name: str, role: AccountRole, password_hash: str) -> bool:
        """Make an account; False if there is one of this name."""
        return self.database.write(_add, name, role, password_hash)

    def from_provider(self, name: str, role: AccountRole, identity: str, peer: str) -> Account | None:
        """Make or find the account of somebody whom a provider has named, with today's role.

        None: it is disabled, or somebody else's: ``identity`` is who it was made for, and no password fits it.
        """
        return self.database.write(_from_provider, name, role, identity, peer)

    def find(self, name: str) -> Account | None:
        """One account, disabled or not."""
        with self.database.read() as connection:
            return _first(connection, name)

    def all(self) -> list[Account]:
        """All accounts, by name."""
        with self.database.read() as connection:
            rows = connection.execute(select(accounts).order_by(accounts.c.name))
            return [Account(**row._mapping) for row in rows]

    def able(self) -> int:
        """How many are not disabled."""
        with self.database.read() as connection:
            able = select(func.count()).where(accounts.c.disabled_at.is_(None))
            return int(connection.execute(able).scalar_one())

    def set_password(self, name: str, password_hash: str) -> bool:
        """Give it another password and end its sessions and tokens; a disabled one may log in again. False: none."""
        now = datetime.now(UTC)
        changes = {"password_hash": password_hash, "password_at": now, "disabled_at": None}
        return self.database.write(_change, name, changes)

    def rehash(self, name: str, password_hash: str) -> None:
        """Keep the same password under today's cost; sessions stay."""
        self.database.write(_rehash, name, password_hash)

    def disable(self, name: str) -> bool:
        """Let it log in no more and end its sessions and tokens; False: there is none."""
        return self.database.write(_change, name, {"disabled_at": datetime.now(UTC)})

    def log_in(self, token_sha256: str, name: str, peer: str, expires_at: datetime) -> None:
        """Begin a session; those that have expired are cleared away."""
        self.database.write(_log_in, token_sha256, name, peer, expires_at)

    def log_out(self, token_sha256: str, peer: str) -> None:
        """End a session."""
        self.database.write(_log_out, token_sha256, peer)

    def of_session(self, token_sha256: str) -> Account | None:
        """Whose session it is; None where it is none, has expired or its account is disabled."""
        this = (web_sessions.c.token_sha256 == token_sha256, web_sessions.c.expires_at > datetime.now(UTC))
        owner = select(accounts).join(web_sessions, web_sessions.c.account == accounts.c.name)
        with self.database.read() as connection:
            row = connection.execute(owner.where(*this, accounts.c.disabled_at.is_(None))).first()
            return Account(**row._mapping) if row else None

    def add_token(self, token_sha256: str, name: str, expires_at: datetime | None) -> bool:
        """Let a program that shows a token be this account; False: there is none. ``expires_at`` None: for ever."""
        return self.database.write(_add_token, token_sha256, name, expires_at)

    def end_tokens(self, name: str) -> int:
        """End all tokens of an account; how many there were."""
        return self.database.write(_end_tokens, name)

    def of_token(self, token_sha256: str) -> Account | None:
        """Whose token it is; None where it is none, has expired or its account is disabled."""
        lasts = or_(account_tokens.c.expires_at.is_(None), account_tokens.c.expires_at > datetime.now(UTC))
        owner = select(accounts).join(account_tokens, account_tokens.c.account == accounts.c.name)
        this = (account_tokens.c.token_sha256 == token_sha256, lasts, accounts.c.disabled_at.is_(None))
        with self.database.read() as connection:
            row = connection.execute(owner.where(*this)).first()
            return Account(**row._mapping) if row else None

    def note(self, action: str, account: str, peer: str, study_uid: str = "", detail: str = "") -> None:
        """Write into the audit trail what a person did; ``detail`` is free of patient identity."""
        self.database.write(events.add_access, action, account, peer, study_uid, detail)


def _first(connection: Connection, name: str) -> Account | None:
    row = connection.execute(select(accounts).where(accounts.c.name == name)).first()
    return Account(**row._mapping) if row else None


def _add(connection: Connection, name: str, role: AccountRole, password_hash: str) -> bool:
    if _first(connection, name):
        return False
    now = datetime.now(UTC)
    row = {"name": name, "role": role.value, "password_hash": password_hash}
    connection.execute(insert(accounts).values(row | {"created_at": now, "password_at": now}))
    return True


def _from_provider(
    connection: Connection, name: str, role: AccountRole, identity: str, peer: str
) -> Account | None:
    found = _first(connection, name)
    if found and (found.password_hash != identity or found.disabled_at is not None):
        return None
    if found is None:
        _add(connection, name, role, identity)
    elif found.role is not role:
        connection.execute(update(accounts).where(accounts.c.name == name).values(role=role.value))
    if found is None or found.role is not role:
        detail = f"account {'add' if found is None else 'role'} {name} as {role.value}, by single sign-on"
        events.add_access(connection, "command", name, peer, detail=detail)
    return _first(connection, name)


def _change(connection: Connection, name: str, changes: Mapping[str, object]) -> bool:
    changed = connection.execute(update(accounts).where(accounts.c.name == name).values(**changes)).rowcount
    connection.execute(web_sessions.delete().where(web_sessions.c.account == name))
    _end_tokens(connection, name)
    return bool(changed)


def _add_token(connection: Connection, token_sha256: str, name: str, expires_at: datetime | None) -> bool:
    if not _first(connection, name):
        return False
    row = {"token_sha256": token_sha256, "account": name, "expires_at": expires_at}
    connection.execute(insert(account_tokens).values(row | {"created_at": datetime.now(UTC)}))
    return True


def _end_tokens(connection: Connection, name: str) -> int:
    return connection.execute(account_tokens.delete().where(account_tokens.c.account == name)).rowcount


def _rehash(connection: Connection, name: str, password_hash: str) -> None:
    connection.execute(update(accounts).where(accounts.c.name == name).values(password_hash=password_hash))


def _log_in(connection: Connection, token_sha256: str, name: str, peer: str, expires_at: datetime) -> None:
    now = datetime.now(UTC)
    connection.execute(web_sessions.delete().where(web_sessions.c.expires_at < now))
    row = {"token_sha256": token_sha256, "account": name, "peer": peer}
    connection.execute(insert(web_sessions).values(row | {"created_at": now, "expires_at": expires_at}))
    events.add_access(connection, "login", name, peer)


def _log_out(connection: Connection, token_sha256: str, peer: str) -> None:
    ended = web_sessions.delete().where(web_sessions.c.token_sha256 == token_sha256)
    name = connection.execute(ended.returning(web_sessions.c.account)).scalar()
    if name is not None:
        events.add_access(connection, "logout", name, peer)
