"""Commands of the running thing: ``serve``, ``check``, ``version``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from spinepacs import __version__
from spinepacs.cli.options import config_option
from spinepacs.settings.settings import load
from spinepacs.settings.shipped import shipped


@click.command()
@config_option
def serve(config: Path) -> None:
    """Run the daemon: listen for C-STORE, watch a folder, read studies, deliver the results.

    Ends in order on SIGTERM or Ctrl-C. Logs go to standard error.
    """
    from spinepacs.serve.daemon import serve as run

    sys.exit(run(load(config)))


@click.command()
@config_option
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


@click.command()
def version() -> None:
    """Show the versions of spinepacs and of what it computes with."""
    from importlib.metadata import version as version_of

    click.echo(
        f"spinepacs {__version__}  (Python {sys.version.split()[0]}, files in {shipped('models').parent})"
    )
    for name in ("onnxruntime", "pydicom", "pynetdicom", "highdicom", "sqlalchemy", "numpy"):
        click.echo(f"{name} {version_of(name)}")
