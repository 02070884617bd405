"""A source of labelled films and its films as the data set has them, before classes become levels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from spinepacs.settings.types import Regex
from spinepacs.training.data.dataset import LabelsError

PARTS = {
    "train": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}


class Source(BaseModel):
    """One ``[[source]]`` of ``data.toml``.

    Attributes
    ----------
    name : str
        Short name for tables, the class map and error messages.
    kind : str
        ``yolo-seg``, ``coco``, ``ap-corners`` or ``lateral-corners``.
    path : Path
        Folder of the data set (for COCO also a JSON file), relative to ``data.toml``.
    images : Path or None
        COCO only: folder of the films where they are not found beside the JSON.
    view : str
        What the films show: ``ap``, ``lateral`` …; corner tables and the generator's films know it themselves.
    split : str
        ``group``: held back by group with the file's share and seed; ``given``: the data set's own train and valid
        (its test part is left alone); ``train`` or ``validation``: all films.
    group : str or None
        Regular expression on the file name without suffix; its first bracket is the group (patient, day).
    share : float or None
        Weight of this source among the drawn films; without any, films are drawn evenly.
    skip_damaged : bool
        Leave damaged films out and report them, instead of refusing the data set.
    drop_doubtful : bool or None
        Leave out films whose labels contradict themselves; as a rule for the corner tables only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: Literal["yolo-seg", "coco", "ap-corners", "lateral-corners"]
    path: Path
    images: Path | None = None
    view: str = "unknown"
    split: Literal["group", "given", "train", "validation"] = "group"
    group: Regex | None = None
    share: Annotated[float, Field(gt=0)] | None = None
    skip_damaged: bool = False
    drop_doubtful: bool | None = None


@dataclass(frozen=True)
class RawFilm:
    """A film as its data set has it: outlines (float32 (n, 2), native px) by class name, part of its own split."""

    path: Path
    size_px: tuple[int, int]
    outlines: tuple[tuple[str, NDArray[np.float32]], ...]
    part: str = ""
    view: str = ""
    group: str = ""


def gather(paths: Iterable[Path], read: Callable[[Path], RawFilm | None]) -> tuple[list[RawFilm], list[str]]:
    """Read every path; return the films, and one sentence for each that is damaged."""
    films, problems = [], []
    for path in paths:
        try:
            film = read(path)
        except LabelsError as error:
            problems.append(str(error))
        else:
            films += [film] if film else []
    return films, problems


def part_of(path: Path) -> str:
    """Part of the data set's own split, from the first word of the path that names one; else empty."""
    words = re.split(r"[^a-z]+", path.as_posix().lower())
    return next((PARTS[word] for word in words if word in PARTS), "")
