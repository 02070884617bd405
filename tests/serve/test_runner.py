"""The process of campaigns, one step at a time, with a source that does as it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from spinepacs.domain.campaign import Campaign, Item, Kind, NewCampaign, Query, WantedFilm
from spinepacs.domain.study import Source
from spinepacs.errors import Transient
from spinepacs.exchange.archive import ArchiveAway, NotGiven
from spinepacs.serve import campaign as module
from spinepacs.serve.campaign import AHEAD, Runner
from spinepacs.serve.supply import Page
from spinepacs.settings.sections import StorageSettings, WorkSettings
from spinepacs.settings.settings import Settings
from spinepacs.store.ledger import Ledger
from spinepacs.store.progress import progress_of
from spinepacs.store.records import NewArrival
from spinepacs.store.spool import Spool
from tests.store.makers import VERSIONS, digest

NIGHT, NOON = datetime(2026, 11, 23, 23, 0), datetime(2026, 11, 23, 12, 0)


@dataclass
class Scripted:
    """A source of so many studies of one film; what it raises is taken from ``troubles``, one for each fetch."""

    ledger: Ledger
    studies: int = 3
    troubles: list[Exception] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    closed: int = 0

    def page(self, campaign: Campaign) -> Page:
        return Page([f"1.{number}" for number in range(self.studies)], "end", True)

    def films(self, campaign: Campaign, item: Item) -> list[WantedFilm]:
        return [WantedFilm(f"{item.what}.1", item.what)]

    def fetch(self, campaign: Campaign, item: Item, missing: Sequence[WantedFilm]) -> None:
        self.fetched.append(item.what)
        if self.troubles:
            raise self.troubles.pop(0)
        for film in missing:
            sha256 = digest(film.sop_uid)
            self.ledger.add_arrival(NewArrival(film.sop_uid, "c", "t", sha256, 1, Source.CAMPAIGN))

    def close(self) -> None:
        self.closed += 1


class Turn:
    """A turn that another machine may have."""

    is_free = True

    def take(self) -> bool:
        return self.is_free

    def release(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Bench:
    """A runner with its source, its turn and its clocks."""

    runner: Runner
    source: Scripted
    turn: Turn
    ledger: Ledger
    times: dict[str, Any]

    def step(self, number: int = 1) -> list[bool]:
        return [self.runner.step(self.ledger.campaigns.named("c")) for _ in range(number)]

    def items(self) -> dict[str, int]:
        return progress_of(self.ledger, self.ledger.campaigns.named("c")).items


@pytest.fixture
def bench(
    tmp_path: Path, ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Bench]:
    def make(studies: int = 3, troubles: Sequence[Exception] = (), **changes: Any) -> Bench:
        source, turn, times = Scripted(ledger, studies, list(troubles)), Turn(), {"wall": NOON, "clock": 0.0}
        monkeypatch.setattr(module, "supply_of", lambda *_: source)
        settings = Settings(
            storage=StorageSettings(spool=tmp_path / "spool"),
            work=WorkSettings(retry_wait_s=0.001, maximum_attempts=2),
        )
        ledger.campaigns.start(
            NewCampaign("c", Kind.DICOMWEB, "http://x", Query(), "/m", "/p", VERSIONS, **changes)
        )
        runner = Runner(
            settings, spool, ledger, lambda _: turn, lambda: times["wall"], lambda: times["clock"]
        )
        return Bench(runner, source, turn, ledger, times)

    return make


def test_a_list_then_one_study_after_another(bench: Callable[..., Bench]) -> None:
    made = bench()
    assert made.step(5) == [True, True, True, True, False]
    assert made.source.fetched == ["1.0", "1.1", "1.2"]
    assert made.items() == {"arrived": 3}


def test_no_more_is_fetched_ahead_than_is_read(bench: Callable[..., Bench]) -> None:
    made = bench(studies=AHEAD + 5)
    made.step(AHEAD + 5)
    assert made.items() == {"arrived": AHEAD, "listed": 5}


def test_another_machine_has_the_turn(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.turn.is_free = False
    assert made.step(2) == [False, False]
    assert made.items() == {}


def test_who_takes_over_fetches_again_what_was_being_fetched(bench: Callable[..., Bench]) -> None:
    made = bench()
    made.step(2)
    campaign = made.ledger.campaigns.named("c")
    item = made.ledger.campaigns.next_item(campaign, datetime.now().astimezone())
    assert item is not None
    made.ledger.campaigns.begin(item)
    made.turn.is_free = False
    made.step()
    made.turn.is_free = True
    made.step(3)
    assert made.items() == {"arrived": 3}


@pytest.mark.parametrize("trouble", [ArchiveAway("away"), Transient("the disk is full")])
def test_what_is_away_is_left_alone_for_a_while_and_costs_no_attempt(
    bench: Callable[..., Bench], trouble: Exception
) -> None:
    made = bench(studies=1, troubles=[trouble] * 5)
    made.step()
    for _ in range(5):
        made.step()
        assert made.ledger.campaigns.named("c").trouble == str(trouble)
        before = len(made.source.fetched)
        made.step()
        assert len(made.source.fetched) == before, "it waits"
        made.times["clock"] += 1000
    made.step(2)
    assert made.items() == {"arrived": 1}
    assert made.ledger.campaigns.named("c").trouble == ""
    assert made.source.closed == 5


def test_what_does_not_come_though_the_archive_answers_has_failed_in_the_end(
    bench: Callable[..., Bench],
) -> None:
    made = bench(studies=1, troubles=[NotGiven("not sent")] * 2)
    made.step()
    while "listed" in made.items():
        made.step()
    made.step()
    assert made.items() == {"failed": 1}
    assert len(made.source.fetched) == 2
    assert made.ledger.campaigns.named("c").trouble == "", "the archive is well"


def test_only_in_its_hours(bench: Callable[..., Bench]) -> None:
    made = bench(hours=("22:00-06:00",))
    assert made.step(2) == [False, False], "not even listed"
    made.times["wall"] = NIGHT
    assert made.step(3) == [True, True, True]


def test_a_defect_holds_up_one_campaign_and_is_said(bench: Callable[..., Bench]) -> None:
    made = bench(troubles=[KeyError("x")])
    made.step()
    campaign = made.ledger.campaigns.named("c")
    assert made.runner._step_safely(campaign) is False
    assert "a defect (KeyError)" in made.ledger.campaigns.named("c").trouble
    assert made.step(2) == [False, False], "it waits"
    made.times["clock"] += 1000
    made.step(4)
    assert made.items() == {"arrived": 3}


def test_the_rate_is_kept(bench: Callable[..., Bench]) -> None:
    made = bench(per_hour=1)
    assert made.step(4) == [True, True, False, False]
    assert made.items() == {"arrived": 1, "listed": 2}
