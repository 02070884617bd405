"""What a person says of pictures that have no header: for one of them, or for many in a CSV table.

The watched folder, ``wrap`` and ``process`` all read the same table, documented in docs/pictures.md.
"""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from spinepacs.errors import BadInput, Transient

VIEWS = ("AP", "PA", "LATERAL", "OBLIQUE", "")
"""Projections that may be stated."""
COLUMNS = ("file", "patient_id", "study_date", "spacing_mm", "body_part", "view", "study")
"""Columns of the table; ``file`` must be there."""
MAXIMUM_TABLE_BYTES = 10 << 20
_SHOWN = 8
_DAY = re.compile(r"[0-9]{4}(-[0-9]{2}-[0-9]{2}|[0-9]{4})")
_EXCEL_NUMBER = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)


@dataclass(frozen=True)
class PictureFacts:
    """What a picture's header would say; made by :func:`facts`, which checks it.

    Parameters
    ----------
    patient_id
        PatientID; empty where nobody says.
    study_date
        ``YYYYMMDD`` or empty.
    spacing_mm
        Distance of neighbouring pixels, mm; None where it is not known.
    body_part, view
        BodyPartExamined (``CSPINE``) and ViewPosition (``LATERAL``, ``AP`` …; may be empty).
    study
        Pictures with the same text come into one study; None: each has its own.
    """

    patient_id: str = ""
    study_date: str = ""
    spacing_mm: float | None = None
    body_part: str = "SPINE"
    view: str = ""
    study: str | None = None


def facts(base: PictureFacts | None = None, **stated: Any) -> PictureFacts:
    """Check what is stated and spell it as DICOM does: ``2026-11-20`` becomes 20261120, ``C-Spine`` CSPINE.

    Parameters
    ----------
    base
        What holds where nothing is stated.
    stated
        Fields of :class:`PictureFacts`, as text or as what they are; None and empty text state nothing.

    Raises
    ------
    BadInput
        ``INVALID_PATIENT_ID``, ``INVALID_STUDY_DATE``, ``INVALID_SPACING``, ``INVALID_CODE_STRING``,
        ``INVALID_VIEW``; no message repeats a value.
    """
    found = {name: _CHECKS[name](value) for name, value in stated.items() if value not in (None, "")}
    return replace(base or PictureFacts(), **found)


def _patient_id(value: str) -> str:
    """A text of VR LO (PS3.5 6.2); blanks at its ends do not count."""
    clean = str(value).strip(" ")
    if len(clean) > 64 or "\\" in clean or not clean.isprintable():
        raise BadInput("INVALID_PATIENT_ID", "patient_id takes at most 64 printable characters, no backslash")
    if _EXCEL_NUMBER.fullmatch(clean):
        raise BadInput(
            "INVALID_PATIENT_ID",
            "patient_id was rewritten by a spreadsheet (1.2E+10): store the column as text",
        )
    return clean


def _study_date(value: str) -> str:
    clean = str(value).strip()
    try:
        if _DAY.fullmatch(clean):
            return date.fromisoformat(clean).strftime("%Y%m%d")
    except ValueError:  # the 31st of November
        pass
    raise BadInput("INVALID_STUDY_DATE", "study_date must be a day like 2026-11-20 or 20261120")


def _spacing(value: float | str) -> float:
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        number = 0.0
    if not 0.01 <= number <= 5.0:
        raise BadInput(
            "INVALID_SPACING", "spacing_mm must be between 0.01 and 5 mm: distance of neighbouring pixels"
        )
    return number


def _body_part(value: str) -> str:
    spelt = str(value).strip().upper().replace("-", "")
    if not re.fullmatch(r"[A-Z0-9 _]{0,16}", spelt):
        raise BadInput(
            "INVALID_CODE_STRING",
            "body_part takes at most 16 letters, digits, spaces and underscores: for instance LSPINE",
        )
    return spelt


def _view(value: str) -> str:
    spelt = str(value).strip().upper()
    if spelt not in VIEWS:
        raise BadInput("INVALID_VIEW", f"view must be one of {', '.join(VIEWS[:-1])}, or empty")
    return spelt


_CHECKS: Mapping[str, Any] = {
    "patient_id": _patient_id,
    "study_date": _study_date,
    "spacing_mm": _spacing,
    "body_part": _body_part,
    "view": _view,
    "study": lambda value: str(value).strip(),
}


@dataclass(frozen=True)
class TableRow:
    """One line of a table: what it states, or why it cannot be used."""

    line: int
    stated: PictureFacts
    fields: tuple[str, ...]
    """Which fields it states: the others are the default's."""
    error: str = ""


@dataclass(frozen=True)
class PictureTable:
    """A CSV table, read; rows by the file that they name, seen from the table's own folder."""

    path: Path
    rows: Mapping[str, TableRow]
    errors: tuple[str, ...] = ()
    """What is wrong, one sentence for each line."""

    def row(self, picture: Path) -> TableRow | None:
        """The line that names a picture."""
        return self.rows.get(_key(picture))

    def facts_of(self, picture: Path, default: PictureFacts) -> PictureFacts | None:
        """What its line says of a picture, before the default; None where no line names it.

        Raises
        ------
        BadInput
            ``PICTURE_TABLE`` if that line cannot be used.
        """
        row = self.row(picture)
        if row is None:
            return None
        if row.error:
            raise BadInput("PICTURE_TABLE", row.error)
        return replace(default, **{name: getattr(row.stated, name) for name in row.fields})

    def lines_without(self, pictures: Iterable[Path]) -> list[int]:
        """Lines that name none of these pictures."""
        there = {_key(picture) for picture in pictures}
        return sorted(row.line for key, row in self.rows.items() if key not in there)

    @property
    def wrong(self) -> str:
        """The errors in one text, the first ones where there are many."""
        more = f"; and {len(self.errors) - _SHOWN} more" if len(self.errors) > _SHOWN else ""
        return "; ".join(self.errors[:_SHOWN]) + more


