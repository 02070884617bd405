"""Where a campaign's films come from: how each kind lists its studies, and brings a film into spool and ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from pydicom.filereader import read_partial

from spinepacs.dicom.reading.header import read_header
from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.campaign import Campaign, FilmState, Item, Kind, WantedFilm
from spinepacs.domain.study import Source, StudyHeader
from spinepacs.errors import BadInput, Transient
from spinepacs.exchange.archive import Archive, ArchiveAway, Asked, NotGiven
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.intake.part10 import pieces
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool

_PAGE = 500
_QUESTIONS = 20
"""Accession numbers that are looked up in one step."""

_BARREN = 3
"""After so many studies in a row of which nothing came it is the archive's fault, or ours."""


@dataclass(frozen=True)
class Page:
    """A piece of the list: what to write down, how far it goes, and whether it is the last."""

    found: list[str]
    position: str
    is_last: bool


class Supply(Protocol):
    """One kind of source."""

    def page(self, campaign: Campaign) -> Page:
        """The next piece of the list, from ``campaign.position`` on."""

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """Films of an item that are meant; empty: none."""

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """Bring films into spool and ledger.

        Raises
        ------
        NotGiven
            If one of them does not come, though the source answers.
        Transient
            If it does not answer, or spool or ledger do not.
        """

    def close(self) -> None:
        """Close connections."""


def supply_of(campaign: Campaign, settings: Settings, spool: Spool, ledger: Ledger) -> Supply:
    """Make the one of a campaign; raises BadSettings where it cannot be used."""
    keep = Keeper(spool, ledger)
    if campaign.kind is Kind.FOLDER:
        return FolderSupply(keep, ledger)
    if campaign.kind is Kind.AGAIN:
        return HereSupply(ledger)
    if campaign.kind is Kind.DICOMWEB:
        limit_bytes = settings.listener.maximum_object_mb * 1_000_000
        return WebSupply(DicomWeb(campaign.place, campaign.credentials, limit_bytes), keep, ledger)
    ae_title = settings.listener.ae_title
    return MoveSupply(QueryRetrieve(campaign.place, ae_title, campaign.move_to or ae_title), ledger)


@dataclass(frozen=True)
class Keeper:
    """Puts a film into the spool, then into the ledger, as the listener does."""

    spool: Spool
    ledger: Ledger

    def keep(
        self, chunks: Iterator[bytes], uids: tuple[str, str, str], peer: str = "", file_name: str = ""
    ) -> None:
        """Keep a film; ``uids``: SOP Instance, SOP Class, Transfer Syntax."""
        stored = self.spool.add(chunks)
        new = NewArrival(
            *uids, stored.sha256, stored.size_bytes, Source.CAMPAIGN, peer=peer, file_name=file_name
        )
        self.ledger.add_arrival(new)


class _ArchiveSupply:
    """What the two kinds of archives have in common: the list, day by day or by what was named."""

    def __init__(self, archive: Archive, ledger: Ledger) -> None:
        self._archive = archive
        self._ledger = ledger

    def page(self, campaign: Campaign) -> Page:
        """See Supply; the position is a day, or a number in what was named."""
        named = named_page(
            campaign, self._ledger, lambda number: self._all(campaign, Asked(accession=number))
        )
        if named is not None:
            return named
        query = campaign.query
        if query.date_from is None or query.date_to is None:
            raise NotGiven("an archive is listed by date: the campaign names none")
        day = date.fromisoformat(campaign.position) if campaign.position else query.date_from
        found = self._all(campaign, Asked(day=day))
        return Page(found, (day + timedelta(days=1)).isoformat(), day >= query.date_to)

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """See Supply."""
        return self._archive.films(item.what, campaign.query)

    def _all(self, campaign: Campaign, asked: Asked) -> list[str]:
        return [uid for page in self._archive.studies(asked, campaign.query) for uid in page]


def named_page(campaign: Campaign, ledger: Ledger, look_up: Callable[[str], list[str]]) -> Page | None:
    """The next piece of what was named; None: nothing was."""
    studies, accessions = ledger.campaigns.wanted(campaign)
    if not studies and not accessions:
        return None
    at = int(campaign.position or 0)
    if studies:
        found, end = list(studies[at : at + _PAGE]), at + _PAGE
    else:
        end = at + _QUESTIONS
        found = [uid for number in accessions[at:end] for uid in look_up(number)]
    return Page(found, str(end), end >= len(studies or accessions))


class WebSupply(_ArchiveSupply):
    """By DICOMweb."""

    def __init__(self, archive: DicomWeb, keep: Keeper, ledger: Ledger) -> None:
        super().__init__(archive, ledger)
        self._web = archive
        self._keep = keep

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """See Supply; each film is durable before the next one is asked for."""
        peer, not_given = urlsplit(campaign.place).hostname or "", None
        for film in missing:
            try:
                data = BytesIO(self._web.fetch(film))
                sop_class_uid, syntax = _meta(data)
            except NotGiven as error:
                not_given = error
            except BadInput as error:
                self._ledger.campaigns.end_film(
                    campaign, film, FilmState.REFUSED, error.reason_code, str(error)
                )
            else:
                uids = (film.sop_uid, sop_class_uid, syntax)
                self._keep.keep(pieces(data, sop_class_uid, film.sop_uid, syntax), uids, peer=peer)
        if not_given:
            raise not_given

    def close(self) -> None:
        """See Supply."""
        self._web.close()


