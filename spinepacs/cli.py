"""The command line: commands only, no logic."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spinepacs import __version__, logs
from spinepacs.errors import SpinepacsError
from spinepacs.listing import SHOWN, as_text
from spinepacs.settings import Settings, load, shipped

if TYPE_CHECKING:
    from spinepacs.store.ledger import Ledger

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_config = click.option(
    "--config",
    "-c",
    "config",
    type=_FILE,
    required=True,
    help="Settings file (start from config/spinepacs.toml).",
)
_format = click.option(
    "--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)
_body_part = click.option(
    "--body-part",
    default="SPINE",
    show_default=True,
    help="What PNG and JPEG films show, for instance CSPINE.",
)
_view = click.option(
    "--view",
    type=click.Choice(["AP", "PA", "LATERAL", "OBLIQUE", ""]),
    default="",
    help="Projection of PNG and JPEG films.",
)
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
Style = Literal["csv", "json", "dicom"]
_stderr = Console(stderr=True)
_BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())


def _changing(settings: Settings, command: str, what: str) -> Ledger:
    """Open the ledger for a command that changes something, and write into the audit trail who gave it."""
    from spinepacs.store.audit import operator
    from spinepacs.store.ledger import Ledger

    ledger = Ledger.open(settings.storage.database_url, migrate=False)
    ledger.add_event("command", detail=f"{command} {what}, by {operator()}")
    return ledger


class _Group(click.Group):
    """Shows our own errors as one clear message, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit 2 when settings or input are wrong."""
        try:
            return super().invoke(ctx)
        except SpinepacsError as error:
            click.echo(f"spinepacs: {error}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Segment, name and measure the vertebrae of spine radiographs.

    Not a medical device: results are for research and a physician's own judgement.
    """


@main.command()
@_config
def serve(config: Path) -> None:
    """Run the daemon: listen for C-STORE, watch a folder, read studies, deliver the results.

    Ends in order on SIGTERM or Ctrl-C. Logs go to standard error.
    """
    from spinepacs.daemon import serve as run

    sys.exit(run(load(config)))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=_FOLDER, help="Folder of the results.")
@click.option("--config", type=_FILE, help="Take model, policy and output from this settings file.")
@click.option("--model", type=_FOLDER, help="Model folder to use instead.")
@click.option(
    "--select", is_flag=True, help="Apply the selection rules of the settings; else every film is read."
)
@click.option("--page", is_flag=True, help="Write a page to look at and print for each study, too.")
@click.option(
    "--page-identity", is_flag=True, help="The same, with patient ID, sex, age and accession number on it."
)
@_body_part
@_view
@click.option(
    "--threads", type=click.IntRange(min=0), default=0, help="Threads of the network; 0 = all cores."
)
def process(
    paths: Sequence[Path],
    out: Path,
    config: Path | None,
    model: Path | None,
    select: bool,
    page: bool,
    page_identity: bool,
    body_part: str,
    view: str,
    threads: int,
) -> None:
    """Process DICOM, PNG and JPEG films and folders of them, without a daemon.

    Writes for each film FILM.seg.dcm, FILM.sr.dcm, FILM.overlay.dcm and FILM.overlay.jpg, and for all of them
    readings.json, readings.csv, measures.csv, findings.csv and conclusions.csv. With --page also for each study
    FILM.page.html, called after its first film: one printed page for each of its films, which names nobody.

    \b
    Exit status: 0 all done (a refusal, such as "no vertebra found", is an outcome)
                 1 some files failed
                 2 bad usage
    """
    from spinepacs.batch import Batch, find_films
    from spinepacs.page import Pages
    from spinepacs.pipeline import Pipeline

    logs.configure("WARNING", "text")  # libraries would quote headers
    settings = load(config) if config else Settings()
    chosen = settings.model.model_copy(update={"folder": model}) if model else settings.model
    pipeline = Pipeline.open(chosen, settings.output, threads)
    films = find_films(paths)
    rules = settings.selection if select else None
    pages = Pages(out, with_identity=page_identity) if page or page_identity else None
    batch = Batch(pipeline, out, rules, body_part=body_part, view=view, pages=pages)
    with Progress(*_BAR, console=_stderr) as progress:
        task = progress.add_task("reading films", total=len(films))
        summary = batch.run(films, lambda path, outcome: progress.advance(task))
    for path, code, reason in summary.problems:
        click.echo(f"{path}: {code}: {reason}", err=True)
    click.echo(
        f"{summary.read} read, {summary.refused} refused, {summary.failed} failed, {summary.skipped} skipped; {out}"
    )
    sys.exit(summary.exit_code)


