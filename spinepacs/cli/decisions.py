"""Commands by which a person decides what becomes of work: ``retry``, ``redirect``, ``withdraw``, ``discard``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spinepacs.cli.options import config_option
from spinepacs.settings.settings import Settings, load

if TYPE_CHECKING:
    from spinepacs.store.ledger import Ledger


def changing(settings: Settings, command: str, what: str) -> Ledger:
    """Open the ledger for a command that changes something, and write into the audit trail who gave it."""
    from spinepacs.audit.trail import operator
    from spinepacs.store.ledger import Ledger

    ledger = Ledger.open(settings.storage.database_url, migrate=False)
    ledger.add_event("command", detail=f"{command} {what}, by {operator()}")
    return ledger


@click.command()
@config_option
@click.argument("study", required=False)
@click.option("--failed", is_flag=True, help="Everything that has failed.")
@click.option(
    "--destination", help="Objects for this destination only: those that failed, and those that wait."
)
def retry(config: Path, study: str | None, failed: bool, destination: str | None) -> None:
    """Try failed work again: reading and delivery of STUDY (its UID), or of all with --failed.

    Objects of STUDY, or for --destination, that only wait for their next attempt are sent now.
    """
    if failed == bool(study or destination):
        raise click.UsageError("give a Study Instance UID or --destination, or --failed")
    with changing(load(config), "retry", study or destination or "--failed") as ledger:
        count = ledger.retry(study, destination)
        count += 0 if failed else ledger.hurry(study, destination)
    click.echo(f"{count} back in the queue")
    sys.exit(0 if count or failed else 1)


@click.command()
@config_option
@click.argument("old")
@click.argument("new")
def redirect(config: Path, old: str, new: str) -> None:
    """Send what waits for destination OLD, or failed there, to NEW: for one that is renamed, replaced or gone."""
    settings = load(config)
    if old == new or new not in [destination.name for destination in settings.destinations]:
        raise click.UsageError(f"{new!r} must be the name of another destination in {config}")
    with changing(settings, "redirect", f"{old} {new}") as ledger:
        click.echo(f"{ledger.redirect(old, new)} objects go to {new} instead of {old}")


@click.command()
@config_option
@click.argument("destination")
@click.confirmation_option(prompt="Their results will not be sent there any more. Go on?")
def withdraw(config: Path, destination: str) -> None:
    """Give up for good what waits for DESTINATION, or failed there. The results stay in the database and the spool."""
    with changing(load(config), "withdraw", destination) as ledger:
        click.echo(f"{ledger.withdraw(destination)} objects are not sent to {destination} any more")


@click.command()
@config_option
@click.argument("uid")
def discard(config: Path, uid: str) -> None:
    """Give up what cannot be processed: its files are deleted, the database keeps its rows.

    UID is a Study Instance UID, of a study that was refused or has failed, or the SOP Instance UID of files that are
    unreadable or in conflict with one that came before.
    """
    with changing(load(config), "discard", uid) as ledger:
        count = ledger.files.discard(uid)
    click.echo(f"{count} files given up")
    sys.exit(0 if count else 1)
