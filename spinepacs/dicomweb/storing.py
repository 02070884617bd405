"""One request that stores: each of its parts becomes a file of the spool and a row of the ledger, or a failure.

As in the listener nothing is decoded: of a Part 10 file the meta group is read, which names the object as the command
set of a C-STORE does, and written anew, so that the same image by either way is the same file.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from spinepacs.dicom.reading.classes import RADIOGRAPH_CLASSES
from spinepacs.dicom.reading.parse import parse, uid
from spinepacs.dicom.reading.pixels import DECODABLE_TRANSFER_SYNTAXES
from spinepacs.domain.study import Source
from spinepacs.errors import Permanent, Transient, failed
from spinepacs.intake.contexts import Taken, is_storage
from spinepacs.intake.part10 import LONGEST_META_BYTES, Meta, head, meta_of
from spinepacs.outages import Outage
from spinepacs.store.draft import Draft
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool

# FailureReason (0008,1197), PS3.18 table I.2-2; the last two are of the range Cxxx, as the listener's 0xC001 is.
PROCESSING_FAILURE = 0x0110
CLASS_NOT_TAKEN = 0x0122
SYNTAX_NOT_TAKEN = 0xC122
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
TOO_LARGE = 0xC001
OTHER_STUDY = 0xC002

_UID_LIKE = re.compile(r"[\x21-\x7e]{1,64}")
_SYNTAX_LIKE = re.compile(r"[0-9.]{1,64}")
_STUDY_UID_TAG = 0x0020000D
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one part: ``failure`` None: it is durable. UIDs are empty where it does not say them."""

    sop_class_uid: str
    sop_uid: str
    failure: int | None


class Refused(Exception):  # noqa: N818 - what the object is
    """It is not taken, for this FailureReason."""

    def __init__(self, failure: int) -> None:
        super().__init__()
        self.failure = failure


@dataclass(frozen=True)
class Keeper:
    """What an image needs on its way in.

    Parameters
    ----------
    limit_bytes
        Longest file that is kept; of a longer one the rest is dropped.
    taken
        As ``listener.storage_classes``.
    """

    spool: Spool
    ledger: Ledger
    limit_bytes: int
    taken: Taken
    outage: Outage


class Storing:
    """One request.

    Parameters
    ----------
    account, peer
        Who stores, and the address it comes from.
    study_uid
        Only objects of this study are taken; empty: of any.
    """

    def __init__(self, keeper: Keeper, account: str, peer: str, study_uid: str) -> None:
        self.keeper, self.account, self.peer, self.study_uid = keeper, account, peer, study_uid
        self.outcomes: list[Outcome] = []
        self.progress_s = time.monotonic()
        """When the last part was whole, or the request began (monotonic)."""
        self._instance: Instance | None = None

    def begin(self, headers: Mapping[str, str]) -> Instance:
        """Begin a part; one that says to be something else than DICOM is read and not kept."""
        kind = headers.get("content-type", "application/dicom").partition(";")[0].strip().lower()
        self._instance = Instance(self, is_dicom=kind == "application/dicom")
        return self._instance

    def cancel(self) -> None:
        """Keep nothing of the part that has not come to its end."""
        if self._instance is not None:
            self._instance.cancel()


