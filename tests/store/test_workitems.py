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
from spinepacs.domain.worklist import WORKLIST, CodedTerm, Fate, Input, Workitem, WorkitemState
from spinepacs.errors import Permanent
from spinepacs.store.ledger import Ledger
from spinepacs.store.queue import queue
from spinepacs.store.records import OutboxState
from tests.store.makers import NO_VERTEBRA, SOP, STUDY, VERSIONS
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


def claimed(ledger: Ledger, uid: str = "9.1", sop_uid: str = SOP) -> Item:
    """A workitem that is ours and of which it is known what it refers to."""
    campaign = standing(ledger)
    ledger.workitems.claiming(uid, f"{uid}.99", CODE)
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
    ledger.workitems.claiming("9.1", "9.1.99", CODE)
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
    ledger.workitems.claiming("9.1", "9.1.99", None)
    campaign = standing(ledger)
    ledger.workitems.claimed(campaign, only(ledger))
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.close(item, ItemState.REFUSED, "NOT_ASKED_FOR", "nothing")
    outcome = ledger.workitems.outcome(campaign, only(ledger))
    assert (outcome.fate, outcome.reason_code) == (Fate.NOT_READ, "NOT_ASKED_FOR")


def test_attempts_are_counted_and_given_back(ledger: Ledger) -> None:
    ledger.workitems.claiming("9.1", "9.1.99", CODE)
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
