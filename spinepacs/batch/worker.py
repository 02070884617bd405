"""What a worker process of ``process`` does: one film at a time, from the file to results that lie in ``--out``.

All of it may crash, spin or run out of memory: who handed the film out limits its time, and replaces the worker.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from pydicom import dcmread
from pydicom.encaps import generate_frames

from spinepacs import logs
from spinepacs.batch.folder import (
    FHIR_SUFFIX,
    INNER,
    OBJECT_SUFFIX,
    PICTURE_SUFFIX,
    means_full,
    write_durably,
)
from spinepacs.batch.jobs import CANNOT_GO_ON, Job
from spinepacs.batch.pseudonym import pseudonym
from spinepacs.batch.records import Head, Outcome, Record, Row
from spinepacs.batch.rows import rows_of, unread
from spinepacs.batch.task import Task
from spinepacs.children import keep_memory, limit_memory
from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.parse import quiet
from spinepacs.dicom.wrap import is_picture, wrap
from spinepacs.domain.findings import ImageResult, ObjectKind, Refusal
from spinepacs.domain.study import FilmOwner, StudyHeader
from spinepacs.errors import BadInput, SpinepacsError, failed
from spinepacs.exchange.documents import document
from spinepacs.intake.selection import no_film, select
from spinepacs.language import speaking
from spinepacs.pipeline import Pipeline
from spinepacs.show.page.pages import Pages

_SUFFIXES = (*OBJECT_SUFFIX.values(), PICTURE_SUFFIX, FHIR_SUFFIX)
_RADIOGRAPH_MODALITIES = frozenset({"CR", "DX", "RF", "XA", "RG", "OT", "SC", ""})


def work(channel: Connection, task: Task) -> None:
    """Say with what it reads, or why it cannot; then answer each job with a record until the pipe is closed."""
    logs.configure("WARNING", "text")  # libraries would quote headers
    keep_memory()
    settings = task.settings
    try:
        pipeline = Pipeline.open(
            settings.model, settings.output, task.threads, settings.reading.default_character_set
        )
    except Exception as error:
        channel.send_bytes(json.dumps({"failed": failed(error).reason}).encode())
        return
    channel.send_bytes(json.dumps({"versions": asdict(pipeline.versions)}).encode())
    reader = Reader(pipeline, task)
    limit_memory(settings.work.memory_limit_mb)
    while True:
        try:
            job = Job(**json.loads(channel.recv_bytes()))
        except (EOFError, OSError):
            return
        channel.send_bytes(reader.do(job).pack())


class Reader:
    """Reads films with one pipeline and writes what is to be written of each.

    Parameters
    ----------
    pipeline
        The pipeline that the daemon uses too.
    task
        What is wanted of all films.
    """

    def __init__(self, pipeline: Pipeline, task: Task) -> None:
        self._pipeline, self._task = pipeline, task
        wants_pages = task.page or task.page_identity
        folder = task.out / INNER / "studies"
        self._written: set[str] = set()
        self._pages = Pages(task.out, folder, with_identity=task.page_identity) if wants_pages else None

    def do(self, job: Job) -> Record:
        """Read one film, or only its header; every error becomes what the record says."""
        self._written.clear()
        record = self._done(job)
        if job.had_results and not job.header_only:
            for name in {f"{job.stem}{suffix}" for suffix in _SUFFIXES} - self._written:
                with suppress(OSError):
                    (self._task.out / name).unlink(missing_ok=True)
        return record

    def _done(self, job: Job) -> Record:
        header: StudyHeader | None = None
        try:
            with self._as_dicom(Path(job.path), Path(f"{job.part}.dcm")) as film:
                header = read_header(film, self._pipeline.character_set)
                if job.header_only:
                    return Record(Head("read"), self._patient(header))
                if refusal := self._not_for_us(header):
                    return self._unread(job, header, "refused", refusal)
                return self._read(job, film, header)
        except Exception as error:
            return self._unread(job, header, *_outcome(error, job.named))

    @contextmanager
    def _as_dicom(self, path: Path, wrapped: Path) -> Iterator[Path]:
        """The file itself, or a picture wrapped as DICOM for as long as it is needed."""
        if not is_picture(path):
            yield path
            return
        try:
            wrap(path, wrapped, self._task.pictures.facts_of(path))
            yield wrapped
        finally:
            wrapped.unlink(missing_ok=True)

    def _not_for_us(self, header: StudyHeader) -> Refusal | None:
        if self._task.selects:
            return select(header, self._task.settings.selection, calling_ae="")
        if refusal := no_film(header):
            return refusal
        if header.modality not in _RADIOGRAPH_MODALITIES:
            return Refusal("NOT_SELECTED", "Modality is not that of a radiograph")
        return None

    def _read(self, job: Job, film: Path, header: StudyHeader) -> Record:
        image = self._pipeline.read_or_refuse(film)
        self._write(job, image, header)
        refusal = image.reading.refusal
        head = Head("refused", refusal.code, refusal.reason) if refusal else Head("read")
        return Record.of(head, self._patient(header), rows_of(job.path, image.reading, head.outcome))

    def _unread(self, job: Job, header: StudyHeader | None, outcome: Outcome, refusal: Refusal) -> Record:
        reading = unread(self._pipeline.versions, refusal, header)
        rows = {} if outcome == "skipped" else rows_of(job.path, reading, outcome)
        patient = self._patient(header) if header else {}
        return Record.of(Head(outcome, refusal.code, refusal.reason), patient, rows)

    def _patient(self, header: StudyHeader) -> Row:
        """What the tables tell of the patient."""
        told: Row = {"pseudonym": pseudonym(self._task.key, header)}
        if self._task.identity:
            told |= {name: getattr(header, name) or None for name in self._task.identity_columns}
        return told

    def _write(self, job: Job, image: ImageResult, header: StudyHeader) -> None:
        part = Path(job.part)
        for item in image.objects:
            self._put(f"{job.stem}{OBJECT_SUFFIX[item.kind]}", item.part10, part)
            if item.kind is ObjectKind.OVERLAY:
                self._put(f"{job.stem}{PICTURE_SUFFIX}", _jpeg(item.part10), part)
        if self._task.fhir and image.objects:
            owner = FilmOwner(header.patient_id, header.accession_number, header.study_date)
            version = self._task.settings.output.fhir_version
            found = document(ObjectKind.FHIR, owner, [image.reading], version)
            self._put(f"{job.stem}{FHIR_SUFFIX}", found.part10, part)
        if self._pages:
            with speaking(self._task.settings.output.language):
                self._pages.add(job.stem, image, header)

    def _put(self, name: str, data: bytes | memoryview, part: Path) -> None:
        write_durably(self._task.out / name, (data,), part)
        self._written.add(name)


def _outcome(error: Exception, named: bool) -> tuple[Outcome, Refusal]:
    """What an error makes of a film: its own fault is a refusal, as in the daemon."""
    if isinstance(error, BadInput):
        skipped = error.reason_code in ("NOT_DICOM", "DICOMDIR") and not named
        return "skipped" if skipped else "refused", Refusal(error.reason_code, str(error))
    if isinstance(error, SpinepacsError):
        return "failed", Refusal(type(error).__name__.upper(), str(error))
    if isinstance(error, OSError):
        code = "CANNOT_READ_OR_WRITE"
        if means_full(error):
            code = CANNOT_GO_ON + errno.errorcode[error.errno or 0]
        return "failed", Refusal(code, f"{error.strerror}: {error.filename2 or error.filename}")
    answer = failed(error)  # a defect of ours, or too much memory, costs this film and not the batch
    return "failed", Refusal(answer.reason_code, answer.reason)


def _jpeg(overlay: bytes | memoryview) -> bytes:
    """The one JPEG frame of an overlay object, as it is."""
    with quiet():  # what is wrong with the film's identity is wrong in its copy
        return next(generate_frames(dcmread(BytesIO(overlay)).PixelData, number_of_frames=1))
