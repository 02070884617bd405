"""The command ``spinepacs``: its commands are in the other modules of this package, and hold no logic."""

from __future__ import annotations

import errno
import gc
from importlib import import_module
from typing import Any

import click

from spinepacs.errors import SpinepacsError

_MODULES = {
    "daemon": ("serve", "status", "check", "version"),
    "films": ("process", "wrap"),
    "questions": ("findings", "queue", "audit", "fhir"),
    "decisions": ("retry", "reread", "seen", "redirect", "withdraw", "discard"),
    "corrections": ("correct", "corrections"),
    "campaigns": ("campaign",),
    "accounts": ("account",),
    "training": ("synthesise", "train", "evaluate", "export"),
}
_MODULE_OF = {command: module for module, commands in _MODULES.items() for command in commands}
"""Only the module of the command that is typed is imported."""

_OF_A_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENOSPC,
    errno.ENAMETOOLONG,
)  # fmt: skip
"""What a person mends at the path that was named; everything else is a defect and keeps its traceback."""


class _Group(click.Group):
    """Imports a command when it is asked for; shows our own errors as one clear message, without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in the order of the alphabet."""
        return sorted(_MODULE_OF)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in _MODULE_OF:
            return None
        command: click.Command = getattr(import_module(f"spinepacs.cli.{_MODULE_OF[cmd_name]}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; exit 2 when settings or input are wrong, or a file cannot be read or written."""
        try:
            return super().invoke(ctx)
        except SpinepacsError as error:
            click.echo(f"spinepacs: {error}", err=True)
        except OSError as error:
            if error.filename is None or error.errno not in _OF_A_PATH:
                raise
            click.echo(f"spinepacs: {error.filename}: {error.strerror}", err=True)
        ctx.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="spinepacs")
def main() -> None:
    """Segment, name and measure the vertebrae of spine radiographs.

    Not a medical device: results are for research and a physician's own judgement.
    """
    # Imports make some hundred thousand objects, and all of them stay: looking through them took a tenth of the time.
    gc.set_threshold(50_000)