def _meta(data: BytesIO) -> tuple[str, str]:
    """SOP Class and Transfer Syntax UID of a file's meta group."""
    try:
        with quiet():
            meta = read_partial(data, stop_when=lambda *_: True).file_meta
            return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except Exception:  # whatever it is: a damaged file, and pydicom's words may quote it
        raise BadInput("NOT_DICOM", "what the archive gave is no DICOM file") from None


class MoveSupply(_ArchiveSupply):
    """By C-FIND and C-MOVE to our listener."""

    def __init__(self, archive: QueryRetrieve, ledger: Ledger) -> None:
        super().__init__(archive, ledger)
        self._peer = archive
        self._barren = 0

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """See Supply; judged by what has come: the answer of a C-MOVE says too little."""
        said = ""
        for series_uid in dict.fromkeys(film.series_uid for film in missing):
            said = self._peer.move(item.what, series_uid) or said
        still = self._ledger.campaigns.want(campaign, item, missing)
        if len(still) < len(missing) or not missing:
            self._barren = 0
        if not still:
            return
        if len(still) == len(missing):
            self._barren += 1
        if self._barren > _BARREN:
            raise ArchiveAway(
                f"nothing comes to our listener ({said or 'C-MOVE status 0x0000'}): does the archive know "
                f"{campaign.move_to or 'our AE title'}, and reach its port? Is the disk full?"
            )
        raise NotGiven(
            f"{len(still)} of {len(missing)} films did not come; {said or 'the archive says success'}"
        )

    def close(self) -> None:
        """See Supply."""
        self._peer.close()


class HereSupply:
    """Films that the spool holds already."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def page(self, campaign: Campaign) -> Page:
        """See Supply; the position is the key of an arrival, or a number in what was named."""
        named = named_page(campaign, self._ledger, self._ledger.rereading.studies_of)
        if named is not None:
            return named
        found, after = self._ledger.rereading.studies(campaign, int(campaign.position or 0))
        return Page(found, str(after), not after)

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """See Supply."""
        return self._ledger.rereading.films(campaign, item.what)

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """Nothing: what is gone from the spool is gone, and the report says so."""

    def close(self) -> None:
        """Nothing is open."""


class FolderSupply:
    """DICOM files of a folder tree; it is only read."""

    def __init__(self, keep: Keeper, ledger: Ledger) -> None:
        self._keep = keep
        self._ledger = ledger
        self._walk: Iterator[str] | None = None
        self._wanted: tuple[frozenset[str], frozenset[str]] | None = None

    def page(self, campaign: Campaign) -> Page:
        """See Supply; the position is the last path that was listed, in the order of the walk."""
        if self._walk is None:
            self._walk = _paths(Path(campaign.place), campaign.position)
        found: list[str] = []
        try:
            for path in self._walk:
                found.append(path)
                if len(found) == _PAGE:
                    return Page(found, path, is_last=False)
        except OSError as error:
            self._walk = None
            raise ArchiveAway(f"the folder cannot be read: {error.strerror}") from None
        self._walk = None
        return Page(found, found[-1] if found else campaign.position, is_last=True)

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """See Supply; raises BadInput for what is no DICOM file."""
        path = Path(campaign.place, item.what)
        try:
            header = read_header(path)
        except Transient as error:
            if _is_mounted(Path(campaign.place)):
                raise NotGiven("the file cannot be read, or is not there any more") from None
            raise ArchiveAway(str(error)) from None
        if not self._is_meant(campaign, header):
            return []
        return [WantedFilm(header.sop_uid, header.study_uid)]

    def _is_meant(self, campaign: Campaign, header: StudyHeader) -> bool:
        if self._wanted is None:
            studies, accessions = self._ledger.campaigns.wanted(campaign)
            self._wanted = frozenset(studies), frozenset(accessions)
        uids, numbers = self._wanted
        if (uids or numbers) and header.study_uid not in uids and header.accession_number not in numbers:
            return False
        query, day = campaign.query, header.study_date
        if query.date_from and (not day or day < f"{query.date_from:%Y%m%d}"):
            return False
        if query.date_to and (not day or day > f"{query.date_to:%Y%m%d}"):
            return False
        return query.takes(header.modality, header.body_part)

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """See Supply."""
        if not missing:
            return
        path = Path(campaign.place, item.what)
        header = read_header(path)  # once more: nothing is remembered between two calls
        uids = (header.sop_uid, header.sop_class_uid, header.transfer_syntax_uid)
        try:
            with path.open("rb") as file:
                chunks = pieces(file, header.sop_class_uid, header.sop_uid, header.transfer_syntax_uid)
                self._keep.keep(chunks, uids, file_name=item.what)
        except OSError as error:
            raise ArchiveAway(f"the folder gives a file no more: {error.strerror}") from None

    def close(self) -> None:
        """Nothing is open."""


def _is_mounted(root: Path) -> bool:
    """Whether a folder is there and holds something: the place of a share that is gone is empty."""
    try:
        with os.scandir(root) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


def _paths(root: Path, after: str) -> Iterator[str]:
    """Files below a folder, by their path in it, in one order; those up to ``after`` are left out."""

    def walk(folder: Path, name: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        with os.scandir(folder) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for each, is_folder in found:
            here = (*name, each)
            if is_folder and here >= done[: len(here)]:
                yield from walk(folder / each, here)
            elif not is_folder and here > done:
                yield here

    done = tuple(Path(after).parts)
    if not root.is_dir():
        raise FileNotFoundError(2, "it is not there", str(root))
    for parts in walk(root, ()):
        yield str(Path(*parts))
