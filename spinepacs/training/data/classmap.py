"""The class map: what each data set calls a vertebra, and which level that is.

One TOML file serves all data sets that are merged::

    [classes]
    "L1-vertebra" = "L1"
    disc = ""                     # not a vertebra: the label is left out, its place trains as background
    sacrum = "S1 unlabelled"      # left out too, but S1 does not train as background where it lies

    [classes.web-cervical]        # what one data set, by its name, calls otherwise
    "1" = "C1"

A class that is named like a level (C1 … L5, S1) stands for itself unless the map says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinepacs.toml import read_toml
from spinepacs.training.data.dataset import CLASS_NAMES, LabelsError

_UNLABELLED = " unlabelled"


@dataclass(frozen=True)
class ClassMap:
    """Meaning of the class names of one data set.

    ``levels`` gives the class number 0 … 24 by name, or None for labels to leave out; ``masked`` holds the levels
    that the map calls unlabelled; ``path`` is where a missing line belongs.
    """

    levels: Mapping[str, int | None] = field(default_factory=dict)
    masked: frozenset[int] = frozenset()
    path: Path | None = None

    def knows(self, name: str) -> bool:
        """Whether the map, or its being a level, says what ``name`` means."""
        return name in self.levels or name in CLASS_NAMES

    def level(self, name: str) -> int | None:
        """Class number 0 … 24 of a known name; None where its labels are left out."""
        return self.levels[name] if name in self.levels else CLASS_NAMES.index(name)

    def unlabelled(self, names: Iterable[str]) -> frozenset[int]:
        """Levels that a data set with these class names may show without a label."""
        labelled = {self.level(name) for name in names if self.knows(name)}
        return (frozenset(range(len(CLASS_NAMES))) - labelled) | self.masked

    def missing(self, name: str, where: Path, count: int) -> str:
        """Sentence for a class name that the map does not know."""
        remedy = f'add \'"{name}" = "L1"\' (its level), or "" to leave it out, to [classes] of '
        return f"{where}: class {name!r} ({count} labels): {remedy}{self.path or 'a class map'}"


def read_class_map(path: Path, source: str) -> ClassMap:
    """Read the class map as it stands for the data set ``source``.

    Raises
    ------
    LabelsError
        The file is missing, is no TOML, or maps a class to something that is no level.
    """
    table = read_toml(path, LabelsError, "see class_map in data.toml").get("classes", {})
    common = {name: word for name, word in table.items() if not isinstance(word, dict)}
    entries = {**common, **table.get(source, {})}
    levels = {name: _level(path, name, word) for name, word in entries.items()}
    masked = {
        CLASS_NAMES.index(str(word).removesuffix(_UNLABELLED)) for word in entries.values() if _masks(word)
    }
    return ClassMap(levels, frozenset(masked), path)


def _masks(word: object) -> bool:
    return isinstance(word, str) and word.endswith(_UNLABELLED)


def _level(path: Path, name: str, word: object) -> int | None:
    plain = str(word).removesuffix(_UNLABELLED)
    if plain not in CLASS_NAMES and word != "":
        raise LabelsError(
            f'{path}: {name!r} = {word!r}: give a level (C1 … L5, S1), "LEVEL unlabelled", or "" to leave it out'
        )
    return CLASS_NAMES.index(plain) if word and not _masks(word) else None
