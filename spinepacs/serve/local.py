"""Sources of a campaign on this machine: films that the spool holds already, and a folder tree."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from spinepacs.dicom.reading.header import read_header
from spinepacs.domain.campaign import Campaign, Item, WantedFilm
from spinepacs.domain.study import StudyHeader
from spinepacs.errors import Transient
from spinepacs.exchange.archive import ArchiveAway, NotGiven
from spinepacs.intake.part10 import pieces
from spinepacs.serve.supply import PAGE, Keeper, Page, named_page
from spinepacs.store.ledger import Ledger


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
                if len(found) == PAGE:
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
