"""The tables of a batch, made of its records: CSV, Parquet where it is asked for, and readings.json.

They are written anew as a whole and then take the place of the old ones: whoever opens one finds it whole, and a kill
leaves the old one. While films are read that is done less and less often, so that it takes a twentieth of the time at
most.
"""

from __future__ import annotations

import csv
import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from spinepacs.batch.folder import TABLES
from spinepacs.batch.records import Record, Records, Row
from spinepacs.batch.rows import COLUMNS
from spinepacs.batch.sharing import Sharer
from spinepacs.batch.task import Task
from spinepacs.show.parquet import ParquetFile

FIRST_S = 10.0
"""The first tables are written so long after the beginning (s)."""
_SHARE = 20
_CLAIM = "tables"
_WAIT_S = 0.5


class _Sink(Protocol):
    def write(self, rows: Sequence[Row]) -> None: ...


class Stopped(Exception):  # noqa: N818 - no error: nobody waits for these tables any more
    """The tables are not wanted any more."""


class Tables:
    """Keeps the tables of one ``--out`` up with its records.

    Parameters
    ----------
    task
        Which columns and files are wanted.
    records
        What they are made of.
    sharer
        Of those who share the folder one writes the tables at a time.
    """

    def __init__(self, task: Task, records: Records, sharer: Sharer) -> None:
        self._task, self._records, self._sharer = task, records, sharer
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._due_s = time.monotonic() + FIRST_S

    def keep_up(self) -> None:
        """Write them beside other work, if it is time; never waits."""
        if time.monotonic() < self._due_s or (self._thread and self._thread.is_alive()):
            return
        self._due_s = time.monotonic() + FIRST_S
        if self._sharer.claim(_CLAIM):
            self._thread = threading.Thread(target=self._beside, name="tables", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Write them as the last thing: all that is recorded by now is in them.

        Raises
        ------
        OSError
            If they cannot be written; the old ones stay.
        """
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._stop.clear()
        while not self._sharer.claim(_CLAIM):
            time.sleep(_WAIT_S)
        self._write()

    def _beside(self) -> None:
        start_s = time.monotonic()
        with suppress(Stopped, OSError):  # what cannot be written now is tried again, and told at the end
            self._write()
        now_s = time.monotonic()
        self._due_s = now_s + max(FIRST_S, _SHARE * (now_s - start_s))

    def _write(self) -> None:
        try:
            with ExitStack() as stack:
                files = _Files(self._task, self._sharer.part, stack)
                for stem, record in self._records.all():
                    if self._stop.is_set():
                        raise Stopped
                    files.add(stem, record)
            files.put_in_place()
        finally:
            self._sharer.release(_CLAIM)


class _Files:
    """The files of one turn, growing beside the old ones."""

    def __init__(self, task: Task, part: Callable[[str], Path], stack: ExitStack) -> None:
        self._task, self._part = task, part
        self._patient = ("pseudonym", *task.identity_columns)
        self._names: list[str] = []
        self._json = stack.enter_context(_JsonArray(self._grow("readings.json")))
        self._sinks: dict[str, list[_Sink]] = {table: [] for table in TABLES}
        for table, sinks in self._sinks.items():
            columns = [*COLUMNS[table], *self._patient, *(["results"] if table == "readings" else [])]
            sinks.append(stack.enter_context(_Csv(self._grow(f"{table}.csv"), columns)))
            if task.parquet:
                sinks.append(stack.enter_context(ParquetFile(self._grow(f"{table}.parquet"), columns)))

    def add(self, stem: str, record: Record) -> None:
        """Add one film."""
        content = record.content()
        if not content:
            return
        patient = {name: record.patient.get(name) for name in self._patient}
        beside = patient | {"results": stem.encode(errors="backslashreplace").decode()}
        self._json.add(content["json"] | beside)
        for table, sinks in self._sinks.items():
            rows = [row | beside for row in content[table]]
            for sink in sinks:
                sink.write(rows)

    def put_in_place(self) -> None:
        """Let the new files take the place of the old ones."""
        for name in self._names:
            self._part(name).replace(self._task.out / name)

    def _grow(self, name: str) -> Path:
        self._names.append(name)
        return self._part(name)


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(self._file, columns, restval="", extrasaction="ignore")
        self._writer.writeheader()

    def write(self, rows: Sequence[Row]) -> None:
        self._writer.writerows(rows)

    def __enter__(self) -> _Csv:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.close()


class _JsonArray:
    """An array of which each line is one film."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._before = "[\n"

    def add(self, item: Row) -> None:
        self._file.write(self._before + json.dumps(item, allow_nan=False))
        self._before = ",\n"

    def __enter__(self) -> _JsonArray:
        return self

    def __exit__(self, *error: Any) -> None:
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")
        self._file.close()
