"""An archive by C-FIND and C-MOVE (PS3.4 Annex C): its films come to our own listener, like all others.

What a C-MOVE answers says little: an unknown destination, a dead one and no such study look alike, and one refused
object may end all of it. So it is judged by what has come, and its status is told to a person only.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from pydicom import Dataset
from pydicom.multival import MultiValue
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # defined at run time by pynetdicom
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
)

from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.campaign import AWAY_TIMEOUT_S, Query, WantedFilm
from spinepacs.domain.priors import Ask, PatientStudy
from spinepacs.errors import BadSettings
from spinepacs.exchange.archive import (
    NO_STUDY,
    ArchiveAway,
    Asked,
    NotGiven,
    day_of,
    is_meant,
    is_uid,
    parse_peer,
)
from spinepacs.reaching import why_unreachable
from spinepacs.settings.archives import ArchiveSettings
from spinepacs.settings.settings import Settings
from spinepacs.tls import association_tls

MOVE_TIMEOUT_S = 600.0
"""Some archives say nothing until the last film of a series has been sent (s)."""

_PENDING = (0xFF00, 0xFF01)
# Why there is no connection is said by us, see `spinepacs.reaching`.
logging.getLogger("pynetdicom.transport").setLevel(logging.CRITICAL)


class QueryRetrieve:
    """See the module.

    Parameters
    ----------
    place
        ``AE@host:port`` of the archive.
    settings
        They say who we are, and whether TLS is spoken there.
    move_to
        AE title under which the archive knows our listener; empty: the listener's.

    Raises
    ------
    BadSettings
        If the place is none.
    """

    def __init__(self, place: str, settings: Settings, move_to: str = "") -> None:
        self._ae_title, host, port = parse_peer(place)
        self._peer = settings.archive(host, port)
        self._calling_ae = settings.listener.ae_title
        self._move_to = move_to or self._calling_ae

    def close(self) -> None:
        """Nothing is kept open between two questions."""

    def studies(self, asked: Asked, query: Query) -> Iterator[list[str]]:
        """See Archive; there are no pages in C-FIND."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.StudyInstanceUID = ""
        keys.StudyDate = f"{asked.day:%Y%m%d}" if asked.day else ""
        keys.AccessionNumber = asked.accession
        rows = [row for row in self._find(keys) if is_meant(asked, str(row.get("AccessionNumber", "") or ""))]
        yield list(dict.fromkeys(_uids(rows, "StudyInstanceUID")))

    def of_patient(self, ask: Ask, days: tuple[date, date]) -> list[PatientStudy]:
        """See Archive; ModalitiesInStudy and IssuerOfPatientID are optional keys: many leave them out."""
        keys = Dataset()
        if not ask.patient_id.isascii():
            keys.SpecificCharacterSet = "ISO_IR 192"
        keys.QueryRetrieveLevel = "STUDY"
        keys.PatientID = ask.patient_id
        keys.StudyDate = f"{days[0]:%Y%m%d}-{days[1]:%Y%m%d}"
        keys.StudyInstanceUID = keys.IssuerOfPatientID = keys.ModalitiesInStudy = ""
        return [
            PatientStudy(
                uid,
                day_of(_value(row, "StudyDate")),
                _value(row, "PatientID"),
                _value(row, "IssuerOfPatientID"),
                tuple(_value(row, "ModalitiesInStudy").split("\\")) if row.get("ModalitiesInStudy") else (),
            )
            for row in self._find(keys)
            if is_uid(uid := _value(row, "StudyInstanceUID"))
        ]

    def films(self, study_uid: str, query: Query) -> list[WantedFilm]:
        """See Archive; body part and modality are compared here: they are optional keys, or of another level."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "SERIES"
        keys.StudyInstanceUID = study_uid
        keys.SeriesInstanceUID = keys.Modality = keys.BodyPartExamined = ""
        rows, found = self._find(keys), []
        if not rows:
            raise NotGiven(NO_STUDY)
        for row in rows:
            series_uid = str(row.get("SeriesInstanceUID", ""))
            if is_uid(series_uid) and query.takes(
                str(row.get("Modality", "") or ""), str(row.get("BodyPartExamined", "") or "")
            ):
                found += self._films_of(study_uid, series_uid)
        return found

    def _films_of(self, study_uid: str, series_uid: str) -> list[WantedFilm]:
        keys = Dataset()
        keys.QueryRetrieveLevel = "IMAGE"
        keys.StudyInstanceUID, keys.SeriesInstanceUID, keys.SOPInstanceUID = study_uid, series_uid, ""
        return [WantedFilm(uid, study_uid, series_uid) for uid in _uids(self._find(keys), "SOPInstanceUID")]

    def move(self, study_uid: str, series_uid: str) -> str:
        """Have the films of a series sent to our listener; the final status in words, empty: success.

        When this returns they have come, as far as they come (PS3.4 C.4.2.2.1).
        """
        keys = Dataset()
        keys.QueryRetrieveLevel = "SERIES"
        keys.StudyInstanceUID, keys.SeriesInstanceUID = study_uid, series_uid
        model = StudyRootQueryRetrieveInformationModelMove
        with self._associated(model, MOVE_TIMEOUT_S) as association, quiet():
            statuses = [status for status, _ in association.send_c_move(keys, self._move_to, model)]
        final = getattr(statuses[-1], "Status", None) if statuses else None
        if final is None:
            raise ArchiveAway("the archive broke off its C-MOVE")
        return "" if final == 0x0000 else f"C-MOVE status 0x{final:04X}"

    def probe(self) -> str:
        """See Archive."""
        keys = Dataset()
        keys.QueryRetrieveLevel = "STUDY"
        keys.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.1"  # nobody's: an answer is all that is wanted
        self._find(keys)
        with self._associated(StudyRootQueryRetrieveInformationModelMove, AWAY_TIMEOUT_S):
            pass
        return f"C-FIND answers, C-MOVE to {self._move_to} is taken (whether it knows us only a film shows)"

    def _find(self, keys: Dataset) -> list[Dataset]:
        model = StudyRootQueryRetrieveInformationModelFind
        found, final = [], None
        with self._associated(model, AWAY_TIMEOUT_S) as association, quiet():
            for status, row in association.send_c_find(keys, model):
                final = getattr(status, "Status", None)
                if final in _PENDING and row is not None:
                    found.append(row)
        if final != 0x0000:
            said = "no answer (does it know our AE title?)" if final is None else f"status 0x{final:04X}"
            raise ArchiveAway(f"the archive does not answer C-FIND: {said}")
        return found

    @contextmanager
    def _associated(self, model: str, limit_s: float) -> Iterator[Association]:
        ae = AE(self._calling_ae)
        ae.connection_timeout, ae.acse_timeout = 10.0, 30.0
        ae.dimse_timeout = ae.network_timeout = limit_s
        ae.add_requested_context(model)
        try:
            association = ae.associate(
                self._peer.host, self._peer.port, ae_title=self._ae_title, tls_args=_tls(self._peer)
            )
        except (OSError, UnicodeError):
            raise ArchiveAway(f"host {self._peer.host!r} is not found") from None
        if not association.is_established:
            raise ArchiveAway(_why_not(association, self._peer))
        # pynetdicom's sockets wait for ever for a peer that stops reading.
        watch = threading.Timer(2 * limit_s, association.abort)
        watch.daemon = True
        watch.start()
        try:
            yield association
        finally:
            watch.cancel()
            if association.is_established:
                association.release()


def _tls(peer: ArchiveSettings) -> tuple[ssl.SSLContext, str] | None:
    """Certificates that cannot be read can be mended while the campaign waits."""
    try:
        return association_tls(peer)
    except BadSettings as error:
        raise ArchiveAway(f"no TLS to the archive: {error}") from error


def _why_not(association: Association, peer: ArchiveSettings) -> str:
    if association.is_rejected:
        return "the archive rejects the association: does it know our AE title?"
    if association.rejected_contexts:
        return "the archive does not offer query and retrieve"
    why = why_unreachable(peer)
    return f"the archive cannot be reached: {why}" + (
        "; see [[archives]] in the settings" if "tls" in why else ""
    )


def _value(row: Dataset, keyword: str) -> str:
    """Value of an element of an answer as text, several with backslashes between them."""
    value = row.get(keyword)
    return "\\".join(map(str, value)) if isinstance(value, MultiValue) else str(value or "").strip()


def _uids(rows: list[Dataset], keyword: str) -> list[str]:
    return [uid for row in rows if is_uid(uid := str(row.get(keyword, "") or ""))]
