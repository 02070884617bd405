"""The run of a batch: films are handed out to workers, and what becomes of each is recorded at once."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from spinepacs.batch.crew import Bench, Crew
from spinepacs.batch.films import Film
from spinepacs.batch.folder import INNER, writing
from spinepacs.batch.jobs import CANNOT_GO_ON, Job
from spinepacs.batch.records import Head, Record, Records
from spinepacs.batch.rows import rows_of, unread
from spinepacs.batch.sharing import Sharer, Terms
from spinepacs.batch.tables import Tables
from spinepacs.batch.task import Task
from spinepacs.batch.todo import Taken, Todo, claim_of
from spinepacs.children import Child, warm_up
from spinepacs.domain.findings import Refusal, Versions


def work(channel: Connection, task: Task) -> None:
    """Be a worker process; its libraries are not held in memory here."""
    from spinepacs.batch.worker import work

    work(channel, task)


@dataclass
class Summary:
    """What became of the films of one batch, whoever read them and when."""

    read: int = 0
    refused: int = 0
    """Not read, and trying again changes nothing: no film, no spine on it, a damaged file; as in the daemon."""
    failed: int = 0
    """Not read, though the file may be sound: it cannot be opened, results cannot be written, it ended its process."""
    skipped: int = 0
    """Files found in folders that are neither DICOM nor PNG nor JPEG."""
    known: int = 0
    """How many of all these were not read in this run: earlier, or by another process meanwhile."""
    left: int = 0
    """Films that were not come to."""

    def count(self, head: Head) -> None:
        """Count one film."""
        setattr(self, head.outcome, getattr(self, head.outcome) + 1)

    @property
    def exit_code(self) -> int:
        """0 when nothing failed (a refusal is an outcome and no failure, as in the daemon), else 1."""
        return 1 if self.failed else 0


def cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Batch:
    """Processes films with several workers and writes everything below one folder.

    Parameters
    ----------
    task
        What is wanted; its folder is there and can be written (:func:`spinepacs.batch.folder.try_out`).
    workers
        Processes that read; 0: one for each core, of as many threads as the task says.
    again
        Whether films that were read before, with the same model and settings, are read anew.
    """

    def __init__(self, task: Task, *, workers: int = 0, again: bool = False) -> None:
        self._task, self._again = task, again
        self._workers = workers or max(1, cores() // (task.threads or cores()))

    def run(
        self,
        films: Sequence[Film],
        on_film: Callable[[Path, Head], None],
        stopping: threading.Event | None = None,
    ) -> Summary:
        """Process the films; ``on_film`` is told each file and what became of it.

        A file that cannot be read costs nothing but itself. When ``stopping`` is set, what is in work is broken off,
        and the tables hold what is done.

        Raises
        ------
        BadSettings
            If the folder of the results cannot be written any more, or others write to it on other terms.
        Permanent
            If the model or the policy cannot be used.
        """
        stopping = stopping or threading.Event()
        number = max(1, min(self._workers, len(films)))
        limit_s = self._task.settings.work.time_limit_s
        warm_up("spinepacs.batch.preload")
        with Crew(lambda: Child("reader", work, self._task), number, limit_s) as crew:
            versions = crew.await_versions(stopping)
            if versions is None:
                return Summary(left=len(films))
            with writing(self._task.out), Sharer(self._task.out, self._task.terms(versions)) as sharer:
                run = _Run(self._task, versions, crew, sharer, on_film)
                return run.through(films, again=self._again, stopping=stopping)


class _Run:
    """One run, with its workers and its place among those who share the folder."""

    def __init__(
        self,
        task: Task,
        versions: Versions,
        crew: Crew,
        sharer: Sharer,
        on_film: Callable[[Path, Head], None],
    ) -> None:
        self._task, self._versions, self._crew, self._sharer = task, versions, crew, sharer
        self._terms: Terms = task.terms(versions)
        self._on_film = on_film
        self._records = Records(task.out / INNER / "films", sharer.part("record"))
        self._tables = Tables(task, self._records, sharer)
        self._summary = Summary()

    def through(self, films: Sequence[Film], *, again: bool, stopping: threading.Event) -> Summary:
        """Go through the films until each has its record, or one is to stop; the tables are written in any case."""
        todo = Todo(
            films, self._task, self._terms, self._records, self._sharer,
            again=again, on_done=self._known, stopping=stopping,
        )  # fmt: skip
        try:
            while not stopping.is_set():
                for bench in self._crew.idle():
                    if (taken := todo.take()) is None:
                        break
                    self._hand_over(bench, taken)
                if not todo and not self._crew.is_busy:
                    break
                for job, answer in self._crew.answers():
                    self._record(job, answer)
                self._tables.keep_up()
        finally:
            self._crew.end()
            self._tables.finish()
        counted = self._summary
        counted.left = len(films) - counted.read - counted.refused - counted.failed - counted.skipped
        return counted

    def _hand_over(self, bench: Bench, taken: Taken) -> None:
        job = Job(
            str(taken.film.path), taken.film.named, taken.stem, str(self._sharer.part(str(id(bench)))),
            had_results=taken.had_results, header_only=taken.known is not None,
        )  # fmt: skip
        self._crew.give(bench, taken, json.dumps(asdict(job)).encode())

    def _record(self, taken: Taken, answer: Record | Head) -> None:
        """Make durable what became of a film, then let go of it."""
        record = self._lost(taken, answer) if isinstance(answer, Head) else answer
        code = record.head.code
        if code.startswith(CANNOT_GO_ON):
            number = getattr(errno, code.removeprefix(CANNOT_GO_ON))
            raise OSError(number, os.strerror(number))
        head = replace(
            taken.known or record.head, film=taken.film.key, version=taken.version, owner=self._terms.owner
        )
        if taken.known:
            self._records.own_again(taken.stem, head, record.patient)
            self._summary.known += 1
        else:
            self._records.write(taken.stem, replace(record, head=head))
        self._sharer.release(claim_of(taken.stem))
        self._told(taken.film, head)

    def _lost(self, taken: Taken, head: Head) -> Record:
        """What is recorded of a film that took its worker's life or time."""
        reading = unread(self._versions, Refusal(head.code, head.reason), None)
        return Record.of(head, {}, rows_of(str(taken.film.path), reading, head.outcome))

    def _known(self, film: Film, head: Head) -> None:
        self._summary.known += 1
        self._told(film, head)

    def _told(self, film: Film, head: Head) -> None:
        self._summary.count(head)
        self._on_film(film.path, head)