@dataclass(frozen=True)
class Pictures:
    """What is known of all pictures of one command: the table's line where there is one, else what holds for all."""

    default: PictureFacts = PictureFacts()
    table: PictureTable | None = None

    def facts_of(self, picture: Path) -> PictureFacts:
        """What is known of one picture; raises ``BadInput`` (``PICTURE_TABLE``) if its line cannot be used."""
        found = self.table.facts_of(picture, self.default) if self.table else None
        return found or self.default

    def has_no_line(self, picture: Path) -> bool:
        """Whether there is a table, and it does not name this picture."""
        return self.table is not None and self.table.row(picture) is None


def read_table(path: Path) -> PictureTable:
    """Read a CSV table of pictures: UTF-8, separated by comma, semicolon or tab, its first line naming the columns.

    A line that cannot be used is an error of that line; the others hold.

    Raises
    ------
    BadInput
        ``PICTURE_TABLE`` if the whole cannot be used: encoding, columns, size.
    Transient
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_TABLE_BYTES + 1)
    except OSError as error:
        raise Transient(f"cannot read the table: {error.strerror}") from None
    lines = csv.reader(io.StringIO(_text(data), newline=""), delimiter=_delimiter(data), strict=True)
    read = _Reader(path)
    try:
        read.header(next(lines, []))
        for cells in lines:
            read.line(lines.line_num, cells)
    except csv.Error as error:
        raise BadInput("PICTURE_TABLE", f"line {lines.line_num}: no CSV ({error})") from None
    return PictureTable(path, read.rows, tuple(read.errors))


def _text(data: bytes) -> str:
    if len(data) > MAXIMUM_TABLE_BYTES:
        raise BadInput("PICTURE_TABLE", f"it has more than {MAXIMUM_TABLE_BYTES} bytes: split it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput("PICTURE_TABLE", f"line {line}: not UTF-8: save the table as CSV UTF-8") from None


def _delimiter(data: bytes) -> str:
    """What parts the names of the columns: spreadsheets of some countries write semicolons."""
    first = data.split(b"\n", 1)[0]
    return max(",;\t", key=lambda mark: first.count(mark.encode()))


@dataclass
class _Reader:
    """Takes the lines of one table."""

    path: Path
    columns: list[str] = field(default_factory=list)
    rows: dict[str, TableRow] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    _studies: dict[str, TableRow] = field(default_factory=dict)

    def header(self, cells: list[str]) -> None:
        """Take the names of the columns; the cells are not repeated: without a header they would be a patient's."""
        self.columns = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in cells]
        known = f"the columns are {', '.join(COLUMNS)}, named in line 1"
        for number, name in enumerate(self.columns, 1):
            if name not in COLUMNS:
                raise BadInput("PICTURE_TABLE", f"line 1: column {number} has no name that is known; {known}")
            if self.columns.index(name) < number - 1:
                raise BadInput("PICTURE_TABLE", f"line 1: two columns are called {name}")
        if "file" not in self.columns:
            raise BadInput("PICTURE_TABLE", f"line 1: there is no column 'file'; {known}")

    def line(self, number: int, cells: list[str]) -> None:
        """Take one line; an empty one says nothing."""
        if not any(cell.strip() for cell in cells):
            return
        if len(cells) != len(self.columns):
            self._wrong(number, f"{len(cells)} cells, but {len(self.columns)} columns", cells)
            return
        stated = dict(zip(self.columns, (cell.strip() for cell in cells), strict=True))
        file = stated.pop("file")
        if not file:
            self._wrong(number, "it names no file", cells)
            return
        try:
            fields = tuple(name for name, value in stated.items() if value)
            row = TableRow(number, facts(None, **stated), fields)
        except BadInput as error:
            self._wrong(number, str(error), cells)
            return
        self._add(file, row)

    def _add(self, file: str, row: TableRow) -> None:
        key = self._key_of(file)
        other = self.rows.get(key)
        if other is not None:
            words = f"line {row.line}: its file is named in line {other.line} too"
            self.rows[key] = replace(other, error=words)
            self.errors.append(words)
            return
        first = self._studies.setdefault(row.stated.study, row) if row.stated.study else row
        if (first.stated.patient_id, first.stated.study_date) != (
            row.stated.patient_id,
            row.stated.study_date,
        ):
            words = f"line {row.line}: its study has another patient_id or study_date in line {first.line}"
            self.errors.append(words)
            row = replace(row, error=words)
        self.rows[key] = row

    def _wrong(self, number: int, words: str, cells: list[str]) -> None:
        """Keep the error, and let it be that of the file that the line names, as far as it does."""
        words = f"line {number}: {words}"
        self.errors.append(words)
        at = self.columns.index("file")
        if at < len(cells) and cells[at].strip():
            self.rows[self._key_of(cells[at].strip())] = TableRow(number, PictureFacts(), (), words)

    def _key_of(self, file: str) -> str:
        return _key(self.path.parent / file.replace("\\", "/"))


def _key(path: Path) -> str:
    """One spelling for one file: archives and shares of Macs spell an accented letter as two (NFD)."""
    return unicodedata.normalize("NFC", os.path.realpath(path))
