"""Commands by which a person decides what becomes of work.

``retry``, ``reread``, ``seen``, ``redirect``, ``withdraw``, ``discard``.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spinepacs.cli.options import config_option, load

if TYPE_CHECKING:
    from spinepacs.settings.settings import Settings
    from spinepacs.store.ledger import Ledger
    from spinepacs.store.rereading import Reread

DATE = click.DateTime(["%Y-%m-%d"])


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
@click.argument("study", required=False)
@click.option("--refused", metavar="REASON", help="Films refused for this reason, for instance NOT_SELECTED.")
@click.option(
    "--model-older", "is_older", is_flag=True, help="Films read, but not by today's model and policy."
)
@click.option("--from", "date_from", type=DATE, help="Study date from, YYYY-MM-DD.")
@click.option("--to", "date_to", type=DATE, help="Study date up to, YYYY-MM-DD.")
def reread(
    config: Path, study: str | None, refused: str | None, is_older: bool, **dates: datetime | None
) -> None:
    """Read films again, after a rule, the policy or the model has changed: those of STUDY (its UID), or those chosen.

    Films that the rules had refused are held against those of today; films that were read by another model or policy
    are read by today's. What was found before stays, and so do its results in the archive. New films go first.

    \b
    Exit status: 0 something is read again
                 1 nothing is
                 2 bad usage
    """
    from spinepacs.pipeline import Pipeline
    from spinepacs.store.rereading import Choice

    chosen = {name: at.date() for name, at in dates.items() if at}
    if not (study or refused or is_older or chosen):
        raise click.UsageError("give a Study Instance UID, --refused, --model-older, or --from and --to")
    settings = load(config)
    today = Pipeline.open(settings.model, settings.output, 1).versions
    choice = Choice(study, refused, is_older, **chosen)
    with changing(settings, "reread", str(choice)) as ledger:
        found = ledger.rereading.ask(choice, today)
    click.echo(_told(found))
    sys.exit(0 if found.again or found.anew else 1)


def _told(found: Reread) -> str:
    """What becomes of the films, in words."""
    told = [
        f"{found.again} read again by today's model and policy",
        f"{found.anew} held against today's rules",
    ]
    told += [f"{found.known} read by today's model and policy already"] if found.known else []
    told += [f"{found.waiting} on their way"] if found.waiting else []
    told += [f"{found.gone} gone from the spool (retention, discard): send them again"] if found.gone else []
    return f"films: {'; '.join(told)}"


@click.command()
@config_option
@click.argument("study", required=False)
@click.option("--all", "everything", is_flag=True, help="All that is shown now.")
def seen(config: Path, study: str | None, everything: bool) -> None:
    """Say that you have seen to what `queue` shows of STUDY: films that were refused, or two patients in one study.

    It is not shown any more, unless more of it comes. Nothing is deleted: see `discard`.
    """
    if everything == bool(study):
        raise click.UsageError("give a Study Instance UID, or --all")
    with changing(load(config), "seen", study or "--all") as ledger:
        count = ledger.see(study)
    click.echo(f"{count} studies seen to")
    sys.exit(0 if count or everything else 1)


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
