"""Archives as sources of a campaign, and the choice of the source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from io import BytesIO
from urllib.parse import urlsplit

from pydicom.filereader import read_partial

from spinepacs.dicom.reading.parse import quiet
from spinepacs.domain.campaign import Campaign, FilmState, Item, Kind, Query, WantedFilm
from spinepacs.domain.priors import Ask, PatientStudy
from spinepacs.domain.worklist import WORKLIST, Input
from spinepacs.errors import BadInput
from spinepacs.exchange.archive import Archive, ArchiveAway, Asked, NotGiven
from spinepacs.exchange.dicomweb import DicomWeb
from spinepacs.exchange.retrieve import QueryRetrieve
from spinepacs.exchange.ups import Worklist
from spinepacs.intake.part10 import pieces
from spinepacs.serve.local import FolderSupply, HereSupply
from spinepacs.serve.supply import Keeper, Page, Supply, named_page
from spinepacs.serve.worklist import open_worklist
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.spool import Spool

_BARREN = 3
"""After so many studies in a row of which nothing came it is the archive's fault, or ours."""


def supply_of(campaign: Campaign, settings: Settings, spool: Spool, ledger: Ledger) -> Supply:
    """Make the one of a campaign; raises BadSettings where it cannot be used."""
    if campaign.name == WORKLIST:
        return WorkitemSupply(_archive_of(campaign, settings, spool, ledger), open_worklist(settings), ledger)
    keep = Keeper(spool, ledger)
    if campaign.kind is Kind.FOLDER:
        return FolderSupply(keep, ledger)
    if campaign.kind is Kind.AGAIN:
        return HereSupply(ledger)
    return _archive_of(campaign, settings, spool, ledger)


def _archive_of(
    campaign: Campaign, settings: Settings, spool: Spool, ledger: Ledger
) -> WebSupply | MoveSupply:
    keep = Keeper(spool, ledger)
    if campaign.kind is Kind.DICOMWEB:
        limit_bytes = settings.listener.maximum_object_mb * 1_000_000
        return WebSupply(DicomWeb(campaign.place, campaign.credentials, limit_bytes), keep, ledger)
    return MoveSupply(QueryRetrieve(campaign.place, settings, campaign.move_to), ledger)


class ArchiveSupply:
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

    def of_patient(self, ask: Ask, days: tuple[date, date]) -> list[PatientStudy]:
        """What the archive answers about a patient; raises NotGiven and ArchiveAway."""
        return self._archive.of_patient(ask, days)

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """See Supply."""
        return self.films_of(item.what, campaign.query)

    def films_of(self, study_uid: str, query: Query) -> list[WantedFilm]:
        """Films of a study that are meant; raises NotGiven and ArchiveAway."""
        return self._archive.films(study_uid, query)

    def _all(self, campaign: Campaign, asked: Asked) -> list[str]:
        return [uid for page in self._archive.studies(asked, campaign.query) for uid in page]


class WebSupply(ArchiveSupply):
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


class MoveSupply(ArchiveSupply):
    """By C-FIND and C-MOVE to our listener."""

    def __init__(self, archive: QueryRetrieve, ledger: Ledger) -> None:
        super().__init__(archive, ledger)
        self._peer = archive
        self._barren = 0

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """See Supply; judged by what has come: the answer of a C-MOVE says too little."""
        said = ""
        for study_uid, series_uid in dict.fromkeys((film.study_uid, film.series_uid) for film in missing):
            said = self._peer.move(study_uid, series_uid) or said
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


class WorkitemSupply:
    """What the workitems of a worklist refer to; an item of the campaign is a workitem, by its UID."""

    def __init__(self, archive: WebSupply | MoveSupply, worklist: Worklist, ledger: Ledger) -> None:
        self._archive = archive
        self._worklist = worklist
        self._workitems = ledger.workitems

    def page(self, campaign: Campaign) -> Page:
        """See Supply; it is not listed in this way."""
        raise ArchiveAway("a worklist is no list of an archive")

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        """See Supply; the worklist says which, and where it does not name them one by one the archive."""
        inputs = self._workitems.inputs(item.what)
        if inputs is None:
            inputs = self._worklist.inputs(item.what)
            self._workitems.refers(item.what, inputs)
        films = {film.sop_uid: film for each in inputs for film in self._of(campaign, each)}
        self._workitems.wants(campaign, item.item_id, item.what, list(films.values()))
        return list(films.values())

    def _of(self, campaign: Campaign, what: Input) -> list[WantedFilm]:
        if what.sop_uid and what.series_uid:
            return [WantedFilm(what.sop_uid, what.study_uid, what.series_uid)]
        query = Query() if what.sop_uid else campaign.query
        return [
            film
            for film in self._archive.films_of(what.study_uid, query)
            if what.series_uid in ("", film.series_uid) and what.sop_uid in ("", film.sop_uid)
        ]

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        """See Supply."""
        self._archive.fetch(campaign, item, missing)

    def close(self) -> None:
        """See Supply."""
        self._archive.close()
        self._worklist.close()
