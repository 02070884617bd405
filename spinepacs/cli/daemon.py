"""Commands of the running thing: ``serve``, ``check``, ``version``."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import click

from spinepacs.cli.options import config_option, load
from spinepacs.settings.shipped import shipped

_role_option = click.option(
    "--role",
    type=click.Choice(["listener", "worker", "delivery", "all"]),
    default="all",
    show_default=True,
    help="What this machine does, where there are several (docs/scale.md).",
)


@click.command()
@config_option
@_role_option
@click.option(
    "--new-spool",
    is_flag=True,
    help="The spool takes the place of the one that the database knows, which is lost or was moved.",
)
def serve(config: Path, role: str, new_spool: bool) -> None:
    """Run the daemon: listen for C-STORE, watch a folder, read studies, deliver the results.

    Ends in order on SIGTERM or Ctrl-C. Logs go to standard error.
    """
    from spinepacs.cluster.roles import Role
    from spinepacs.serve.daemon import serve as run

    sys.exit(run(load(config), Role(role), new_spool))


@click.command()
@config_option
@click.option(
    "--user", help="As whom the daemon runs; root checks as the owner of the spool where it is not given."
)
@_role_option
@click.option("--send", "sends", is_flag=True, help="Send a test message by each of [[notifications]].")
def check(config: Path, user: str | None, role: str, sends: bool) -> None:
    """Check settings, model, policy, rights, disk, database, ports, and every destination by C-ECHO and contexts.

    Mail servers and webhooks are only connected to, unless --send is given.

    Nothing is made or changed: what the daemon's start will make is said.
    """
    from spinepacs.check.checks import run_checks
    from spinepacs.check.places import become
    from spinepacs.cluster.roles import Role

    become(user, load(config).storage.folder)
    settings = load(config)  # as the daemon's user reads it
    click.echo(f"ok    settings: {config}")
    failed = False
    for result in run_checks(settings, Role(role), sends):
        click.echo(f"{'ok   ' if result.ok else 'FAIL '} {result.name}: {result.detail}")
        failed |= not result.ok
    sys.exit(1 if failed else 0)


@click.command()
@config_option
@click.option("--format", "style", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(config: Path, style: str) -> None:
    """Say whether the daemon runs, since when, how its processes and destinations go, and what needs a person.

    \b
    Exit status: 0 it runs and all is well
                 1 it runs and something needs a person
                 2 bad usage or settings
                 3 it does not run
    """
    from spinepacs.status import as_text, find_out

    settings = load(config)
    found = find_out(settings)
    if style == "json":
        values = {**dataclasses.asdict(found), "exit_status": found.code}
        click.echo(json.dumps(values, indent=1, default=str, ensure_ascii=False))
    else:
        click.echo(as_text(found, settings))
    sys.exit(found.code)


@click.command()
def version() -> None:
    """Show the versions of spinepacs and of what it computes with."""
    from importlib.metadata import version as version_of

    python, files = sys.version.split()[0], shipped("models").parent
    click.echo(f"spinepacs {version_of('spinepacs')}  (Python {python}, files in {files})")
    for name in ("onnxruntime", "pydicom", "pynetdicom", "highdicom", "sqlalchemy", "numpy"):
        click.echo(f"{name} {version_of(name)}")
