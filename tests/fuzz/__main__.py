"""``python -m tests.fuzz read --minutes 30``; faults are kept below ``runs/fuzz``, which git does not see."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

_SAVED = Path(__file__).parents[2] / "runs" / "fuzz"
_minutes = click.option("--minutes", type=float, default=1.0, show_default=True)
_seed = click.option("--seed", type=int, default=lambda: random.SystemRandom().randrange(10**9))


@click.group()
def main() -> None:
    """Throw hostile input at spinepacs; exit status 1 when it shows a fault."""


@main.command()
@_minutes
@_seed
def read(minutes: float, seed: int) -> None:
    """Mutated files through everything that `spinepacs process` does, in a child process."""
    from tests.fuzz.child import Reader
    from tests.fuzz.read import fuzz

    click.echo(f"seed {seed}")
    with TemporaryDirectory(prefix="spinepacs-fuzz-") as folder, Reader(Path(folder)) as reader:
        tally = fuzz(reader, _SAVED, seed, seconds=60 * minutes, tell=click.echo)
    click.echo(tally)
    sys.exit(bool(tally.found))


@main.command()
@_minutes
@_seed
def pdu(minutes: float, seed: int) -> None:
    """Mutated PDUs over real connections against a running listener, with a good sender after each batch."""
    from tests.fuzz.listening import Listening
    from tests.fuzz.pdu import fuzz

    click.echo(f"seed {seed}")
    with Listening(_SAVED / f"pdu-{seed}") as target:
        tally = fuzz(target, seed, seconds=60 * minutes, tell=click.echo)
    click.echo(tally)
    sys.exit(bool(tally.found))


if __name__ == "__main__":
    main()
