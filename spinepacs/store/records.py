"""What the ledger takes and gives: plain frozen values that cross process borders (all of them pickle)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from spinepacs.domain.corrections import Correction
from spinepacs.domain.findings import EarlierObject, ObjectKind, Refusal, Versions
from spinepacs.domain.study import Arrival, Source, StudyHeader


class ArrivalState(StrEnum):
    """Where one stored file stands.

    ``received → selected | refused | unreadable``; refused and unreadable ones are ``received`` again when they are to
    be selected anew. ``conflict`` is a side entrance that nothing leaves unless the first file of that SOP UID turns
    out to be unreadable.
    """

    RECEIVED = "received"
    """Durable; its header has not been read yet."""
    SELECTED = "selected"
    """Belongs to a study and is to be read (or has been: then it has a reading)."""
    REFUSED = "refused"
    """Belongs to a study and is not read, for instance not a spine; the reason says why."""
    UNREADABLE = "unreadable"
    """No usable header; kept, with its reason, until someone decides."""
    CONFLICT = "conflict"
    """Its SOP UID came earlier with other bytes; kept beside it and never read."""


class ArrivalOutcome(StrEnum):
    """What became of an offered file."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """The same SOP UID with the same bytes is there already: no row, an event; a deleted file is wanted again."""
    CONFLICT = "conflict"
    """The same SOP UID is there with other bytes: a row of its own, never read, and an event."""


class OutboxState(StrEnum):
    """Where one object stands towards one destination."""

    PENDING = "pending"
    """To be sent, first or again, when ``next_attempt_at`` has come."""
    SENT = "sent"
    """The destination answered success or a warning."""
    COMMITTED = "committed"
    """It has also promised to keep it; only where it is asked to (``commitment = true``)."""
    FAILED = "failed"
    """Given up; waits for ``spinepacs retry``."""
    WITHDRAWN = "withdrawn"
    """A person has decided that it is not to be sent there after all."""


class EventKind(StrEnum):
    """Kinds of events that the ledger writes by itself; others may be added with ``Ledger.add_event``."""

    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    CONFLICT_RELEASED = "conflict-released"
    """The first file was unreadable, so the one kept beside it takes its place."""
    UNREADABLE = "unreadable"
    REOPENED = "reopened"
    ORPHANED = "orphaned"
    FAILED = "failed"
    RETRIED = "retried"
    NOT_KEPT = "not-kept"
    """A destination accepted an object and has not committed to keep it: it is sent again, or given up."""
    FILES_DELETED = "files-deleted"
    """Retention has deleted files of the spool; their rows stay."""
    NOT_TAKEN = "not-taken"
    """A file of the watched folder went to ``failed/``."""
    FILE_MISSING = "file-missing"
    """A row's file is not in the spool, and nobody here has deleted it."""
    MACHINE_LOST = "machine-lost"
    """A machine has been silent for so long that others have taken over what it had in hand."""
    SPOOL_CHANGED = "spool-changed"
    """A person has given this database another spool."""
    DISCARDED = "discarded"
    """A person has given up what could not be processed."""
    PATIENTS_DIFFER = "patients-differ"
    """A film names another patient than the first film of its study."""
    REREAD = "reread"
    """A person has asked for films of the study to be read again, or selected anew."""
    SEEN = "seen"
    """A person has seen to what was refused in it, or to its patients."""
    REDIRECTED = "redirected"
    WITHDRAWN = "withdrawn"
    CORRECTION_ASKED = "correction-asked"
    """A person has asked for a film's reading to be corrected, accepted or rejected."""
    CORRECTED = "corrected"
    """What a person asked for is a reading, and its objects are on their way."""
    CORRECTION_REFUSED = "correction-refused"


class CorrectionState(StrEnum):
    """Where what a person has asked for stands."""

    PENDING = "pending"
    """To be worked out by a worker, with its study."""
    DONE = "done"
    """It is a reading, the film's current one."""
    REFUSED = "refused"
    """It cannot be: its row says why."""
    SUPERSEDED = "superseded"
    """It is a reading, and a later correction has replaced it."""


@dataclass(frozen=True)
class NewArrival:
    """A file that the spool already holds durably, offered to the ledger.

    ``calling_ae``, ``called_ae`` and ``peer`` (address) are empty where the source has none, ``file_name`` where it is
    not the watched folder. ``received_at`` is zone-aware; now, where nobody says otherwise.
    """

    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    source: Source
    calling_ae: str = ""
    called_ae: str = ""
    peer: str = ""
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    file_name: str = ""


@dataclass(frozen=True)
class Registration:
    """What the header of an arrival says, and what follows from it: see Ledger.register."""

    arrival_id: int
    header: StudyHeader
    refusal: Refusal | None = None
    urgent: bool = False
    drop: bool = False
    ask_again_after: timedelta | None = None


