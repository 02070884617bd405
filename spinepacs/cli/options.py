"""Options and helpers that several commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from spinepacs.errors import BadInput, BadSettings

if TYPE_CHECKING:
    from spinepacs.dicom.pictures import Pictures, PictureTable
    from spinepacs.settings.settings import Settings

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
config_option = click.option(
    "--config",
    "-c",
    "config",
    type=FILE,
    required=True,
    help="Settings file (start from config/spinepacs.toml).",
)
format_option = click.option(
    "--format", "style", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True
)
_PICTURE_OPTIONS = (
    click.option("--patient-id", help="Patient ID of PNG and JPEG films."),
    click.option("--study-date", help="Day on which they were taken, for instance 2026-11-20."),
    click.option(
        "--spacing",
        "spacing_mm",
        type=click.FloatRange(min=0, min_open=True),
        help="Size of their pixels (mm).",
    ),
    click.option(
        "--body-part", default="SPINE", show_default=True, help="What they show, for instance CSPINE."
    ),
    click.option(
        "--view",
        type=click.Choice(["AP", "PA", "LATERAL", "OBLIQUE", ""]),
        default="",
        help="Their projection.",
    ),
    click.option(
        "--table",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="CSV that says the same, and more, for each picture on its own: see docs/pictures.md.",
    ),
)


def load(config: Path) -> Settings:
    """Read a settings file; imported here and not above, since most of the time of ``--help`` would go into it.

    Raises
    ------
    BadSettings
        If it is wrong, with every line that is.
    """
    from spinepacs.settings.settings import load as read

    return read(config)


def picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take what is known of pictures, and give it as :class:`spinepacs.dicom.pictures.Pictures`."""

    @functools.wraps(command)
    def with_pictures(*arguments: Any, **options: Any) -> None:
        from spinepacs.dicom.pictures import Pictures, facts

        names = ("patient_id", "study_date", "spacing_mm", "body_part", "view")
        stated = facts(None, **{name: options.pop(name) for name in names})
        table = options.pop("table")
        pictures = Pictures(stated, _table(table) if table else None)
        command(*arguments, pictures=pictures, **options)

    for option in reversed(_PICTURE_OPTIONS):
        option(with_pictures)
    return with_pictures


def _table(path: Path) -> PictureTable:
    """Read a table that is to be used as it is: all that is wrong with it is said at once, by line."""
    from spinepacs.dicom.pictures import read_table

    try:
        table = read_table(path)
    except BadInput as error:
        raise BadSettings(f"{path}: {error}") from None
    if table.errors:
        raise BadSettings(f"{path}: {table.wrong}")
    return table


def say_unnamed(pictures: Pictures, given: Sequence[Path]) -> None:
    """Say which lines of the table name none of the files, and how many of the pictures have no line."""
    if pictures.table is None:
        return
    if lines := pictures.table.lines_without(given):
        shown = ", ".join(map(str, lines[:20])) + (" …" if len(lines) > 20 else "")
        click.echo(f"{pictures.table.path}: no such file is given: lines {shown}", err=True)
    without = [path for path in given if pictures.has_no_line(path) and _is_picture(path)]
    if without:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        click.echo(f"{pictures.table.path}: no line names {without[0]}{more}", err=True)


def _is_picture(path: Path) -> bool:
    from spinepacs.dicom.wrap import is_picture

    try:
        return is_picture(path)
    except OSError:
        return False


@contextmanager
def writing(out: Path | None) -> Iterator[TextIO]:
    """Open a file to write, or the screen; one that cannot be written is said in one line.

    An older file of that name stays until the new one is whole.

    Raises
    ------
    BadSettings
        If it cannot be written, at the beginning or later.
    """
    try:
        if out is None:
            yield sys.stdout
        else:
            with _replacing(out) as file:
                yield file
    except BrokenPipeError:  # `… | head` has seen enough
        raise
    except OSError as error:
        raise BadSettings(f"{out or 'the output'}: cannot be written ({error.strerror})") from None


@contextmanager
def _replacing(out: Path) -> Iterator[TextIO]:
    """Write beside a file, and take its place in the end; what is no plain file (a pipe) is written itself."""
    part = out.with_name(f".{out.name}.part") if out.is_file() or not out.exists() else out
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        if part != out:
            part.replace(out)
    except BaseException:
        if part != out:
            part.unlink(missing_ok=True)
        raise


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error; gives what is called after each of the ``total`` steps."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
