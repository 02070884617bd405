"""What a training run is told, from the command line, and its record beside the checkpoints."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = (
    "spinepacs",
    "torch",
    "torchvision",
    "ultralytics",
    "numpy",
    "opencv-python-headless",
    "ImageHash",
)


@dataclass(frozen=True)
class TrainConfig:
    """What to train on, from what, for how long.

    Attributes
    ----------
    out : Path
        Folder for checkpoints, the split and the log; made when missing.  A ``last.pt`` in it is continued.
    data : Path or None
        ``data.toml`` of merged data sets; takes the place of ``ap`` and ``synthetic``.
    ap : Path or None
        Folder of AP films with corner CSVs; a fifth of its groups is kept for validation.
    levels : Path or None
        ``docs/aasce-levels.csv``: names of the ``ap`` films that were read anew; undecided films take no part.
    synthetic : tuple of Path
        YOLO-seg folders; films that appear later are taken up.
    recipe : str
        ``spine``, our own loop, or ``seed``, the seed study's through Ultralytics' trainer.
    init : Path or None
        OpenVINO folder of COCO weights, or a model folder with its ``model.onnx``; None starts from ``start`` or from
        random weights.
    start : Path or None
        Checkpoint of an earlier stage (``ema.pt``) whose weights this run begins with.
    minutes : float
        Wall-clock length of the whole run, stops excluded; ``spine`` only.
    steps : int or None
        Ends the run earlier, after this many batches; with ``minutes`` large, the way to repeat a run exactly.
    epochs : int
        Length of the run; ``seed`` only.
    real_share : float
        Share of real films among those drawn while there are synthetic ones, 0 … 1.
    learning_rate : float
        AdamW's peak rate; ``seed`` leaves it to Ultralytics.
    workers : int
        Processes that train on batches of their own and average gradients: on a CPU three of one thread each do
        more than twice the work of one with three threads.  With ``seed``: processes that load films.
    threads : int
        Torch's threads in each worker.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``; a GPU takes one worker.
    scale : float
        Of the training images: 0.8 for a fast first stage, 1 for the last.
    frozen : int
        So many first layers keep the weights they start with, which saves an eighth of the time.
    bf16 : bool
        Mixed precision; helps only where the processor, or the GPU, multiplies bfloat16 itself.
    size : str
        Ultralytics' model letter.
    seed : int
        Of the batches' random choices.
    """

    out: Path
    data: Path | None = None
    ap: Path | None = None
    levels: Path | None = None
    synthetic: tuple[Path, ...] = ()
    recipe: str = "spine"
    init: Path | None = None
    start: Path | None = None
    minutes: float = 60.0
    steps: int | None = None
    epochs: int = 250
    real_share: float = 0.4
    learning_rate: float = 1e-3
    workers: int = 1
    threads: int = 2
    device: str = "cpu"
    scale: float = 1.0
    frozen: int = 0
    bf16: bool = False
    size: str = "n"
    seed: int = 0


def parse(arguments: Sequence[str] | None = None) -> tuple[TrainConfig, bool]:
    """Read the command line; return the configuration, and whether the data shall only be checked."""
    parser = argparse.ArgumentParser(
        prog="spinepacs train", description="Train YOLO11-seg on labelled spine films; see docs/training.md."
    )
    _add_data(parser)
    _add_run(parser)
    given = vars(parser.parse_args(arguments))
    check = given.pop("check")
    if given["data"] and (given["ap"] or given["synthetic"]):
        parser.error("--data takes the place of --ap and --synthetic: list those films in the file")
    if given["levels"] and not given["ap"]:
        parser.error("--levels names the films of --ap: give that folder, too")
    if given["workers"] > 1 and given["device"] != "cpu" and given["recipe"] == "spine":
        parser.error("--workers above 1 is for the CPU; one worker keeps a GPU busy")
    if given["out"] is None and not check:
        parser.error("the following arguments are required: --out")
    return TrainConfig(
        **{**given, "out": given["out"] or Path(), "synthetic": tuple(given["synthetic"])}
    ), check


def _add_data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, help="data.toml: data sets to merge")
    add(
        "--check",
        action="store_true",
        help="print class balance and leaks, train nothing; exit 1 if it leaks",
    )
    add("--ap", type=Path, help="folder of AP films with corners.csv and films.csv")
    add("--levels", type=Path, help="names of the AP films that were read anew (docs/aasce-levels.csv)")
    add("--synthetic", type=Path, nargs="*", default=[], help="YOLO-seg folders of the film generator")
    add("--real-share", type=float, default=0.4, help="share of real films beside synthetic ones")


def _add_run(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--recipe", default="spine", choices=("spine", "seed"), help="our own, or the seed study's")
    add("--out", type=Path, help="folder for checkpoints and log")
    add("--init", type=Path, help="OpenVINO folder of COCO weights, or a model folder with model.onnx")
    add("--start", type=Path, help="checkpoint (.pt) of an earlier stage")
    add("--minutes", type=float, default=60.0, help="length of the run (recipe spine)")
    add("--steps", type=int, help="end after so many batches (recipe spine)")
    add("--epochs", type=int, default=250, help="length of the run (recipe seed)")
    add("--learning-rate", type=float, default=1e-3, help="peak rate (recipe spine)")
    add("--workers", type=int, default=1, help="processes that share the work")
    add("--threads", type=int, default=2, help="threads of each worker")
    add("--device", default="cpu", help="cpu, cuda, cuda:1 …")
    add("--scale", type=float, default=1.0, help="of the training images (recipe spine)")
    add("--frozen", type=int, default=0, help="first layers that are not trained (recipe spine)")
    add("--bf16", action="store_true", help="mixed precision, where the processor or GPU has it")
    add("--size", default="n", choices="nsmlx", help="of the network")
    add("--seed", type=int, default=0, help="of every random choice")


def record(config: TrainConfig) -> None:
    """Append this start (UTC time, configuration, versions, machine) to ``config.json`` in the run's folder."""
    path = config.out / "config.json"
    starts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    starts.append(
        {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "config": asdict(config),
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": platform.machine(),
        }
    )
    path.write_text(json.dumps(starts, indent=1, default=str) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
