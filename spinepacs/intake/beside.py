"""CSV tables in the watched folder, which say whose the pictures beside and below them are (docs/pictures.md).

A table holds from the moment when it is still, for as long as it names pictures that have not come, an hour after the
last one at most. Then it goes to ``done/`` or, if some never came, to ``failed/``: a picture of next week that has the
same name must not get last week's patient.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from spinepacs.dicom.pictures import PictureFacts, PictureTable
from spinepacs.errors import BadInput

PATIENCE_S = 3600.0
"""Pictures that a table names have so long to come (s) after it, and after the last one that came."""
SUFFIX = ".csv"


def is_table(path: Path) -> bool:
    """Whether a file is to be a table: by its name, since any text may be CSV."""
    return path.suffix.lower() == SUFFIX


@dataclass
class _Held:
    """A table that holds, since when (s), and the lines that have had their picture."""

    table: PictureTable
    since_s: float
    used: set[int] = field(default_factory=set)


class TablesBeside:
    """The tables of one watched folder.

    Parameters
    ----------
    root
        The folder: no table above it is looked for.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[Path, _Held] = {}

    def keep_only(self, there: Collection[Path]) -> None:
        """Forget the tables that are not there any more."""
        self._held = {path: held for path, held in self._held.items() if path in there}

    def holds(self, path: Path) -> bool:
        """Whether a table has been read and holds."""
        return path in self._held

    def hold(self, table: PictureTable, now_s: float) -> None:
        """Let a table hold from now on."""
        self._held[table.path] = _Held(table, now_s)

    def drop(self, path: Path) -> None:
        """Let a table hold no more: it has been changed or moved."""
        self._held.pop(path, None)

    def over(self, path: Path, now_s: float) -> str | None:
        """Whether a table has done its work: empty when it has, why not when its time is over, None: it holds."""
        held = self._held[path]
        lines = {row.line for row in held.table.rows.values()}
        missing = sorted(lines - held.used)
        if not missing:
            return f"PICTURE_TABLE: {held.table.wrong}" if held.table.errors else ""
        if now_s - held.since_s < PATIENCE_S:
            return None
        shown = ", ".join(map(str, missing[:20])) + (" …" if len(missing) > 20 else "")
        return f"PICTURE_TABLE: the files of {len(missing)} of {len(lines)} lines did not come beside it: {shown}"

    def facts_of(self, picture: Path, default: PictureFacts) -> PictureFacts | None:
        """What the nearest table says of a picture; None where none names it.

        Raises
        ------
        BadInput
            ``PICTURE_TABLE`` if its line cannot be used, or was used by another file.
        """
        held, found = self._named_in(picture), None
        if held is not None:
            row = held.table.row(picture)
            if row is not None and row.line in held.used:
                raise BadInput(
                    "PICTURE_TABLE", f"line {row.line}: another file of this name has had this line"
                )
            found = held.table.facts_of(picture, default)
        return found

    def used(self, picture: Path, now_s: float) -> None:
        """Note that a picture has left the folder: its line is used up."""
        held = self._named_in(picture)
        row = held.table.row(picture) if held else None
        if held is not None and row is not None:
            held.used.add(row.line)
            held.since_s = now_s

    def places(self, picture: Path) -> list[Path]:
        """Folders whose tables may name a picture, the nearest first."""
        return [folder for folder in picture.parents if folder == self._root or self._root in folder.parents]

    def _named_in(self, picture: Path) -> _Held | None:
        for folder in self.places(picture):
            for path, held in self._held.items():
                if path.parent == folder and held.table.row(picture) is not None:
                    return held
        return None
