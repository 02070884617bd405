"""Commands that ask the database and change nothing: ``findings``, ``queue``, ``audit``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from spinepacs.cli.options import FILE, config_option, format_option, load, writing
from spinepacs.language import LANGUAGES, Language, speaking
from spinepacs.show.listing import SHOWN, as_text

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Style = Literal["csv", "json", "dicom"]


ON_SCREEN = 1000
"""Most films or rows of a table for people, unless they ask for more; files and pipes hold all."""


@click.command()
@config_option
@click.option("--study", help="Study Instance UID.")
@click.option("--patient", help="Patient ID.")
@click.option(
    "--level",
    help="Vertebra or disc, for instance L4 or L4/L5; whole films are cut down to it and its neighbours.",
)
@click.option(
    "--kind", help="Sign, for instance osteophytes; with --rows measures a quantity, for instance slip."
)
@click.option("--from", "date_from", help="Study date from, YYYY-MM-DD.")
@click.option("--to", "date_to", help="Study date up to, YYYY-MM-DD.")
@click.option(
    "--grade", type=click.IntRange(0, 5), help="Only findings whose published grade is at least this."
)
@click.option(
    "--rows", "what", type=click.Choice(list(SHOWN)), help="A flat list of these instead of whole films."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=f"Most films or rows; all where not given, {ON_SCREEN} in a table on the screen.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    default="table",
    show_default=True,
)
@click.option("--csv", "style", flag_value="csv", help="The same as --format csv.")
@click.option("--json", "style", flag_value="json", help="The same as --format json.")
@click.option("--parquet", "style", flag_value="parquet", help="The same as --format parquet.")
@click.option("--out", type=FILE, help="File to write instead of the screen; Parquet needs one.")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default=LANGUAGES[0],
    show_default=True,
    help="Of the table of whole films; names of columns and what programs read are in English.",
)
def findings(
    config: Path,
    what: str | None,
    style: str,
    out: Path | None,
    limit: int | None,
    language: Language,
    **filters: Any,
) -> None:
    """Ask the database what was found, newest study first: whole films for people, or rows for statistics.

    As a table or JSON: films with levels, discs, signs, angles and conclusions. As CSV or Parquet: one row for each
    disc, or what --rows says. --kind and --grade choose whole films that hold such a finding. The same rows are in
    views for plain SQL: see docs/sql.md.
    """
    from spinepacs.show.export import Cut, export
    from spinepacs.store.ledger import Ledger

    if style == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    cut = Cut(limit or (ON_SCREEN if style == "table" and out is None else None))
    with (
        Ledger.open_to_read(load(config).storage.database_url) as ledger,
        writing(out) as file,
        speaking(language),
    ):
        export(ledger, what, style, file, cut, filters)
    if cut.is_cut:
        click.echo(
            f"only the first {cut.limit} are shown: give --limit for more, or narrow the question", err=True
        )


@click.command()
@config_option
@format_option
def queue(config: Path, style: str) -> None:
    """Show what is not done: studies on their way or failed, objects not delivered or committed, files not readable.

    No patient is named; the accession number is what the RIS knows the study by. Above a table stands how much there is
    of all.
    """
    from spinepacs.store import queue
    from spinepacs.store.ledger import Ledger

    settings = load(config)
    with Ledger.open_to_read(settings.storage.database_url) as ledger:
        rows = queue.queue(ledger, [destination.name for destination in settings.destinations])
        if style == "table" and rows:
            click.echo(queue.queue_counts(ledger) + "\n")
        click.echo(as_text(rows, style))


@click.command()
@config_option
@click.argument("study_uid")
@click.option("--out", type=FILE, help="File to write instead of the screen.")
@click.option(
    "--version", type=click.Choice(["R5", "R4B"]), help="Of FHIR; that of the settings where not given."
)
def fhir(config: Path, study_uid: str, out: Path | None, version: Literal["R5", "R4B"] | None) -> None:
    """Write what was found in a study as a FHIR transaction Bundle: a DiagnosticReport with its Observations.

    It holds the current reading of each film, a person's before a model's; what is withheld is not in it. Of the
    patient it holds the patient ID and the accession number. See docs/exchange.md.
    """
    from spinepacs.exchange.documents import bundle_of_study
    from spinepacs.exchange.fhir.validation import validated
    from spinepacs.store.ledger import Ledger
    from spinepacs.store.results import owners_of, so_far

    settings = load(config)
    chosen = version or settings.output.fhir_version
    with Ledger.open_to_read(settings.storage.database_url) as ledger:
        known = so_far(ledger, study_uid, or_bare=True)
        found = bundle_of_study(known, owners_of(ledger, study_uid), chosen)
    validated(found, chosen)
    with writing(out) as file:
        file.write(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


@click.command()
@config_option
@click.option("--since", type=click.DateTime(TIMES), help="From this time on (UTC).")
@click.option("--until", type=click.DateTime(TIMES), help="Before this time (UTC).")
@click.option("--csv", "style", flag_value="csv", default="csv", help="As a table (the default).")
@click.option("--json", "style", flag_value="json", help="As JSON, one object a line.")
@click.option(
    "--dicom", "style", flag_value="dicom", help="As DICOM audit messages, one a line, with patient IDs."
)
def audit(config: Path, since: datetime | None, until: datetime | None, style: Style) -> None:
    """Export the audit trail: who sent what, what was done with it, what was sent where; oldest first."""
    from spinepacs.audit.listing import lines
    from spinepacs.audit.syslog import messages_for
    from spinepacs.store.ledger import Ledger

    settings = load(config)
    times = {name: at.replace(tzinfo=UTC) for name, at in (("since", since), ("until", until)) if at}
    with Ledger.open_to_read(settings.storage.database_url) as ledger:
        for line in lines(ledger, style, messages_for(settings), **times):
            click.echo(line)
