"""What a worker process does: reads headers, and reads studies with one pipeline that it builds once.

All of it may crash, spin or run out of memory: the dispatcher limits its time and replaces it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from spinepacs import logs
from spinepacs.children import keep_memory, limit_memory, return_memory
from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.findings import DOCUMENTS, ImageResult, Refusal, StudyResult
from spinepacs.domain.study import NO_FILM, Arrival, Source
from spinepacs.errors import BadModel, BadSettings, Permanent, Transient, failed
from spinepacs.exchange.documents import Wanted, with_documents
from spinepacs.intake.selection import select
from spinepacs.pipeline import Pipeline
from spinepacs.serve.jobs import JOBS, Answer, Done, Job, Ready, RegistrationJob, StudyJob, pack
from spinepacs.serve.pages import with_page, with_pages
from spinepacs.settings.settings import Settings
from spinepacs.show.page.pdf import load_weasyprint
from spinepacs.store.corrections import FILM_GONE
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim, CorrectionJob, Registration
from spinepacs.store.results import owners_of, so_far
from spinepacs.store.spools import open_spool

TOGETHER = 10
"""Headers that are registered in one transaction: listeners wait for it while they take in more."""


def work(channel: Connection, settings: Settings) -> None:
    """Say ``Ready`` or ``Failed``, then answer jobs until the dispatcher closes the pipe."""
    logs.configure(settings.log.level, settings.log.format)
    keep_memory()
    try:
        worker = Worker(settings)
    except Exception as error:
        channel.send_bytes(pack(failed(error)))
        return
    return_memory()
    channel.send_bytes(pack(Ready(worker.pipeline.versions)))
    limit_memory(settings.work.memory_limit_mb)
    while True:
        try:
            job = JOBS.validate_json(channel.recv_bytes())
        except (EOFError, OSError):
            return
        channel.send_bytes(pack(worker.do(job)))


class Worker:
    """One pipeline, one spool, one ledger.

    Parameters
    ----------
    settings
        All of them: it needs storage, model, selection, reading, output, work and the destinations.

    Raises
    ------
    BadModel
        If the model folder or the policy cannot be used.
    BadSettings
        If pages are to be sent, and WeasyPrint is not there.
    Transient
        If the ledger is away.
    """

    def __init__(self, settings: Settings) -> None:
        threads = settings.work.threads_per_worker or max(1, (os.cpu_count() or 1) // settings.work.workers)
        character_set = settings.reading.default_character_set
        self.pipeline = Pipeline.open(settings.model, settings.output, threads, character_set)
        self._threads = threads
        self._further: Pipeline | None = None
        self._settings = settings
        self._wanted = {kind for destination in settings.destinations for kind in destination.send}
        if "PDF" in self._wanted:
            load_weasyprint()
        self._spool = open_spool(settings.storage, machines=settings.cluster.enabled)
        self._ledger = Ledger.open(settings.storage.database_url, migrate=False)

    def do(self, job: Job) -> Answer:
        """Do one job; every error becomes an answer."""
        try:
            match job:
                case RegistrationJob(arrivals):
                    self.register_all(arrivals)
                case StudyJob(claim):
                    self.read(claim)
        except Exception as error:
            return failed(error)
        return Done()

    def register_all(self, arrivals: Sequence[Arrival]) -> None:
        """Register each; one that has to wait does not hold up the others.

        Raises
        ------
        Transient
            At the end, if any has to wait.
        """
        waiting: list[Transient] = []
        for start in range(0, len(arrivals), TOGETHER):
            try:
                self._register_together(arrivals[start : start + TOGETHER], waiting)
            except Transient as error:
                waiting.append(error)
        if waiting:
            raise waiting[-1]

    def _register_together(self, arrivals: Sequence[Arrival], waiting: list[Transient]) -> None:
        """Register these in one transaction, but those by themselves whose header has been begun before."""
        there = [arrival for arrival in arrivals if self._is_there(arrival, waiting)]
        may_share = self._settings.work.maximum_attempts > 1
        ids = [arrival.arrival_id for arrival in there]
        fresh = self._ledger.begin_first_registrations(ids) if may_share and len(ids) > 1 else set()
        read = [self._read_header(arrival, waiting) for arrival in there if arrival.arrival_id in fresh]
        if found := [each for each in read if each is not None]:
            self._ledger.register_together(found)
        for arrival in there:
            if arrival.arrival_id not in fresh:
                try:
                    self._register_alone(arrival, waiting)
                except Transient as error:
                    waiting.append(error)

    def _is_there(self, arrival: Arrival, waiting: list[Transient]) -> bool:
        """Whether its file is there; a disk that is away is no attempt, and a file that is gone is said."""
        try:
            if is_there(self._spool.path_of(arrival.sha256)):
                return True
            gone = Refusal("FILE_MISSING", "its file is no longer in the spool: send the image again")
            self._ledger.mark_unreadable(arrival.arrival_id, gone)
        except Transient as error:
            waiting.append(error)
        return False

    def _register_alone(self, arrival: Arrival, waiting: list[Transient]) -> None:
        """Count the attempt, then read: a header that has killed its reader too often is given up."""
        attempt = self._ledger.begin_registration(arrival.arrival_id)
        if attempt > self._settings.work.maximum_attempts:
            why = Refusal("HEADER_KILLS_READER", "reading its header ended the worker process each time")
            self._ledger.mark_unreadable(arrival.arrival_id, why)
        elif found := self._read_header(arrival, waiting):
            self._ledger.register_together([found])

    def _read_header(self, arrival: Arrival, waiting: list[Transient]) -> Registration | None:
        """Read one header, whose attempt has been counted; None: it has to wait, or is unreadable, which is said."""
        try:
            header = read_header(self._spool.path_of(arrival.sha256), self.pipeline.character_set)
            rules = self._settings.selection
            if arrival.source is Source.CAMPAIGN:  # a person has named the archive: no sender is asked for
                rules = rules.model_copy(update={"calling_ae_titles": ()})
            refusal = select(header, rules, arrival.calling_ae)
        except Transient as error:
            waiting.append(error)
            return None
        except Exception as error:
            answer = failed(error)
            self._ledger.mark_unreadable(arrival.arrival_id, Refusal(answer.reason_code, answer.reason))
            return None
        urgent = (
            header.priority in self._settings.work.urgent_priorities
            or arrival.calling_ae in self._settings.work.urgent_calling_ae_titles
        )
        drop = refusal is not None and refusal.code in NO_FILM and self._settings.selection.others == "drop"
        again = self._settings.priors.ask_again_after if arrival.source is not Source.SPOOL else None
        return Registration(arrival.arrival_id, header, refusal, urgent, drop, again)

    def read(self, claim: Claim) -> None:
        """Read one study, keep the objects, then record everything in one transaction.

        Raises
        ------
        Permanent
            If a film is no longer in the spool: waiting would not bring it back.
        """
        films = [self._spool.path_of(arrival.sha256) for arrival in claim.arrivals]
        if gone := sum(not is_there(film) for film in films):
            raise Permanent(
                f"{gone} of its films are not in the spool: send the study again, then `spinepacs retry` it"
            )
        result = self._pipeline_of(claim).read_study(claim.study_uid, films)
        is_sent = claim.campaign is None or claim.campaign.delivers
        if "PDF" in self._wanted and is_sent:
            result = with_pages(result, films, self.pipeline.character_set, self._settings.output)
        result = replace(result, corrections=tuple(map(self._correct, claim.corrections)))
        result = self._documented(result, is_sent)
        made = [
            item
            for image in (*result.images, *result.corrections)
            if isinstance(image, ImageResult)
            for item in image.objects
        ]
        kept = self._spool.add_together([item.part10 for item in made])
        stored = {item.sop_uid: file.sha256 for item, file in zip(made, kept, strict=True)}
        self._ledger.record(claim, result, stored, self._settings.destinations)

    def _documented(self, result: StudyResult, is_sent: bool) -> StudyResult:
        """Add the documents that some destination is sent."""
        if self._wanted.isdisjoint(DOCUMENTS):
            return result
        owners = owners_of(self._ledger, result.study_uid)
        wanted = Wanted(self._wanted, owners, self._settings.output.fhir_version)
        return with_documents(result, wanted, so_far(self._ledger, result.study_uid), is_sent=is_sent)

    def _correct(self, job: CorrectionJob) -> ImageResult | Refusal:
        """Make of a film's reading what a person says; what is wrong with the film, or with us, refuses that alone."""
        path = self._spool.path_of(job.arrival.sha256)
        if not is_there(path):
            return FILM_GONE
        base = self._ledger.corrections.base_of(job.correction_id)
        try:
            result = self.pipeline.correct(path, base, job.correction, job.earlier)
            # The page of what is accepted is there already, and would not differ.
            is_new = not (job.correction.draft.is_acceptance and job.earlier)
            if isinstance(result, Refusal) or "PDF" not in self._wanted or not is_new:
                return result
            return with_page(result, path, self.pipeline.character_set, self._settings.output)
        except (Transient, MemoryError):
            raise
        except Exception as error:  # it costs this correction, and not the films that are read with it
            answer = failed(error)
            return Refusal(answer.reason_code, answer.reason)

    def _pipeline_of(self, claim: Claim) -> Pipeline:
        """Give our own, or that of a campaign; one more than our own is kept open.

        Raises
        ------
        Transient
            If the campaign's model cannot be used: a person can mend that, and no study is to blame.
        """
        campaign = claim.campaign
        if campaign is None:
            return self.pipeline
        found = self.pipeline if self.pipeline.versions == claim.versions else self._further
        if found is None or found.versions != claim.versions:
            model = self._settings.model.model_copy(
                update={"folder": Path(campaign.model_folder), "policy": Path(campaign.policy_file)}
            )
            self._further = None  # before the next one is loaded: two of them are enough
            try:
                found = Pipeline.open(
                    model, self._settings.output, self._threads, self.pipeline.character_set
                )
            except (BadModel, BadSettings) as error:
                raise Transient(f"a campaign's model: {error}") from error
            if found.versions != claim.versions:
                raise Transient(
                    "a campaign's model: its folder or its policy is of another version now; put the old one back, or "
                    "cancel the campaign and start another"
                )
            self._further = found
        return found if campaign.delivers else found.without_objects()


def is_there(path: Path) -> bool:
    """Whether the spool gives the file; raises Transient if the disk itself does not answer, or is not mounted."""
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and path.parent.is_dir():
            return False
        raise Transient(f"the spool does not give a file: {error.strerror}") from error
    return True
