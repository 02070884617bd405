"""Commands on files, without daemon and database: ``process``, ``wrap``."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from spinepacs import logs
from spinepacs.cli.options import FILE, FOLDER, load, picture_options, progress, say_unnamed
from spinepacs.errors import BadSettings, SpinepacsError
from spinepacs.language import LANGUAGES

if TYPE_CHECKING:
    from spinepacs.batch.records import Head
    from spinepacs.batch.run import Summary
    from spinepacs.batch.task import Task
    from spinepacs.dicom.pictures import Pictures

_STOPPED = 130
"""What shells give for SIGINT."""


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=FOLDER, help="Folder of the results.")
@click.option("--config", type=FILE, help="Take model, policy and output from this settings file.")
@click.option("--model", type=FOLDER, help="Model folder to use instead.")
@click.option(
    "--select",
    "selects",
    is_flag=True,
    help="Apply the selection rules of the settings; else every film is read.",
)
@click.option("--page", is_flag=True, help="Write a page to look at and print for each study, too.")
@click.option(
    "--page-identity", is_flag=True, help="The same, with patient ID, sex, age and accession number on it."
)
@click.option(
    "--fhir",
    is_flag=True,
    help="Write a FHIR Bundle for each film, too, with patient ID and accession number.",
)
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    help="Of pictures, reports and pages; that of the settings where not given, else English.",
)
@picture_options
@click.option(
    "--identity", is_flag=True, help="Tables with patient ID, age, sex, study date and accession number."
)
@click.option(
    "--pseudonym-key",
    type=FILE,
    help="File with the secret that pseudonyms are made with; else --out keeps its own.",
)
@click.option("--parquet", is_flag=True, help="Write the tables as Parquet, too.")
@click.option("--again", is_flag=True, help="Read anew what has been read before.")
@click.option("--skipped", is_flag=True, help="Name each file of a folder that is no film.")
@click.option(
    "--workers", type=click.IntRange(min=0), default=0, help="Processes that read; 0 = one for each core."
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Threads of the network of each of them; 0 = all cores, and one process.",
)
def process(
    paths: Sequence[Path],
    out: Path,
    config: Path | None,
    model: Path | None,
    pseudonym_key: Path | None,
    again: bool,
    skipped: bool,
    workers: int,
    **wanted: Any,
) -> None:
    """Process DICOM, PNG and JPEG films and folders of them, without a daemon.

    Writes for each film FILM.seg.dcm, FILM.sr.dcm, FILM.overlay.dcm and FILM.overlay.jpg, and for all of them
    readings.json, readings.csv, measures.csv, findings.csv and conclusions.csv. With --page also for each study
    FILM.page.html, called after its first film: one printed page for each of its films, which names nobody. With --fhir
    FILM.fhir.json.

    What is read is kept at once. The same command goes on where an earlier one ended, however that ended, and several
    at once on one --out, also of several machines, share the work. See docs/process.md.

    \b
    Exit status: 0 all done; some may be refused: no film, no vertebra found, a damaged file. Trying again
                   changes nothing; each is named with its reason
                 1 some failed: a file cannot be opened, a result not be written, a film ended its process or
                   took too long, or a defect of ours; the next run tries them again
                 2 bad usage, or nothing can be written any more
               130 stopped by Ctrl-C or SIGTERM; the tables hold what is done
    """
    from spinepacs.batch.films import find_films
    from spinepacs.batch.run import Batch

    logs.configure("WARNING", "text")  # libraries would quote headers
    task = _task(out, config, model, pseudonym_key, wanted)
    films = find_films(paths, out)
    say_unnamed(task.pictures, [film.path for film in films])
    outcomes = ("refused", "failed", "skipped") if skipped else ("refused", "failed")
    with _until_stopped() as stopping, progress("reading films", len(films)) as advance:

        def on_film(path: Path, head: Head) -> None:
            advance()
            if head.outcome in outcomes:
                click.echo(f"{path}: {head.code}: {head.reason}", err=True)

        summary = Batch(task, workers=workers, again=again).run(films, on_film, stopping)
    _tell(summary, out, stopping.is_set())


def _task(
    out: Path, config: Path | None, model: Path | None, key: Path | None, wanted: dict[str, Any]
) -> Task:
    """What is wanted; what cannot be done is told before any film is read."""
    from spinepacs.batch.folder import try_out
    from spinepacs.batch.pseudonym import key_of
    from spinepacs.batch.task import Task
    from spinepacs.settings.settings import Settings
    from spinepacs.show.parquet import load_pyarrow

    settings = load(config) if config else Settings()
    if model:
        settings = settings.model_copy(update={"model": settings.model.model_copy(update={"folder": model})})
    if language := wanted.pop("language"):
        output = settings.output.model_copy(update={"language": language})
        settings = settings.model_copy(update={"output": output})
    if wanted["parquet"]:
        load_pyarrow()
    try_out(out)
    wanted["page"] |= wanted["page_identity"]
    return Task(out, settings, key=key_of(out, key), **wanted)


def _tell(summary: Summary, out: Path, stopped: bool) -> NoReturn:
    """Say what became of all, and end."""
    counted = ", ".join(
        f"{getattr(summary, name)} {name}" for name in ("read", "refused", "failed", "skipped")
    )
    known = f"; {summary.known} of them by other runs" if summary.known else ""
    click.echo(f"{counted}{known}; {out}")
    if stopped and summary.left:
        click.echo(
            f"stopped with {summary.left} files left; the tables hold what is done, and the same command goes on",
            err=True,
        )
        sys.exit(_STOPPED)
    sys.exit(summary.exit_code)


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the second time they end the process as they always do."""
    stopping = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield stopping
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@click.command()
@click.argument(
    "images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--out", type=FILE, help="DICOM file to write; IMAGE with the suffix .dcm where not given.")
@picture_options
def wrap(images: Sequence[Path], out: Path | None, pictures: Pictures) -> None:
    """Wrap PNG or JPEG films as DICOM files that any PACS takes.

    With --table each needs a line in it: a film without its patient is not made by mistake.
    """
    from spinepacs.dicom.wrap import wrap as wrap_image

    if out and len(images) > 1:
        raise click.UsageError("--out names one file: give one IMAGE")
    for image in images:
        if pictures.has_no_line(image):
            raise BadSettings(f"{image}: no line of the table names it")
    for image in images:
        target = out or image.with_suffix(".dcm")
        try:
            wrap_image(image, target, pictures.facts_of(image))
        except SpinepacsError as error:
            raise BadSettings(f"{image}: {error}") from None
        click.echo(str(target))
