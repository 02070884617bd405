"""Commands on files, without daemon and database: ``process``, ``wrap``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from spinepacs import logs
from spinepacs.cli.options import FILE, FOLDER, load, picture_options, progress, say_unnamed
from spinepacs.errors import BadSettings, SpinepacsError

if TYPE_CHECKING:
    from spinepacs.dicom.pictures import Pictures


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", required=True, type=FOLDER, help="Folder of the results.")
@click.option("--config", type=FILE, help="Take model, policy and output from this settings file.")
@click.option("--model", type=FOLDER, help="Model folder to use instead.")
@click.option(
    "--select", is_flag=True, help="Apply the selection rules of the settings; else every film is read."
)
@click.option("--page", is_flag=True, help="Write a page to look at and print for each study, too.")
@click.option(
    "--page-identity", is_flag=True, help="The same, with patient ID, sex, age and accession number on it."
)
@picture_options
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
    threads: int,
    pictures: Pictures,
) -> None:
    """Process DICOM, PNG and JPEG films and folders of them, without a daemon.

    Writes for each film FILM.seg.dcm, FILM.sr.dcm, FILM.overlay.dcm and FILM.overlay.jpg, and for all of them
    readings.json, readings.csv, measures.csv, findings.csv and conclusions.csv. With --page also for each study
    FILM.page.html, called after its first film: one printed page for each of its films, which names nobody.

    \b
    Exit status: 0 all done; some may be refused: no film, no vertebra found, a damaged file. Trying again
                   changes nothing; each is named with its reason
                 1 some failed: a file cannot be opened, a result not be written, or a defect of ours
                 2 bad usage
    """
    from spinepacs.batch import Batch, find_films
    from spinepacs.pipeline import Pipeline
    from spinepacs.settings.settings import Settings
    from spinepacs.show.page.pages import Pages

    logs.configure("WARNING", "text")  # libraries would quote headers
    settings = load(config) if config else Settings()
    chosen = settings.model.model_copy(update={"folder": model}) if model else settings.model
    pipeline = Pipeline.open(chosen, settings.output, threads, settings.reading.default_character_set)
    films = find_films(paths)
    rules = settings.selection if select else None
    pages = Pages(out, with_identity=page_identity) if page or page_identity else None
    batch = Batch(pipeline, out, rules, pictures=pictures, pages=pages)
    say_unnamed(pictures, [path for path, _ in films])
    with progress("reading films", len(films)) as advance:
        summary = batch.run(films, lambda path, outcome: advance())
    for path, code, reason in summary.problems:
        click.echo(f"{path}: {code}: {reason}", err=True)
    click.echo(
        f"{summary.read} read, {summary.refused} refused, {summary.failed} failed, {summary.skipped} skipped; {out}"
    )
    sys.exit(summary.exit_code)


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