@dataclass(frozen=True)
class FailedFile:
    """A file in ``failed/`` of the watched folder: its name there, why it went there (code, sentence), and when."""

    file_name: str
    reason_code: str
    reason: str
    failed_at: datetime


@dataclass(frozen=True)
class StudyClock:
    """An arriving study and how many images it has by now."""

    study_uid: str
    images: int


@dataclass(frozen=True)
class CorrectionJob:
    """A correction that waits, with the film that it is about.

    Parameters
    ----------
    earlier
        What earlier readings of the film have left in archives, and nothing has replaced yet.
    """

    correction_id: int
    arrival: Arrival
    correction: Correction
    earlier: tuple[EarlierObject, ...]


@dataclass(frozen=True)
class ForCampaign:
    """That a claim is a campaign's: which, what it is read with, and whether results are written and sent.

    Where nothing is to be sent, no objects are made: the findings go into the database only.
    """

    campaign_id: int
    model_folder: str
    policy_file: str
    delivers: bool


@dataclass(frozen=True)
class Claim:
    """The right to work on one study; good until its attempt is ended by record, fail or return_orphans.

    Parameters
    ----------
    attempt_number
        1 for the first attempt; already counted in the database.
    maximum_attempts
        After this many, a transient failure is final too.
    versions
        The model and the policy that the arrivals are to be read with.
    arrivals
        Selected images that have no reading under ``versions``, in the order in which they came.
    corrections
        What persons have asked for. Either this or ``arrivals`` is never empty.
    campaign
        None: the day's work, read with the daemon's own model and policy.
    """

    study_uid: str
    attempt_id: int
    attempt_number: int
    maximum_attempts: int
    versions: Versions
    arrivals: tuple[Arrival, ...]
    corrections: tuple[CorrectionJob, ...] = ()
    campaign: ForCampaign | None = None


@dataclass(frozen=True)
class OutboxItem:
    """One object for one destination.

    Parameters
    ----------
    attempts
        Number of attempts that :meth:`Ledger.begin_delivery` had counted when it was read.
    losses
        How often it was accepted, and then not committed.
    commitment_requests
        How often its commitment has been asked for since it was last sent.
    commitment_failure
        Failure reason (PS3.3 C.14.1.1) of the answer that has come; None: no answer, or nothing wrong.
    """

    outbox_id: int
    study_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    kind: ObjectKind
    sha256: str
    destination: str
    attempts: int
    losses: int = 0
    commitment_requests: int = 0
    commitment_failure: int | None = None


@dataclass(frozen=True)
class OpenCounts:
    """How many of what is not done; a state without a row is absent.

    Parameters
    ----------
    studies, arrivals
        By state.
    outbox
        By (destination, state).
    uncommitted
        Objects by destination that were accepted and whose commitment is awaited.
    """

    studies: dict[str, int]
    arrivals: dict[str, int]
    outbox: dict[tuple[str, str], int]
    uncommitted: dict[str, int]

    @property
    def towards(self) -> dict[tuple[str, str], int]:
        """Objects by (destination, state), those whose commitment is awaited as a state of their own."""
        return self.outbox | {(name, "uncommitted"): number for name, number in self.uncommitted.items()}


@dataclass(frozen=True)
class QueueCounts(OpenCounts):
    """The same of everything, done or not, for metrics; and more.

    Parameters
    ----------
    refused
        Images by reason code, whether refused at selection or by the reading.
    files_deleted
        Originals and results whose file was deleted, by rule, retention or a person; a file that came again is not
        counted.
    unseen
        What nobody has seen to yet: ``films`` that the reading has refused, ``studies`` that name several patients.
    folder_failed
        Files in ``failed/`` of the watched folder, by reason code.
    """

    refused: dict[str, int]
    files_deleted: dict[str, int]
    unseen: dict[str, int]
    folder_failed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    """How long things have waited, and when something came last.

    Parameters
    ----------
    last_received_at
        When the newest image came; None: none ever has.
    oldest_unread_at
        When the oldest image came whose header, or whose study, is still to be read; None: all is read. What has failed
        or was refused waits for nobody.
    oldest_pending_at
        By destination: when the oldest result was made that is still to be sent there, whatever its attempts.
    oldest_uncommitted_at
        By destination: when the oldest result was sent whose commitment is awaited.
    """

    last_received_at: datetime | None
    oldest_unread_at: datetime | None
    oldest_pending_at: dict[str, datetime]
    oldest_uncommitted_at: dict[str, datetime]


def age_s(since: datetime | None, now: datetime) -> float:
    """Seconds since then; 0 for nothing, and where the clock was set back."""
    return max(0.0, (now - since).total_seconds()) if since else 0.0
