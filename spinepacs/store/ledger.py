"""The ledger: the one truth about what came in, what was found and what was sent.

Each method is one transaction and may be called from any thread. A process that forks or spawns others opens
a ledger in each of them: connections are never shared (see :class:`spinepacs.store.engine.Database`).

Every method raises :class:`~spinepacs.errors.Transient` when the database is busy, away or full, and
changes nothing then.

What only some processes ask for is imported when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Select

from spinepacs.domain.findings import Refusal, StudyResult, Versions
from spinepacs.domain.study import Arrival, StudyHeader
from spinepacs.settings.destinations import Destination
from spinepacs.store import arrivals, audit, counts, events, folder, outbox, studies, unseen
from spinepacs.store.engine import Access, Announce, Database
from spinepacs.store.joint import JointWriter
from spinepacs.store.migration import check as check_tables
from spinepacs.store.migration import migrate as migrate_tables
from spinepacs.store.notices import Notices
from spinepacs.store.occasions import Occasions
from spinepacs.store.records import (
    ArrivalOutcome,
    Claim,
    FailedFile,
    NewArrival,
    OpenCounts,
    OutboxItem,
    OutboxState,
    QueueCounts,
    Registration,
    StudyClock,
    Waiting,
)

if TYPE_CHECKING:
    from spinepacs.store.accounts import Accounts
    from spinepacs.store.campaigns import Campaigns
    from spinepacs.store.commitments import Commitments
    from spinepacs.store.corrections import Corrections
    from spinepacs.store.files import Files
    from spinepacs.store.machines import Machines
    from spinepacs.store.priors import Priors
    from spinepacs.store.rereading import Rereading
    from spinepacs.store.samples import Samples
    from spinepacs.store.workitems import Workitems


class Ledger:
    """See the module; made by :meth:`open`, usable as a context manager."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._arrivals: JointWriter[NewArrival, ArrivalOutcome] = JointWriter(database, arrivals.add)

    @classmethod
    def open(cls, url: str, migrate: bool = True, announce: Announce | None = None) -> Ledger:
        """Open the database, by default making what is missing; safe when several processes do so at once.

        Parameters
        ----------
        url
            ``sqlite:////absolute/path`` or ``postgresql+psycopg://…`` (``postgresql://`` is taken too).
        announce
            Is told of studies that become ready, inside the transaction that makes them so.

        Raises
        ------
        BadSettings
            If the URL is neither SQLite in a file nor PostgreSQL.
        Permanent
            If the tables are newer than this version, or older or missing and ``migrate`` is False.
        ToMend
            If it cannot be reached before a person has mended a setting or a right.
        Transient
            If it cannot be reached now.
        """
        database = Database(url, Access.MAKE if migrate else Access.WRITE, announce)
        return cls._checked(database, migrate_tables if migrate else check_tables)

    @classmethod
    def open_to_read(cls, url: str) -> Ledger:
        """Open it for questions only: nothing is made or changed, whoever asks; raises as :meth:`open`."""
        return cls._checked(Database(url, Access.READ), check_tables)

    @classmethod
    def _checked(cls, database: Database, check: Callable[[Database], None]) -> Ledger:
        try:
            check(database)
        except BaseException:
            database.close()
            raise
        return cls(database)

    @property
    def url(self) -> str:
        """The URL as given, password included: for opening the same ledger in a child process; never log it."""
        return self._database.url

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- arrivals ------------------------------------------------------------------------------------------

    def add_arrival(self, new: NewArrival) -> ArrivalOutcome:
        """Take in a file that the spool holds; durable when this returns, so that success may be answered.

        A file whose SOP UID is known only from unreadable files is NEW. Threads that call at the same time share a
        transaction.
        """
        return self._arrivals.write(new)

    def unregistered(self, limit: int, urgent_aes: Collection[str] = ()) -> list[Arrival]:
        """Arrivals whose header has not been read, oldest first; before them, to half of the limit, urgent senders'."""
        with self._database.read() as connection:
            return arrivals.unregistered(connection, limit, urgent_aes)

    def begin_registration(self, arrival_id: int) -> int:
        """Count an attempt to read the header before it is made, and give its number (1 for the first).

        A header that kills the process that reads it is then found out; call :meth:`mark_unreadable` for it.
        """
        return self._database.write(arrivals.begin_registration, arrival_id)

    def begin_first_registrations(self, arrival_ids: Collection[int]) -> set[int]:
        """Count the first attempt of those that have had none, in one transaction, and name them.

        For headers that are read together. Where that kills the process, each of them is tried again by itself: so one
        costs the others this one attempt and no more.
        """
        return self._database.write(arrivals.begin_first_registrations, arrival_ids)

    def register(
        self,
        arrival_id: int,
        header: StudyHeader,
        refusal: Refusal | None,
        urgent: bool = False,
        drop: bool = False,
        ask_again_after: timedelta | None = None,
    ) -> None:
        """Attach an arrival to its study, which is made if it is new (state ``arriving``).

        Without refusal the image is selected and a study that was recorded, delivered, refused or failed is
        reopened: ``arriving``, attempts from zero. A study that is ``ready`` or ``working`` stays so: a claim
        takes what is there, and :meth:`record` reopens for what came meanwhile. A refused image is attached
        and reopens nothing.

        An arrival that is registered already stays as it is. One whose header holds another SOP UID than the
        sender stated is marked unreadable (``SOP_UID_MISMATCH``).

        What a campaign has brought, or asked an archive for (C-MOVE), is not the day's work: its study is read for the
        campaign, unless the day has it in work.

        One ``urgent`` image makes its study urgent: it is claimed before others, see :meth:`claim`. The file of one to
        ``drop`` is no longer wanted, its row stays.

        ``ask_again_after`` (None: never): the patient of a film of the day's work is to be asked for in an archive, see
        :mod:`spinepacs.store.prior_asks`. What was fetched so asks for nobody. A film of another patient than was asked
        for is refused (``OTHER_PATIENT``).

        Each film keeps its own patient; the study keeps that of its first selected one. A film of another patient makes
        an event (``patients-differ``).
        """
        self.register_together([Registration(arrival_id, header, refusal, urgent, drop, ask_again_after)])

    def register_together(self, found: Sequence[Registration]) -> None:
        """:meth:`register` for several, in their order and in one transaction: it waits for the disk once."""
        self._database.write(arrivals.register, found)

    def mark_unreadable(self, arrival_id: int, refusal: Refusal) -> None:
        """Keep an arrival without usable header, with its reason; it is listed by ``spinepacs queue``.

        If another file of the same SOP UID is kept as a conflict, that one takes its place.
        """
        self._database.write(arrivals.mark_unreadable, arrival_id, refusal)

    def note_failed_files(self, there: Collection[FailedFile]) -> None:
        """Write down what lies in ``failed/`` of the watched folder now: rows and events for what is new."""
        self._database.write(folder.note, there)

    # -- studies -------------------------------------------------------------------------------------------

    def has_work(self) -> bool:
        """Whether a header waits to be read, or a study to be assembled or read, be it later."""
        with self._database.read() as connection:
            return studies.has_work(connection)

    def arriving(self) -> list[StudyClock]:
        """Studies in state ``arriving``, for the assembly to judge."""
        with self._database.read() as connection:
            return studies.arriving(connection)

    def mark_ready(self, study_uid: str) -> None:
        """``arriving → ready``; ``refused`` if none of its images was selected; else nothing changes."""
        self._database.write(studies.mark_ready, study_uid)

    def claim(
        self, versions: Versions, maximum_attempts: int, now: datetime | None = None, machine_id: str = ""
    ) -> Claim | None:
        """Take the study that has been due longest, or None: ``ready → working``, the attempt counted before the work.

        ``versions`` are the daemon's own. Where nothing of the day's work is due, a study of a running campaign is
        given, to be read with the campaign's (:attr:`Claim.campaign`).

        An urgent study counts as due an hour earlier (:data:`spinepacs.store.turns.HEAD_START`). The claim is that of
        the machine ``machine_id`` (empty: there is only one); one that is taken for dead gets none.

        Safe with any number of claimers. A study whose attempts are used up (its workers died) becomes
        ``failed`` with reason ``ATTEMPTS_USED_UP``; one that has nothing left to read moves on to where its
        readings put it; then the next is tried.
        """
        return self._database.write(studies.claim, versions, maximum_attempts, now, machine_id)

    def record(
        self,
        claim: Claim,
        result: StudyResult,
        stored: Mapping[str, str],
        destinations: Sequence[Destination],
    ) -> bool:
        """Write readings, vertebrae, discs, findings, objects and outbox, and move the study on; one transaction.

        The study becomes ``recorded`` (something is to be sent), ``delivered`` (nothing is), ``refused``
        (no image of it was read), or ``arriving`` again when an image came meanwhile.

        Parameters
        ----------
        result
            One image for each arrival of the claim, and one result or refusal for each of its corrections, in their
            order.
        stored
            SHA-256 in the spool by SOP UID of the object; every object of ``result`` must be in it.
        destinations
            Each gets the kinds of objects that it asks for.

        Returns
        -------
        bool
            False if the claim had ended before (recorded, failed or taken back): then nothing changes.

        Raises
        ------
        Permanent
            If the result is not that of the claim, or an object has no file: nothing is recorded.
        """
        from spinepacs.store import recording

        return self._database.write(recording.record, claim, result, stored, destinations)

    def fail(
        self,
        claim: Claim,
        reason_code: str,
        reason: str,
        *,
        transient: bool,
        counted: bool = True,
        retry_at: datetime | None = None,
    ) -> bool:
        """End an attempt without result.

        Transient and attempts left: ``ready`` again, not before ``retry_at`` (None: at once); else ``failed``. An
        attempt that the disk or the database ended is not ``counted``: a night without them gives no study up.
        Returns False, and changes nothing, if the claim had ended before.
        """
        return self._database.write(
            studies.fail,
            claim,
            reason_code,
            reason,
            transient=transient,
            counted=counted,
            retry_at=retry_at,
        )

    def return_orphans(self, in_hand: Collection[str] = (), machine_id: str = "") -> int:
        """``working → ready`` for studies whose worker is gone.

        That are all but those (Study UIDs) that are ``in_hand`` of the machine that asks, ``machine_id``, and those of
        other machines that live (see :attr:`machines`). Empty: of no machine; then the claims of all that live stay.

        For the start of the daemon, before any claim, and from time to time: a claim may have been committed though its
        answer was lost. Returns how many. Those whose attempts are used up become ``failed`` at the next :meth:`claim`.
        """
        return self._database.write(studies.return_orphans, in_hand, machine_id)

    def retry(self, study_uid: str | None = None, destination: str | None = None) -> int:
        """Try again what failed, attempts from zero: the study and its objects, or with None all of them.

        With a destination: the objects for it only. Returns the number of studies and outbox rows that will be tried
        again.
        """
        return self._database.write(studies.retry, study_uid, destination)

    @property
    def rereading(self) -> Rereading:
        """Films that are read again, or selected anew."""
        from spinepacs.store.rereading import Rereading

        return Rereading(self._database)

    @property
    def corrections(self) -> Corrections:
        """What persons change about readings, and which reading of a film is the current one."""
        from spinepacs.store.corrections import Corrections

        return Corrections(self._database)

    @property
    def campaigns(self) -> Campaigns:
        """Campaigns over an archive."""
        from spinepacs.store.campaigns import Campaigns

        return Campaigns(self._database)

    @property
    def priors(self) -> Priors:
        """Whose earlier studies an archive is to be asked for."""
        from spinepacs.store.priors import Priors

        return Priors(self._database)

    @property
    def workitems(self) -> Workitems:
        """Workitems of a worklist."""
        from spinepacs.store.workitems import Workitems

        return Workitems(self._database)

    def see(self, study_uid: str | None = None) -> int:
        """Write down that a person has seen to what a study (None: any) is in :attr:`QueueCounts.unseen` for.

        What comes after that is shown again. Returns the number of studies.
        """
        return self._database.write(unseen.see, study_uid)

    # -- outbox --------------------------------------------------------------------------------------------

    def due(self, destination: str, now: datetime | None = None, limit: int = 100) -> list[OutboxItem]:
        """Pending objects of one destination whose time has come, study by study, oldest first."""
        with self._database.read() as connection:
            return outbox.due(connection, destination, now, limit)

    def begin_delivery(self, outbox_ids: Sequence[int], not_before: datetime | None = None) -> None:
        """Count an attempt of each row before it is made; a row stays pending until it is finished.

        ``not_before``: when it is due again if this attempt never ends, since its sender has died of it.
        """
        self._database.write(outbox.begin, outbox_ids, not_before)

    def postpone_delivery(
        self, outbox_ids: Sequence[int], next_attempt_at: datetime, message: str, gives_back: bool = False
    ) -> None:
        """Let rows wait, uncounted: their destination could not be reached, which is not their fault.

        ``gives_back``: an attempt has been counted, and then turned out to be none.
        """
        self._database.write(outbox.postpone, outbox_ids, next_attempt_at, message, gives_back)

    def finish_delivery(
        self,
        outbox_id: int,
        state: OutboxState,
        status: int | None,
        message: str = "",
        next_attempt_at: datetime | None = None,
        commitment_due_at: datetime | None = None,
    ) -> None:
        """Write down how an attempt ended; the study becomes ``delivered`` when nothing more is to come of its rows.

        Parameters
        ----------
        status
            The C-STORE status, None if there was no answer.
        next_attempt_at
            For ``pending``: not before then.
        commitment_due_at
            For ``sent``: when the destination is to be asked whether it keeps the object; None: never.
        """
        self._database.write(
            outbox.finish, outbox_id, state, status, message, next_attempt_at, commitment_due_at
        )

    @property
    def machines(self) -> Machines:
        """The machines that work on this database."""
        from spinepacs.store.machines import Machines

        return Machines(self._database)

    @property
    def accounts(self) -> Accounts:
        """Who may see the console, and who is logged in."""
        from spinepacs.store.accounts import Accounts

        return Accounts(self._database)

    @property
    def notices(self) -> Notices:
        """What is to be told to whom."""
        return Notices(self._database)

    @property
    def occasions(self) -> Occasions:
        """What there is to tell."""
        return Occasions(self._database)

    @property
    def samples(self) -> Samples:
        """How much was going on."""
        from spinepacs.store.samples import Samples

        return Samples(self._database)

    @property
    def files(self) -> Files:
        """Which files of the spool are wanted, and which may go."""
        from spinepacs.store.files import Files

        return Files(self._database)

    @property
    def commitments(self) -> Commitments:
        """What the destinations have promised to keep."""
        from spinepacs.store.commitments import Commitments

        return Commitments(self._database)

    def hurry(self, study_uid: str | None = None, destination: str | None = None) -> int:
        """Let what waits be sent, or its commitment be asked for, now (its PACS is repaired); how many objects."""
        return self._database.write(outbox.hurry, study_uid, destination)

    def strays(self, destinations: Collection[str]) -> dict[str, int]:
        """Objects that wait for other destinations than these, by name: nobody is going to send them."""
        with self._database.read() as connection:
            return outbox.strays(connection, destinations)

    def redirect(self, old: str, new: str) -> int:
        """Send what waits for one destination, or failed there, to another one; returns how many objects.

        What the other one has been given before is not sent to it twice.
        """
        return self._database.write(outbox.redirect, old, new)

    def withdraw(self, destination: str) -> int:
        """Send no more of what waits for a destination, or failed there; returns how many objects."""
        return self._database.write(outbox.withdraw, destination)

    # -- audit (see also spinepacs.audit.trail) ------------------------------------------------------------

    def audit_exported(self, target: str) -> int:
        """Key of the last row of the audit trail that this target has; 0: none."""
        with self._database.read() as connection:
            return audit.exported(connection, target)

    def mark_audit_exported(self, target: str, audit_id: int) -> None:
        """Write down how far the audit trail has been exported."""
        self._database.write(audit.mark_exported, target, audit_id)

    # -- for health and the command line (see also spinepacs.store.queries) ----------------------------------

    def check_writable(self) -> None:
        """Raise Transient while the database takes no writes: it may answer questions all the same."""
        self._database.check_writable()

    def refresh_statistics(self) -> None:
        """Look how the rows are spread, so that those who ask are answered soon: now and then."""
        self._database.refresh_statistics()

    def counts(self) -> QueueCounts:
        """How many of what."""
        with self._database.read() as connection:
            return counts.count(connection)

    def open_counts(self) -> OpenCounts:
        """How many of what is not done: quick, however many are."""
        with self._database.read() as connection:
            return counts.count_open(connection)

    def waiting(self) -> Waiting:
        """How long things have waited, and when something came last."""
        with self._database.read() as connection:
            return counts.waiting(connection)

    def add_event(self, kind: str, study_uid: str = "", sop_uid: str = "", detail: str = "") -> None:
        """Append an event; ``detail`` is free of patient identity."""
        self._database.write(events.add, kind, study_uid, sop_uid, detail)

    def pages(self, statement: Select[Any], size: int = 2000) -> Iterator[list[dict[str, Any]]]:
        """Run a query of any length and give its rows page by page: no more than a page is in memory."""
        with self._database.read() as connection:
            result = connection.execution_options(yield_per=size).execute(statement).mappings()
            for page in result.partitions():
                yield [dict(row) for row in page]

    def columns(self, statement: Select[Any]) -> list[str]:
        """Names of the columns that a query gives."""
        with self._database.read() as connection:
            return list(connection.execute(statement.limit(0)).keys())

    def rows(self, statement: Select[Any]) -> list[dict[str, Any]]:
        """Run a query and give its rows as plain dicts."""
        with self._database.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]
