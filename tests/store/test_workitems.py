"""Workitems in the ledger: what was claimed as what, and what is to be said of them when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from spinepacs.domain.campaign import (
    Campaign,
    CampaignState,
    Item,
    ItemState,
    Kind,
    NewCampaign,
    Query,
    WantedFilm,
)
from spinepacs.domain.findings import Refusal
from spinepacs.domain.study import Source
from spinepacs.domain.worklist import (
    WORKLIST,
    CodedTerm,
    Fate,
    Input,
    Priority,
    Scheduled,
    Workitem,
    WorkitemState,
)
from spinepacs.errors import Permanent
from spinepacs.store.ledger import Ledger
from spinepacs.store.queue import queue
from spinepacs.store.records import OutboxState
from tests.store.makers import NO_VERTEBRA, SOP, STUDY, VERSIONS, take_in
from tests.store.test_campaigns import come, read

Answers = Callable[..., Any]
NEW = NewCampaign(
    WORKLIST, Kind.DICOMWEB, "http://127.0.0.1/dicom-web", Query(), "/m", "/p", VERSIONS, delivers=True
)
CODE = CodedTerm("A1", "99X", "to be read")


def standing(ledger: Ledger) -> Campaign:
    ledger.campaigns.stand(NEW)
    return ledger.campaigns.named(WORKLIST)


def only(ledger: Ledger, uid: str = "9.1") -> Workitem:
    return next(each for each in ledger.workitems.due(datetime.now(UTC)) if each.uid == uid)


def claimed(
    ledger: Ledger, uid: str = "9.1", sop_uid: str = SOP, priority: Priority = Priority.MEDIUM
) -> Item:
    """A workitem that is ours and of which it is known what it refers to."""
    campaign = standing(ledger)
    ledger.workitems.claiming(Scheduled(uid, CODE, priority), f"{uid}.99")
    ledger.workitems.claimed(campaign, only(ledger, uid))
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.begin(item)
    films = [WantedFilm(sop_uid, STUDY)]
    ledger.workitems.refers(uid, [Input(STUDY, "", sop_uid)])
    ledger.workitems.wants(campaign, item.item_id, uid, films)
    ledger.campaigns.want(campaign, item, films)
    return item


def arrived(ledger: Ledger, item: Item) -> None:
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(standing(ledger))


def fate(ledger: Ledger, uid: str = "9.1") -> Fate:
    return ledger.workitems.outcome(standing(ledger), only(ledger, uid)).fate


def test_a_claim_is_written_down_before_it_is_asked_for(ledger: Ledger) -> None:
    ledger.workitems.claiming(Scheduled("9.1", CODE), "9.1.99")
    assert ledger.workitems.known(["9.1", "9.2"]) == {"9.1"}
    assert ledger.workitems.open() == 1
    found = only(ledger)
    assert (found.state, found.transaction_uid, found.code) == (WorkitemState.CLAIMING, "9.1.99", CODE)
    (row,) = (row for row in queue(ledger) if row["what"] == "workitem")
    assert (row["uid"], row["state"]) == ("9.1", "claiming")
    assert "9.1.99" not in str(row), "nobody else may know it"


def test_read_sent_and_only_then_told(ledger: Ledger) -> None:
    item = claimed(ledger)
    assert fate(ledger) is Fate.WAITING
    come(ledger, SOP, Source.CAMPAIGN)
    arrived(ledger, item)
    assert ledger.workitems.outcome(standing(ledger), only(ledger)).is_here
    read(ledger)
    ledger.campaigns.conclude(standing(ledger))
    assert fate(ledger) is Fate.WAITING, "its results are not there yet"
    for each in ledger.due("pacs"):
        ledger.finish_delivery(each.outbox_id, OutboxState.SENT, 0)
    outcome = ledger.workitems.outcome(standing(ledger), only(ledger))
    assert outcome.fate is Fate.READ
    assert len(outcome.outputs) == 3
    assert {output.destination for output in outcome.outputs} == {"pacs"}
    ledger.workitems.end(only(ledger), WorkitemState.COMPLETED)
    assert ledger.workitems.open() == 0
    assert ledger.workitems.known(["9.1"])


@pytest.mark.parametrize("refusal", [None, NO_VERTEBRA])
def test_a_second_workitem_about_the_same_film(ledger: Ledger, refusal: Refusal | None) -> None:
    """It waits as long as the first one does, and says the same."""
    first = claimed(ledger)
    second = claimed(ledger, "9.2")
    come(ledger, SOP, Source.CAMPAIGN)
    arrived(ledger, first)
    assert fate(ledger) is Fate.WAITING
    arrived(ledger, second)
    assert fate(ledger, "9.2") is Fate.WAITING
    read(ledger, refusal=refusal)
    ledger.campaigns.conclude(standing(ledger))
    for each in ledger.due("pacs"):
        ledger.finish_delivery(each.outbox_id, OutboxState.SENT, 0)
    outcomes = [ledger.workitems.outcome(standing(ledger), only(ledger, uid)) for uid in ("9.1", "9.2")]
    assert {outcome.fate for outcome in outcomes} == {Fate.NOT_READ if refusal else Fate.READ}
    assert {outcome.reason_code for outcome in outcomes} == {refusal.code if refusal else ""}
    assert {len(outcome.outputs) for outcome in outcomes} == {0 if refusal else 3}


@pytest.mark.parametrize("priority", [Priority.HIGH, Priority.MEDIUM])
def test_a_workitem_of_high_priority_is_fetched_and_read_as_stat_is(
    ledger: Ledger, priority: Priority
) -> None:
    """Its study goes before those of the day that have just come, though it was asked for after another workitem."""
    campaign = standing(ledger)
    for uid, stated in (("9.1", Priority.LOW), ("9.2", priority)):
        ledger.workitems.claiming(Scheduled(uid, CODE, stated), f"{uid}.99")
        ledger.workitems.claimed(campaign, only(ledger, uid))
    first = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert first is not None
    assert first.what == ("9.2" if priority is Priority.HIGH else "9.1")
    ledger.campaigns.begin(first)
    film = WantedFilm(SOP, STUDY)
    ledger.workitems.wants(campaign, first.item_id, first.what, [film])
    ledger.campaigns.want(campaign, first, [film])
    come(ledger, SOP, Source.CAMPAIGN)
    take_in(ledger, "1.2.3.1", "1.2.3")
    ledger.mark_ready("1.2.3")
    arrived(ledger, first)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    assert claim.study_uid == (STUDY if priority is Priority.HIGH else "1.2.3")


def test_how_many_are_open_and_lost(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    assert ledger.workitems.oldest_at() is None
    for uid, code in (("9.1", ""), ("9.2", "NOT_TAKEN"), ("9.3", "NOT_OURS")):
        ledger.workitems.claiming(Scheduled(uid, CODE), f"{uid}.99")
        if code:
            ledger.workitems.end(only(ledger, uid), WorkitemState.LOST, code, "so it is")
    assert ledger.workitems.counts() == {"claiming": 1, "lost": 2}
    assert ledger.workitems.lost_since(now) == 1, "what somebody else has needs nobody"
    assert ledger.workitems.lost_since(now + timedelta(hours=1)) == 0
    oldest_at = ledger.workitems.oldest_at()
    assert oldest_at is not None
    assert oldest_at >= now


def test_nothing_is_fetched_for_what_is_over(ledger: Ledger, ask: Answers) -> None:
    campaign = standing(ledger)
    ledger.workitems.claiming(Scheduled("9.1", CODE), "9.1.99")
    ledger.workitems.claimed(campaign, only(ledger))
    ledger.workitems.end(only(ledger), WorkitemState.CANCELED, "CANCELED_THERE", "so it is")
    assert ledger.campaigns.next_item(campaign, datetime.now(UTC)) is None
    assert ask("campaign_items", "state", reason_code="CANCELED_THERE") == [ItemState.REFUSED]


def test_what_was_read_before_is_not_read_again_and_told_at_once(ledger: Ledger, ask: Answers) -> None:
    item = claimed(ledger)
    come(ledger, SOP, Source.CAMPAIGN)
    arrived(ledger, item)
    read(ledger)
    ledger.campaigns.conclude(standing(ledger))
    for each in ledger.due("pacs"):
        ledger.finish_delivery(each.outbox_id, OutboxState.SENT, 0)
    arrived(ledger, claimed(ledger, "9.2"))
    assert fate(ledger, "9.2") is Fate.READ
    assert len(ask("readings", "reading_id")) == 1


def test_a_film_that_never_came(ledger: Ledger) -> None:
    arrived(ledger, claimed(ledger))
    outcome = ledger.workitems.outcome(standing(ledger), only(ledger))
    assert (outcome.fate, outcome.reason_code) == (Fate.NOT_READ, "NOT_SENT")


def test_a_workitem_without_a_film(ledger: Ledger) -> None:
    ledger.workitems.claiming(Scheduled("9.1"), "9.1.99")
    campaign = standing(ledger)
    ledger.workitems.claimed(campaign, only(ledger))
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.close(item, ItemState.REFUSED, "NOT_ASKED_FOR", "nothing")
    outcome = ledger.workitems.outcome(campaign, only(ledger))
    assert (outcome.fate, outcome.reason_code) == (Fate.NOT_READ, "NOT_ASKED_FOR")


def test_attempts_are_counted_and_given_back(ledger: Ledger) -> None:
    ledger.workitems.claiming(Scheduled("9.1", CODE), "9.1.99")
    first = only(ledger)
    ledger.workitems.begin(first)
    assert only(ledger).attempts == 1
    now = datetime.now(UTC)
    ledger.workitems.put_back(first, "away", now, counted=False)
    assert only(ledger).attempts == 0
    ledger.workitems.put_back(first, "not taken", now + timedelta(hours=1), counted=True)
    assert ledger.workitems.due(now) == []
    (later,) = ledger.workitems.due(now + timedelta(hours=2))
    ledger.workitems.told(later, 50)
    (told,) = ledger.workitems.due(now + timedelta(hours=2))
    assert (told.attempts, told.progress) == (0, 50)


def test_its_campaign_belongs_to_the_settings(ledger: Ledger) -> None:
    standing(ledger)
    with pytest.raises(Permanent, match=r"\[worklist\]"):
        ledger.campaigns.change(WORKLIST, CampaignState.CANCELLED)
