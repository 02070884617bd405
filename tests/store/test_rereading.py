"""Films are read again after a rule, a policy or the model has changed, and what was found before stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from spinepacs.domain.findings import Refusal, Versions
from spinepacs.domain.study import NO_RADIOGRAPH
from spinepacs.settings.sections import RetentionSettings
from spinepacs.store import queries, rereading
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import ArrivalOutcome, OutboxState
from spinepacs.store.rereading import Choice, Reread
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    NOT_A_SPINE,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    arrival,
    claimed,
    header,
    recorded,
    result_of,
    stored,
    take_in,
)

OTHER = "2.2"


def read_next(ledger: Ledger, versions: Versions, refusal: Refusal | None = None) -> str:
    """The study whose turn it is, read and recorded."""
    claim = ledger.claim(versions, 3)
    assert claim is not None
    result = result_of(claim, refusal)
    assert ledger.record(claim, result, stored(result), [PACS])
    return claim.study_uid


def delivered(ledger: Ledger) -> None:
    recorded(ledger)
    for item in ledger.due("pacs"):
        ledger.finish_delivery(item.outbox_id, OutboxState.SENT, 0)


def test_a_newer_model_reads_a_delivered_study_again_and_both_readings_stay(ledger: Ledger, ask: Ask) -> None:
    delivered(ledger)
    assert ledger.rereading.ask(Choice(study=STUDY), NEWER) == Reread(again=1)
    assert ask("studies", "state") == ["ready"]
    read_next(ledger, NEWER)
    assert ask("readings", "model_version") == ["0.1.0", "1.0.0"]
    assert len(ledger.due("pacs")) == 3, "the new objects are sent, the old ones are not again"
    assert ask("outbox", "state") == ["pending"] * 3 + ["sent"] * 3
    films = queries.find_films(ledger)
    assert [film["model_version"] for film in films] == ["1.0.0"]
    assert len(queries.find(ledger, "films", all_versions=True)) == 2


def test_what_this_model_and_policy_have_read_is_said_and_left(ledger: Ledger, ask: Ask) -> None:
    delivered(ledger)
    assert ledger.rereading.ask(Choice(study=STUDY), VERSIONS) == Reread(known=1)
    assert ledger.rereading.ask(Choice(is_older=True), VERSIONS) == Reread()
    assert ask("studies", "state") == ["delivered"]
    changed = replace(VERSIONS, policy_version="2.0")
    assert ledger.rereading.ask(Choice(is_older=True), changed) == Reread(again=1), "a policy counts as well"


def test_what_the_rules_had_refused_is_held_against_those_of_today(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    take_in(ledger, "3.1", "3", refusal=Refusal("OTHER_REASON", "other"))
    for study in (STUDY, "3"):
        ledger.mark_ready(study)
    assert ledger.rereading.ask(Choice(refused="NOT_SELECTED"), VERSIONS) == Reread(anew=1)
    (waiting,) = ledger.unregistered(10)
    ledger.register(waiting.arrival_id, header(), None)
    assert ask("arrivals", "state") == ["refused", "selected"]
    ledger.mark_ready(STUDY)
    assert read_next(ledger, VERSIONS) == STUDY


def test_what_the_reading_had_refused_is_found_by_its_newest_reason(ledger: Ledger) -> None:
    claim = claimed(ledger)
    ledger.record(claim, result_of(claim, NO_VERTEBRA), {}, [PACS])
    assert ledger.rereading.ask(Choice(refused="NO_VERTEBRA_FOUND"), NEWER) == Reread(again=1)
    read_next(ledger, NEWER)
    assert (
        ledger.rereading.ask(Choice(refused="NO_VERTEBRA_FOUND"), replace(NEWER, model_version="2"))
        == Reread()
    )


def test_what_was_refused_may_be_read_once_more_by_the_same_model(ledger: Ledger, ask: Ask) -> None:
    """A newer spinepacs can decode what an older one could not."""
    claim = claimed(ledger)
    ledger.record(claim, result_of(claim, Refusal("UNDECODABLE_PIXELS", "no")), {}, [PACS])
    for refusal in (NO_VERTEBRA, None):
        assert ledger.rereading.ask(Choice(study=STUDY), VERSIONS) == Reread(again=1)
        assert read_next(ledger, VERSIONS, refusal) == STUDY
    assert ask("readings", "refusal_code") == ["", "NO_VERTEBRA_FOUND", "UNDECODABLE_PIXELS"]
    assert ask("studies", "state") == ["recorded"]
    assert ledger.rereading.ask(Choice(study=STUDY), VERSIONS) == Reread(known=1)
    assert ledger.rereading.ask(Choice(refused="UNDECODABLE_PIXELS"), VERSIONS) == Reread()
    assert ledger.counts().unseen["films"] == 0


def test_a_worker_that_comes_late_does_not_answer_for_what_was_asked_since(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    ledger.record(claim, result_of(claim, NO_VERTEBRA), {}, [PACS])
    ledger.rereading.ask(Choice(study=STUDY), VERSIONS)
    assert not ledger.record(claim, result_of(claim, NO_VERTEBRA), {}, [PACS])
    assert ask("studies", "state") == ["ready"]


def test_an_unreadable_file_is_tried_again_unless_another_has_its_place(ledger: Ledger, ask: Ask) -> None:
    ledger.add_arrival(arrival())
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, Refusal("TRUNCATED", "cut"))
    assert ledger.rereading.ask(Choice(refused="TRUNCATED"), VERSIONS) == Reread(anew=1)
    ledger.mark_unreadable(ledger.unregistered(1)[0].arrival_id, Refusal("TRUNCATED", "cut"))
    take_in(ledger, SOP) if False else ledger.add_arrival(arrival(content="sent again, whole"))
    assert ledger.rereading.ask(Choice(refused="TRUNCATED"), VERSIONS) == Reread()
    assert ask("arrivals", "state") == ["received", "unreadable"]


def test_films_are_chosen_by_study_date_and_all_conditions_must_hold(ledger: Ledger) -> None:
    take_in(ledger, refusal=NOT_A_SPINE, study_date="20260110")
    take_in(ledger, "3.1", "3", refusal=NOT_A_SPINE, study_date="20260120")
    take_in(ledger, "4.1", "4", refusal=NOT_A_SPINE, study_date="")
    first, second = date(2026, 1, 10), date(2026, 1, 20)
    ask = ledger.rereading.ask
    assert ask(Choice(refused="TRUNCATED", date_from=first), VERSIONS) == Reread()
    assert ask(Choice(study="3", date_to=first), VERSIONS) == Reread()
    assert ask(Choice(date_from=first, date_to=first), VERSIONS) == Reread(anew=1)
    assert ask(Choice(date_to=second), VERSIONS) == Reread(anew=1), "the other one waits already"
    assert ask(Choice(refused="NOT_SELECTED"), VERSIONS) == Reread(anew=1), "without date"


def test_what_is_no_film_is_not_touched_unless_named(ledger: Ledger) -> None:
    take_in(ledger, refusal=Refusal(NO_RADIOGRAPH, "a report"))
    assert ledger.rereading.ask(Choice(study=STUDY), VERSIONS) == Reread()
    assert ledger.rereading.ask(Choice(refused=NO_RADIOGRAPH), VERSIONS) == Reread(anew=1)


@pytest.mark.parametrize("how", ["expired", "discarded"])
def test_films_whose_files_are_gone_are_said(ledger: Ledger, ask: Ask, how: str) -> None:
    if how == "expired":
        delivered(ledger)
        ledger.files.expire(RetentionSettings(days=1), datetime.now(UTC) + timedelta(days=2))
    else:
        ledger.fail(claimed(ledger), "DEFECT", "broken", transient=False)
        ledger.files.discard(STUDY)
    before = ask("studies", "state")
    assert ledger.rereading.ask(Choice(study=STUDY), NEWER) == Reread(gone=1)
    assert ask("studies", "state") == before


def test_a_discarded_study_that_is_sent_again_is_read(ledger: Ledger, ask: Ask) -> None:
    ledger.fail(claimed(ledger), "DEFECT", "broken", transient=False)
    ledger.files.discard(STUDY)
    assert ledger.add_arrival(arrival()) is ArrivalOutcome.DUPLICATE
    assert ask("studies", "state") == ["arriving"]
    ledger.mark_ready(STUDY)
    assert read_next(ledger, VERSIONS) == STUDY


def test_a_refused_image_that_is_sent_again_is_selected_by_todays_rules(ledger: Ledger, ask: Ask) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    ledger.mark_ready(STUDY)
    ledger.add_arrival(arrival())
    (waiting,) = ledger.unregistered(10)
    ledger.register(waiting.arrival_id, header(), None)
    assert ask("studies", "state") == ["arriving"]


def test_what_is_on_its_way_is_left_alone(ledger: Ledger, ask: Ask) -> None:
    claimed(ledger)
    assert ledger.rereading.ask(Choice(study=STUDY), VERSIONS) == Reread(waiting=1)
    assert ask("studies", "state") == ["working"]


def test_new_films_go_before_those_that_are_read_again(ledger: Ledger) -> None:
    delivered(ledger)
    ledger.rereading.ask(Choice(study=STUDY), NEWER)
    take_in(ledger, "3.1", OTHER)
    ledger.mark_ready(OTHER)
    assert read_next(ledger, NEWER) == OTHER
    assert read_next(ledger, NEWER) == STUDY


def test_what_is_selected_anew_waits_for_what_has_just_come(ledger: Ledger) -> None:
    take_in(ledger, refusal=NOT_A_SPINE)
    ledger.mark_ready(STUDY)
    ledger.rereading.ask(Choice(study=STUDY), VERSIONS)
    ledger.add_arrival(arrival("3.1"))
    assert [item.sop_uid for item in ledger.unregistered(10)] == ["3.1", SOP]
    assert [item.sop_uid for item in ledger.unregistered(1)] == ["3.1"]
    for waiting in ledger.unregistered(10):
        ledger.register(
            waiting.arrival_id, header(waiting.sop_uid, STUDY if waiting.sop_uid == SOP else OTHER), None
        )
    for study in (STUDY, OTHER):
        ledger.mark_ready(study)
    assert [read_next(ledger, VERSIONS), read_next(ledger, VERSIONS)] == [OTHER, STUDY]


def test_a_new_film_gives_a_study_its_turn_back(ledger: Ledger) -> None:
    delivered(ledger)
    ledger.rereading.ask(Choice(study=STUDY), NEWER)
    take_in(ledger, "1.2.3.1.2")
    read_next(ledger, NEWER)
    assert ledger.rows(queries.select(queries.text("rereading")).select_from(queries.text("studies"))) == [
        {"rereading": 0}
    ]


def test_a_whole_archive_is_asked_for_in_batches(
    ledger: Ledger, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rereading, "BATCH", 2)
    for number in range(5):
        take_in(ledger, f"3.{number}", str(number), refusal=NOT_A_SPINE)
    assert ledger.rereading.ask(Choice(refused="NOT_SELECTED"), VERSIONS) == Reread(anew=5)
    assert ask("arrivals", "state") == ["received"] * 5


def test_the_trail_tells_which_studies_are_read_again(ledger: Ledger, ask: Ask) -> None:
    delivered(ledger)
    ledger.rereading.ask(Choice(study=STUDY), NEWER)
    assert ask("audit_events", "study_uid", action="reread") == [STUDY]
    words = str(Choice(STUDY, "NOT_SELECTED", True, date(2026, 1, 2), date(2026, 1, 3)))
    assert words == f"{STUDY} --model-older --refused NOT_SELECTED --from 2026-01-02 --to 2026-01-03"
