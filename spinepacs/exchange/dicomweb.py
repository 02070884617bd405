"""An archive by DICOMweb (PS3.18): QIDO-RS to ask, WADO-RS to fetch a film in its own transfer syntax.

dicomweb-client asks and takes answers apart; but its public methods parse a film and give a dataset. Here its bytes are
taken as they come, as the listener does, so that one damaged film is one film, and the same film by another way has
the same bytes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from spinepacs.domain.campaign import Query, WantedFilm
from spinepacs.domain.priors import Ask, PatientStudy
from spinepacs.errors import BadInput
from spinepacs.exchange.archive import NO_STUDY, ArchiveAway, Asked, NotGiven, day_of, is_meant, is_uid
from spinepacs.exchange.web import Session, TooLong, WholeBody

PAGE = 500
"""Studies in one answer."""

_MOST_PAGES = 1000
_STUDY, _SERIES, _SOP = "0020000D", "0020000E", "00080018"
_ACCESSION, _STUDY_DATE, _MODALITIES = "00080050", "00080020", "00080061"
_PATIENT_ID, _ISSUER = "00100020", "00100021"
_MODALITY, _BODY_PART = "00080060", "00180015"
_AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_GONE = frozenset({404, 410})
_REFUSED = frozenset({400, 406, 415, 422})
Rows = list[dict[str, Any]]
"""Datasets in the DICOM JSON model."""

for _name in ("dicomweb_client", "urllib3"):  # they log URLs, with UIDs and accession numbers
    logging.getLogger(_name).setLevel(logging.ERROR)


class DicomWeb:
    """See the module.

    Parameters
    ----------
    url
        Of the service, as far as ``/studies``.
    credentials
        File, see :class:`~spinepacs.exchange.web.Session`.
    limit_bytes
        Of one film.

    Raises
    ------
    BadSettings
        If the credentials cannot be used.
    """

    def __init__(self, url: str, credentials: str = "", limit_bytes: int = 1 << 40) -> None:
        self._session = Session(url, credentials, limit_bytes)
        self._limit_bytes = limit_bytes
        self._client = DICOMwebClient(url, session=self._session, permissive_uid=True, timeout=(10, 60))
        # Retrying is done in one layer, and not by sleeping here.
        self._client.set_http_retry_params(retry=False)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def studies(self, asked: Asked, query: Query) -> Iterator[list[str]]:
        """See Archive; the list ends with the first page that says nothing new, whatever the archive's own limit is."""
        filters: dict[str, str] = {}
        if asked.day:
            filters["StudyDate"] = f"{asked.day:%Y%m%d}"
        if asked.accession:
            filters["AccessionNumber"] = asked.accession
        for rows in self._studies(filters):
            yield [
                uid for uid, row in rows.items() if is_uid(uid) and is_meant(asked, _text(row, _ACCESSION))
            ]

    def of_patient(self, ask: Ask, days: tuple[date, date]) -> list[PatientStudy]:
        """See Archive."""
        filters = {"PatientID": ask.patient_id, "StudyDate": f"{days[0]:%Y%m%d}-{days[1]:%Y%m%d}"}
        return [
            PatientStudy(
                uid,
                day_of(_text(row, _STUDY_DATE)),
                _text(row, _PATIENT_ID),
                _text(row, _ISSUER),
                _texts(row, _MODALITIES),
            )
            for rows in self._studies(filters, ["PatientID", "IssuerOfPatientID", "ModalitiesInStudy"])
            for uid, row in rows.items()
            if is_uid(uid)
        ]

    def _studies(
        self, filters: dict[str, str], fields: Sequence[str] | None = None
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """Studies by UID, page by page."""
        known: set[str] = set()

        def page() -> Rows:
            return self._client.search_for_studies(
                fields=fields, limit=PAGE, offset=len(known), search_filters=filters
            )

        for _ in range(_MOST_PAGES):
            rows = {_text(row, _STUDY): row for row in self._ask(page)}
            fresh = {uid: row for uid, row in rows.items() if uid not in known}
            if not fresh:
                return
            known.update(fresh)
            yield fresh

    def films(self, study_uid: str, query: Query) -> list[WantedFilm]:
        """See Archive; body part and modality belong to a series, and are compared here: archives ignore filters."""
        fields = ["Modality", "BodyPartExamined"]
        rows = self._ask(lambda: self._client.search_for_series(study_uid, fields=fields))
        if not rows:
            raise NotGiven(NO_STUDY)
        found = []
        for row in rows:
            series_uid = _text(row, _SERIES)
            if is_uid(series_uid) and query.takes(_text(row, _MODALITY), _text(row, _BODY_PART)):
                found += self._films_of(study_uid, series_uid)
        return found

    def _films_of(self, study_uid: str, series_uid: str) -> list[WantedFilm]:
        known: dict[str, WantedFilm] = {}

        def page() -> Rows:
            return self._client.search_for_instances(study_uid, series_uid, limit=PAGE, offset=len(known))

        for _ in range(_MOST_PAGES):
            uids = [uid for row in self._ask(page) if is_uid(uid := _text(row, _SOP)) and uid not in known]
            if not uids:
                break
            known |= {uid: WantedFilm(uid, study_uid, series_uid) for uid in uids}
        return list(known.values())

    def fetch(self, film: WantedFilm) -> bytes:
        """Give the bytes of a film, a DICOM file in the transfer syntax in which the archive keeps it.

        Raises
        ------
        ArchiveAway
            If it does not answer now, or the answer breaks off.
        NotGiven
            If it has it no more, or does not give it in this way.
        BadInput
            ``TOO_LARGE``.
        """
        url = f"{self._client.base_url}/studies/{film.study_uid}/series/{film.series_uid}/instances/{film.sop_uid}"
        with _in_words():
            response = self._client._http_get(url, headers={"Accept": _AS_STORED}, stream=True)
            body = WholeBody(response, self._limit_bytes + PAGE)
            with response:
                if response.headers.get("Content-Type", "").startswith("application/dicom"):
                    return b"".join(response.iter_content(1 << 20))  # against the Standard, and seen
                parts = list(self._client._decode_multipart_message(response, stream=True))
            if not body.is_whole:
                raise ArchiveAway("the archive's answer ended too early")
        if len(parts) != 1:
            raise NotGiven(f"the archive gave {len(parts)} objects for one film")
        return bytes(parts[0])

    def probe(self) -> str:
        """See Archive."""
        rows = self._ask(lambda: self._client.search_for_studies(limit=1))
        return "QIDO-RS answers" + ("" if rows else ", and has no study")

    def _ask(self, question: Callable[[], Rows]) -> Rows:
        with _in_words():
            answer = question()
            if not isinstance(answer, list) or not all(isinstance(row, dict) for row in answer):
                raise ArchiveAway("the archive's answer is no list of datasets")
            return answer


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what requests and dicomweb-client raise into our errors; their words may name URLs, and so studies."""
    try:
        yield
    except TooLong:
        raise BadInput("TOO_LARGE", "larger than listener.maximum_object_mb") from None
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if error.response is not None:  # the client leaves it open
            error.response.close()
        if status in _GONE:
            raise NotGiven("the archive has it no more (404)") from None
        if status in _REFUSED:
            raise NotGiven(f"the archive does not give it (HTTP {status})") from None
        hint = ": are the credentials right?" if status in (401, 403) else ""
        raise ArchiveAway(f"the archive answers HTTP {status}{hint}") from None
    except json.JSONDecodeError:
        raise ArchiveAway(
            "the archive's answer is no JSON: is this the URL of its DICOMweb service?"
        ) from None
    except requests.RequestException as error:
        raise ArchiveAway(f"the archive does not answer ({type(error).__name__})") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise ArchiveAway(
            f"the archive's answer is not as the Standard says ({type(error).__name__})"
        ) from None


def _text(row: dict[str, Any], tag: str) -> str:
    """First value of an element in the DICOM JSON model (PS3.18 F.2), as text."""
    return next(iter(_texts(row, tag)), "")


def _texts(row: dict[str, Any], tag: str) -> tuple[str, ...]:
    """Values of an element, as texts; empty ones are null."""
    values = (row.get(tag) or {}).get("Value") or ()
    return tuple("" if value is None else str(value).strip() for value in values)