@main.command()
@click.argument("image", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=_FILE, help="DICOM file to write; IMAGE with the suffix .dcm where not given.")
@click.option(
    "--spacing", type=click.FloatRange(min=0, min_open=True), help="Size of a pixel (mm), if it is known."
)
@_body_part
@_view
def wrap(image: Path, out: Path | None, spacing: float | None, body_part: str, view: str) -> None:
    """Wrap a PNG or JPEG film as a DICOM file that any PACS takes."""
    from spinepacs.dicom.wrap import wrap as wrap_image

    target = out or image.with_suffix(".dcm")
    wrap_image(image, target, spacing_mm=spacing, body_part=body_part, view=view)
    click.echo(str(target))


@main.command()
@_config
@click.option("--study", help="Study Instance UID.")
@click.option("--patient", help="Patient ID.")
@click.option("--level", help="Vertebra or disc, for instance L4 or L4/L5.")
@click.option(
    "--kind", help="Sign, for instance osteophytes; with --rows measures a quantity, for instance slip."
)
@click.option("--from", "date_from", help="Study date from, YYYY-MM-DD.")
@click.option("--to", "date_to", help="Study date up to, YYYY-MM-DD.")
@click.option("--grade", type=click.IntRange(0, 5), help="Only findings of at least this grade.")
@click.option(
    "--rows", "what", type=click.Choice(list(SHOWN)), help="A flat list of these instead of whole films."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Most films or rows."
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
@click.option("--out", type=_FILE, help="File to write instead of the screen; Parquet needs one.")
def findings(config: Path, what: str | None, style: str, out: Path | None, **filters: Any) -> None:
    """Ask the database what was found, newest study first: whole films for people, or rows for statistics.

    As a table or JSON: films with levels, discs, signs, angles and conclusions. As CSV or Parquet: one row for each
    disc, or what --rows says. The same rows are in views for plain SQL: see docs/sql.md.
    """
    from spinepacs import listing, sheet
    from spinepacs.store import queries
    from spinepacs.store.ledger import Ledger

    if style == "parquet" and out is None:
        raise click.UsageError("--format parquet needs --out FILE")
    whole = what is None and style in ("table", "json")
    what = what or "discs"
    with Ledger.open(load(config).storage.database_url, migrate=False) as ledger:
        rows = queries.find_films(ledger, **filters) if whole else queries.find(ledger, what, **filters)
    if style == "parquet" and out:
        listing.write_parquet(rows, out)
        return
    sheets = whole and style == "table"
    text = sheet.draw(rows) if sheets else listing.as_text(rows, style, listing.SHOWN[what])
    click.echo(text) if out is None else out.write_text(text + "\n", encoding="utf-8")


@main.command()
@_config
@_format
def queue(config: Path, style: str) -> None:
    """Show what is not done: studies on their way or failed, objects not delivered or committed, files not readable."""
    from spinepacs.store import queries
    from spinepacs.store.ledger import Ledger

    settings = load(config)
    with Ledger.open(settings.storage.database_url, migrate=False) as ledger:
        rows = queries.queue(ledger, [destination.name for destination in settings.destinations])
        click.echo(as_text(rows, style))


@main.command()
@_config
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
    with _changing(load(config), "retry", study or destination or "--failed") as ledger:
        count = ledger.retry(study, destination)
        count += 0 if failed else ledger.hurry(study, destination)
    click.echo(f"{count} back in the queue")
    sys.exit(0 if count or failed else 1)


@main.command()
@_config
@click.argument("old")
@click.argument("new")
def redirect(config: Path, old: str, new: str) -> None:
    """Send what waits for destination OLD, or failed there, to NEW: for one that is renamed, replaced or gone."""
    settings = load(config)
    if old == new or new not in [destination.name for destination in settings.destinations]:
        raise click.UsageError(f"{new!r} must be the name of another destination in {config}")
    with _changing(settings, "redirect", f"{old} {new}") as ledger:
        click.echo(f"{ledger.redirect(old, new)} objects go to {new} instead of {old}")


@main.command()
@_config
@click.argument("destination")
@click.confirmation_option(prompt="Their results will not be sent there any more. Go on?")
def withdraw(config: Path, destination: str) -> None:
    """Give up for good what waits for DESTINATION, or failed there. The results stay in the database and the spool."""
    with _changing(load(config), "withdraw", destination) as ledger:
        click.echo(f"{ledger.withdraw(destination)} objects are not sent to {destination} any more")


@main.command()
@_config
@click.option("--since", type=click.DateTime(_TIMES), help="From this time on (UTC).")
@click.option("--until", type=click.DateTime(_TIMES), help="Before this time (UTC).")
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
    with Ledger.open(settings.storage.database_url, migrate=False) as ledger:
        for line in lines(ledger, style, messages_for(settings), **times):
            click.echo(line)


@main.command()
@_config
@click.argument("uid")
def discard(config: Path, uid: str) -> None:
    """Give up what cannot be processed: its files are deleted, the database keeps its rows.

    UID is a Study Instance UID, of a study that was refused or has failed, or the SOP Instance UID of files that are
    unreadable or in conflict with one that came before.
    """
    with _changing(load(config), "discard", uid) as ledger:
        count = ledger.files.discard(uid)
    click.echo(f"{count} files given up")
    sys.exit(0 if count else 1)


@main.command()
@_config
def check(config: Path) -> None:
    """Check settings, model, policy, disk, database, and every destination by C-ECHO and accepted contexts."""
    from spinepacs.check import run_checks

    settings = load(config)
    click.echo(f"ok    settings: {config}")
    failed = False
    for result in run_checks(settings):
        click.echo(f"{'ok   ' if result.ok else 'FAIL '} {result.name}: {result.detail}")
        failed |= not result.ok
    sys.exit(1 if failed else 0)


@main.command()
@click.option(
    "--meshes", required=True, type=click.Path(path_type=Path, file_okay=False, exists=True), help="Surfaces."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="YOLO-seg data set to write.",
)
@click.option(
    "--count", required=True, type=click.IntRange(min=1), help="Films in all; those that are there are kept."
)
@click.option("--seed", required=True, type=click.IntRange(min=0), help="The same seed draws the same films.")
@click.option("--dicom", is_flag=True, help="Write every film as DICOM DX with its truth beside it, too.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
def synthesise(meshes: Path, out: Path, count: int, seed: int, dicom: bool, workers: int) -> None:
    """Draw synthetic spine films with exact labels from anatomical surfaces (needs the extra "train")."""
    try:
        from spinepacs.training.synthesise import Run
        from spinepacs.training.synthesise import synthesise as draw
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not there: pip install 'spinepacs[train]'") from error

    with Progress(*_BAR, console=_stderr) as progress:
        task = progress.add_task("drawing films", total=count)
        run = Run(meshes, out, seed, dicom)
        drawn = draw(run, count, workers=workers, on_film=lambda _: progress.advance(task))
    click.echo(f"{drawn} films drawn; {out}")


def _training(module: str, about: str) -> None:
    """Add a command whose options are those of a module of the extra ``train``, ``--help`` included."""

    @main.command(
        module, help=about, add_help_option=False, context_settings={"ignore_unknown_options": True}
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: Sequence[str]) -> None:
        try:
            sys.exit(importlib.import_module(f"spinepacs.training.{module}").main(arguments))
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{error.name} is not there: pip install 'spinepacs[train]'"
            ) from error


_training("train", 'Train a model on labelled films (needs the extra "train").')
_training("evaluate", 'Compare a model with labelled films (needs the extra "train").')
_training("export", 'Write a model folder from a checkpoint (needs the extra "train").')


@main.command()
def version() -> None:
    """Show the versions of spinepacs and of what it computes with."""
    from importlib.metadata import version as version_of

    click.echo(
        f"spinepacs {__version__}  (Python {sys.version.split()[0]}, files in {shipped('models').parent})"
    )
    for name in ("onnxruntime", "pydicom", "pynetdicom", "highdicom", "sqlalchemy", "numpy"):
        click.echo(f"{name} {version_of(name)}")
