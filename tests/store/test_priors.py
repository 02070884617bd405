"""Priors in the ledger: who is asked for, what an archive has answered, and that nothing goes round in circles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from spinepacs.domain.campaign import Campaign, CampaignState, Kind, NewCampaign, Query, WantedFilm
from spinepacs.domain.priors import PRIORS, Ask, Chosen
from spinepacs.domain.study import Source
from spinepacs.errors import Permanent
from spinepacs.store.ledger import Ledger
from spinepacs.store.progress import progress_of
from spinepacs.store.queue import queue
from tests.store.makers import NEWER, NOT_A_SPINE, SOP, STUDY, VERSIONS, arrival, header
from tests.store.test_campaigns import read

Answers = Callable[..., Any]
AFTER, PAT = timedelta(days=30), "PAT-0001"
NEW = NewCampaign(PRIORS, Kind.DICOMWEB, "http://127.0.0.1/dicom-web", Query(), "/m", "/p", VERSIONS)


def come(ledger: Ledger, sop_uid: str = SOP, study_uid: str = STUDY, **changes: Any) -> None:
    """A film comes, and its header is read where priors are asked for."""
    sender = {name: changes.pop(name) for name in ("source", "calling_ae") if name in changes}
    refusal = changes.pop("refusal", None)
    ledger.add_arrival(replace(arrival(sop_uid), **sender))
    for waiting in ledger.unregistered(100):
        of_it = header(waiting.sop_uid, study_uid, **changes)
        ledger.register(waiting.arrival_id, of_it, refusal, ask_again_after=AFTER)


def next_ask(ledger: Ledger) -> Ask | None:
    return ledger.priors.next(datetime.now(UTC))


def asked(ledger: Ledger) -> Ask:
    """Who is next, being asked for."""
    found = next_ask(ledger)
    assert found is not None
    ledger.priors.begin(found)
    return found


def standing(ledger: Ledger) -> Campaign:
    ledger.campaigns.stand(NEW)
    return ledger.campaigns.named(PRIORS)


def answered(ledger: Ledger, *study_uids: str, strangers: int = 0) -> int:
    ask = asked(ledger)
    return ledger.priors.answer(standing(ledger), ask, Chosen(study_uids, strangers), "ARCHIVE")


def test_a_film_has_its_patient_asked_for_once(ledger: Ledger, ask: Answers) -> None:
    come(ledger, study_date="20261120", issuer_of_patient_id="HOSPITAL")
    come(ledger, "1.1.2", study_date="20261120", issuer_of_patient_id="HOSPITAL")
    assert ask("prior_asks", "state") == ["waiting"]
    found = asked(ledger)
    assert (found.patient_id, found.issuer, found.study_date) == (PAT, "HOSPITAL", date(2026, 11, 20))
    assert ledger.priors.answer(standing(ledger), found, Chosen(("7.1", "7.2")), "ARCHIVE") == 2
    assert ask("prior_asks", "state") == ["asked"]
    assert ask("campaign_items", "what") == ["7.1", "7.2"]
    assert ask("audit_events", "destination", action="queried") == ["ARCHIVE"]
    come(ledger, "1.1.3", study_date="20261120", issuer_of_patient_id="HOSPITAL")
    assert next_ask(ledger) is None, "a further film of the study"


@pytest.mark.parametrize(
    "film",
    [
        {"source": Source.CAMPAIGN},
        {"refusal": NOT_A_SPINE},
        {"patient_id": ""},
        {"patient_id": "  "},
    ],
)
def test_who_is_not_asked_for(ledger: Ledger, ask: Answers, film: dict[str, Any]) -> None:
    come(ledger, **film)
    assert ask("prior_asks", "state") == []


def test_priors_that_are_off(ledger: Ledger, ask: Answers) -> None:
    ledger.add_arrival(arrival())
    for waiting in ledger.unregistered(1):
        ledger.register(waiting.arrival_id, header(), None)
    assert ask("prior_asks", "state") == []


@pytest.mark.parametrize("patient_id", ["*", "PAT?", "A\\B"])
def test_a_patient_id_that_would_match_others_is_never_asked(
    ledger: Ledger, ask: Answers, patient_id: str
) -> None:
    come(ledger, patient_id=patient_id)
    assert next_ask(ledger) is None
    assert ask("prior_asks", "reason_code") == ["PATIENT_ID_IS_PATTERN"]
    assert [row["state"] for row in queue(ledger) if row["what"] == "priors"] == ["failed"]


def test_a_new_study_asks_again_and_the_latest_counts(ledger: Ledger, ask: Answers) -> None:
    come(ledger, study_date="20260101")
    come(ledger, "2.1", "2", study_date="20261120")
    come(ledger, "3.1", "3", study_date="20250101")
    assert ask("prior_asks", "study_uid") == ["2"]
    assert answered(ledger, "7.1") == 1
    assert next_ask(ledger) is None
    come(ledger, "4.1", "4", study_date="20261121")
    assert answered(ledger, "7.1", "7.2") == 1, "the first one is known"
    assert ask("campaign_items", "what") == ["7.1", "7.2"]


def test_a_study_that_comes_while_the_archive_is_asked(ledger: Ledger, ask: Answers) -> None:
    come(ledger)
    found = asked(ledger)
    come(ledger, "2.1", "2")
    ledger.priors.answer(standing(ledger), found, Chosen(("7.1",)), "ARCHIVE")
    assert ask("prior_asks", "state") == ["waiting"]
    assert answered(ledger, "7.1", "7.2") == 1
    assert ask("prior_asks", "state") == ["asked"]


def test_patients_of_two_issuers_are_two(ledger: Ledger, ask: Answers) -> None:
    come(ledger, issuer_of_patient_id="A")
    come(ledger, "2.1", "2", issuer_of_patient_id="B")
    assert ask("prior_asks", "issuer") == ["A", "B"]


def test_whoever_died_over_it_is_taken_back_and_given_up_in_the_end(ledger: Ledger, ask: Answers) -> None:
    come(ledger)
    for attempts in (1, 2):
        asked(ledger)
        ledger.priors.take_back(3)
        assert ask("prior_asks", "state") == ["waiting"]
        assert ask("prior_asks", "attempts") == [attempts]
    asked(ledger)
    ledger.priors.take_back(3)
    assert ask("prior_asks", "reason_code") == ["ASK_DIED"]
    assert ledger.priors.counts() == {"failed": 1}
    assert ledger.priors.oldest_at() is None


def test_what_waits_is_shown_and_names_no_patient(ledger: Ledger) -> None:
    come(ledger)
    found, now = asked(ledger), datetime.now(UTC)
    ledger.priors.put_back(found, "AWAY", "the archive does not answer", None, counted=False)
    (row,) = (row for row in queue(ledger) if row["what"] == "priors")
    assert (row["uid"], row["state"], row["attempts"]) == (STUDY, "waiting", 0)
    assert row["reason"] == "AWAY: the archive does not answer"
    assert PAT not in str(row)
    assert ledger.priors.counts() == {"waiting": 1}
    assert (ledger.priors.oldest_at() or now) <= now
    ledger.priors.begin(found)
    ledger.priors.put_back(found, "NOT_ANSWERED", "HTTP 400", now + timedelta(hours=1))
    assert next_ask(ledger) is None
    assert ledger.priors.next(now + timedelta(hours=2)) is not None


def test_a_prior_is_read_for_the_database_and_asks_for_nobody(ledger: Ledger, ask: Answers) -> None:
    come(ledger)
    answered(ledger, "7.1")
    campaign, now = standing(ledger), datetime.now(UTC)
    item = ledger.campaigns.next_item(campaign, now)
    assert item is not None
    ledger.campaigns.begin(item)
    assert ledger.campaigns.want(campaign, item, [WantedFilm("7.1.1", "7.1")])
    come(ledger, "7.1.1", "7.1", source=Source.CAMPAIGN)
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(campaign)
    ledger.mark_ready(STUDY)
    assert read(ledger).study_uid == STUDY, "the day's work first"
    assert read(ledger).study_uid == "7.1"
    ledger.campaigns.conclude(campaign)
    assert progress_of(ledger, campaign).items == {"read": 1}
    assert not ledger.campaigns.finish(campaign), "it never ends"
    assert ask("outbox", "state", study_uid="7.1") == []
    assert next_ask(ledger) is None


def test_a_film_of_another_patient_is_refused_and_its_file_dropped(ledger: Ledger, ask: Answers) -> None:
    come(ledger, issuer_of_patient_id="HOSPITAL")
    answered(ledger, "7.1")
    campaign = standing(ledger)
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.begin(item)
    ledger.campaigns.want(campaign, item, [WantedFilm(f"7.1.{n}", "7.1") for n in (1, 2, 3)])
    come(ledger, "7.1.1", "7.1", source=Source.CAMPAIGN, patient_id="PAT-0002")
    come(ledger, "7.1.2", "7.1", source=Source.CAMPAIGN, issuer_of_patient_id="ANOTHER")
    come(ledger, "7.1.3", "7.1", source=Source.CAMPAIGN)
    assert ask("arrivals", "state", study_uid="7.1") == ["refused", "refused", "selected"]
    assert ask("arrivals", "reason_code", state="refused") == ["OTHER_PATIENT"] * 2
    assert all(ask("arrivals", "file_deleted_at", state="refused"))


def test_strangers_in_an_answer_are_said(ledger: Ledger, ask: Answers) -> None:
    come(ledger)
    assert answered(ledger, strangers=2) == 0
    assert ask("prior_asks", "reason_code") == ["OTHER_PATIENT"]
    assert ask("prior_asks", "strangers") == [2]
    assert "2 of another patient" in ask("audit_events", "detail", action="queried")[0]


def test_a_prior_that_did_not_come_is_fetched_again_when_it_is_asked_for_again(
    ledger: Ledger, ask: Answers
) -> None:
    come(ledger)
    answered(ledger, "7.1")
    campaign = standing(ledger)
    item = ledger.campaigns.next_item(campaign, datetime.now(UTC))
    assert item is not None
    ledger.campaigns.begin(item)
    ledger.campaigns.want(campaign, item, [WantedFilm("7.1.1", "7.1")])
    ledger.campaigns.arrived(item)
    ledger.campaigns.conclude(campaign)
    assert ask("campaign_items", "state") == ["failed"]
    come(ledger, "2.1", "2")
    assert answered(ledger, "7.1") == 1
    assert ask("campaign_items", "state") == ["listed"]
    assert ask("campaign_films", "state") == ["wanted"]


def test_the_campaign_follows_the_settings_and_is_not_cancelled(ledger: Ledger, ask: Answers) -> None:
    standing(ledger)
    ledger.campaigns.change(PRIORS, CampaignState.PAUSED)
    ledger.campaigns.stand(replace(NEW, kind=Kind.DICOM, place="A@h:104", versions=NEWER))
    (campaign,) = ledger.campaigns.all()
    assert (campaign.kind, campaign.place, campaign.versions) == (Kind.DICOM, "A@h:104", NEWER)
    assert campaign.state is CampaignState.PAUSED, "as a person has left it"
    with pytest.raises(Permanent, match="enabled"):
        ledger.campaigns.change(PRIORS, CampaignState.CANCELLED)
