"""Hands work to worker processes, each job with a time limit: a poison file costs one study, never the daemon.

The ledger is polled; there is no other queue. Each worker has a thread here, its :class:`Bench`, that finds the next
job, hands it over and waits for the answer. What a worker cannot answer (it crashed, or it was killed because it took
too long) becomes a failed attempt in the ledger. Rule 4: attempts are counted before the work.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from spinepacs.children import Child
from spinepacs.domain.findings import Versions
from spinepacs.domain.study import Arrival
from spinepacs.errors import DATABASE_AWAY, MEMORY_LIMIT, DatabaseAway, Failed, Transient
from spinepacs.outages import Outage
from spinepacs.serve.jobs import JOBS, Answer, Done, Job, Ready, RegistrationJob, StudyJob, unpack
from spinepacs.serve.processes import Life
from spinepacs.settings.sections import WorkSettings
from spinepacs.store.exclusive import Turn, Unrivalled
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim, StudyClock

REGISTRATION_BATCH = 50
LONGEST_WITHOUT_ASSEMBLY_S = 10.0
"""Studies are assembled when every header has been read, but images that come without a pause must not keep them all
waiting. A study that was taken too early is reopened by its late image."""
REGISTRATION_LIMIT_S = 60.0
"""Headers are read in milliseconds: a worker that takes longer for a batch has met a file that spins."""
START_LIMIT_S = 300.0
RECONCILE_S = 60.0
"""How often the ledger is searched for claims that nobody has in hand (s)."""
WORKER_DIED, TIME_LIMIT, STOPPED = "WORKER_DIED", "TIME_LIMIT", "STOPPED"
_NOT_ITS_FAULT = (STOPPED, "TRANSIENT", DATABASE_AWAY)
"""Attempts that the disk, the database or the end of the daemon broke off: they are not counted."""
_LONGEST_ANSWER = 1 << 16
_SLICE_S, _FAREWELL_S, _LAST_WORD_S = 0.2, 2.0, 10.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_log = logging.getLogger(__name__)


class Dispatcher:
    """Runs the benches, and says how many have a model loaded.

    Parameters
    ----------
    settings
        Number of workers, limits, retries.
    ledger
        Opened by this process.
    hire
        Starts a worker process that says :class:`Ready` or :class:`Failed` and then answers each :data:`Job`.
    assemble
        Names the studies that are complete (see :mod:`spinepacs.intake.assembly`).
    workers
        How many; None: as the settings say.
    turn
        Headers are read, and studies assembled, by one machine at a time.
    machine_id
        Whose claims are ours; empty: there is one machine only.
    """

    def __init__(
        self,
        settings: WorkSettings,
        ledger: Ledger,
        hire: Callable[[], Child],
        assemble: Callable[[Sequence[StudyClock]], list[str]],
        workers: int | None = None,
        turn: Turn | None = None,
        machine_id: Callable[[], str] = lambda: "",
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.hire = hire
        self.stopping = threading.Event()
        self.deadline_s = float("inf")
        """Monotonic time at which work in hand is broken off."""
        self.wakeup = threading.Event()
        """Set when there may be something to do: benches that rest look at once."""
        self._assemble = assemble
        self._turn = turn or Unrivalled()
        self._machine_id = machine_id
        self._intake = threading.Lock()
        self._claiming = threading.Lock()
        self._reconcile_at_s = time.monotonic() + RECONCILE_S
        self._assembled_s = time.monotonic()
        self.outage = Outage(_log, "the work on studies", speaks_for_database=True)
        """Shared by the benches: what stops one of them stops all."""
        self.unregistered = Outage(_log, "the registration of images")
        number = settings.workers if workers is None else workers
        self._benches = [Bench(self, f"worker-{each}") for each in range(1, number + 1)]

    @property
    def models_loaded(self) -> int:
        """Number of workers that are ready for work."""
        return sum(bench.is_ready for bench in self._benches)

    @property
    def why_no_model(self) -> str:
        """Why no worker has a model loaded; empty: one has."""
        if self.models_loaded:
            return ""
        why = next(
            (bench.why_not_hired for bench in self._benches if bench.why_not_hired), "it is being loaded"
        )
        return f"no worker has a model loaded: {why}"

    def workers(self) -> dict[str, Life]:
        """By name how each worker goes."""
        return {bench.thread.name: bench.life() for bench in self._benches}

    @property
    def is_alive(self) -> bool:
        """Whether every bench has its thread."""
        return all(bench.thread.is_alive() for bench in self._benches)

    def start(self) -> None:
        """Start the benches in threads of this process."""
        for bench in self._benches:
            bench.thread.start()

    def stop(self, grace_s: float) -> None:
        """Hand out no more work, let the work in hand finish within ``grace_s`` seconds, return the rest.

        Where the ledger does not answer either, the rest is left to the next start.
        """
        self.deadline_s = time.monotonic() + grace_s
        self.stopping.set()
        self.wakeup.set()
        for bench in self._benches:
            bench.thread.join(max(0.0, self.deadline_s - time.monotonic()) + _LAST_WORD_S)
            bench.break_off()
        self._turn.close()

    def work_once(self, bench: Bench, versions: Versions) -> bool:
        """Do what is next on this bench: headers and assembly (one bench at a time), then a study; False: nothing."""
        has_work, registered = self.ledger.has_work(), False
        if self._intake.acquire(blocking=False):
            try:
                registered = has_work and self._take_turn(bench)
                if not registered:
                    self._reconcile()
            finally:
                self._intake.release()
        if not has_work:
            return False
        if not bench.is_ready:  # its worker has died of a header
            return True
        with self._claiming:
            bench.claim = self.ledger.claim(
                versions, self.settings.maximum_attempts, machine_id=self._machine_id()
            )
        if bench.claim is None:
            return registered
        bench.read(bench.claim)
        return True

    def _take_turn(self, bench: Bench) -> bool:
        """Read headers and assemble studies, unless another machine is about it; whether headers were read."""
        if not self._turn.take():
            return False
        try:
            return self._take_in(bench)
        finally:
            self._turn.release()

    def _take_in(self, bench: Bench) -> bool:
        arrivals = self.ledger.unregistered(REGISTRATION_BATCH, self.settings.urgent_calling_ae_titles)
        registered = bool(arrivals) and bench.register(arrivals)
        # An image whose header has not been read may belong to any study. But one that cannot be read for the
        # time being holds up nobody.
        is_due = not registered or time.monotonic() > self._assembled_s + LONGEST_WITHOUT_ASSEMBLY_S
        if is_due and bench.is_ready:
            self._assembled_s = time.monotonic()
            for study_uid in self._assemble(self.ledger.arriving()):
                self.ledger.mark_ready(study_uid)
        return registered

    def _reconcile(self) -> None:
        """Return what the ledger says is in work and no bench knows of: the answer to a commit may be lost."""
        if time.monotonic() < self._reconcile_at_s:
            return
        with self._claiming:
            claims = [bench.claim for bench in self._benches]
            in_hand = [claim.study_uid for claim in claims if claim]
            returned = self.ledger.return_orphans(in_hand, self._machine_id())
        if returned:
            _log.warning("%d studies were in work and in no worker's hand", returned)
        self._reconcile_at_s = time.monotonic() + RECONCILE_S


class Bench:
    """One worker process and the thread that keeps it busy, replaces it when it dies, and stops it."""

    def __init__(self, dispatcher: Dispatcher, name: str) -> None:
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._dispatcher = dispatcher
        self._worker: Child | None = None
        self._versions: Versions | None = None
        self._pause_s = _FIRST_PAUSE_S
        self.hired = 0
        self._hired_at_s = 0.0
        self.why_not_hired = ""
        """Why the last worker did not begin; empty: it did, or has not said yet."""
        self.claim: Claim | None = None
        """What it has in hand, until the next one is claimed or the turn is over."""

    def life(self) -> Life:
        """Whether its worker is ready, and how often it has been replaced."""
        return Life(self.is_ready, max(0, self.hired - 1), self._hired_at_s)

    @property
    def is_ready(self) -> bool:
        """Whether its worker lives and has a model loaded."""
        return self._versions is not None

    def register(self, arrivals: Sequence[Arrival]) -> bool:
        """Have headers read; False if not all were. One that kills the worker has been counted in the ledger."""
        limit_s = min(REGISTRATION_LIMIT_S, self._dispatcher.settings.time_limit_s)
        answer = self._ask(RegistrationJob(tuple(arrivals)), limit_s)
        if isinstance(answer, Failed):
            self._dispatcher.unregistered.lasts(_why(answer), reason_code=answer.reason_code)
            self._dispatcher.stopping.wait(self._dispatcher.settings.poll_s)
        else:
            self._dispatcher.unregistered.over()
        return isinstance(answer, Done)

    def read(self, claim: Claim) -> None:
        """Have a study read and recorded, or end the attempt with its reason."""
        started = time.monotonic()
        context = {"study_uid": claim.study_uid}
        _log.info("reading, attempt %d", claim.attempt_number, extra=context)
        answer = self._ask(StudyJob(claim), self._dispatcher.settings.time_limit_s)
        if isinstance(answer, Failed):
            level = logging.INFO if answer.reason_code == DATABASE_AWAY else logging.WARNING
            _log.log(
                level, "not read: %s", answer.reason, extra={**context, "reason_code": answer.reason_code}
            )
            self._fail(claim, answer)
        else:
            _log.info("read", extra={**context, "seconds": round(time.monotonic() - started, 3)})

    def _fail(self, claim: Claim, answer: Failed) -> None:
        """End the attempt, waiting while the ledger is away; a daemon that stops leaves that to the next start."""
        settings = self._dispatcher.settings
        wait_s = settings.retry_wait_s * 2.0 ** min(claim.attempt_number - 1, 30)
        retry_at = None if answer.reason_code == STOPPED else datetime.now(UTC) + timedelta(seconds=wait_s)
        how = {"transient": answer.transient, "counted": answer.reason_code not in _NOT_ITS_FAULT}
        while True:
            try:
                self._dispatcher.ledger.fail(
                    claim, answer.reason_code, answer.reason, **how, retry_at=retry_at
                )
                return
            except Transient as error:
                self._dispatcher.outage.lasts(error)
            if self._dispatcher.stopping.wait(settings.poll_s):
                return

    def _run(self) -> None:
        while not self._dispatcher.stopping.is_set():
            try:
                pause_s = self._turn()
            except Transient as error:
                self._dispatcher.outage.lasts(error)
                pause_s = self._longer_pause_s()
            except Exception:
                _log.exception("defect in the dispatcher")
                pause_s = self._longer_pause_s()
            self.claim = None
            self._dispatcher.stopping.wait(pause_s)
        self._dismiss(_FAREWELL_S)

    def _turn(self) -> float:
        """Do one thing, and say how long to pause after it (s)."""
        if self._worker is not None and not self._worker.is_alive:
            _log.warning("%s died idle, exit code %s", self.thread.name, self._worker.exit_code)
            self._dismiss()
        if self._versions is None:
            return self._hire()
        busy = self._dispatcher.work_once(self, self._versions)
        self._dispatcher.outage.over()
        self._pause_s = _FIRST_PAUSE_S
        if not busy:
            self._dispatcher.wakeup.wait(self._dispatcher.settings.poll_s)
            self._dispatcher.wakeup.clear()
        return 0.0

    def _hire(self) -> float:
        """Start a worker and wait for its first word; returns the pause (s) after it."""
        self._worker = self._dispatcher.hire()
        self._hired_at_s = time.time()
        self.hired += 1
        answer = self._wait(START_LIMIT_S, self._dispatcher.stopping.is_set)
        if isinstance(answer, Ready):
            self._versions, self.why_not_hired = answer.versions, ""
            _log.info("%s is ready, pid %d", self.thread.name, self._worker.pid)
            return 0.0
        if isinstance(answer, Failed) and answer.reason_code != STOPPED:
            if answer.reason_code == DATABASE_AWAY:
                self._dispatcher.outage.lasts(_why(answer))
            elif answer.reason != self.why_not_hired:
                _log.error("no worker: %s", answer.reason, extra={"reason_code": answer.reason_code})
            self.why_not_hired = answer.reason
        self._dismiss()
        return self._longer_pause_s()

    def _ask(self, job: Job, limit_s: float) -> Answer:
        assert self._worker is not None  # noqa: S101 - work is only done after _hire
        with suppress(OSError):  # a worker that has just died is found out by _wait
            self._worker.channel.send_bytes(JOBS.dump_json(job))
        answer = self._wait(limit_s, lambda: time.monotonic() > self._dispatcher.deadline_s)
        if isinstance(answer, Failed) and answer.reason_code == MEMORY_LIMIT:
            self._dismiss()
        return answer

    def _wait(self, limit_s: float, stop: Callable[[], bool]) -> Answer:
        """Wait for the worker's word; one that does not come in time, or comes garbled, costs the worker its life."""
        worker, until = self._worker, time.monotonic() + limit_s
        assert worker is not None  # noqa: S101 - only called while there is one
        while True:
            try:
                if worker.channel.poll(_SLICE_S):
                    return unpack(worker.channel.recv_bytes(_LONGEST_ANSWER))
            except (EOFError, OSError, ValueError):
                self._dismiss(_FAREWELL_S)
                return Failed(WORKER_DIED, f"the worker process died, exit code {worker.exit_code}", True)
            if stop():
                self._dismiss()
                return Failed(STOPPED, "the daemon was stopped meanwhile", True)
            if time.monotonic() > until:
                self._dismiss()
                return Failed(TIME_LIMIT, f"stopped after {limit_s:g} s", True)

    def break_off(self) -> None:
        """Leave no worker behind, whatever its thread waits for."""
        worker = self._worker
        if worker is not None:
            worker.kill()

    def _dismiss(self, grace_s: float = 0.0) -> None:
        worker, self._worker, self._versions = self._worker, None, None
        if worker is not None:
            if grace_s:
                worker.ask_to_stop()
            worker.end(grace_s)

    def _longer_pause_s(self) -> float:
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _LONGEST_PAUSE_S)
        return pause_s


def _why(answer: Failed) -> Transient | str:
    """Give an answer's reason as what :class:`~spinepacs.outages.Outage` tells apart."""
    return DatabaseAway(answer.reason) if answer.reason_code == DATABASE_AWAY else answer.reason
