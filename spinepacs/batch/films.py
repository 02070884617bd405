"""Which files a batch is given, and what the results of each are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from spinepacs.batch.folder import is_result
from spinepacs.dicom.reading.kinds import PICTURE, START_BYTES

_LONGEST_STEM_BYTES = 200
"""Of a name of results: file systems take 255 bytes, endings included."""


@dataclass(frozen=True, slots=True)
class Film:
    """One file of a batch.

    Parameters
    ----------
    path
        As it was given or found.
    named
        Whether it was named itself, or found in a folder.
    key
        Which file it is, whoever asks: see :func:`find_films`; hexadecimal.
    stem_is_shared
        Whether another film of the batch has the same name, but for its folder and suffix.
    """

    path: Path
    named: bool
    key: str
    stem_is_shared: bool = False

    @property
    def stem(self) -> str:
        """Its name without suffix; the last number of a name that is a UID is no suffix."""
        return self.path.name if self.path.suffix[1:].isdigit() else self.path.stem

    @property
    def own_stem(self) -> str:
        """A name for its results that no other film has, whatever else is processed, when and by whom."""
        short = os.fsdecode(os.fsencode(self.stem)[:_LONGEST_STEM_BYTES])
        return f"{short}-{self.key[:16]}"

    @property
    def stems(self) -> tuple[str, ...]:
        """Names that its results may have, the one to be preferred first."""
        is_long = len(os.fsencode(self.stem)) > _LONGEST_STEM_BYTES
        return (self.own_stem,) if self.stem_is_shared or is_long else (self.stem, self.own_stem)

    def state(self) -> str:
        """Size and time of change: another state is another film, and is read anew.

        Not its content: to see that 100 000 films are as they were, a terabyte would have to be read.
        """
        try:
            found = self.path.stat()
        except OSError:
            return "gone"
        return f"{found.st_size} {found.st_mtime_ns}"


def find_films(paths: Sequence[Path], out: Path) -> list[Film]:
    """List the films, in the order of ``paths`` and of the names in folders; no file twice.

    A film is known by its path, seen from ``out`` where both lie on one file system, so that machines may mount it
    where they like; else by its absolute path. Links to folders are followed for it, a link to a film is a film of its
    own.

    Parameters
    ----------
    paths
        Files, and folders of them. Of a folder hidden files are left out, and what ``process`` wrote into ``out``.
    out
        Folder of the results; it is there.
    """
    known = _Keys(out)
    found: dict[str, tuple[Path, bool]] = {}
    for path in paths:
        if path.is_dir():
            for file in sorted(_files_below(path)):
                if not is_result(file, out):
                    found.setdefault(known.key_of(file), (file, False))
        else:
            found[known.key_of(path)] = (path, True)
    films = [Film(path, named, key) for key, (path, named) in found.items()]
    shared = _shared_stems(films)
    return [replace(film, stem_is_shared=film.stem.casefold() in shared) for film in films]


def _shared_stems(films: Sequence[Film]) -> set[str]:
    """Stems of several films, without case, since not every file system tells it; a text beside a film is none."""
    groups: dict[str, list[Path]] = {}
    for film in films:
        groups.setdefault(film.stem.casefold(), []).append(film.path)
    return {stem for stem, paths in groups.items() if len(paths) > 1 and _are_films(paths)}


def _are_films(paths: Sequence[Path]) -> bool:
    """Whether more than one is a film; those of one suffix are not opened, there may be 100 000 of them."""
    return len({path.suffix for path in paths}) == 1 or sum(map(_may_be_film, paths)) > 1


def _may_be_film(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(START_BYTES)
    except OSError:
        return True
    return start[128:132] == b"DICM" or PICTURE.match(start) is not None


def _files_below(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if not hidden and file.is_file():
            yield file


class _Keys:
    """Keys of films, folder by folder."""

    def __init__(self, out: Path) -> None:
        self._out = out.resolve()
        self._device = self._out.stat().st_dev
        self._seen = lru_cache(maxsize=1024)(self._seen_from_out)

    def key_of(self, path: Path) -> str:
        """SHA-256 of the path, shortened to 32 hexadecimal digits."""
        name = os.fsencode(os.path.join(self._seen(path.parent), path.name))
        return hashlib.sha256(name).hexdigest()[:32]

    def _seen_from_out(self, folder: Path) -> str:
        real = folder.resolve()
        try:
            near = real.stat().st_dev == self._device
        except OSError:
            near = False
        return os.path.relpath(real, self._out) if near else str(real)
