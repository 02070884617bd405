"""Campaigns that never end and follow the settings: what makes their lists grow."""

from __future__ import annotations

from typing import Protocol

from spinepacs.check.archives import open_model
from spinepacs.domain.campaign import Campaign, Kind, NewCampaign, Query
from spinepacs.serve.supply import Supply
from spinepacs.settings.settings import Settings


class Standing(Protocol):
    """One of them."""

    @property
    def is_on(self) -> bool:
        """Whether the settings want it; else what has come is still read, and nothing else happens."""

    def new(self) -> NewCampaign:
        """What the settings and the daemon's model of now say; raises BadModel or BadSettings."""

    def take_back(self) -> None:
        """Put back what was in hand when its process ended."""

    def next(self, campaign: Campaign, supply: Supply) -> bool:
        """Do one thing that makes the list grow, or ends something on it; whether there was one.

        Raises ArchiveAway if nobody answers.
        """


def standing(
    settings: Settings, name: str, place: tuple[Kind, str], query: Query, *, delivers: bool, **more: object
) -> NewCampaign:
    """Make one with the daemon's own model and policy; raises BadModel or BadSettings."""
    model = settings.model
    versions = open_model(model.folder, model.policy, settings).versions
    values = {"delivers": delivers, **more}
    return NewCampaign(name, *place, query, str(model.folder), str(model.policy), versions, **values)  # type: ignore[arg-type]


def upper(values: tuple[str, ...]) -> tuple[str, ...]:
    """Modalities or body parts as they are compared."""
    return tuple(value.strip().upper() for value in values)
