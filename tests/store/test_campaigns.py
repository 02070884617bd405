"""Campaigns in the ledger: what is read for them, what is delivered, and what the day's work keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from spinepacs.domain.campaign import (
    Campaign,
    CampaignState,
    Item,
    Kind,
    NewCampaign,
    Query,
    WantedFilm,
)
from spinepacs.domain.findings import Refusal, StudyResult
from spinepacs.domain.study import Source
from spinepacs.errors import Permanent
from spinepacs.store.ledger import Ledger
from spinepacs.store.progress import pairs, progress_of
from spinepacs.store.records import Claim
from spinepacs.store.rereading import Choice
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    arrival,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)

Ask = Callable[..., Any]


def started(ledger: Ledger, kind: Kind = Kind.DICOMWEB, **changes: Any) -> Campaign:
    values = {"place": "http://127.0.0.1/dicom-web", "versions": VERSIONS, "query": Query(), **changes}
    ledger.campaigns.start(NewCampaign("c", kind, model_folder="/m", policy_file="/p", **values))
    return ledger.campaigns.named("c")


def asked(ledger: Ledger, campaign: Campaign, *sop_uids: str, study: str = STUDY) -> Item:
    """An item that is being fetched."""
    ledger.campaigns.add(campaign, [study], "1", is_last=True)
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.begin(item)
    ledger.campaigns.want(campaign, item, [WantedFilm(uid, study) for uid in sop_uids or (SOP,)])
    return item


def fetched(ledger: Ledger, campaign: Campaign, *sop_uids: str, refusal: Refusal | None = None) -> Item:
    """An item of which everything has come, and whose study is ready."""
    item = asked(ledger, campaign, *sop_uids)
    for uid in sop_uids or (SOP,):
        come(ledger, uid, Source.CAMPAIGN, refusal)
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(campaign)
    return item


def come(ledger: Ledger, sop_uid: str, source: Source, refusal: Refusal | None = None, **sender: Any) -> None:
    ledger.add_arrival(replace(arrival(sop_uid), source=source, **sender))
    for waiting in ledger.unregistered(100):
        ledger.register(waiting.arrival_id, header(waiting.sop_uid), refusal, urgent=True)


def read(ledger: Ledger, versions: Any = VERSIONS, refusal: Refusal | None = None) -> Claim:
    """What a worker does with the next claim."""
    claim = ledger.claim(versions, 3)
    assert claim is not None
    result = result_of(claim, refusal)
    if claim.campaign and not claim.campaign.delivers:
        bare = tuple(replace(image, objects=()) for image in result.images)
        result = StudyResult(result.study_uid, bare)
    assert ledger.record(claim, result, stored(result), (PACS,))
    return claim


def ended(ledger: Ledger, campaign: Campaign) -> dict[str, int]:
    """What has become of its items."""
    ledger.campaigns.conclude(campaign)
    return progress_of(ledger, campaign).items


def test_what_only_a_campaign_has_brought_is_read_and_goes_into_the_database_only(
    ledger: Ledger, ask: Ask
) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    claim = read(ledger)
    assert claim.campaign is not None
    assert ended(ledger, campaign) == {"read": 1}
    assert ask("outbox", "state") == ask("objects", "kind") == []
    assert ask("readings", "bare") == [1]
    assert ask("studies", "state") == ["delivered"]
    assert ask("studies", "campaign_id") == [None]
    assert ledger.campaigns.finish(campaign)
    assert ledger.campaigns.named("c").state is CampaignState.DONE


def test_one_that_delivers_sends_what_it_has_read(ledger: Ledger, ask: Ask) -> None:
    fetched(ledger, started(ledger, delivers=True))
    read(ledger)
    assert ask("outbox", "state") == ["pending"] * 3
    assert ask("studies", "state") == ["recorded"]


def test_the_day_goes_first_though_the_campaign_was_there_before(ledger: Ledger) -> None:
    fetched(ledger, started(ledger))
    take_in(ledger, "9.1", "9")
    ledger.mark_ready("9")
    assert read(ledger).study_uid == "9"
    assert read(ledger).study_uid == STUDY


def test_an_urgent_header_of_an_old_film_makes_nothing_urgent(ledger: Ledger, ask: Ask) -> None:
    fetched(ledger, started(ledger))
    assert ask("studies", "urgent") == [0]


def test_a_film_that_comes_by_itself_later_is_delivered_and_read_under_one_row(
    ledger: Ledger, ask: Ask
) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    read(ledger)
    ended(ledger, campaign)
    come(ledger, SOP, Source.NETWORK)
    ledger.mark_ready(STUDY)
    claim = read(ledger)
    assert claim.campaign is None
    assert ask("arrivals", "source") == ["network"]
    assert ask("outbox", "state") == ["pending"] * 3
    assert ask("readings", "bare") == [0]
    assert ledger.claim(VERSIONS, 3) is None


def test_a_film_of_the_day_takes_its_study_back_and_leaves_the_campaigns_for_afterwards(
    ledger: Ledger, ask: Ask
) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    come(ledger, "1.2.3.1.2", Source.NETWORK)
    of_the_day = read(ledger)
    assert of_the_day.campaign is None
    assert [each.sop_uid for each in of_the_day.arrivals] == ["1.2.3.1.2"]
    assert ended(ledger, campaign) == {"arrived": 1}
    claim = read(ledger)
    assert claim.campaign is not None
    assert [each.sop_uid for each in claim.arrivals] == [SOP]
    assert ended(ledger, campaign) == {"read": 1}
    assert len(ask("outbox", "state")) == 3
    assert ask("studies", "state") == ["recorded"]


def test_again_with_another_model_keeps_both_readings_and_delivers_nothing_more(
    ledger: Ledger, ask: Ask
) -> None:
    recorded(ledger)
    before = len(ask("outbox", "state"))
    campaign = started(ledger, Kind.AGAIN, versions=NEWER, place="")
    assert ledger.rereading.studies(campaign, 0) == ([STUDY], 0)
    item = asked(ledger, campaign)
    assert ledger.rereading.films(campaign, STUDY) == [WantedFilm(SOP, STUDY)]
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(campaign)
    claim = read(ledger, VERSIONS)
    assert claim.versions == NEWER
    assert ended(ledger, campaign) == {"read": 1}
    assert sorted(ask("readings", "model_version")) == ["0.1.0", "1.0.0"]
    assert len(ask("outbox", "state")) == before
    assert ask("studies", "state") == ["recorded"]
    assert ledger.rereading.studies(campaign, 0) == ([], 0)
    (pair,) = pairs(ledger, campaign)
    assert (pair.before.versions.split()[1], pair.after.versions.split()[1]) == ("0.1.0", "1.0.0")
    assert {row["level"] for row in pair.after.vertebrae} == {"L4", "L5", "S1"}


def test_what_the_same_model_and_policy_have_read_is_neither_fetched_nor_read(ledger: Ledger) -> None:
    recorded(ledger)
    campaign = started(ledger)
    item = asked(ledger, campaign)
    assert ledger.campaigns.want(campaign, item, [WantedFilm(SOP, STUDY)]) == []
    ledger.campaigns.arrived(item)
    assert ended(ledger, campaign) == {"known": 1}
    assert ledger.claim(VERSIONS, 3) is None


def test_what_is_here_and_unread_is_read_and_not_fetched(ledger: Ledger) -> None:
    recorded(ledger)
    campaign = started(ledger, versions=NEWER)
    item = asked(ledger, campaign, SOP, "1.9")
    both = [WantedFilm(SOP, STUDY), WantedFilm("1.9", STUDY)]
    assert ledger.campaigns.want(campaign, item, both) == both[1:]


def test_a_refused_film_is_in_the_report_and_not_in_the_queue(ledger: Ledger) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    read(ledger, refusal=NO_VERTEBRA)
    assert ended(ledger, campaign) == {"refused": 1}
    assert ledger.counts().unseen["films"] == 0
    (reason,) = progress_of(ledger, campaign).reasons
    assert reason == ("refused", NO_VERTEBRA.code, NO_VERTEBRA.reason, 1)


def test_what_kills_its_workers_is_failed_in_the_campaign_alone(ledger: Ledger, ask: Ask) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    for _ in range(3):
        assert ledger.claim(VERSIONS, 3)
        ledger.return_orphans()
    assert ledger.claim(VERSIONS, 3) is None
    assert ended(ledger, campaign) == {"failed": 1}
    assert ask("studies", "state") == ["refused"]
    assert progress_of(ledger, campaign).reasons[0][1] == "ATTEMPTS_USED_UP"


def test_a_study_that_the_day_has_failed_at_stays_failed(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim
    ledger.fail(claim, "DEFECT", "broken", transient=False)
    campaign = started(ledger, Kind.AGAIN, versions=NEWER)
    ledger.campaigns.arrived(asked(ledger, campaign))
    assert ended(ledger, campaign) == {"failed": 1}
    assert ask("studies", "state") == ["failed"]


def test_a_paused_one_is_not_read_and_a_cancelled_one_leaves_nothing_open(ledger: Ledger, ask: Ask) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    ledger.campaigns.change("c", CampaignState.PAUSED)
    assert ledger.claim(VERSIONS, 3) is None
    ledger.campaigns.change("c", CampaignState.RUNNING)
    ledger.campaigns.change("c", CampaignState.CANCELLED)
    assert ledger.claim(VERSIONS, 3) is None
    assert ask("studies", "state") == ["refused"]
    with pytest.raises(Permanent, match="is cancelled"):
        ledger.campaigns.change("c", CampaignState.RUNNING)


def test_cancelled_while_it_is_read(ledger: Ledger, ask: Ask) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    claim = ledger.claim(VERSIONS, 3)
    assert claim
    ledger.campaigns.change("c", CampaignState.CANCELLED)
    result = StudyResult(STUDY, tuple(replace(each, objects=()) for each in result_of(claim).images))
    assert ledger.record(claim, result, {}, (PACS,))
    ended(ledger, campaign)
    ledger.mark_ready(STUDY)
    assert ledger.claim(VERSIONS, 3) is None
    assert ask("studies", "state") == ["delivered"]


def test_what_was_being_fetched_when_its_process_died_is_fetched_again_and_given_up_in_the_end(
    ledger: Ledger,
) -> None:
    campaign = started(ledger)
    item: Item | None = asked(ledger, campaign)
    for attempts in (1, 2):
        ledger.campaigns.take_back(campaign, 3)
        item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
        assert item is not None
        assert item.attempts == attempts
        ledger.campaigns.begin(item)
    ledger.campaigns.take_back(campaign, 3)
    assert ended(ledger, campaign) == {"failed": 1}


def test_what_the_archive_does_not_give_has_failed_and_the_rest_is_read(ledger: Ledger) -> None:
    campaign = started(ledger)
    item = asked(ledger, campaign, SOP, "1.9")
    come(ledger, SOP, Source.CAMPAIGN)
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(campaign)
    read(ledger)
    assert ended(ledger, campaign) == {"failed": 1}
    assert progress_of(ledger, campaign).films == {"read": 1, "failed": 1}


@pytest.mark.parametrize(("sender", "source"), [("ARCHIVE", "campaign"), ("MODALITY", "network")])
def test_what_comes_by_c_move_is_told_by_sender_and_film(
    ledger: Ledger, ask: Ask, sender: str, source: str
) -> None:
    campaign = started(ledger, Kind.DICOM, place="ARCHIVE@127.0.0.1:104")
    asked(ledger, campaign)
    come(ledger, SOP, Source.NETWORK, calling_ae=sender, received_at=datetime.now(UTC))
    assert ask("arrivals", "source") == [source]
    assert ask("studies", "campaign_id") == [campaign.campaign_id if source == "campaign" else None]


def test_what_lay_in_the_spool_when_the_process_died_is_the_campaigns_still(ledger: Ledger, ask: Ask) -> None:
    campaign = started(ledger)
    asked(ledger, campaign)
    ledger.campaigns.take_back(campaign, 3)
    come(ledger, SOP, Source.SPOOL)
    come(ledger, "1.9", Source.SPOOL)
    assert ask("arrivals", "source") == ["campaign", "spool"]


def test_headers_of_the_day_are_read_before_those_of_a_campaign(ledger: Ledger) -> None:
    ledger.add_arrival(replace(arrival("1.1"), source=Source.CAMPAIGN))
    ledger.add_arrival(arrival("1.2"))
    assert [each.sop_uid for each in ledger.unregistered(10)] == ["1.2", "1.1"]
    assert [each.sop_uid for each in ledger.unregistered(1)] == ["1.2"]


def test_reread_leaves_what_only_a_campaign_has_brought(ledger: Ledger) -> None:
    campaign = started(ledger)
    fetched(ledger, campaign)
    read(ledger)
    assert not any(vars(ledger.rereading.ask(Choice(study=STUDY), NEWER)).values())


def test_two_of_one_name_are_refused_and_a_list_that_comes_twice_is_one(ledger: Ledger) -> None:
    campaign = started(ledger, studies=("1", "2"), accessions=())
    with pytest.raises(Permanent, match="choose another name"):
        started(ledger)
    assert ledger.campaigns.wanted(campaign) == (("1", "2"), ())
    assert ledger.campaigns.add(campaign, ["1", "2"], "2", is_last=False) == 2
    assert ledger.campaigns.add(campaign, ["2", "3"], "3", is_last=True) == 1
    assert ledger.campaigns.named("c").position == "3"
