"""The command ``spinepacs``: its commands are in the other modules of this package, and hold no logic."""

from __future__ import annotations

import errno
from typing import Any

import click

from spinepacs.cli import accounts, campaigns, corrections, daemon, decisions, films, questions, training
from spinepacs.errors import SpinepacsError

_OF_A_PATH = (
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EROFS, errno.ENOSPC,
    errno.ENAMETOOLONG,
)  # fmt: skip
"""What a person mends at the path that was named; everything else is a defect and keeps its traceback."""


class _Group(click.Group):
    """Shows our own errors as one clear message, without a traceback."""

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


for _command in (
    daemon.serve, daemon.status, daemon.check, daemon.version,
    films.process, films.wrap,
    questions.findings, questions.queue, questions.audit, questions.fhir,
    decisions.retry, decisions.reread, decisions.seen, decisions.redirect, decisions.withdraw, decisions.discard,
    corrections.correct, corrections.corrections,
    campaigns.campaign,
    accounts.account,
    training.synthesise, training.train, training.evaluate, training.export,
):  # fmt: skip
    main.add_command(_command)
