"""What the child process does that films are decoded in, and how it is spoken to: JSON through its pipe."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from spinepacs import logs
from spinepacs.children import limit_memory
from spinepacs.dicom.reading.header import header_of
from spinepacs.dicom.reading.parse import parse
from spinepacs.domain.corrections import REJECTED, Correction, Draft
from spinepacs.domain.findings import EncodedObject, ImageResult, ObjectKind, Reading, Refusal
from spinepacs.domain.refusals import REFUSALS
from spinepacs.errors import failed
from spinepacs.language import Language, speaking
from spinepacs.pipeline import Pipeline
from spinepacs.review.difference import Change, changes
from spinepacs.review.films import write_film
from spinepacs.settings.settings import Settings
from spinepacs.show.page.article import article, page_title
from spinepacs.show.page.html import document
from spinepacs.show.tables import reading_to_json
from spinepacs.store import story
from spinepacs.store.corrections import CurrentReading
from spinepacs.store.ledger import Ledger
from spinepacs.store.spools import open_spool

READY = b"ready"


@dataclass(frozen=True)
class Look:
    """Say what a draft would change about a film's current reading."""

    sop_uid: str
    draft: Draft
    language: Language = "en"
    kind: Literal["look"] = "look"


@dataclass(frozen=True)
class Write:
    """Write a film with its current outlines into a data set, under a name that says nothing of the patient."""

    sop_uid: str
    folder: str
    name: str
    kind: Literal["write"] = "write"


@dataclass(frozen=True)
class Print:
    """Give a film's current reading as one HTML file to be printed."""

    sop_uid: str
    with_identity: bool
    language: Language = "en"
    kind: Literal["print"] = "print"


Job = Look | Write | Print
JOBS: TypeAdapter[Job] = TypeAdapter(Job)


@dataclass(frozen=True)
class Preview:
    """What a correction would make of a film's reading.

    Parameters
    ----------
    reading_id, author
        The current reading, and whose it is (empty: the model's): what is to be asked for is a change of it.
    changes
        Everything that would be published differently.
    reading
        The reading that would be, as ``readings.json`` holds one (docs/output.md); coordinates in the film's native px.
    """

    reading_id: int
    author: str
    changes: tuple[Change, ...]
    reading: dict[str, Any]


def work(channel: Connection, settings: Settings) -> None:
    """Say that it is ready, or why not; then answer each job until the pipe is closed."""
    logs.configure("WARNING", "text")  # libraries would quote headers
    try:
        desk = Desk(settings)
    except Exception as error:
        channel.send_bytes(_failure(error))
        return
    channel.send_bytes(READY)
    limit_memory(settings.work.memory_limit_mb)
    while True:
        try:
            job = JOBS.validate_json(channel.recv_bytes())
        except (EOFError, OSError):
            return
        channel.send_bytes(desk.do(job))


class Desk:
    """A pipeline whose networks are not asked, the ledger to read, and the spool."""

    def __init__(self, settings: Settings) -> None:
        character_set = settings.reading.default_character_set
        self._pipeline = Pipeline.open(settings.model, settings.output, 1, character_set)
        self._spool = open_spool(settings.storage, machines=settings.cluster.enabled)
        self._ledger = Ledger.open_to_read(settings.storage.database_url)

    def do(self, job: Job) -> bytes:
        """Do one job; every error becomes an answer."""
        try:
            current = self._ledger.corrections.current(job.sop_uid)
            if isinstance(current, Refusal):
                return _refused(current)
            path = self._spool.path_of(current.sha256)
            if isinstance(job, Look):
                with speaking(job.language):
                    return self._look(current, path, job.draft)
            if isinstance(job, Print):
                with speaking(job.language):
                    return self._print(current, path, job)
            write_film(path, current.reading, Path(job.folder), job.name, self._pipeline.character_set)
            return json.dumps({"done": True}).encode()
        except Exception as error:
            return _failure(error)

    def _look(self, current: CurrentReading, path: Path, draft: Draft) -> bytes:
        correction = Correction("preview", draft, datetime.now(UTC), "preview")
        made = self._pipeline.correct(path, current.base, correction)
        if not isinstance(made, ImageResult):
            return _refused(made)
        seen = changes(current.reading, made.reading)
        plain: Reading = made.reading
        preview = Preview(current.reading_id, current.author, seen, reading_to_json("", plain))
        return json.dumps({"preview": asdict(preview)}).encode()

    def _print(self, current: CurrentReading, path: Path, job: Print) -> bytes:
        reading = current.reading
        header = header_of(parse(path, with_pixels=False, character_set=self._pipeline.character_set))
        if reading.refusal and reading.refusal.code == REJECTED and not job.with_identity:
            reading = replace(
                reading, refusal=Refusal(REJECTED, REFUSALS.english[REJECTED])
            )  # whose words may name somebody
        objects: tuple[EncodedObject, ...] = ()
        if overlay := self._overlay(job.sop_uid, current.reading_id):
            part10 = self._spool.path_of(overlay).read_bytes()
            objects = (EncodedObject(ObjectKind.OVERLAY, job.sop_uid, "", "", "", "", part10),)
        elif reading.refusal is None:
            return _refused(Refusal("NO_PICTURE", "the picture of this reading is not in the spool"))
        text = article(ImageResult(reading, objects), header, with_identity=job.with_identity)
        return json.dumps({"page": document(page_title(header)) + text}).encode()

    def _overlay(self, sop_uid: str, reading_id: int) -> str | None:
        """SHA-256 of a reading's picture; one that was accepted has that of the reading before."""
        accepted = {
            row["reading_id"]: row["base_reading_id"]
            for row in self._ledger.corrections.history(sop_uid)
            if [one["kind"] for one in row["operations"]] == ["accept"]
        }
        while reading_id in accepted:
            reading_id = accepted[reading_id]
        return story.overlay_file(self._ledger, reading_id)


def _refused(refusal: Refusal) -> bytes:
    return json.dumps({"refusal": asdict(refusal)}).encode()


def _failure(error: Exception) -> bytes:
    answer = failed(error)
    return json.dumps({"refusal": {"code": answer.reason_code, "reason": answer.reason}}).encode()
