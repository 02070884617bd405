"""The command line: commands only, no logic."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spinepacs import __version__
from spinepacs.errors import SpinepacsError
from spinepacs.settings import Settings, load, shipped

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
_stderr = Console(stderr=True)
_BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
_DISC_COLUMNS = (
    "study_date", "patient_id", "view_position", "disc",
    "anterior_mm", "left_mm", "middle_mm", "posterior_mm", "right_mm", "middle_px",
    "spacing_basis", "height_index", "wedge_deg", "published_grade", "grade_reason",
)  # fmt: skip
_VERTEBRA_COLUMNS = (
    "study_date", "patient_id", "view_position", "level",
    "raw_level", "score", "level_reason", "area_mm2", "spacing_basis",
)  # fmt: skip
"""What the tables for people show; CSV and JSON hold every column."""


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
    body_part: str,
    view: str,
    threads: int,
) -> None:
    """Process DICOM, PNG and JPEG films and folders of them, without a daemon.

    Writes for each film FILM.seg.dcm, FILM.sr.dcm, FILM.overlay.dcm and FILM.overlay.jpg, and for all of them
    readings.json and readings.csv.

    \b
    Exit status: 0 all done (a refusal, such as "no vertebra found", is an outcome)
                 1 some files failed
                 2 bad usage
    """
    from spinepacs.batch import Batch, find_films
    from spinepacs.pipeline import Pipeline

    settings = load(config) if config else Settings()
    chosen = settings.model.model_copy(update={"folder": model}) if model else settings.model
    pipeline = Pipeline.open(chosen, settings.output, threads)
    films = find_films(paths)
    rules = settings.selection if select else None
    batch = Batch(pipeline, out, rules, body_part=body_part, view=view)
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
@click.option("--from", "date_from", help="Study date from, YYYY-MM-DD.")
@click.option("--to", "date_to", help="Study date up to, YYYY-MM-DD.")
@click.option("--grade", type=click.IntRange(0, 5), help="Only discs of at least this grade.")
@click.option("--vertebrae", is_flag=True, help="List vertebrae instead of discs.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=1000, show_default=True, help="Most rows to show."
)
@_format
def findings(config: Path, vertebrae: bool, style: str, **filters: Any) -> None:
    """Ask the database what was found, newest study first.

    The same rows are in the views disc_findings and vertebra_findings: see docs/sql.md for plain SQL.
    """
    from spinepacs.store import queries
    from spinepacs.store.ledger import Ledger

    with Ledger.open(load(config).storage.database_url, migrate=False) as ledger:
        find, columns = (
            (queries.find_vertebrae, _VERTEBRA_COLUMNS) if vertebrae else (queries.find_discs, _DISC_COLUMNS)
        )
        _show(find(ledger, **filters), style, columns)


@main.command()
@_config
@_format
def queue(config: Path, style: str) -> None:
    """Show what is not done: studies on their way or failed, objects not delivered, files not readable."""
    from spinepacs.store import queries
    from spinepacs.store.ledger import Ledger

    with Ledger.open(load(config).storage.database_url, migrate=False) as ledger:
        _show(queries.queue(ledger), style)


@main.command()
@_config
@click.argument("study", required=False)
@click.option("--failed", is_flag=True, help="Everything that has failed.")
def retry(config: Path, study: str | None, failed: bool) -> None:
    """Try failed work again: reading and delivery of STUDY (its UID), or of all with --failed."""
    from spinepacs.store.ledger import Ledger

    if bool(study) == failed:
        raise click.UsageError("give a Study Instance UID or --failed")
    with Ledger.open(load(config).storage.database_url, migrate=False) as ledger:
        count = ledger.retry(study)
    click.echo(f"{count} back in the queue")
    sys.exit(0 if count or failed else 1)


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
def synthesise(meshes: Path, out: Path, count: int, seed: int) -> None:
    """Draw synthetic spine films with exact labels from anatomical surfaces (needs the extra "train")."""
    try:
        from spinepacs.training.synthesise import synthesise as draw
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not there: pip install 'spinepacs[train]'") from error

    with Progress(*_BAR, console=_stderr) as progress:
        task = progress.add_task("drawing films", total=count)
        drawn = draw(
            meshes, out, count, seed, on_film=lambda number: progress.update(task, completed=number + 1)
        )
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


def _show(rows: list[dict[str, Any]], style: str, columns: Sequence[str] = ()) -> None:
    """Print rows as a table for people (only ``columns``, if given), as CSV or as JSON."""
    if style == "json":
        click.echo(json.dumps(rows, indent=1, default=str, ensure_ascii=False))
    elif style == "csv":
        writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    elif not rows:
        click.echo("nothing")
    else:
        shown = [name for name in columns or rows[0] if any(row[name] not in (None, "") for row in rows)]
        table = Table(*shown, box=None, header_style="bold")
        for row in rows:
            table.add_row(*("" if row[name] is None else _cell(row[name]) for name in shown))
        # A pipe has no width: give the table what it needs instead of squeezing it into 80 columns.
        Console(width=None if sys.stdout.isatty() else 250).print(table)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
