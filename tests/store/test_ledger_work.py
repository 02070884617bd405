"""Contract of the ledger, both databases: claims, attempts, failures, and the record of a result."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spinepacs.domain.findings import Refusal, StudyResult
from spinepacs.errors import Permanent
from spinepacs.store.ledger import Ledger
from spinepacs.store.records import Claim
from tests.store.conftest import Ask
from tests.store.makers import (
    NEWER,
    NO_VERTEBRA,
    PACS,
    SOP,
    STUDY,
    VERSIONS,
    VIEWER,
    claimed,
    digest,
    image,
    reading,
    recorded,
    result_of,
    stored,
    take_in,
)

SECOND = "1.2.3.1.2"


def record(ledger: Ledger, claim: Claim, result: StudyResult | None = None) -> bool:
    """Record what the pipeline would give."""
    result = result or result_of(claim)
    return ledger.record(claim, result, stored(result), [PACS])


def test_nothing_is_claimed_before_it_is_ready(ledger: Ledger) -> None:
    take_in(ledger)
    assert ledger.claim(VERSIONS, 3) is None
    ledger.mark_ready(STUDY)
    assert ledger.claim(VERSIONS, 3) is not None


def test_a_claim_holds_the_selected_images_and_crosses_to_another_process(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger, SOP, SECOND)
    assert [item.sop_uid for item in claim.arrivals] == [SOP, SECOND]
    assert [item.sha256 for item in claim.arrivals] == [digest(SOP), digest(SECOND)]
    assert (claim.study_uid, claim.attempt_number, claim.versions) == (STUDY, 1, VERSIONS)
    assert pickle.loads(pickle.dumps(claim)) == claim  # noqa: S301 - our own bytes
    assert ask("studies", "state") == ["working"]


def test_the_attempt_is_counted_before_the_work(ledger: Ledger, ask: Ask) -> None:
    claimed(ledger)
    assert ask("studies", "attempts") == [1]
    assert ask("attempts", "outcome") == ["working"]
    assert ask("attempts", "ended_at") == [None]


def test_a_study_is_claimed_once_and_the_one_due_longest_first(ledger: Ledger) -> None:
    for number in range(3):
        take_in(ledger, f"1.{number}", f"2.{number}")
    for number in (1, 0, 2):
        ledger.mark_ready(f"2.{number}")
    claims = [ledger.claim(VERSIONS, 3) for _ in range(4)]
    assert [claim and claim.study_uid for claim in claims] == ["2.1", "2.0", "2.2", None]


def test_mark_ready_leaves_a_study_alone_that_is_further(ledger: Ledger, ask: Ask) -> None:
    claimed(ledger)
    ledger.mark_ready(STUDY)
    assert ask("studies", "state") == ["working"]


def test_a_result_is_recorded_whole(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    assert record(ledger, claim)
    assert ask("studies", "state") == ["recorded"]
    assert ask("attempts", "outcome") == ["recorded"]
    assert ask("readings", "notes") == ["WINDOW_ABSURD LEVELS_SHIFTED"]
    assert ask("readings", "spacing_basis") == ["detector-plane"]
    assert ask("vertebrae", "level") == ["L4", "L5", "S1"]
    assert ask("vertebrae", "raw_level", level="L4") == ["L3"]
    assert ask("vertebrae", "area_px") == [8000.0] * 3
    assert ask("discs", "middle_px") == [30.0, 60.0]
    assert ask("discs", "middle_mm") == [4.5, 9.0]
    assert ask("discs", "wedge_deg") == [None, None], "NaN is no measure"
    assert ask("findings", "published_grade") == [0, 2]
    assert ask("objects", "kind") == ["OVERLAY", "SEG", "SR"]
    assert ask("outbox", "state") == ["pending"] * 3


def test_without_spacing_there_is_no_millimetre(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    bare = replace(image(), reading=reading(calibrated=False))
    record(ledger, claim, StudyResult(STUDY, (bare,)))
    assert ask("discs", "middle_px") == [30.0, 60.0]
    assert ask("discs", "middle_mm") == [None, None]
    assert ask("readings", "spacing_basis") == [None]


def test_recording_twice_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    assert record(ledger, claim)
    assert not record(ledger, claim)
    assert len(ask("readings", "reading_id")) == 1
    assert len(ask("outbox", "outbox_id")) == 3


def test_a_reading_that_is_there_stays_even_when_its_claim_was_taken_back(ledger: Ledger, ask: Ask) -> None:
    """A worker that was thought dead comes back with its result, after another has begun the same work."""
    slow = claimed(ledger)
    assert ledger.return_orphans() == 1
    quick = ledger.claim(VERSIONS, 3)
    assert quick is not None
    assert not record(ledger, slow), "its claim has ended"
    assert ask("readings", "reading_id") == []
    assert record(ledger, quick)
    assert not ledger.fail(slow, "TIMEOUT", "too late", transient=True)
    assert ask("studies", "state") == ["recorded"]
    assert len(ask("readings", "reading_id")) == 1


def test_nothing_is_recorded_when_one_object_is_not_in_the_spool(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger, SOP, SECOND)
    result = result_of(claim)
    missing = dict(list(stored(result).items())[:-1])
    with pytest.raises(Permanent, match="not in the spool"):
        ledger.record(claim, result, missing, [PACS])
    for table, column in [("readings", "reading_id"), ("objects", "sop_uid"), ("outbox", "outbox_id")]:
        assert ask(table, column) == []
    assert ask("studies", "state") == ["working"]


@pytest.mark.parametrize("images", [(), (image(), image(SECOND)), (image(versions=NEWER),), (image(SECOND),)])
def test_a_result_that_is_not_that_of_the_claim_is_refused(
    ledger: Ledger, ask: Ask, images: tuple[object, ...]
) -> None:
    claim = claimed(ledger)
    with pytest.raises(Permanent, match=r"result .* claimed"):
        record(ledger, claim, StudyResult(STUDY, images))  # type: ignore[arg-type]  # wrong on purpose
    assert ask("readings", "reading_id") == []


def test_a_film_that_nobody_could_read_again_is_known_by_its_place(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger, SOP, SECOND)
    damaged = Refusal("UNREADABLE", "its file is damaged")
    record(ledger, claim, StudyResult(STUDY, (image(), image("", refusal=damaged))))
    assert ask("readings", "refusal_code", sop_uid=SECOND) == ["UNREADABLE"]
    assert ask("studies", "state") == ["recorded"]


def test_a_study_with_nothing_to_send_is_delivered_at_once(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=())
    assert ask("studies", "state") == ["delivered"]


def test_a_study_whose_images_were_all_refused_by_the_reading_is_refused(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    record(ledger, claim, result_of(claim, NO_VERTEBRA))
    assert ask("studies", "state") == ["refused"]
    assert ask("studies", "reason_code") == ["NO_VERTEBRA_FOUND"]
    assert ask("readings", "refusal_code") == ["NO_VERTEBRA_FOUND"]
    assert ask("outbox", "outbox_id") == []


def test_one_refused_image_does_not_hold_up_the_others(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger, SOP, SECOND)
    record(ledger, claim, StudyResult(STUDY, (image(), image(SECOND, refusal=NO_VERTEBRA))))
    assert ask("studies", "state") == ["recorded"]
    assert len(ask("outbox", "outbox_id")) == 3


def test_each_destination_gets_the_kinds_it_asks_for(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger, destinations=(PACS, VIEWER))
    assert ask("deliveries", "kind", destination="pacs") == ["OVERLAY", "SEG", "SR"]
    assert ask("deliveries", "kind", destination="viewer") == ["OVERLAY"]


def test_a_newer_model_reads_again_what_it_has_not_read(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    take_in(ledger, SECOND)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(NEWER, 3)
    assert claim is not None
    assert [item.sop_uid for item in claim.arrivals] == [SOP, SECOND]
    record(ledger, claim)
    assert ask("readings", "model_name", sop_uid=SOP) == ["spine-v0", "spine-v1"]
    assert ask("disc_findings", "model_name", sop_uid=SOP, is_current=True) == ["spine-v1", "spine-v1"]


def test_a_transient_failure_is_tried_again_not_before_its_time(ledger: Ledger, ask: Ask) -> None:
    later = datetime.now(UTC) + timedelta(minutes=5)
    assert ledger.fail(claimed(ledger), "DISK_FULL", "no room", transient=True, retry_at=later)
    assert ask("studies", "state") == ["ready"]
    assert ledger.claim(VERSIONS, 3) is None
    again = ledger.claim(VERSIONS, 3, now=later)
    assert again is not None
    assert again.attempt_number == 2
    assert ask("attempts", "reason_code") == ["", "DISK_FULL"]


def test_a_study_fails_when_its_attempts_are_used_up(ledger: Ledger, ask: Ask) -> None:
    claim: Claim | None = claimed(ledger, maximum_attempts=2)
    for _ in range(2):
        assert claim is not None
        ledger.fail(claim, "CRASH", "the worker died", transient=True)
        claim = ledger.claim(VERSIONS, 2)
    assert claim is None
    assert ask("studies", "state") == ["failed"]
    assert ask("studies", "reason_code") == ["CRASH"]
    assert ask("events", "kind") == ["failed"]


def test_an_attempt_that_the_disk_or_the_database_ended_is_not_counted(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    for _ in range(10):
        assert claim.attempt_number == 1
        assert ledger.fail(claim, "TRANSIENT", "the disk is full", transient=True, counted=False)
        again = ledger.claim(VERSIONS, 3)
        assert again
        claim = again
    assert ask("studies", "attempts") == [1]
    assert len(ask("attempts", "reason_code", reason_code="TRANSIENT")) == 10


def test_a_clock_set_back_does_not_hold_what_is_due(ledger: Ledger, ask: Ask) -> None:
    """Seen from a clock that was set back by an hour, all stored times lie an hour ahead."""
    take_in(ledger)
    ledger.mark_ready(STUDY)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    claim = ledger.claim(VERSIONS, 3, an_hour_ago)
    assert claim
    later = datetime.now(UTC) + timedelta(minutes=10)
    ledger.fail(claim, "WORKER_DIED", "gone", transient=True, retry_at=later)
    assert ledger.claim(VERSIONS, 3, datetime.now(UTC)) is None, "an ordinary wait is kept"
    assert ledger.claim(VERSIONS, 3, an_hour_ago), "nobody knows how long it has waited"


def test_a_permanent_failure_is_not_tried_again(ledger: Ledger, ask: Ask) -> None:
    ledger.fail(claimed(ledger), "BAD_MODEL", "altered", transient=False)
    assert ask("studies", "state") == ["failed"]


def test_failing_twice_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    claim = claimed(ledger)
    assert ledger.fail(claim, "CRASH", "the worker died", transient=True)
    assert not ledger.fail(claim, "BAD_MODEL", "altered", transient=False)
    assert ask("studies", "state") == ["ready"]


def test_a_study_that_kills_the_daemon_each_time_ends_in_failed(ledger: Ledger, ask: Ask) -> None:
    claimed(ledger, maximum_attempts=2)
    assert ledger.return_orphans() == 1
    assert ledger.claim(VERSIONS, 2) is not None
    assert ledger.return_orphans() == 1
    assert ledger.claim(VERSIONS, 2) is None
    assert ask("studies", "state") == ["failed"]
    assert ask("studies", "reason_code") == ["ATTEMPTS_USED_UP"]
    assert ask("attempts", "outcome") == ["orphaned", "orphaned"]


def test_there_are_no_orphans_without_work(ledger: Ledger) -> None:
    take_in(ledger)
    assert ledger.return_orphans() == 0


def test_a_poison_study_does_not_keep_the_next_one_waiting(ledger: Ledger) -> None:
    for number in range(2):
        take_in(ledger, f"1.{number}", f"2.{number}")
        ledger.mark_ready(f"2.{number}")
    poison = ledger.claim(VERSIONS, 1)
    assert poison is not None
    ledger.return_orphans()
    claim = ledger.claim(VERSIONS, 1)
    assert claim is not None
    assert claim.study_uid == "2.1"


def test_retry_gives_a_failed_study_all_its_attempts_again(ledger: Ledger, ask: Ask) -> None:
    ledger.fail(claimed(ledger), "BAD_MODEL", "altered", transient=False)
    assert ledger.retry("9.9.9") == 0
    assert ledger.retry(STUDY) == 1
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    assert claim.attempt_number == 1
    assert ask("events", "kind") == ["failed", "retried"]


def test_retry_of_what_has_not_failed_changes_nothing(ledger: Ledger, ask: Ask) -> None:
    recorded(ledger)
    assert ledger.retry() == 0
    assert ask("studies", "state") == ["recorded"]


def test_a_retried_study_that_is_already_read_goes_where_its_readings_put_it(
    ledger: Ledger, ask: Ask
) -> None:
    recorded(ledger)
    take_in(ledger, SECOND)
    ledger.mark_ready(STUDY)
    claim = ledger.claim(VERSIONS, 3)
    assert claim is not None
    ledger.fail(claim, "BAD_MODEL", "altered", transient=False)
    ledger.retry(STUDY)
    again = ledger.claim(VERSIONS, 3)
    assert again is not None
    assert [item.sop_uid for item in again.arrivals] == [SECOND]
