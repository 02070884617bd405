"""Commands of the extra ``train``: ``synthesise``, ``train``, ``evaluate``, ``export``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from spinepacs.cli.options import progress


@click.command()
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
@click.option(
    "--second-donor",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Surfaces of another L1 to L5, sacrum and pelvis.",
)
@click.option(
    "--mean-lumbar",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Surfaces of a mean L2 to L5, in one file.",
)
@click.option("--plain", is_flag=True, help="The one donor's sacrum and hips, as before they varied.")
@click.option(
    "--metal",
    type=click.FloatRange(0, 1),
    help="Share of patients with screws, rods, plates or cages [default: 0.14]; above that half of the rods are long.",
)
@click.option("--dicom", is_flag=True, help="Write every film as DICOM DX with its truth beside it, too.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
def synthesise(
    meshes: Path,
    out: Path,
    count: int,
    seed: int,
    second_donor: Path | None,
    mean_lumbar: Path | None,
    plain: bool,
    metal: float | None,
    dicom: bool,
    workers: int,
) -> None:
    """Draw synthetic spine films with exact labels from anatomical surfaces (needs the extra "train")."""
    try:
        from spinepacs.training.films.synthesise import Run
        from spinepacs.training.films.synthesise import synthesise as draw
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not there: pip install 'spinepacs[train]'") from error

    with progress("drawing films", count) as advance:
        run = Run(meshes, out, seed, dicom, second_dir=second_donor, mean_path=mean_lumbar, plain=plain)
        if metal is not None:
            run = replace(run, metal=metal)
        drawn = draw(run, count, workers=workers, on_film=lambda _: advance())
    click.echo(f"{drawn} films drawn; {out}")


def _of_module(name: str, module: str, about: str) -> click.Command:
    """A command whose options are those of a module of the extra ``train``, ``--help`` included."""

    @click.command(name, help=about, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: Sequence[str]) -> None:
        try:
            sys.exit(importlib.import_module(f"spinepacs.training.{module}").main(arguments))
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"{error.name} is not there: pip install 'spinepacs[train]'"
            ) from error

    return command


train = _of_module("train", "learning.recipes", 'Train a model on labelled films (needs the extra "train").')
evaluate = _of_module(
    "evaluate", "evaluation.evaluate", 'Compare a model with labelled films (needs the extra "train").'
)
export = _of_module(
    "export", "release.export", 'Write a model folder from a checkpoint (needs the extra "train").'
)
