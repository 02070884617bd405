"""Merge data sets by one file: ``data.toml`` lists sources, their split and their weight among the drawn films.

See ``docs/data.toml`` for an example with every key, and :class:`spinepacs.training.data.sources.Source`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spinepacs.toml import read_toml
from spinepacs.training.data.classmap import ClassMap, read_class_map
from spinepacs.training.data.dataset import Film, LabelsError, split_by_group
from spinepacs.training.data.doubts import suspicion
from spinepacs.training.data.raw import Source
from spinepacs.training.data.sources import Reading, read_source


class DataFile(BaseModel):
    """Content of ``data.toml``.

    Attributes
    ----------
    source : tuple of Source
        The data sets.
    class_map : Path or None
        Class map, relative to the file; without one every class must be named like a level.
    validation : float
        Share of the films of a source with ``split = "group"`` that is held back.
    seed : int
        Of that split; it depends on nothing else but the source itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Annotated[tuple[Source, ...], Field(min_length=1)]
    class_map: Path | None = None
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.2
    seed: int = 3


@dataclass(frozen=True)
class DataSet:
    """A merged data set.

    ``shares`` gives the weight of each source in training by name; ``left_out`` one sentence for each film that
    takes no part.
    """

    training: tuple[Film, ...]
    validation: tuple[Film, ...]
    shares: dict[str, float]
    left_out: tuple[str, ...] = ()


def read_data(path: Path) -> DataSet:
    """Read a ``data.toml`` and everything that it names.

    Films without any vertebra are left out, as are doubtful ones where the source says so: after the split, which
    therefore does not depend on what counts as doubtful.

    Raises
    ------
    LabelsError
        Anything in it cannot be used; the message names file, key or class, and the remedy.
    """
    file = read_data_file(path)
    parts: dict[str, list[Film]] = {"train": [], "validation": []}
    left_out: list[str] = []
    for source in file.source:
        class_map = read_class_map(file.class_map, source.name) if file.class_map else ClassMap()
        reading = read_source(source, class_map)
        left_out += reading.left_out
        for part, films in _split(source, reading, file).items():
            kept = [film for film in films if not _refusal(film, source)]
            left_out += [f"{film.path}: {why}" for film in films if (why := _refusal(film, source))]
            parts.setdefault(part, []).extend(kept)
    training = tuple(parts["train"])
    return DataSet(training, tuple(parts["validation"]), _shares(file.source, training), tuple(left_out))


def read_data_file(path: Path) -> DataFile:
    """Read ``data.toml`` alone; paths in it become absolute."""
    data = read_toml(path, LabelsError, "start from docs/data.toml")
    try:
        file = DataFile.model_validate(data)
    except ValidationError as error:
        lines = [f"{path}: {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise LabelsError("\n".join([*lines, "docs/data.toml shows every key"])) from error
    twice = [name for name, count in Counter(source.name for source in file.source).items() if count > 1]
    if twice:
        raise LabelsError(f"{path}: source name {twice[0]!r} is given twice; rename one")
    folder = path.resolve().parent
    sources = tuple(_absolute(source, folder) for source in file.source)
    class_map = folder / file.class_map if file.class_map else None
    return file.model_copy(update={"source": sources, "class_map": class_map})


def _absolute(source: Source, folder: Path) -> Source:
    images = folder / source.images if source.images else None
    absolute = source.model_copy(update={"path": folder / source.path, "images": images})
    if not absolute.path.exists():
        raise LabelsError(f"source {source.name}: {absolute.path} is missing; correct its path")
    return absolute


def _refusal(film: Film, source: Source) -> str | None:
    if not film.bodies:
        return "no vertebra"
    corners = source.kind in ("ap-corners", "lateral-corners")
    judged = corners if source.drop_doubtful is None else source.drop_doubtful
    return suspicion(film) if judged else None


def _split(source: Source, reading: Reading, file: DataFile) -> dict[str, list[Film]]:
    films = [film for film, _ in reading.films]
    if source.split == "group":
        training, validation = split_by_group(films, file.validation, file.seed)
        return {"train": training, "validation": validation}
    if source.split in ("train", "validation"):
        return {source.split: films}
    given: dict[str, list[Film]] = {}
    for film, part in reading.films:
        if not part:
            raise LabelsError(f'{film.path}: in no folder train, valid or test; use split = "group"')
        given.setdefault(part, []).append(film)
    _refuse_parted_groups(source, given)
    return given


def _refuse_parted_groups(source: Source, parts: dict[str, list[Film]]) -> None:
    home: dict[str, str] = {}
    for part, films in parts.items():
        for film in films:
            if home.setdefault(film.group, part) != part:
                raise LabelsError(
                    f"source {source.name}: group {film.group} is in {home[film.group]} and in {part} "
                    f'({film.name}); use split = "group"'
                )


def _shares(sources: Sequence[Source], training: Sequence[Film]) -> dict[str, float]:
    films = Counter(film.source for film in training)
    given = {source.name: source.share for source in sources if source.share and films[source.name]}
    if given and set(given) != set(films):
        missing = ", ".join(sorted(set(films) - set(given)))
        raise LabelsError(f"source {missing}: give a share to every source that is trained on, or to none")
    weights = {name: share or 0.0 for name, share in given.items()} or {n: float(c) for n, c in films.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}
