"""Commands over a whole archive: ``campaign start|list|status|pause|resume|cancel|report``."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from spinepacs.cli.campaign_start import asked_for
from spinepacs.cli.decisions import DATE, changing
from spinepacs.cli.options import FILE, FOLDER, config_option, format_option, load, writing

if TYPE_CHECKING:
    from spinepacs.domain.campaign import Campaign, CampaignState
    from spinepacs.store.progress import Progress


@click.group()
def campaign() -> None:
    """Have a whole archive read, or read again: in the background, and never before the day's work.

    \b
    Examples:
      spinepacs campaign start cohort -c spinepacs.toml --dicomweb https://pacs.example.org/dicom-web \\
          --since 2016-01-01 --until 2025-12-31 --modality CR --modality DX --body-part LSPINE \\
          --per-hour 600 --hours 22:00-06:00
      spinepacs campaign start trial -c spinepacs.toml --ae ORTHANC@10.0.0.5:4242 --csv accessions.csv
      spinepacs campaign start disk7 -c spinepacs.toml --from /mnt/disk7
      spinepacs campaign start v2 -c spinepacs.toml --again --model models/v2 --policy config/grading-2.toml
      spinepacs campaign status cohort -c spinepacs.toml
      spinepacs campaign report v2 -c spinepacs.toml --csv --out changes.csv
    """


@campaign.command()
@config_option
@click.argument("name")
@click.option("--from", "folder", type=FOLDER, help="Folder tree of DICOM files; nothing is changed in it.")
@click.option("--dicomweb", metavar="URL", help="Archive, by QIDO-RS and WADO-RS: the URL up to /studies.")
@click.option("--ae", metavar="AE@HOST:PORT", help="Archive, by C-FIND and C-MOVE to our own listener.")
@click.option("--again", is_flag=True, help="Films that are here already, by network, folder or campaign.")
@click.option(
    "--move-to", metavar="AE", help="With --ae: as what the archive knows us, if not by our AE title."
)
@click.option("--credentials", type=FILE, help="With --dicomweb: TOML file with user and password, or token.")
@click.option("--since", type=DATE, help="Study date from, YYYY-MM-DD.")
@click.option("--until", type=DATE, help="Study date up to, YYYY-MM-DD; today if --since is given.")
@click.option(
    "--modality", "modalities", multiple=True, help="For instance DX; those of [selection] if not given."
)
@click.option("--body-part", "body_parts", multiple=True, help="BodyPartExamined, for instance LSPINE.")
@click.option(
    "--csv", "table", type=FILE, help="CSV with a column of study UIDs or accession numbers: only these."
)
@click.option("--model", type=FOLDER, help="Model folder; the daemon's if not given.")
@click.option("--policy", type=FILE, help="Grading policy; the daemon's if not given.")
@click.option("--deliver", "delivers", is_flag=True, help="Write SEG, SR and overlay too, and send them.")
@click.option("--per-hour", type=click.FloatRange(0, min_open=True), help="No more studies (files) an hour.")
@click.option(
    "--hours", multiple=True, metavar="HH:MM-HH:MM", help="Only at these hours of this machine's day."
)
def start(config: Path, name: str, **options: Any) -> None:
    """Begin a campaign NAME: say where the films are, which, what reads them, and how fast.

    The daemon does the work; it must run, as `all` or `worker`. What the same model and policy have read is not read
    again. Without --deliver the findings go into the database only, and no objects are made.
    """
    settings = load(config)
    new = asked_for(settings, name, options)
    with changing(settings, "campaign start", name) as ledger:
        ledger.campaigns.start(new)
    click.echo(f"campaign {name} is started: see `spinepacs campaign status {name} --config {config}`")


@campaign.command("list")
@config_option
@format_option
def list_all(config: Path, style: str) -> None:
    """Show all campaigns."""
    from spinepacs.show.campaigns import listed
    from spinepacs.show.listing import as_text
    from spinepacs.store.ledger import Ledger
    from spinepacs.store.progress import progress_of

    with Ledger.open_to_read(load(config).storage.database_url) as ledger:
        rows = [listed(each, progress_of(ledger, each)) for each in ledger.campaigns.all()]
    click.echo(as_text(rows, style))


@campaign.command()
@config_option
@click.argument("name")
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(config: Path, name: str, style: str) -> None:
    """Say how far a campaign is, how fast it goes, when it will be done, and what it waits for.

    \b
    Exit status: 0 it runs, is paused, or is done and nothing has failed
                 1 something of it has failed, or it waits for its archive
                 2 bad usage, or there is none of this name
    """
    from spinepacs.show.campaigns import figures, reasons_text, status_text
    from spinepacs.store.ledger import Ledger

    with Ledger.open_to_read(load(config).storage.database_url) as ledger:
        found = ledger.campaigns.named(name)
        progress, end = _progress(ledger, found)
    if style == "json":
        click.echo(json.dumps(figures(found, progress, end), indent=1, ensure_ascii=False))
    else:
        click.echo(f"{status_text(found, progress, end)}\n\n{reasons_text(progress)}")
    sys.exit(1 if progress.items.get("failed") or found.trouble else 0)


def _progress(ledger: Any, found: Campaign) -> tuple[Progress, datetime | None]:
    from spinepacs.serve.pacing import expected_end
    from spinepacs.store.progress import progress_of

    progress = progress_of(ledger, found)
    rate = min(progress.per_hour, found.per_hour or progress.per_hour)
    return progress, expected_end(progress.left, rate, found.hours, datetime.now(UTC))


def _change(config: Path, name: str, verb: str, state: CampaignState) -> None:
    with changing(load(config), f"campaign {verb}", name) as ledger:
        ledger.campaigns.change(name, state)
    click.echo(f"campaign {name} is {state.value}")


@campaign.command()
@config_option
@click.argument("name")
def pause(config: Path, name: str) -> None:
    """Ask for nothing more, and read nothing more, until it is resumed; what is being read is finished."""
    from spinepacs.domain.campaign import CampaignState

    _change(config, name, "pause", CampaignState.PAUSED)


@campaign.command()
@config_option
@click.argument("name")
def resume(config: Path, name: str) -> None:
    """Go on with a campaign that was paused."""
    from spinepacs.domain.campaign import CampaignState

    _change(config, name, "resume", CampaignState.RUNNING)


@campaign.command()
@config_option
@click.argument("name")
@click.confirmation_option(prompt="It cannot be resumed. What it has read stays. Go on?")
def cancel(config: Path, name: str) -> None:
    """End a campaign for good; what it has read stays."""
    from spinepacs.domain.campaign import CampaignState

    _change(config, name, "cancel", CampaignState.CANCELLED)


@campaign.command()
@config_option
@click.argument("name")
@click.option("--csv", "is_csv", is_flag=True, help="Every change as a row, instead of counts.")
@click.option("--items", "is_items", is_flag=True, help="As CSV every study (file), with what became of it.")
@click.option("--out", type=FILE, help="File to write instead of the screen.")
def report(config: Path, name: str, is_csv: bool, is_items: bool, out: Path | None) -> None:
    """Say what a campaign has found: failures by reason, and what its model and policy say otherwise than others.

    Compared are the films that another model or policy has read too, by the last of them: levels (of what lies at the
    same place), and published stages and grades, by region.
    """
    from spinepacs.show.campaigns import comparison_text, reasons_text, status_text
    from spinepacs.show.comparison import COLUMNS, Comparison, changes
    from spinepacs.show.listing import write_csv
    from spinepacs.store.ledger import Ledger
    from spinepacs.store.progress import ITEM_COLUMNS, items_of, pairs

    with Ledger.open_to_read(load(config).storage.database_url) as ledger, writing(out) as file:
        found = ledger.campaigns.named(name)
        comparison = Comparison()
        rows = ([row] for row in changes(pairs(ledger, found), comparison))
        if is_items:
            write_csv(ITEM_COLUMNS, items_of(ledger, found), file)
            return
        if is_csv:
            write_csv(COLUMNS, rows, file)
            return
        for _ in rows:
            pass
        progress, end = _progress(ledger, found)
        parts = (
            status_text(found, progress, end),
            reasons_text(progress),
            comparison_text(comparison),
        )
        file.write("\n\n".join(parts) + "\n")
