"""What became of each film: one small file for it, put in place whole as soon as the film is read.

A record is three lines: its head, whose film it is, and the rows of the tables, compressed. Everything later is made
of them: the tables, and what a second run or another machine has still to do. So there is no row twice and none lost,
whatever ends when; a film that is read anew replaces its record.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

from spinepacs.batch.folder import write_durably

Outcome = Literal["read", "refused", "failed", "skipped"]
Row = dict[str, Any]
_SUFFIX = ".record"
_LONGEST_HEAD = 1 << 16


@dataclass(frozen=True)
class Head:
    """What became of one film.

    Parameters
    ----------
    outcome
        ``refused``: not read, and trying again changes nothing; ``failed``: not read, though the file may be sound;
        ``skipped``: found in a folder, and neither DICOM nor a picture.
    code, reason
        Why it was not read; empty where it was.
    film, version, owner
        Key of the film; state of the file, model, policy and settings that it was read with; how the patient is told.
    """

    outcome: Outcome
    code: str = ""
    reason: str = ""
    film: str = ""
    version: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Record:
    """What became of one film, and what the tables say of it.

    Parameters
    ----------
    head
        In short.
    patient
        Columns of the patient: pseudonym, and identity where that was asked for.
    rows
        Rows of each table, and under ``json`` the film's entry in readings.json, as compressed JSON.
    """

    head: Head
    patient: Row = field(default_factory=dict)
    rows: bytes = b""

    @classmethod
    def of(cls, head: Head, patient: Row, rows: Row) -> Self:
        """Make one of plain rows."""
        return cls(
            head, patient, zlib.compress(json.dumps(rows, allow_nan=False).encode(), 1) if rows else b""
        )

    def content(self) -> Row:
        """Rows of each table, and the entry in readings.json; empty for a file that was skipped."""
        return dict(json.loads(zlib.decompress(self.rows))) if self.rows else {}

    def pack(self) -> bytes:
        """As bytes, for the disk or a pipe."""
        lines = (json.dumps(asdict(self.head)), json.dumps(self.patient))
        return "".join(f"{line}\n" for line in lines).encode() + self.rows

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Make one of bytes; raises ValueError where they are none."""
        head, patient, rows = data.split(b"\n", 2)
        return cls(_head(head), dict(json.loads(patient)), rows)


class Records:
    """The records of one ``--out``.

    Parameters
    ----------
    folder
        Where they lie; it is there.
    part
        File that a record grows in before it is put in place; no other process writes it.
    """

    def __init__(self, folder: Path, part: Path) -> None:
        self._folder, self._part = folder, part

    def head(self, stem: str) -> tuple[Head, int] | None:
        """Head of the record of this name, and when it was written (ns, the file server's clock); None: no record."""
        try:
            with self._path(stem).open("rb") as file:
                return _head(file.readline(_LONGEST_HEAD)), _written_ns(self._path(stem))
        except (FileNotFoundError, ValueError):  # what a power cut left of a record is no record
            return None

    def write(self, stem: str, record: Record) -> None:
        """Put a record in place; durable when this returns."""
        write_durably(self._path(stem), (record.pack(),), self._part)

    def own_again(self, stem: str, head: Head, patient: Row) -> None:
        """Say anew whose film it is, and leave what was read."""
        old = Record.unpack(self._path(stem).read_bytes())
        self.write(stem, replace(old, head=head, patient=patient))

    def all(self) -> Iterator[tuple[str, Record]]:
        """Every record with its name, in the order of the names; a whole one each, and one at a time in memory."""
        names = sorted(path.name for path in self._folder.iterdir() if path.suffix == _SUFFIX)
        for name in names:
            try:
                yield name.removesuffix(_SUFFIX), Record.unpack((self._folder / name).read_bytes())
            except (FileNotFoundError, ValueError):
                continue

    def _path(self, stem: str) -> Path:
        return self._folder / f"{stem}{_SUFFIX}"


def _head(line: bytes) -> Head:
    try:
        return Head(**json.loads(line))
    except TypeError as error:
        raise ValueError("not a record") from error


def _written_ns(path: Path) -> int:
    return path.stat().st_mtime_ns
