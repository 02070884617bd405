"""Who may log in to the console or use DICOMweb: ``account add``, ``list``, ``passwd``, ``token``, ``disable``."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from spinepacs.cli.decisions import changing
from spinepacs.cli.options import config_option, load
from spinepacs.errors import BadSettings

_NAME = r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"
_password_option = click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File whose first line is the password; it is asked for where none is given.",
)


@click.group()
def account() -> None:
    """Say who may log in to the console (docs/console.md) or use DICOMweb (docs/dicomweb.md)."""


@account.command()
@config_option
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["sender", "viewer", "reader", "administrator"]),
    default="viewer",
    show_default=True,
    help="viewer sees; reader also decides what becomes of studies; administrator does everything; sender only stores "
    "images by DICOMweb.",
)
@_password_option
def add(config: Path, name: str, role: str, password_file: Path | None) -> None:
    """Make an account. A password is never given as an argument: others see those of a running command."""
    from spinepacs.store.accounts import AccountRole
    from spinepacs.web.passwords import hashed

    if not re.fullmatch(_NAME, name):
        raise click.UsageError("a name has letters, digits, '.', '_', '-' and '@', 64 at most")
    settings = load(config)
    password_hash = hashed(_password(password_file))
    with changing(settings, "account add", f"{name} as {role}") as ledger:
        if not ledger.accounts.add(name, AccountRole(role), password_hash):
            raise BadSettings(f"there is an account {name} already: `spinepacs account passwd {name}`")
    click.echo(f"{name} may store by DICOMweb" if role == "sender" else f"{name} may log in as {role}")


@account.command("list")
@config_option
def list_(config: Path) -> None:
    """Show the accounts."""
    from spinepacs.store.ledger import Ledger

    with Ledger.open_to_read(load(config).storage.database_url) as ledger:
        for each in ledger.accounts.all():
            disabled = f", disabled {each.disabled_at:%Y-%m-%d}" if each.disabled_at else ""
            click.echo(f"{each.name}: {each.role}, since {each.created_at:%Y-%m-%d}{disabled}")


@account.command()
@config_option
@click.argument("name")
@_password_option
def passwd(config: Path, name: str, password_file: Path | None) -> None:
    """Give an account another password and end its sessions; one that was disabled may log in again."""
    from spinepacs.web.passwords import hashed

    settings = load(config)
    password_hash = hashed(_password(password_file))
    with changing(settings, "account passwd", name) as ledger:
        if not ledger.accounts.set_password(name, password_hash):
            raise BadSettings(f"there is no account {name}")
    click.echo(f"{name} has another password")


@account.command()
@config_option
@click.argument("name")
def disable(config: Path, name: str) -> None:
    """Let an account log in no more, and end its sessions. Its name stays, since the audit trail speaks of it."""
    with changing(load(config), "account disable", name) as ledger:
        if not ledger.accounts.disable(name):
            raise BadSettings(f"there is no account {name}")
    click.echo(f"{name} may not log in any more")


@account.command()
@config_option
@click.argument("name")
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="How long it lasts; for ever, without."
)
@click.option("--end", is_flag=True, help="End all tokens of the account instead.")
def token(config: Path, name: str, days: float | None, end: bool) -> None:
    """Print a token by which a program is this account towards DICOMweb (docs/dicomweb.md).

    It is shown this once: the database keeps no more than its SHA-256. Another password ends all of them.
    """
    from spinepacs.store.accounts import sha256_of

    settings = load(config)
    with changing(settings, "account token", f"{'--end ' if end else ''}{name}") as ledger:
        if end:
            click.echo(f"{ledger.accounts.end_tokens(name)} tokens of {name} are ended")
            return
        made = secrets.token_urlsafe(32)
        until = datetime.now(UTC) + timedelta(days=days) if days else None
        if not ledger.accounts.add_token(sha256_of(made), name, until):
            raise BadSettings(f"there is no account {name}")
    click.echo(made)


def _password(file: Path | None) -> str:
    if file is not None:
        return (file.read_text(encoding="utf-8").splitlines() or [""])[0]
    return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