class Instance:
    """One part, on its way into the spool."""

    def __init__(self, storing: Storing, *, is_dicom: bool) -> None:
        self._storing = storing
        self._keeper = storing.keeper
        self._start = bytearray()
        self._meta: Meta | None = None
        self._left_bytes = self._keeper.limit_bytes
        self._draft: Draft | None = None
        self._failure: int | None = None if is_dicom else CANNOT_UNDERSTAND

    def take(self, piece: memoryview) -> None:
        """Take the next bytes; what is not to be kept is dropped."""
        if self._failure is not None:
            return
        try:
            self._take(piece)
        except Exception as error:
            # A defect of ours too: it is this object's failure, and the request goes on.
            self._fail(error)

    def _take(self, piece: memoryview) -> None:
        self._left_bytes -= len(piece)
        if self._left_bytes < 0:
            raise Refused(TOO_LARGE)
        if self._draft is not None:
            self._draft.write(piece)
            return
        self._start += piece
        meta = meta_of(bytes(self._start[:LONGEST_META_BYTES]))
        if meta is not None:
            self._open(meta)
        elif len(self._start) >= LONGEST_META_BYTES:
            raise Refused(CANNOT_UNDERSTAND)

    def _open(self, meta: Meta) -> None:
        is_named = _UID_LIKE.fullmatch(meta.sop_uid) and _UID_LIKE.fullmatch(meta.sop_class_uid)
        if not (is_named and _SYNTAX_LIKE.fullmatch(meta.transfer_syntax_uid)):
            raise Refused(CANNOT_UNDERSTAND)
        self._meta = meta
        _check(meta, self._keeper.taken)
        self._draft = self._keeper.spool.begin()
        self._draft.write(head(*meta[:3]))
        with memoryview(self._start)[meta.dataset_offset :] as rest:
            self._draft.write(rest)
        self._start = bytearray()

    def end(self) -> None:
        """Make it durable, then let the ledger know; the outcome is the request's."""
        if self._failure is None:
            try:
                self._keep()
            except Exception as error:
                self._fail(error)
        sop_class_uid, sop_uid = (self._meta.sop_class_uid, self._meta.sop_uid) if self._meta else ("", "")
        self._storing.outcomes.append(Outcome(sop_class_uid, sop_uid, self._failure))
        self._storing.progress_s = time.monotonic()

    def _keep(self) -> None:
        draft, meta, storing = self._draft, self._meta, self._storing
        if draft is None or meta is None:
            raise Refused(CANNOT_UNDERSTAND)
        if storing.study_uid and _study_of(draft) != storing.study_uid:
            raise Refused(OTHER_STUDY)
        stored = draft.finish()
        outcome = self._keeper.ledger.add_arrival(
            NewArrival(
                meta.sop_uid,
                meta.sop_class_uid,
                meta.transfer_syntax_uid,
                stored.sha256,
                stored.size_bytes,
                Source.DICOMWEB,
                calling_ae=storing.account,
                peer=storing.peer,
            )
        )
        self._keeper.outage.over()
        _log.info("received", extra={**self._context(), "state": outcome.value})

    def cancel(self) -> None:
        """Keep nothing of it; after :meth:`end` it does nothing."""
        if self._draft is not None:
            self._draft.abandon()

    def _fail(self, error: Exception) -> None:
        self.cancel()
        self._start = bytearray()
        self._failure = PROCESSING_FAILURE
        if isinstance(error, Refused):
            self._failure = error.failure
            _log.info("not taken, answered 0x%04X", error.failure, extra=self._context())
        elif isinstance(error, Transient):
            self._failure = OUT_OF_RESOURCES
            self._keeper.outage.lasts(error)
        elif isinstance(error, Permanent):
            self._failure = CANNOT_UNDERSTAND
        else:
            failed(error)  # says the place of the defect in the log

    def _context(self) -> dict[str, str]:
        return {"sop_uid": self._meta.sop_uid if self._meta else "", "calling_ae": self._storing.account}


def _check(meta: Meta, taken: Taken) -> None:
    """Raise Refused unless such an object is taken: the listener would accept its presentation context."""
    if meta.sop_class_uid in RADIOGRAPH_CLASSES:
        if meta.transfer_syntax_uid not in DECODABLE_TRANSFER_SYNTAXES:
            raise Refused(SYNTAX_NOT_TAKEN)
    elif taken != "all" or not is_storage(meta.sop_class_uid):
        raise Refused(CLASS_NOT_TAKEN)


def _study_of(draft: Draft) -> str:
    """Study Instance UID of a file; nothing behind it is looked at."""
    return uid(parse(draft.path, with_pixels=False, last_tag=_STUDY_UID_TAG), "StudyInstanceUID")
