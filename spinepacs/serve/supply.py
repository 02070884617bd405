"""Where a campaign's films come from: what each kind of source does, and how a film gets into spool and ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from spinepacs.domain.campaign import Campaign, Item, WantedFilm
from spinepacs.domain.study import Source
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool

PAGE = 500
"""Entries of a list in one transaction."""

_QUESTIONS = 20
"""Accession numbers that are looked up in one step."""


@dataclass(frozen=True)
class Page:
    """A piece of the list: what it holds, how far it goes, whether it is the last; and what was looked for in vain."""

    found: list[str]
    position: str
    is_last: bool
    not_found: tuple[str, ...] = ()


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


def named_page(campaign: Campaign, ledger: Ledger, look_up: Callable[[str], list[str]]) -> Page | None:
    """The next piece of what was named; None: nothing was."""
    studies, accessions = ledger.campaigns.wanted(campaign)
    if not studies and not accessions:
        return None
    at = int(campaign.position or 0)
    if studies:
        end = at + PAGE
        return Page(list(studies[at:end]), str(end), end >= len(studies))
    end = at + _QUESTIONS
    by_number = {number: look_up(number) for number in accessions[at:end]}
    found = [uid for uids in by_number.values() for uid in uids]
    not_found = tuple(number for number, uids in by_number.items() if not uids)
    return Page(found, str(end), end >= len(accessions), not_found)
