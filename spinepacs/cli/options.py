"""Options and helpers that several commands share."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

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
body_part_option = click.option(
    "--body-part",
    default="SPINE",
    show_default=True,
    help="What PNG and JPEG films show, for instance CSPINE.",
)
view_option = click.option(
    "--view",
    type=click.Choice(["AP", "PA", "LATERAL", "OBLIQUE", ""]),
    default="",
    help="Projection of PNG and JPEG films.",
)
STDERR = Console(stderr=True)
BAR = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
